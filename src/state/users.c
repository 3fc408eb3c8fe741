// SPDX-License-Identifier: MIT
/*
 * User namespaces at a checkpoint. /proc tells the ids of a namespace through a task that is in it,
 * so one without any is refused. Maps are read in the controller's ids, and noted in those of the
 * parent namespace, which are the ones to be written.
 */
#include "state/users.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/id_map.h"
#include "state/files_table.h"
#include "task/proc.h"

#define DEPTH 33 /* the kernel has 32 below the initial one */
#define MAP_TEXT 8192
#define INITIAL 0xeffffffdu /* PROC_USER_INIT_INO */

#define NO_MEMBER "is in a user namespace below one that nobody is in any more"
#define NOT_BELOW "is in a user namespace that is not below this program's"

struct user_ns {
	uint64_t inode;
	const struct live_process *member;
	int32_t index; /* -1: not noted yet */
	bool has_maps;
	struct id_map *uids, *gids; /* as this program reads them */
};

struct users {
	const struct live_tree *tree; /* that the list belongs to: each survey has its own */
	uint64_t own;
	struct user_ns *list;
	size_t count;
	bool listed;
};

static const char users_key;

static int add_user(struct capture *capture, struct users *users, uint64_t inode,
	const struct live_process *member)
{
	size_t count = users->count;

	for (size_t i = 0; i < count; i++)
		if (users->list[i].inode == inode)
			return 0;
	if ((count & (count - 1)) == 0) {
		struct user_ns *grown =
			arena_alloc(capture->arena, (count ? count * 2 : 1) * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		if (count)
			memcpy(grown, users->list, count * sizeof(*grown));
		users->list = grown;
	}
	users->list[users->count++] =
		(struct user_ns){.inode = inode, .member = member, .index = -1};
	return 0;
}

static struct users *users_of(struct capture *capture)
{
	struct users *users =
		kind_table_get(capture->arena, &capture->tables, &users_key, sizeof(*users));

	if (users && users->tree != capture->tree)
		*users = (struct users){
			.tree = capture->tree, .own = proc_inode(getpid(), "ns/user")};
	return users;
}

/* All of the tree, once there is any that is not this program's own. */
static int list_users(struct capture *capture, struct users *users)
{
	for (size_t i = 0; i < capture->tree->count && !users->listed; i++) {
		struct live_process *process = capture->tree->processes[i];
		uint64_t inode = process->zombie ? 0 : live_namespace(process, LIVE_USER);

		if (inode && inode != users->own && add_user(capture, users, inode, process) < 0)
			return -ENOMEM;
	}
	users->listed = true;
	return 0;
}

static struct user_ns *find_user(struct users *users, uint64_t inode)
{
	for (size_t i = 0; i < users->count; i++)
		if (users->list[i].inode == inode)
			return &users->list[i];
	return NULL;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

static int read_map(struct capture *capture, pid_t tid, const char *name, struct id_map **ret)
{
	char *text;
	int r = proc_read(capture->arena, tid, name, &text, NULL, NULL);

	*ret = r < 0 ? NULL : arena_alloc(capture->arena, sizeof(**ret));
	if (r == 0 && !*ret)
		r = -ENOMEM;
	return r < 0 ? r : id_map_parse(text, *ret);
}

static int read_maps(struct capture *capture, struct user_ns *user)
{
	pid_t tid = live_tid(user->member);
	int r = read_map(capture, tid, "uid_map", &user->uids);

	if (r == 0)
		r = read_map(capture, tid, "gid_map", &user->gids);
	user->has_maps = r == 0 && user->uids->count && user->gids->count;
	return r;
}

/* Why a user namespace cannot be made again; NULL: it can. Consumes fd. */
static const char *trouble_of(struct capture *capture, struct users *users, int fd)
{
	for (int i = 0; i < DEPTH && fd >= 0; i++) {
		uint64_t inode = inode_of(fd);
		struct user_ns *user = find_user(users, inode);
		int parent;

		if (inode == users->own) {
			close(fd);
			return NULL;
		}
		parent = user ? ioctl(fd, NS_GET_PARENT) : -1;
		close(fd);
		fd = parent;
		if (!user)
			return i ? NO_MEMBER : "is in a user namespace that nobody else is in";
		if (!user->uids && read_maps(capture, user) < 0)
			return "is in a user namespace whose ids this program does not know";
		if (!user->has_maps)
			return "is in a user namespace without ids (uid_map, gid_map)";
	}
	return NOT_BELOW;
}

static bool knows(const struct id_map *map, const uint32_t *ids, size_t count)
{
	uint32_t inside;

	for (size_t i = 0; i < count; i++)
		if (!id_map_inside(map, ids[i], &inside))
			return false;
	return true;
}

static bool may_set_groups(struct capture *capture, const struct live_process *process)
{
	char *text;

	return proc_read(capture->arena, live_tid(process), "setgroups", &text, NULL, NULL) < 0 ||
	       strncmp(text, "deny", 4) != 0;
}

/* Ids that have no number in the namespace can be had, by setns, and not be asked for. */
static void survey_ids(
	struct capture *capture, struct live_process *process, const struct user_ns *user)
{
	for (size_t i = 0; i < process->nr_threads; i++) {
		const struct task_status *status = &process->threads[i].status;

		if (process->threads[i].dead)
			continue;
		if (!knows(user->uids, status->uids, 4) || !knows(user->gids, status->gids, 4))
			refuse(capture->refusals, process,
				"thread %d has an id that its user namespace does not have",
				process->threads[i].tid);
		else if (!knows(user->gids, status->groups, status->nr_groups) &&
			 may_set_groups(capture, process))
			refuse(capture->refusals, process,
				"thread %d has a group that its user namespace does not have",
				process->threads[i].tid);
	}
}

int users_survey(struct capture *capture, struct live_process *process)
{
	struct users *users = users_of(capture);
	uint64_t inode = live_namespace(process, LIVE_USER);
	const char *why;

	if (!users)
		return fail(capture->err, ENOMEM, "no memory");
	if (!inode || inode == users->own)
		return 0;
	if (list_users(capture, users) < 0)
		return fail(capture->err, ENOMEM, "no memory");
	why = trouble_of(capture, users, proc_open(live_tid(process), "ns/user", O_RDONLY));
	if (why)
		refuse(capture->refusals, process, "it %s", why);
	else if (find_user(users, inode))
		survey_ids(capture, process, find_user(users, inode));
	return 0;
}

int users_survey_owner(struct capture *capture, struct live_process *process, enum live_link link)
{
	_cleanup_close_ int fd = proc_open(live_tid(process), live_links[link], O_RDONLY);
	struct users *users = users_of(capture);
	int owner = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);

	if (!users || list_users(capture, users) < 0)
		return fail(capture->err, ENOMEM, "no memory");
	if (fd < 0)
		return 0; /* it has just ended */
	if (owner < 0 || trouble_of(capture, users, owner))
		refuse(capture->refusals, process,
			"its %s namespace belongs to a user namespace that nobody is in",
			live_links[link] + strlen("ns/"));
	return 0;
}

/* ---- taking ---- */

static char *map_text(
	struct capture *capture, const struct id_map *map, const struct id_map *parent)
{
	char text[MAP_TEXT];
	struct id_map *own = arena_alloc(capture->arena, sizeof(*own));

	if (!own)
		return NULL;
	if (parent && id_map_in_parent(map, parent, own) < 0)
		return NULL;
	return id_map_print(parent ? own : map, text, sizeof(text))
		       ? arena_string(capture->arena, text)
		       : NULL;
}

static int take_groups(struct capture *capture, const struct user_ns *user, UserNamespace *ret)
{
	const struct task_status *status = &user->member->threads[0].status;

	if (!status->nr_groups)
		return 0;
	ret->groups = arena_copy(
		capture->arena, status->groups, status->nr_groups * sizeof(*ret->groups));
	ret->n_groups = status->nr_groups;
	return ret->groups ? 0 : -ENOMEM;
}

static int note_user(struct capture *capture, struct user_ns *user, int fd, int32_t parent_index,
	const struct user_ns *parent)
{
	UserNamespace *message = MESSAGE_NEW(capture->arena, UserNamespace, user_namespace);
	uid_t owner = 0;
	int r = 0;

	if (!message)
		return -ENOMEM;
	message->parent = parent_index;
	message->inode = user->inode;
	message->uid_map = map_text(capture, user->uids, parent ? parent->uids : NULL);
	message->gid_map = map_text(capture, user->gids, parent ? parent->gids : NULL);
	if (!message->uid_map || !message->gid_map)
		return fail(capture->err, ERANGE, "the ids of a user namespace");
	if (ioctl(fd, NS_GET_OWNER_UID, &owner) < 0)
		return fail(capture->err, errno, "the owner of a user namespace");
	message->owner_uid = owner;
	if (parent && !id_map_inside(parent->uids, owner, &message->owner_uid))
		return fail(capture->err, ERANGE, "the owner of a user namespace");
	message->setgroups_denied = !may_set_groups(capture, user->member);
	if (message->setgroups_denied && !parent)
		r = take_groups(capture, user, message);
	user->index = (int32_t)capture->snapshot->n_user_namespaces;
	return r < 0 ? r : MESSAGE_ADD(capture->arena, capture->snapshot, user_namespaces, message);
}

/* Parents first. Consumes fd. */
static int take_fd_of(struct capture *capture, struct users *users, int fd, int depth)
{
	_cleanup_close_ int own = fd;
	uint64_t inode = inode_of(own);
	struct user_ns *user = find_user(users, inode);
	int parent_fd, parent, r;

	if (inode == users->own)
		return -1;
	if (!user || depth > DEPTH)
		return fail(capture->err, ESRCH, "a user namespace that nobody is in");
	if (user->index >= 0)
		return user->index;
	parent_fd = ioctl(own, NS_GET_PARENT);
	if (parent_fd < 0)
		return fail(capture->err, errno == EPERM ? EACCES : errno,
			"a user namespace that is not below this program's");
	inode = inode_of(parent_fd);
	parent = take_fd_of(capture, users, parent_fd, depth + 1);
	if (parent < -1)
		return parent;
	r = user->uids ? 0 : read_maps(capture, user);
	if (r == 0)
		r = note_user(capture, user, own, parent, find_user(users, inode));
	return r < 0 ? fail(capture->err, r == -EPERM ? -EACCES : r, "a user namespace")
		     : user->index;
}

int users_take(struct capture *capture, struct live_process *process)
{
	struct users *users = users_of(capture);
	uint64_t inode = process->zombie ? 0 : live_namespace(process, LIVE_USER);
	struct user_ns *user;
	int fd;

	if (!users || (inode && inode != users->own && list_users(capture, users) < 0))
		return fail(capture->err, ENOMEM, "no memory");
	if (!inode || inode == users->own)
		return -1;
	user = find_user(users, inode);
	if (user && user->index >= 0)
		return user->index;
	fd = proc_open(live_tid(process), "ns/user", O_RDONLY);
	if (fd < 0)
		return fail(capture->err, fd == -EPERM ? -EACCES : fd, "its user namespace");
	return take_fd_of(capture, users, fd, 0);
}

int users_take_owner(struct capture *capture, int ns_fd)
{
	struct users *users = users_of(capture);
	int fd = ioctl(ns_fd, NS_GET_USERNS);

	/* That of the controller's own namespaces may be further out than may be seen. */
	if (fd < 0 && errno == EPERM)
		return -1;
	if (fd < 0)
		return fail(capture->err, errno, "the owner of a namespace");
	if (!users || list_users(capture, users) < 0) {
		close(fd);
		return fail(capture->err, ENOMEM, "no memory");
	}
	return take_fd_of(capture, users, fd, 0);
}

void users_join_owner(int ns_fd)
{
	long fd = syscall(SYS_ioctl, ns_fd, NS_GET_USERNS);

	/* EINVAL: it is there already. */
	if (fd >= 0) {
		syscall(SYS_setns, fd, CLONE_NEWUSER);
		syscall(SYS_close, fd);
	}
}

bool users_lock_mounts(pid_t task)
{
	_cleanup_close_ int fd = proc_open(task ? task : getpid(), "ns/mnt", O_RDONLY);
	_cleanup_close_ int owner = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);

	return owner < 0 || inode_of(owner) != INITIAL;
}
