// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation on the way through clone_extended() fails in turn, until a
 * number of failures (100,000 or the argument) was seen: no pid stays reserved.
 */
#include "ce.h"

#define DEPTH 2
#define NEARLY_FREE (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND)
#define LAST_PID 1500

static alignas(64) char stack[16384];
static long wanted = 100000;
static int nth = -1;

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

static bool prepare(void)
{
	const char *slab = "/sys/kernel/debug/failslab/ignore-gfp-wait";
	const char *page = "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait";

	put("/sys/kernel/debug/failslab/verbose", "0");
	put("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	put("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	return put(slab, "N") && put(page, "N") && access("/proc/thread-self/fail-nth", W_OK) == 0;
}

static void fail_at(int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", n);

	ce_expect(pwrite(nth, text, length, 0) == length, "fail-nth: %s", strerror(errno));
}

/* Has the failure that was asked for happened? */
static bool has_failed(void)
{
	char text[16] = "";

	ce_expect(pread(nth, text, sizeof(text) - 1, 0) > 0, "fail-nth: %s", strerror(errno));
	return atoi(text) == 0;
}

static int at_once(void *arg)
{
	return 0;
}

/* One sweep: the first allocation fails, then the second, ... until none is left to fail. */
static long sweep(int flags, struct pid_set *set)
{
	long failures = 0, pid;
	int n, pidfd;

	for (n = 1; n < 5000; n++) {
		struct clone_tid_info tids = { .parent_tid = &pidfd };
		void *top = NULL;
		bool failed;

		if (flags & CLONE_VM)
			top = ce_stack(stack, sizeof(stack), at_once, NULL);
		pidfd = -1;
		fail_at(n);
		pid = ce_call(flags | CLONE_PIDFD | SIGCHLD, 0, top, NULL, &tids, set);
		if (pid == 0)
			_exit(0);
		failed = has_failed();
		fail_at(0);
		if (pid > 0) {
			ce_expect(ce_wait_status(pid) == 0, "child of turn %d", n);
			close(pidfd);
		}
		ce_expect(pid > 0 || pid == -ENOMEM || pid == -EAGAIN || pid == -ENOSPC,
			  "turn %d: %ld (%s)", n, pid, strerror(-pid));
		ce_expect(failed || pid > 0, "turn %d: %ld without a failure", n, pid);
		if (!failed)
			return failures;
		failures++;
		if (ce_failures > 20)
			break;
	}
	ce_expect(0, "no end of failures");
	return failures;
}

/* Each pid of a level can be had, but those of tasks that are there. */
static void nothing_reserved(int level)
{
	pid_t pids[DEPTH + 1] = {}, nr;
	struct pid_set set = { .num_pids = DEPTH + 1, .pids = pids };
	long pid, taken = 0;

	for (nr = 1; nr < LAST_PID; nr++) {
		pids[level] = nr;
		pid = ce_call(NEARLY_FREE | SIGCHLD, 0,
			      ce_stack(stack, sizeof(stack), at_once, NULL), NULL, NULL, &set);
		if (pid == -EBUSY) {
			taken++;
			continue;
		}
		ce_expect(pid > 0 && ce_wait_status(pid) == 0, "pid %d: %ld", nr, pid);
	}
	/* On the inner levels: an init, and what runs this. */
	ce_expect(taken == 2 + (level < DEPTH), "level %d: %ld pids are taken", level, taken);
}

static void inject(int depth)
{
	pid_t pids[DEPTH + 1] = { 1201, 0, 1203 };
	struct pid_set set = { .num_pids = DEPTH + 1, .pids = pids };
	/* The end of a namespace has its init ignore SIGCHLD: not with shared handlers. */
	int flags[] = { 0, CLONE_NEWPID, CLONE_VM | CLONE_NEWPID, CLONE_NEWUSER | CLONE_NEWPID };
	long failures = 0;
	int i;

	nth = open("/proc/thread-self/fail-nth", O_RDWR);
	ce_expect(nth >= 0, "fail-nth: %s", strerror(errno));
	alarm(3000);
	for (i = 0; failures < wanted && !ce_failures; i++)
		/* The costly ones, which copy the memory, in one turn of twenty. */
		failures += sweep(i % 20 ? NEARLY_FREE : flags[i / 20 % ARRAY_SIZE(flags)], &set);
	ksft_print_msg("%ld failures in %d sweeps\n", failures, i);
	nothing_reserved(1);
	nothing_reserved(2);
}

int main(int argc, char **argv)
{
	int status;

	if (argc > 1)
		wanted = atol(argv[1]);
	ce_begin();
	if (!prepare())
		ksft_exit_skip("no fault injection\n");
	status = ce_at_depth(DEPTH, DEPTH, inject);
	ksft_test_result(status == 0, "no pid stays reserved (status %d)\n", status);
	return ce_finish();
}
