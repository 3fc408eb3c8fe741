// SPDX-License-Identifier: MIT
/* Where a process stands in the file system: working directory, root, and umask. */
#include "state/kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/files_table.h"
#include "state/pull.h"

/* The place is one for all threads; what clone(CLONE_FS) shares beyond that would be lost. */
static int place_survey(struct capture *capture, struct live_process *process)
{
	const struct live_process *parent = process->parent;
	const pid_t tid = live_tid(process);

	if (process->zombie)
		return 0;
	for (size_t i = 0; i < process->nr_threads; i++)
		if (!process->threads[i].dead && process->threads[i].tid != tid &&
			syscall(SYS_kcmp, tid, process->threads[i].tid, KCMP_FS, 0, 0) > 0)
			refuse(capture->refusals, process,
				"thread %d has a working directory of its own",
				process->threads[i].tid);
	if (parent && live_tid(parent) &&
		syscall(SYS_kcmp, tid, live_tid(parent), KCMP_FS, 0, 0) == 0)
		refuse(capture->refusals, process,
			"its working directory is shared with its parent (CLONE_FS)");
	return 0;
}

static int place_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	Place *place = MESSAGE_NEW(capture->arena, Place, place);
	char root[8];
	ssize_t len;
	int r;

	if (!place)
		return fail(capture->err, ENOMEM, "place");
	ret->place = place;
	place->umask = process->threads[0].status.umask;
	place->root = -1;
	r = file_refer(capture, process, "cwd", &place->cwd);
	if (r < 0)
		return fail(capture->err, r, "working directory");
	/* What is not below the reader's root, such as that of another mount namespace, is "/" too.
	 */
	len = proc_link(live_tid(process), "root", root, sizeof(root));
	if (len == 1 && root[0] == '/')
		return 0;
	r = file_refer(capture, process, "root", &place->root);
	return r < 0 ? fail(capture->err, r, "root directory") : 0;
}

/* Through descriptors, which lead where no path does: a deleted directory, one outside the root. */
static int place_by_descriptor(
	struct restore *restore, const Place *place, struct calls *calls, const File *cwd)
{
	int cwd_fd, root_fd;
	size_t cwd_index, root_index = 0;

	cwd_fd = file_shared(restore, place->cwd, O_PATH);
	if (cwd_fd < 0)
		return cwd_fd;
	cwd_index = pull(restore, calls, cwd_fd, "working directory");
	if (place->root >= 0) {
		root_fd = file_shared(restore, place->root, O_PATH);
		if (root_fd < 0)
			return root_fd;
		root_index = pull(restore, calls, root_fd, "root directory");
	}
	if (calls_run(calls))
		return calls->failed;
	cwd_fd = (int)calls_result(calls, cwd_index);
	root_fd = place->root >= 0 ? (int)calls_result(calls, root_index) : -1;
	if (calls_reserve(calls, 5, 64))
		return calls->failed;
	if (root_fd >= 0) {
		calls_must(calls, "root directory", SYS_fchdir, root_fd, 0, 0, 0, 0, 0);
		calls_must(
			calls, "root directory", SYS_chroot, calls_text(calls, "."), 0, 0, 0, 0, 0);
		calls_must(calls, "root directory", SYS_close, root_fd, 0, 0, 0, 0, 0);
	}
	calls_must(calls, "working directory", SYS_fchdir, cwd_fd, 0, 0, 0, 0, 0);
	calls_must(calls, "working directory", SYS_close, cwd_fd, 0, 0, 0, 0, 0);
	return 0;
}

/* A stub in a user namespace may be in a directory already that it could not enter. */
static bool is_there(struct restore *restore, const struct stub *stub, const File *cwd)
{
	char path[64], link[PATH_MAX];
	struct stat now, wanted;
	int fd;

	if (stub->process->user_namespace < 0 || cwd->deleted ||
		proc_link(stub->tid, "cwd", link, sizeof(link)) < 0 || strcmp(link, cwd->path) != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cwd", stub->tid);
	fd = file_shared(restore, stub->process->place->cwd, O_PATH);
	return fd >= 0 && fstat(fd, &wanted) == 0 && stat(path, &now) == 0 &&
	       now.st_dev == wanted.st_dev && now.st_ino == wanted.st_ino;
}

static int place_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Place *place = stub->process->place;
	const Snapshot *snapshot = restore->snapshot;
	const File *cwd;
	int r = 0;

	if (!place)
		return 0;
	if (place->cwd < 0 || (size_t)place->cwd >= snapshot->n_files)
		return fail(restore->err, EBADMSG, "working directory");
	cwd = snapshot->files[place->cwd];
	if (place->root < 0 && is_there(restore, stub, cwd)) {
		r = 0;
	} else if (place->root < 0 && !cwd->deleted && cwd->path[0] == '/') {
		if (calls_reserve(calls, 1, strlen(cwd->path) + 1))
			return calls->failed;
		calls_must(calls, arena_printf(restore->arena, "working directory %s", cwd->path),
			SYS_chdir, calls_text(calls, cwd->path), 0, 0, 0, 0, 0);
	} else {
		r = place_by_descriptor(restore, place, calls, cwd);
	}
	if (r == 0)
		calls_must(calls, "umask", SYS_umask, place->umask, 0, 0, 0, 0, 0);
	return r;
}

const struct state_kind place_kind = {
	.name = "place",
	.survey = place_survey,
	.take = place_take,
	.restore = place_restore,
};
