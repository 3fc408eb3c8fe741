/* SPDX-License-Identifier: MIT */
#include "rebuild/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Only system calls: whoever made it may have had other threads. */
static _Noreturn void keep(int wire)
{
	struct pollfd root = {.events = POLLIN};
	pid_t number = 0;
	int status;

	syscall(SYS_setsid);
	syscall(SYS_prctl, PR_SET_NAME, "reprise-keeper", 0, 0, 0);
	syscall(SYS_dup3, wire, 0, O_CLOEXEC);
	syscall(SYS_close_range, 1, ~0U, 0);
	for (int signal = 1; signal <= 64; signal++) {
		const struct {
			uint64_t handler, flags, restorer, mask;
		} action = {0};

		syscall(SYS_rt_sigaction, signal, &action, 0, 8);
	}
	if (syscall(SYS_read, 0, &number, sizeof(number)) != sizeof(number))
		syscall(SYS_exit_group, 1);
	root.fd = (int)syscall(SYS_pidfd_open, number, 0);
	while (root.fd >= 0 && !(root.revents & POLLIN)) {
		while (syscall(SYS_wait4, -1, &status, WNOHANG, 0) > 0)
			;
		syscall(SYS_poll, &root, 1, 200);
	}
	syscall(SYS_exit_group, 0);
	__builtin_unreachable();
}

int keeper_start(struct keeper *ret, struct reprise_error *err)
{
	int ends[2];
	long child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(err, errno, "cannot make a pipe");
	child = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		keep(ends[0]);
	close(ends[0]);
	if (child < 0) {
		int code = errno;

		close(ends[1]);
		return fail(err, code, "cannot open a pid namespace");
	}
	*ret = (struct keeper){(pid_t)child, ends[1]};
	return 0;
}

int keeper_name_root(struct keeper *keeper, pid_t root, struct reprise_error *err)
{
	if (!keeper->pid)
		return 0;
	if (write(keeper->wire, &root, sizeof(root)) != sizeof(root))
		return fail(err, errno, "the init of the new pid namespace is gone");
	close(take_fd(keeper->wire));
	keeper->pid = 0;
	return 0;
}

void keeper_end(struct keeper *keeper)
{
	if (!keeper->pid)
		return;
	close(take_fd(keeper->wire));
	kill(keeper->pid, SIGKILL);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	keeper->pid = 0;
}
