/* SPDX-License-Identifier: MIT */
/* /proc of another pid namespace: mounted nowhere, by a child that is in it (Linux 5.2). */
#include "rebuild/proc_view.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The children share the caller's descriptors, so what they open is the caller's. Only system
 * calls: the caller may have other threads. */
static void open_inside(int *ret_fd)
{
	long context = syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC), mount;

	if (context < 0)
		return;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0) == 0) {
		mount = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
		if (mount >= 0)
			*ret_fd = (int)mount;
	}
	syscall(SYS_close, context);
}

static void enter_and_open(int ns_fd, int *ret_fd)
{
	long child;
	int status;

	if (syscall(SYS_setns, ns_fd, CLONE_NEWPID) < 0)
		return;
	child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		open_inside(ret_fd);
		syscall(SYS_exit_group, 0);
	}
	if (child > 0)
		syscall(SYS_wait4, child, &status, 0, 0);
}

static int view_of(int ns_fd)
{
	int *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, fd;
	long child;

	if (shared == MAP_FAILED)
		return -errno;
	*shared = -EPERM;
	child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		enter_and_open(ns_fd, shared);
		syscall(SYS_exit_group, 0);
	}
	while (child > 0 && waitpid((pid_t)child, &status, 0) < 0 && errno == EINTR)
		;
	fd = *shared;
	munmap(shared, sizeof(*shared));
	return fd;
}

int proc_view(pid_t task)
{
	_cleanup_close_ int ns_fd = -1;
	char path[64];
	int fd;

	if (!task) {
		fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", task);
	ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	return ns_fd < 0 ? -errno : view_of(ns_fd);
}
