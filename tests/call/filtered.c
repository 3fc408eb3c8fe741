/* SPDX-License-Identifier: MIT */
/*
 * call-filtered: what a call comes to under seccomp filters that answer in the kernel's stead; each
 * case is a process of its own. call-filtered ERROR COMMAND...: runs a command under a filter that
 * answers clone3() so.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static int answer(int nr, int error)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
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

/* 0 when the child has got its pid, -1 with errno. */
static int choose(struct pid_set *set, pid_t *pid)
{
	struct world w = {.pid_max = {32768}, .last_pid = getpid()};
	int status;
	pid_t child;

	for (int tries = 0; tries < 20; tries++) {
		*pid = free_pid(&w, 0);
		child = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, set);
		if (child == 0)
			_exit(0);
		if (child > 0 || errno != EBUSY)
			break;
	}
	if (child < 0)
		return -1;
	errno = EBADE;
	return waitpid(child, &status, 0) == child && status == 0 && child == *pid ? 0 : -1;
}

static int choose_from_here(void)
{
	pid_t pid;
	struct pid_set set = {1, &pid};

	return choose(&set, &pid);
}

/* On pages of their own, where the library has to ask. */
static int choose_from_elsewhere(void)
{
	struct pid_set *set =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t *pid = (pid_t *)((char *)set + 4096);

	if (set == MAP_FAILED)
		return -1;
	*set = (struct pid_set){1, pid};
	return choose(set, pid);
}

static int unreadable(void)
{
	pid_t *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pid_set set = {1, nowhere};

	if (clone_extended(SIGCHLD, 0, NULL, NULL, NULL, &set) >= 0 || errno != EFAULT)
		return complain("pids that cannot be read");
	if (clone_extended(SIGCHLD, 0, NULL, NULL, NULL, (void *)nowhere) >= 0 || errno != EFAULT)
		return complain("a set that cannot be read");
	return 0;
}

static int plain(void)
{
	pid_t pid = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, NULL);
	int status;

	if (pid == 0)
		_exit(0);
	return waitpid(pid, &status, 0) != pid || status ? complain("no plain child") : 0;
}

static int fall_back(int error)
{
	const char *why = "";
	pid_t pid;

	if (answer(SYS_clone3, error) < 0)
		return complain("seccomp");
	if (clone_extended_backend(&why) != CLONE_EXTENDED_LAST_PID)
		return complain("the backend is not last_pid");
	printf("%s\n", why);
	if (choose_from_here() < 0)
		return complain("no chosen pid");
	pid = clone_extended(SIGCHLD, 1, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	if (pid > 0 || errno != EINVAL)
		return complain("a flag of clone3() alone");
	if (clone_extended_use(CLONE_EXTENDED_CLONE3) == 0 || errno != ENOSYS)
		return complain("clone3() can be forced");
	return plain();
}

/* What the library found out before does not hold for ever. */
static int in_the_middle(int error)
{
	if (choose_from_here() < 0)
		return complain("no chosen pid before the filter");
	return fall_back(error);
}

static int no_signal_mask(int error)
{
	if (answer(SYS_rt_sigprocmask, error) < 0)
		return complain("seccomp");
	if (choose_from_here() < 0)
		return complain("a set on the stack");
	if (choose_from_elsewhere() < 0)
		return complain("a set elsewhere");
	return unreadable() || plain();
}

/* It cannot be found out then whether a set elsewhere can be read: refused, and not a crash. */
static int neither_futex(int error)
{
	if (answer(SYS_futex, error) < 0 || answer(SYS_rt_sigprocmask, error) < 0)
		return complain("seccomp");
	if (choose_from_here() < 0)
		return complain("a set on the stack");
	if (choose_from_elsewhere() == 0 || errno != EFAULT)
		return complain("a set elsewhere");
	return unreadable() || plain();
}

/* What the slower backend stands on: the call fails with what the filter says. */
static int stripped(int nr, int error)
{
	int next = dup(0);

	close(next);
	clone_extended_use(CLONE_EXTENDED_LAST_PID);
	if (answer(nr, error) < 0)
		return complain("seccomp");
	if (choose_from_here() == 0 || errno != error)
		return complain("not the filter's error");
	if (waitpid(-1, NULL, __WALL) >= 0 || errno != ECHILD)
		return complain("a child is left");
	if (dup(0) != next)
		return complain("a descriptor is left open");
	return plain();
}

static int no_files(int error)
{
	return stripped(SYS_openat, error);
}

static int no_pipe(int error)
{
	return stripped(SYS_pipe2, error);
}

static const struct {
	const char *name;
	int (*run)(int error);
} cases[] = {
	{"clone3", fall_back},
	{"clone3, after a call", in_the_middle},
	{"rt_sigprocmask", no_signal_mask},
	{"rt_sigprocmask and futex", neither_futex},
	{"openat", no_files},
	{"pipe2", no_pipe},
};

int main(int argc, char **argv)
{
	static const int answers[] = {ENOSYS, EPERM};
	int passed = 0, failed = 0;

	alarm(600);
	if (argc > 2) {
		if (answer(SYS_clone3, strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS) < 0)
			return complain("seccomp");
		execv(argv[2], argv + 2);
		return complain(argv[2]);
	}
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		int status = -1;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (pid == 0)
			exit(cases[i / 2].run(answers[i % 2]));
		waitpid(pid, &status, 0);
		printf("%s answered with %s: status %#x\n", cases[i / 2].name,
			strerrorname_np(answers[i % 2]), (unsigned)status);
		passed += status == 0;
		failed += status != 0;
	}
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}
