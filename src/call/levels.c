/* SPDX-License-Identifier: MIT */
/* The pid namespaces between the caller's own and the child's, one process in each that matters. */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call/last_pid.h"
#include "call/proc.h"

#define LAST_PID "/proc/sys/kernel/ns_last_pid"
#define PID_MAX "/proc/sys/kernel/pid_max"

enum { KERNEL_THREAD = 0x200000 }; /* among the flags of /proc/PID/stat */

static bool same_namespace(int a, int b)
{
	struct stat one;
	struct stat other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

/* The namespace for children up to levels further out: a descriptor or -errno. */
static int open_level(int up)
{
	int fd = ce_proc_open("ns/pid_for_children");

	while (fd >= 0 && up-- > 0) {
		int parent = ioctl(fd, NS_GET_PARENT);
		int error = errno;

		close(fd);
		fd = parent >= 0 ? parent : -error;
	}
	return fd;
}

/* How far in the children's namespace lies. */
static int count_inner(struct ce_last_pid *ret)
{
	int own = ce_proc_open("ns/pid");
	int at = open_level(0);
	int r = 0;

	ret->inner = 0;
	/*
	 * The link cannot be followed while its namespace has no task, which only happens one level
	 * down; kernels before 4.12 have no such link, and children live beside their parent.
	 */
	ret->fresh = own >= 0 && at == -ENOENT &&
		     faccessat(AT_FDCWD, "/proc/thread-self/ns/pid_for_children", F_OK,
			     AT_SYMLINK_NOFOLLOW) == 0;
	if (ret->fresh)
		ret->inner = 1;
	while (own >= 0 && at >= 0 && !same_namespace(own, at)) {
		int parent = ioctl(at, NS_GET_PARENT);

		close(at);
		at = parent;
		ret->inner++;
		/* Linux 4.9; 32-bit programs cannot ask before 6.12. */
		if (parent < 0)
			r = -EOPNOTSUPP;
	}
	if (at >= 0)
		close(at);
	if (own >= 0)
		close(own);
	return r;
}

/*
 * Whether the mounted /proc shows all levels, the initial one included: kernel threads live nowhere
 * else, and the first of them has pid 2.
 */
static bool sees_all(void)
{
	char text[256];
	const char *at;
	char *field;
	ssize_t n;
	int fd;

	fd = open("/proc/2/stat", O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	at = strrchr(text, ')');
	/* Behind the name: state, parent, group, session, terminal, its group, flags. */
	for (int skip = 0; at && skip < 7; skip++)
		at = strchr(at + 1, ' ');
	return at && (strtoul(at, &field, 10) & KERNEL_THREAD);
}

static int levels_seen(const struct ce_last_pid *to)
{
	int pids[CE_LEVELS];

	return ce_proc_pids(pids) + to->inner;
}

int ce_levels_in_proc(void)
{
	struct ce_last_pid to;
	int r = count_inner(&to);

	if (r < 0)
		return r;
	return sees_all() ? levels_seen(&to) : 0;
}

int ce_find_levels(struct ce_frame *frame)
{
	const struct ce_request *request = &frame->request;
	int n = request->num_pids;
	int reached = n - ce_outer_zeros(request->pids, n);
	int r;

	r = count_inner(&frame->last_pid);
	if (r < 0)
		return r;
	if (n > 1 && n > levels_seen(&frame->last_pid))
		return sees_all() ? -EINVAL : -EOPNOTSUPP;
	return reached > frame->last_pid.inner + 1 ? -EOPNOTSUPP : 0;
}

static bool is_taken(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM || kill(-pid, 0) == 0 || errno == EPERM;
}

/* In the namespace of the calling process: 0 or an errno value that fits an exit status. */
static int write_here(pid_t pid, bool helper)
{
	long pid_max;
	int r;

	if (ce_proc_number(PID_MAX, &pid_max) == 0 && pid >= pid_max)
		return EINVAL;
	r = ce_proc_set_number(LAST_PID, pid - 1);
	if (r == -ENOENT || r == -EROFS)
		return ENOSYS;
	if (r < 0)
		return -r;
	/* What the helper itself has is free when it has gone. */
	return !(helper && pid == getpid()) && is_taken(pid) ? EBUSY : 0;
}

/* By a process that is made there: setns(2) has been called where it must. */
static int write_there(pid_t pid)
{
	pid_t helper = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
	int status = 0;

	if (helper < 0)
		return errno;
	if (helper == 0)
		syscall(SYS_exit_group, write_here(pid, true));
	while (wait4(helper, &status, __WALL, NULL) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EAGAIN;
}

static int write_between(pid_t pid, int up)
{
	int children = open_level(0);
	int level = open_level(up);
	int r;

	if (children < 0 || level < 0) {
		r = children < 0 ? -children : -level;
	} else if (setns(level, CLONE_NEWPID) < 0) {
		r = errno;
	} else {
		r = write_there(pid);
		(void)setns(children, CLONE_NEWPID); /* back inwards, where the thread was */
	}
	if (level >= 0)
		close(level);
	if (children >= 0)
		close(children);
	return r;
}

/* The youngest of a fresh namespace has no last pid yet: it will be 1, whatever is written. */
static int write_level(const struct ce_last_pid *to, pid_t pid, int up)
{
	if (up == 0 && to->fresh)
		return pid == 1 ? 0 : EINVAL;
	if (up == to->inner)
		return write_here(pid, false);
	return up == 0 ? write_there(pid) : write_between(pid, up);
}

/* A helper takes a pid at its own level and all that are further out: these come after it. */
int ce_write_last_pids(struct ce_frame *frame)
{
	const struct ce_request *request = &frame->request;

	for (int up = 0; up < request->num_pids; up++) {
		pid_t pid = request->pids[request->num_pids - 1 - up];
		int r = pid ? write_level(&frame->last_pid, pid, up) : 0;

		if (r)
			return -r;
	}
	return 0;
}
