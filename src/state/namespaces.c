/* SPDX-License-Identifier: MIT */
/* Which mount, uts and ipc namespaces processes are in; mounts.c says what is in the first. */
#include "state/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/ipc.h"
#include "state/kinds.h"
#include "state/mounts.h"
#include "state/users.h"
#include "task/proc.h"

const enum live_link space_links[N_SPACES] = {LIVE_MOUNT, LIVE_UTS, LIVE_IPC};

/* Those that a task has to share with the controller. */
enum { N_REFUSED = 2 };
static const struct {
	enum live_link link;
	const char *what;
} refused[N_REFUSED] = {{LIVE_NETWORK, "network"}, {LIVE_CGROUP, "cgroup"}};

/* A namespace of the tree that is not the controller's. */
struct space {
	uint64_t inode;
	pid_t task;	 /* one that is in it */
	pid_t base_task; /* the nearest ancestor that is not; 0: outside the tree */
	int32_t base;
};

struct spaces {
	uint64_t own[N_SPACES];
	uint64_t own_refused[N_REFUSED];
	struct space *found[N_SPACES];
	size_t count[N_SPACES];
	const struct live_tree *tree; /* that found belongs to: each survey has its own */
};

struct spaces_note {
	int32_t index[N_SPACES]; /* -1: the controller's */
	uint64_t uname;		 /* where the task writes it; 0: not asked */
	bool first[N_SPACES];
};

static const char spaces_key;

static struct spaces *spaces_of(struct capture *capture)
{
	struct spaces *spaces =
		kind_table_get(capture->arena, &capture->tables, &spaces_key, sizeof(*spaces));

	if (!spaces || spaces->tree == capture->tree)
		return spaces;
	memset(spaces, 0, sizeof(*spaces));
	spaces->tree = capture->tree;
	for (int i = 0; i < N_SPACES; i++)
		spaces->own[i] = proc_inode(getpid(), live_links[space_links[i]]);
	for (int i = 0; i < N_REFUSED; i++)
		spaces->own_refused[i] = proc_inode(getpid(), live_links[refused[i].link]);
	return spaces;
}

static struct spaces_note *note_of(const struct live_process *process)
{
	return process->notes[NOTE_MOUNTS];
}

/* The nearest ancestor in another namespace is where this one was made from. */
static void find_base(struct spaces *spaces, struct live_process *process, int kind, int32_t index,
	struct space *ret)
{
	ret->base = -1;
	for (struct live_process *up = process->parent; up; up = up->parent) {
		const struct spaces_note *note = note_of(up);

		if (!note || note->index[kind] == index)
			continue;
		ret->base = note->index[kind];
		ret->base_task = ret->base < 0 ? 0 : spaces->found[kind][ret->base].task;
		return;
	}
}

static int find_space(struct capture *capture, struct spaces *spaces, struct live_process *process,
	int kind, struct spaces_note *note)
{
	uint64_t inode = live_namespace(process, space_links[kind]);
	size_t count = spaces->count[kind];
	struct space *space;

	note->index[kind] = -1;
	if (!inode || inode == spaces->own[kind])
		return 0;
	for (size_t i = 0; i < count; i++)
		if (spaces->found[kind][i].inode == inode) {
			note->index[kind] = (int32_t)i;
			return 0;
		}
	if ((count & (count - 1)) == 0) {
		space = arena_alloc(capture->arena, (count ? count * 2 : 1) * sizeof(*space));
		if (!space)
			return -ENOMEM;
		if (count)
			memcpy(space, spaces->found[kind], count * sizeof(*space));
		spaces->found[kind] = space;
	}
	space = &spaces->found[kind][count];
	*space = (struct space){.inode = inode, .task = live_tid(process)};
	note->index[kind] = (int32_t)count;
	note->first[kind] = true;
	spaces->count[kind]++;
	find_base(spaces, process, kind, (int32_t)count, space);
	return 0;
}

static void refuse_others(
	struct capture *capture, const struct spaces *spaces, struct live_process *process)
{
	for (int i = 0; i < N_REFUSED; i++) {
		uint64_t inode = live_namespace(process, refused[i].link);

		if (inode && inode != spaces->own_refused[i])
			refuse(capture->refusals, process, "it is in a %s namespace of its own",
				refused[i].what);
	}
}

/* unshare(2) and setns(2) are a thread's own, and but for pid namespaces only one thread is looked
 * at. Mount and user namespaces need no look: a thread takes another only where it is alone in its
 * process, or with a working directory of its own. */
static void refuse_apart(struct capture *capture, struct live_process *process)
{
	static const struct {
		enum live_link link;
		const char *what;
	} links[] = {{LIVE_NETWORK, "network"}, {LIVE_CGROUP, "cgroup"}, {LIVE_UTS, "uts"},
		{LIVE_IPC, "ipc"}, {LIVE_TIME_FOR_CHILDREN, "time"}};

	for (size_t i = 0; i < process->nr_threads; i++) {
		const struct live_thread *thread = &process->threads[i];

		if (thread->dead || thread->tid == live_tid(process))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(links); k++) {
			uint64_t inode = proc_inode(thread->tid, live_links[links[k].link]);

			if (inode && inode != live_namespace(process, links[k].link))
				refuse(capture->refusals, process,
					"thread %d is in a %s namespace that the others are not in",
					thread->tid, links[k].what);
		}
	}
}

/* Who owns what is looked at where a namespace is seen first: that of pids at its init. */
static int survey_owners(
	struct capture *capture, struct live_process *process, const struct spaces_note *note)
{
	int ret = users_survey(capture, process);

	for (int i = 0; i < N_SPACES && ret == 0; i++)
		if (note->first[i])
			ret = users_survey_owner(capture, process, space_links[i]);
	if (ret == 0 && live_is_init(process))
		ret = users_survey_owner(capture, process, LIVE_PID);
	return ret;
}

static int namespaces_survey(struct capture *capture, struct live_process *process)
{
	struct spaces *spaces = spaces_of(capture);
	struct spaces_note *note = arena_alloc(capture->arena, sizeof(*note));
	const struct space *space;
	int ret = 0;

	if (!spaces || !note)
		return fail(capture->err, ENOMEM, "no memory");
	if (process->zombie)
		return 0;
	process->notes[NOTE_MOUNTS] = note;
	for (int i = 0; i < N_SPACES && ret == 0; i++)
		ret = find_space(capture, spaces, process, i, note);
	if (ret < 0)
		return fail(capture->err, ret, "no memory");
	refuse_others(capture, spaces, process);
	refuse_apart(capture, process);
	ret = survey_owners(capture, process, note);
	if (ret == 0 && note->first[SPACE_IPC])
		ret = ipc_survey(capture, process, live_tid(process));
	if (ret == 0 && note->first[SPACE_MOUNT]) {
		space = &spaces->found[SPACE_MOUNT][note->index[SPACE_MOUNT]];
		ret = mounts_survey(capture, process, space->task, space->base_task);
	}
	return ret;
}

static int namespaces_ask(
	struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct spaces_note *note = note_of(process);

	if (!note || !note->first[SPACE_UTS])
		return 0;
	note->uname = calls_space(calls, sizeof(struct utsname));
	calls_must(calls, "cannot read its host name", SYS_uname, note->uname, 0, 0, 0, 0, 0);
	return 0;
}

/* Less than -1: -errno. */
static int owner_of(struct capture *capture, const struct space *space, int kind)
{
	_cleanup_close_ int fd = proc_open(space->task, live_links[space_links[kind]], O_RDONLY);

	return fd < 0 ? fail(capture->err, ESRCH, "the owner of a namespace")
		      : users_take_owner(capture, fd);
}

static int take_ipc(struct capture *capture, const struct space *space)
{
	Snapshot *snapshot = capture->snapshot;
	int owner = owner_of(capture, space, SPACE_IPC);
	size_t count = snapshot->ipc_namespaces++;
	uint32_t *owners = arena_alloc(capture->arena, (count + 1) * sizeof(*owners));

	if (owner < -1 || !owners)
		return owner < -1 ? owner : -ENOMEM;
	if (count)
		memcpy(owners, snapshot->ipc_owners, count * sizeof(*owners));
	owners[count] = (uint32_t)(owner + 1);
	snapshot->ipc_owners = owners;
	snapshot->n_ipc_owners = count + 1;
	return 0;
}

static int take_uts(struct capture *capture, struct calls *calls, const struct spaces_note *note,
	const struct space *space)
{
	int owner = owner_of(capture, space, SPACE_UTS);
	const struct utsname *name = calls_view(calls, note->uname);
	UtsNamespace *uts = MESSAGE_NEW(capture->arena, UtsNamespace, uts_namespace);

	if (!uts || owner < -1)
		return owner < -1 ? owner : -ENOMEM;
	uts->owner = (uint32_t)(owner + 1);
	uts->nodename = arena_printf(capture->arena, "%.64s", name->nodename);
	uts->domainname = arena_printf(capture->arena, "%.64s", name->domainname);
	uts->inode = space->inode;
	uts->made_from = space->base;
	if (!uts->nodename || !uts->domainname)
		return -ENOMEM;
	return MESSAGE_ADD(capture->arena, capture->snapshot, uts_namespaces, uts);
}

static int take_mounts(struct capture *capture, const struct space *space)
{
	MountNamespace *mounts = MESSAGE_NEW(capture->arena, MountNamespace, mount_namespace);
	int owner = owner_of(capture, space, SPACE_MOUNT), ret;

	if (!mounts || owner < -1)
		return owner < -1 ? owner : -ENOMEM;
	mounts->inode = space->inode;
	mounts->user_namespace = owner;
	ret = mounts_take(capture, space->task, space->base_task, space->base, mounts);
	return ret == 0 ? MESSAGE_ADD(capture->arena, capture->snapshot, mount_namespaces, mounts)
			: ret;
}

static int namespaces_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct spaces_note *note = note_of(process);
	struct spaces *spaces = spaces_of(capture);
	int result = 0;

	ret->mount_namespace = ret->uts_namespace = ret->ipc_namespace = -1;
	ret->user_namespace = users_take(capture, process);
	if (ret->user_namespace < -1)
		return ret->user_namespace;
	if (!note || !spaces)
		return 0;
	ret->mount_namespace = note->index[SPACE_MOUNT];
	ret->uts_namespace = note->index[SPACE_UTS];
	ret->ipc_namespace = note->index[SPACE_IPC];
	if (note->first[SPACE_UTS])
		result = take_uts(
			capture, calls, note, &spaces->found[SPACE_UTS][note->index[SPACE_UTS]]);
	if (result == 0 && note->first[SPACE_MOUNT])
		result =
			take_mounts(capture, &spaces->found[SPACE_MOUNT][note->index[SPACE_MOUNT]]);
	if (result == 0 && note->first[SPACE_IPC])
		result = take_ipc(capture, &spaces->found[SPACE_IPC][note->index[SPACE_IPC]]);
	return result < 0 ? fail(capture->err, result, "its namespaces") : 0;
}

static int namespaces_take_shared(struct capture *capture)
{
	const struct spaces *spaces = spaces_of(capture);
	const Snapshot *snapshot = capture->snapshot;

	for (size_t i = 0; spaces && i < snapshot->n_mount_namespaces; i++)
		mounts_take_proc(
			capture, spaces->found[SPACE_MOUNT][i].task, snapshot->mount_namespaces[i]);
	return 0;
}

const struct state_kind namespaces_kind = {
	.name = "namespaces",
	.survey = namespaces_survey,
	.ask = namespaces_ask,
	.take = namespaces_take,
	.take_shared = namespaces_take_shared,
	.check = users_check,
	.restore_shared = mounts_finish,
	.end = namespaces_end,
};
