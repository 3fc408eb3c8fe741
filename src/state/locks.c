// SPDX-License-Identifier: MIT
/*
 * File locks. Those of fcntl(F_SETLK) belong to a process, and it sets them itself again; those of
 * flock(2) and F_OFD_SETLK belong to a description, and the controller sets them through its own
 * descriptor of it. /proc/PID/fdinfo/N shows the locks that were set through that description,
 * those of a process only to that process; /proc/locks tells which processes have any.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/kinds.h"
#include "state/open_file.h"

/* So few are each asked for their locks, rather than the system for all there are. */
#define FEW_PROCESSES 100

/* Which processes have locks of their own, by pid. */
struct owners {
	bool known;
	pid_t *pids;
	size_t count;
};
static const char owners_key;

static int by_pid(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

static int read_owners(struct capture *capture, struct owners *owners)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/locks", "re");
	char line[256], kind[16];
	size_t room = 0;
	int pid;

	if (!file)
		return fail(capture->err, errno, "cannot open /proc/locks");
	while (fgets(line, sizeof(line), file)) {
		/* "12: -> POSIX" waits for a lock. */
		if (sscanf(line, "%*d: %15s %*s %*s %d", kind, &pid) != 2 ||
			strcmp(kind, "POSIX") != 0)
			continue;
		if (owners->count == room) {
			pid_t *grown;

			room = room ? room * 2 : 64;
			grown = arena_alloc(capture->arena, room * sizeof(*grown));
			if (!grown)
				return fail(capture->err, ENOMEM, "no memory for locks");
			if (owners->count)
				memcpy(grown, owners->pids, owners->count * sizeof(*grown));
			owners->pids = grown;
		}
		owners->pids[owners->count++] = pid;
	}
	if (owners->count > 1)
		qsort(owners->pids, owners->count, sizeof(*owners->pids), by_pid);
	owners->known = true;
	return 0;
}

/* Parses a line of fdinfo; false when it is not about a lock of the wanted kinds. */
static bool parse_lock(const char *line, bool posix, FileLock *ret)
{
	char kind[16], type[16], end[32];
	uint64_t start;

	if (sscanf(line, "lock: %*d: %15s %*s %15s %*d %*s %" SCNu64 " %31s", kind, type, &start,
		    end) != 4)
		return false;
	if (!strcmp(kind, "POSIX") != posix)
		return false;
	ret->kind = posix		     ? REPRISE__FILE_LOCK__KIND__POSIX
		    : !strcmp(kind, "FLOCK") ? REPRISE__FILE_LOCK__KIND__FLOCK
					     : REPRISE__FILE_LOCK__KIND__OFD;
	ret->type = !strcmp(type, "WRITE") ? F_WRLCK : F_RDLCK;
	ret->start = start;
	ret->length = !strcmp(end, "EOF") ? 0 : strtoull(end, NULL, 10) - start + 1;
	return true;
}

/* Adds the locks that the text of an fdinfo shows to an array of messages. */
static int take_locks(struct capture *capture, const char *fdinfo, bool posix,
	const struct description *d, int number, FileLock ***locks, size_t *count)
{
	for (const char *line = strstr(fdinfo, "lock:\t"); line;
		line = strstr(line + 1, "lock:\t")) {
		FileLock *lock = MESSAGE_NEW(capture->arena, FileLock, file_lock);

		if (!lock)
			return fail(capture->err, ENOMEM, "no memory for locks");
		if (!parse_lock(line, posix, lock))
			continue;
		lock->open_file = d->index;
		lock->descriptor = number;
		if (arena_append(capture->arena, (void ***)locks, count, lock) < 0)
			return fail(capture->err, ENOMEM, "no memory for locks");
	}
	return 0;
}

static bool seen_before(const struct descriptor_table *table, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (table->items[i].description == table->items[at].description)
			return true;
	return false;
}

/* Whether it may have locks: 1, 0, or -errno. */
static int may_own_locks(struct capture *capture, const struct live_process *process)
{
	struct owners *owners;
	int error;

	/* Reading /proc/locks waits for a grace period of RCU: some ten milliseconds. */
	if (capture->tree->count <= FEW_PROCESSES)
		return 1;
	owners = kind_table_get(capture->arena, &capture->tables, &owners_key, sizeof(*owners));
	error = owners ? 0 : fail(capture->err, ENOMEM, "no memory for locks");
	if (error == 0 && !owners->known)
		error = read_owners(capture, owners);
	if (error < 0)
		return error;
	return owners->count &&
	       bsearch(&process->pid, owners->pids, owners->count, sizeof(pid_t), by_pid) != NULL;
}

static int take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct descriptor_table *table = descriptor_table(process);
	int error = may_own_locks(capture, process);

	if (error <= 0)
		return error;
	error = 0;
	for (size_t i = 0; error == 0 && i < table->count; i++) {
		const struct descriptor *item = &table->items[i];
		char name[32], *fdinfo;
		size_t size;

		if (!S_ISREG(item->description->st.st_mode) || seen_before(table, i))
			continue;
		snprintf(name, sizeof(name), "fdinfo/%d", item->number);
		error = proc_read(
			capture->arena, live_tid(process), name, &fdinfo, &size, capture->err);
		if (error == 0)
			error = take_locks(capture, fdinfo, true, item->description, item->number,
				&ret->locks, &ret->n_locks);
	}
	return error;
}

static int take_shared(struct capture *capture)
{
	int ret = 0;

	for (struct description *d = descriptions(capture); ret == 0 && d; d = d->next)
		if (d->message)
			ret = take_locks(capture, d->fdinfo, false, d, -1, &d->message->locks,
				&d->message->n_locks);
	return ret;
}

/* ---- restart ---- */

static struct flock lock_range(const FileLock *lock)
{
	return (struct flock){.l_type = (short)lock->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lock->start,
		.l_len = (off_t)lock->length};
}

static int set_lock(int fd, const FileLock *lock)
{
	struct flock range = lock_range(lock);

	if (lock->kind == REPRISE__FILE_LOCK__KIND__FLOCK)
		return flock(fd, (lock->type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB);
	return fcntl(fd, F_OFD_SETLK, &range);
}

static int restore_shared(struct restore *restore)
{
	const Snapshot *snapshot = restore->snapshot;

	for (size_t i = 0; i < snapshot->n_open_files; i++)
		for (size_t j = 0; j < snapshot->open_files[i]->n_locks; j++) {
			const FileLock *lock = snapshot->open_files[i]->locks[j];
			int fd = open_file_get(restore, (uint32_t)i);
			int file = snapshot->open_files[i]->file;

			if (fd < 0)
				return fd;
			if (set_lock(fd, lock) < 0)
				return fail(restore->err, errno, "cannot lock %s again",
					file >= 0 ? snapshot->files[file]->path : "a file");
		}
	return 0;
}

static int restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	for (size_t i = 0; i < stub->process->n_locks; i++) {
		const FileLock *lock = stub->process->locks[i];
		struct flock range = lock_range(lock);
		int ret = calls_reserve(calls, 1, sizeof(range));

		if (ret < 0)
			return ret;
		calls_must(calls, "locking a file again", SYS_fcntl, (uint64_t)lock->descriptor,
			F_SETLK, calls_data(calls, &range, sizeof(range)), 0, 0, 0);
	}
	return 0;
}

const struct state_kind locks_kind = {
	.name = "locks",
	.take = take,
	.take_shared = take_shared,
	.restore_shared = restore_shared,
	.restore = restore,
};
