// SPDX-License-Identifier: GPL-2.0-only
/*
 * "This pid one level out, any pid inside": what it takes clone_extended() and what it takes
 * clone3(), whose set_tid has no gap, so that its caller tries pids inside until one is free. In a
 * pid namespace in which nine of ten pids are in use; prints "gap NAME CALLS MOST", the calls for
 * 200 tasks and the most for one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS 200
#define OUTER 2900   /* outside, next to nobody */
#define PID_MAX 3000 /* of all namespaces; the kernel begins again at 300 */
#define LOWEST 300
#define IN_USE ((PID_MAX - LOWEST) * 9 / 10)

struct pid_set {
	int num_pids;
	pid_t *pids;
};

static int put(const char *path, int number)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), good;

	good = fd >= 0 && dprintf(fd, "%d", number) > 0;
	if (fd >= 0)
		close(fd);
	return good;
}

static long with_set(long nr, pid_t *pids)
{
	struct pid_set set = {2, pids};

	return syscall(nr, SIGCHLD, 0, 0, 0, 0, &set);
}

static long with_set_tid(pid_t *pids)
{
	pid_t inside_first[] = {LOWEST + rand() % (PID_MAX - LOWEST), pids[0]};
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)inside_first, .set_tid_size = 2};

	return syscall(SYS_clone3, &args, sizeof(args));
}

static void count(const char *name, long nr)
{
	int all = 0, most = 0;

	for (int i = 0; i < TASKS; i++) {
		pid_t pids[] = {OUTER, 0};
		int calls = 0;
		long pid;

		do {
			pid = nr ? with_set(nr, pids) : with_set_tid(pids);
			if (pid == 0)
				_exit(0);
			calls++;
		} while (pid < 0 && errno == EEXIST);
		if (pid < 0) {
			printf("not ok 1 %s: %s\n", name, strerror(errno));
			exit(1);
		}
		waitpid((pid_t)pid, NULL, 0);
		all += calls;
		most = calls > most ? calls : most;
	}
	printf("gap %s %d %d\n", name, all, most);
}

/* The init of the namespace: its children are zombies for as long as it likes. */
static int inside(long nr)
{
	int taken = 0;

	srand(1);
	while (taken < IN_USE) {
		pid_t pid = LOWEST + rand() % (PID_MAX - LOWEST);
		struct clone_args args = {
			.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
		long child = syscall(SYS_clone3, &args, sizeof(args));

		if (child == 0)
			_exit(0);
		if (child < 0 && errno != EEXIST)
			return 1;
		taken += child > 0;
	}
	count("clone3", 0);
	count("clone_extended", nr);
	return 0;
}

int main(void)
{
	FILE *f = fopen("/proc/sys/kernel/clone_extended", "re");
	int status = 1;
	long nr = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (!f || fscanf(f, "%ld", &nr) != 1 || !put("/proc/sys/kernel/pid_max", PID_MAX) ||
		unshare(CLONE_NEWPID)) {
		printf("not ok 1 %s\n", strerror(errno));
		return 1;
	}
	if (fork() == 0)
		_exit(inside(nr));
	wait(&status);
	printf("%s 1 tries\n", status ? "not ok" : "ok");
	return status != 0;
}
