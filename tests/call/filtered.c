/* SPDX-License-Identifier: MIT */
/*
 * call-filtered ERROR COMMAND...: runs a command under a seccomp filter that answers clone3() so.
 * Without a command: shows that the library falls back, and chooses a pid all the same.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static int answer_clone3(int error)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(steps) / sizeof(steps[0]), steps};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int complain(const char *what)
{
	printf("FAIL %s: %s\n", what, strerror(errno));
	return 1;
}

static int fall_back(void)
{
	struct world w = {.pid_max = {32768}, .last_pid = getpid()};
	struct outcome got = {0};
	struct call call = {.low = SIGCHLD, .num = 1};
	const char *why = "";
	int status;
	pid_t pid;

	if (clone_extended_backend(&why) != CLONE_EXTENDED_LAST_PID)
		return complain("the backend is not last_pid");
	printf("%s\n", why);
	for (int tries = 0; tries < 20; tries++) {
		call.pids[0] = free_pid(&w, 0);
		make_call(&call, &got);
		if (got.error != EBUSY)
			break;
	}
	errno = got.error;
	if (got.error || got.pids[0] != call.pids[0])
		return complain("no chosen pid");
	pid = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid || status)
		return complain("no plain child");
	pid = clone_extended(SIGCHLD, 1, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	if (pid > 0 || errno != EINVAL)
		return complain("a flag of clone3() alone");
	if (clone_extended_use(CLONE_EXTENDED_CLONE3) == 0 || errno != ENOSYS)
		return complain("clone3() can be forced");
	return 0;
}

int main(int argc, char **argv)
{
	int error = argc > 1 && strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;

	alarm(600);
	if (answer_clone3(error) < 0)
		return complain("seccomp");
	if (argc > 2) {
		execv(argv[2], argv + 2);
		return complain(argv[2]);
	}
	return fall_back();
}
