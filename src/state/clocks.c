// SPDX-License-Identifier: MIT
#include "state/clocks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/kinds.h"

#define SECOND 1000000000LL

struct offsets {
	int64_t monotonic, boottime; /* ns */
};

/*
 * The offsets of a task's time namespace over the initial one. The file tells those of the
 * namespace for its children, which survey has found to be its own.
 */
static int read_offsets(pid_t pid, struct offsets *ret, struct reprise_error *err)
{
	_cleanup_close_ int fd = proc_open(pid, "timens_offsets", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *file = NULL;
	char clock[16];
	int64_t seconds, nanoseconds;

	*ret = (struct offsets){0, 0};
	if (fd == -ENOENT)
		return 0; /* no time namespaces: nothing is shifted */
	if (fd < 0)
		return fail(err, fd, "offsets of the clocks");
	file = fdopen(fd, "re");
	if (!file)
		return fail(err, errno, "offsets of the clocks");
	take_fd(fd);
	while (fscanf(file, "%15s %" SCNd64 " %" SCNd64, clock, &seconds, &nanoseconds) == 3) {
		if (!strcmp(clock, "monotonic"))
			ret->monotonic = seconds * SECOND + nanoseconds;
		else if (!strcmp(clock, "boottime"))
			ret->boottime = seconds * SECOND + nanoseconds;
	}
	return 0;
}

static int64_t clock_now(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

/* The initial namespace's clocks, wherever this program is. */
static int host_now(struct offsets *ret, struct reprise_error *err)
{
	struct offsets own;
	int r = read_offsets(getpid(), &own, err);

	if (r < 0)
		return r;
	ret->monotonic = clock_now(CLOCK_MONOTONIC) - own.monotonic;
	ret->boottime = clock_now(CLOCK_BOOTTIME) - own.boottime;
	return 0;
}

static struct timespec timespec_of(int64_t ns)
{
	int64_t rest = ns % SECOND;

	/* The kernel wants nanoseconds from 0 up. */
	if (rest < 0)
		rest += SECOND;
	return (struct timespec){(time_t)((ns - rest) / SECOND), (long)rest};
}

int clocks_offsets(const Snapshot *snapshot, struct timespec *ret_monotonic,
	struct timespec *ret_boottime, struct reprise_error *err)
{
	struct offsets host;
	int r;

	if (!snapshot->clocks)
		return fail(err, EBADMSG, "clocks");
	r = host_now(&host, err);
	if (r < 0)
		return r;
	*ret_monotonic = timespec_of(snapshot->clocks->monotonic - host.monotonic);
	*ret_boottime = timespec_of(snapshot->clocks->boottime - host.boottime);
	return 0;
}

int clocks_write_offsets(const Snapshot *snapshot, pid_t task, struct reprise_error *err)
{
	_cleanup_close_ int fd = proc_open(task, "timens_offsets", O_WRONLY | O_CLOEXEC);
	struct timespec monotonic, boottime;
	char text[128];
	int len, r;

	if (fd < 0)
		return fail(err, fd, "offsets of the clocks");
	r = clocks_offsets(snapshot, &monotonic, &boottime, err);
	if (r < 0)
		return r;
	len = snprintf(text, sizeof(text), "%d %lld %ld\n%d %lld %ld\n", CLOCK_MONOTONIC,
		(long long)monotonic.tv_sec, monotonic.tv_nsec, CLOCK_BOOTTIME,
		(long long)boottime.tv_sec, boottime.tv_nsec);
	if (write(fd, text, (size_t)len) != len)
		return fail(err, errno, "cannot set the offsets of the clocks");
	return 0;
}

static int clocks_survey(struct capture *capture, struct live_process *process)
{
	struct live_process *root = capture->tree->processes[0];
	uint64_t inode, children, first;

	if (process->zombie)
		return 0;
	inode = live_namespace(process, LIVE_TIME);
	children = live_namespace(process, LIVE_TIME_FOR_CHILDREN);
	/* 0: it has ended since it was found. */
	if (!inode || !children)
		return 0;
	first = root->zombie ? 0 : live_namespace(root, LIVE_TIME);
	if (inode != children)
		refuse(capture->refusals, process, "it has made a time namespace for its children");
	else if (first && inode != first)
		refuse(capture->refusals, process, "it is in a time namespace of its own");
	return 0;
}

static int clocks_take_shared(struct capture *capture)
{
	Clocks *clocks = MESSAGE_NEW(capture->arena, Clocks, clocks);
	struct offsets host = {0}, offsets = {0};
	int r;

	if (!clocks)
		return fail(capture->err, ENOMEM, "clocks");
	r = read_offsets(live_tid(capture->tree->processes[0]), &offsets, capture->err);
	if (r == 0)
		r = host_now(&host, capture->err);
	if (r < 0)
		return r;
	clocks->monotonic = host.monotonic + offsets.monotonic;
	clocks->boottime = host.boottime + offsets.boottime;
	capture->snapshot->clocks = clocks;
	return 0;
}

static int clocks_check(struct restore *restore)
{
	struct timespec monotonic, boottime;

	if (restore->host_clocks)
		return 0;
	if (access("/proc/self/timens_offsets", F_OK) < 0)
		return fail(restore->err, errno,
			"this kernel has no time namespaces, which let the clocks of the tasks go "
			"on (the host's can be asked for)");
	return clocks_offsets(restore->snapshot, &monotonic, &boottime, restore->err);
}

const struct state_kind clocks_kind = {
	.name = "clocks",
	.survey = clocks_survey,
	.take_shared = clocks_take_shared,
	.check = clocks_check,
};
