// SPDX-License-Identifier: MIT
/* Who gets the signals of an open file: F_SETOWN_EX, F_SETSIG. */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/open_file.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

/* Of the descriptions of an image, those that have an owner in it. */
struct owned {
	bool known;
	uint32_t *files;
	size_t count;
};
static const char owned_key;

/* ---- checkpoint ---- */

static void find_thread(const struct live_tree *tree, pid_t tid, Owner *ret)
{
	for (size_t i = 0; i < tree->count; i++)
		for (size_t j = 0; j < tree->processes[i]->nr_threads; j++)
			if (tree->processes[i]->threads[j].tid == tid) {
				ret->process = (int32_t)i;
				ret->thread = (int32_t)j;
				return;
			}
}

static int find_group(struct capture *capture, pid_t group, Owner *ret)
{
	const struct live_tree *tree = capture->tree;

	for (size_t i = 0; i < tree->count; i++) {
		const struct task_status *status = &tree->processes[i]->threads[0].status;

		if (tree->processes[i]->zombie || status->pgids[0] != group)
			continue;
		ret->group = arena_alloc(
			capture->arena, (size_t)status->nr_levels * sizeof(*ret->group));
		if (!ret->group)
			return fail(capture->err, ENOMEM, "no memory for owners");
		for (int level = 0; level < status->nr_levels; level++)
			ret->group[level] = status->pgids[level];
		ret->n_group = (size_t)status->nr_levels;
		ret->process = (int32_t)i;
		return 0;
	}
	return 0;
}

int owner_capture(struct capture *capture, int fd, OpenFile *ret)
{
	struct f_owner_ex ex = {0};
	uid_t uids[2] = {0};
	int signal = fcntl(fd, F_GETSIG);
	Owner *owner;

	if (signal < 0 || fcntl(fd, F_GETOWN_EX, &ex) < 0)
		return fail(capture->err, errno, "cannot read the owner of a file");
	if (!ex.pid && !signal)
		return 0;
	owner = ret->owner = MESSAGE_NEW(capture->arena, Owner, owner);
	if (!owner)
		return fail(capture->err, ENOMEM, "no memory for owners");
	owner->type = ex.pid ? (int)ex.type : -1;
	owner->pid = ex.pid;
	owner->signal = signal;
	owner->process = -1;
	/* CONFIG_CHECKPOINT_RESTORE; root where the kernel does not tell. */
	if (fcntl(fd, F_GETOWNER_UIDS, uids) == 0) {
		owner->uid = uids[0];
		owner->euid = uids[1];
	}
	if (ex.pid && ex.type == F_OWNER_PGRP)
		return find_group(capture, ex.pid, owner);
	if (ex.pid)
		find_thread(capture->tree, ex.pid, owner);
	return 0;
}

/* ---- restart ---- */

static struct owned *get_owned(struct restore *restore)
{
	struct owned *owned =
		kind_table_get(restore->arena, &restore->tables, &owned_key, sizeof(*owned));
	const Snapshot *snapshot = restore->snapshot;

	if (!owned || owned->known)
		return owned;
	owned->files =
		arena_alloc(restore->arena, (snapshot->n_open_files + 1) * sizeof(*owned->files));
	if (!owned->files)
		return NULL;
	for (size_t i = 0; i < snapshot->n_open_files; i++) {
		const Owner *owner = snapshot->open_files[i]->owner;

		if (owner && owner->process >= 0)
			owned->files[owned->count++] = (uint32_t)i;
	}
	owned->known = true;
	return owned;
}

/* The kernel notes the ids of who sets an owner, and checks its signals against them: they are
 * taken on for that one call. The saved id of root brings the others back. */
static int set_owner(int fd, const struct f_owner_ex *ex, const Owner *owner)
{
	uid_t real = getuid(), effective = geteuid(), saved = effective;
	int dumpable, ret;

	if (owner->uid == real && owner->euid == effective)
		return fcntl(fd, F_SETOWN_EX, ex) < 0 ? -errno : 0;
	dumpable = prctl(PR_GET_DUMPABLE);
	/* The system call itself: of this thread alone. */
	if (syscall(SYS_setresuid, owner->uid, owner->euid, effective) < 0)
		return -errno;
	ret = fcntl(fd, F_SETOWN_EX, ex) < 0 ? -errno : 0;
	if (syscall(SYS_setresuid, -1, saved, -1) < 0 ||
		syscall(SYS_setresuid, real, effective, saved) < 0)
		ret = -errno;
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	return ret;
}

static int restore_owner(struct restore *restore, const struct stub *stub, uint32_t index)
{
	const Owner *owner = restore->snapshot->open_files[index]->owner;
	struct f_owner_ex ex = {.type = owner->type, .pid = stub->tid};
	int fd = open_file_get(restore, index), ret;

	if (fd < 0)
		return fd;
	if (owner->type == F_OWNER_PGRP)
		ex.pid = getpgid(stub->tid);
	ret = set_owner(fd, &ex, owner);
	if (ret < 0)
		return fail(restore->err, ret, "cannot set the owner of a file");
	return 0;
}

int owners_restore_thread(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const struct owned *owned = get_owned(restore);

	if (!owned)
		return fail(restore->err, ENOMEM, "no memory for owners");
	for (size_t i = 0; i < owned->count; i++) {
		const Owner *owner = restore->snapshot->open_files[owned->files[i]]->owner;
		const Process *process;
		int ret;

		process = restore->snapshot->processes[owner->process];
		if (process != stub->process || process->threads[owner->thread] != stub->thread)
			continue;
		ret = restore_owner(restore, stub, owned->files[i]);
		if (ret < 0)
			return ret;
	}
	return 0;
}
