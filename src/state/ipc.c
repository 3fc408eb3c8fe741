/* SPDX-License-Identifier: MIT */
/* What is in an ipc namespace: looked at by a child that enters it. */
#include "state/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/users.h"
#include "task/proc.h"

enum { IPC_EMPTY = 0, IPC_SYSTEM_V = 10, IPC_QUEUES = 11, IPC_UNKNOWN = 12 };

/* More than the line of titles? */
static bool has_objects(int proc, const char *name)
{
	char text[4096];
	long fd = syscall(SYS_openat, proc, name, O_RDONLY), size;
	int lines = 0;

	if (fd < 0)
		return false; /* a kernel without it */
	while ((size = syscall(SYS_read, fd, text, sizeof(text))) > 0)
		for (long i = 0; i < size; i++)
			lines += text[i] == '\n';
	syscall(SYS_close, fd);
	return lines > 1;
}

/* The namespace's own mqueue file system, looked at without mounting it anywhere (Linux 5.2). */
static int has_queues(void)
{
	char entries[1024];
	long context = syscall(SYS_fsopen, "mqueue", 0), mount, fd, size;

	if (context < 0)
		return errno == ENODEV ? 0 : -1;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0) < 0)
		return -1;
	mount = syscall(SYS_fsmount, context, 0, 0);
	fd = mount < 0 ? -1 : syscall(SYS_openat, mount, ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -1;
	/* "." and ".." take 24 bytes each. */
	size = syscall(SYS_getdents64, fd, entries, sizeof(entries));
	return size < 0 ? -1 : size > 48;
}

static int look_inside(int namespace, int proc)
{
	int queues;

	users_join_owner(namespace);
	if (syscall(SYS_setns, namespace, CLONE_NEWIPC) < 0)
		return IPC_UNKNOWN;
	if (has_objects(proc, "sysvipc/shm") || has_objects(proc, "sysvipc/sem") ||
		has_objects(proc, "sysvipc/msg"))
		return IPC_SYSTEM_V;
	queues = has_queues();
	return queues < 0 ? IPC_UNKNOWN : queues ? IPC_QUEUES : IPC_EMPTY;
}

int ipc_survey(struct capture *capture, struct live_process *process, pid_t task)
{
	_cleanup_close_ int namespace = proc_open(task, "ns/ipc", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = 0;
	long child;

	if (namespace < 0 || proc < 0)
		return fail(capture->err, namespace < 0 ? namespace : errno,
			"cannot look into its ipc namespace");
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		syscall(SYS_exit_group, look_inside(namespace, proc));
	if (child < 0)
		return fail(capture->err, errno, "cannot look into its ipc namespace");
	while (waitpid((pid_t)child, &status, 0) < 0 && errno == EINTR)
		;
	switch (WIFEXITED(status) ? WEXITSTATUS(status) : IPC_UNKNOWN) {
	case IPC_EMPTY:
		break;
	case IPC_SYSTEM_V:
		refuse(capture->refusals, process,
			"its ipc namespace has System V shared memory, semaphores or queues");
		break;
	case IPC_QUEUES:
		refuse(capture->refusals, process, "its ipc namespace has POSIX message queues");
		break;
	default:
		refuse(capture->refusals, process, "its ipc namespace cannot be looked into");
	}
	return 0;
}
