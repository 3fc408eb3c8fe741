/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into reprise: when a restart has looked at all pids and begins to make tasks (its first
 * memfd_create), a stranger takes the pid GRAB_PID for GRAB_MS milliseconds. Once.
 */
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void hold(pid_t pid, long milliseconds)
{
	struct clone_args args = {
		.set_tid = (uintptr_t)&pid, .set_tid_size = 1, .exit_signal = SIGCHLD};
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	long child = syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		prctl(PR_SET_NAME, "grabber");
		nanosleep(&time, NULL);
		_exit(0);
	}
	if (child > 0)
		waitpid((pid_t)child, NULL, 0);
}

int memfd_create(const char *name, unsigned flags)
{
	const char *pid = getenv("GRAB_PID"), *milliseconds = getenv("GRAB_MS");
	struct timespec pause = {0, 1000000};

	if (pid && milliseconds) {
		unsetenv("GRAB_PID");
		if (fork() == 0) {
			for (int fd = 0; fd < 256; fd++)
				close(fd);
			hold(atoi(pid), atol(milliseconds));
			_exit(0);
		}
		for (int i = 0; i < 2000 && kill(atoi(pid), 0) < 0; i++)
			nanosleep(&pause, NULL);
	}
	return (int)syscall(SYS_memfd_create, name, flags);
}
