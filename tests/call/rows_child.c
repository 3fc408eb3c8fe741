/* SPDX-License-Identifier: MIT */
/* The rules about the child: 1 to 5, and 14. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rows.h"

enum { STACK = 64 << 10 };

static bool is_really_free(pid_t pid)
{
	struct call call = {.low = SIGCHLD, .num = 1, .pids = {pid}};
	struct outcome got;

	make_call(&call, &got);
	return got.error != EBUSY;
}

/*
 * One pid, chosen where that is allowed; else the same row without a choice. In the initial
 * namespace a stranger's session may have the number, and the last_pid backend may lose the race.
 */
static struct pid_set *set_of(const struct world *w, pid_t *pid, struct pid_set *set)
{
	bool may = w->privilege != AS_NOBODY &&
		   !(w->privilege == AS_USERNS_ROOT && w->owner > w->depth) &&
		   !(w->depth == 0 && w->backend == CLONE_EXTENDED_LAST_PID);

	*pid = may ? free_pid(w, w->depth) : 0;
	for (int tries = 0; may && w->depth == 0 && tries < 50 && !is_really_free(*pid); tries++)
		*pid = free_pid(w, 0);
	*set = (struct pid_set){1, pid};
	return set;
}

void rule_like_clone(struct world *w)
{
	struct pid_set set;
	pid_t want;

	static const int signals[] = {0, SIGUSR1, SIGCHLD, 40, 64};

	for (int i = 0; i < 5; i++) {
		int signal_number = signals[i];
		siginfo_t info = {0};
		sigset_t one;
		struct timespec now = {0};
		pid_t pid;

		sigemptyset(&one);
		if (signal_number) {
			sigaddset(&one, signal_number);
			sigprocmask(SIG_BLOCK, &one, NULL);
		}
		pid = clone_extended(signal_number, 0, NULL, NULL, NULL, set_of(w, &want, &set));
		if (pid == 0)
			_exit(3);
		count(w, 1, pid > 0, "exit signal %d: %s", signal_number, strerror(errno));
		count(w, 1,
			waitid(P_PID, (id_t)pid, &info, WEXITED | __WALL) == 0 &&
				info.si_pid == pid && info.si_status == 3,
			"the child did not end with its status");
		if (!signal_number)
			continue;
		/* A wrong child of the last_pid backend may have sent it too. */
		count(w, 1, sigtimedwait(&one, &info, &now) == signal_number, "no exit signal %d",
			signal_number);
		while (sigtimedwait(&one, &info, &now) > 0)
			;
		sigprocmask(SIG_UNBLOCK, &one, NULL);
	}
}

static int try_flags(int low, int high)
{
	pid_t pid = clone_extended(low, high, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return errno;
	waitpid(pid, NULL, __WALL);
	return 0;
}

static void handler(int signal_number)
{
	(void)signal_number;
}

void rule_flags(struct world *w)
{
	struct pid_set set;
	pid_t want;
	pid_t pid;
	int status = 0;

	for (int bit = 1; bit < 32; bit++)
		count(w, 2, try_flags(SIGCHLD, (int)(1U << bit)) == EINVAL, "bit %d", 32 + bit);
	count(w, 2, try_flags(SIGCHLD | 0x00400000, 0) == EINVAL, "CLONE_DETACHED");
	count(w, 2, try_flags(SIGCHLD, -1) == EINVAL, "all high bits");
	for (int signal_number = 65; signal_number < 256; signal_number += 38)
		count(w, 2, try_flags(signal_number, 0) == EINVAL, "exit signal %d", signal_number);
	count(w, 2, try_flags(SIGCHLD | CLONE_SIGHAND, 0) == EINVAL, "CLONE_SIGHAND without VM");
	/* The flag is clone3()'s: under a filter nobody has it. */
	if (syscall(SYS_clone3, NULL, 0) < 0 && errno != EINVAL) {
		count(w, 2, try_flags(SIGCHLD, 1) == EINVAL,
			"CLONE_CLEAR_SIGHAND without clone3()");
		return;
	}
	signal(SIGUSR1, handler);
	pid = clone_extended(SIGCHLD, CLONE_EXTENDED_HIGH_CLEAR_SIGHAND, NULL, NULL, NULL,
		set_of(w, &want, &set));
	if (pid == 0) {
		raise(SIGUSR1);
		_exit(0);
	}
	count(w, 2,
		pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
			WTERMSIG(status) == SIGUSR1,
		"CLONE_CLEAR_SIGHAND: %d, status %#x", pid, (unsigned)status);
	signal(SIGUSR1, SIG_DFL);
}

struct on_stack {
	char *low;
	char *high;
	int seen;
};

static int look_at_stack(void *arg)
{
	struct on_stack *s = arg;
	char here;

	s->seen = (char *)&here >= s->low && (char *)&here < s->high ? 1 : 2;
	return s->seen == 1 ? 5 : 6;
}

void rule_child_stack(struct world *w)
{
	char *stack = aligned_alloc(16, STACK);
	struct on_stack s = {stack, stack + STACK, 0};
	struct pid_set set;
	pid_t want;
	int status = 0;
	pid_t pid;

	pid = clone_extended_call(look_at_stack, &s, CLONE_VM | SIGCHLD, 0, stack + STACK, NULL,
		NULL, set_of(w, &want, &set));
	count(w, 3,
		pid > 0 && waitpid(pid, &status, 0) == pid && s.seen == 1 &&
			WEXITSTATUS(status) == 5,
		"a stack of its own: %d, seen %d", pid, s.seen);
	count(w, 3, !want || pid == want || w->outside, "pid %d and not %d", pid, want);
	pid = clone_extended_call(look_at_stack, &s, SIGCHLD, 0, stack + STACK, NULL, NULL, NULL);
	count(w, 3, pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5,
		"a stack in a copy of the memory");
	pid = clone_extended_call(look_at_stack, &s, CLONE_VFORK | CLONE_VM | SIGCHLD, 0, NULL,
		NULL, NULL, set_of(w, &want, &set));
	count(w, 3, pid > 0 && s.seen == 2 && waitpid(pid, &status, 0) == pid,
		"the caller's stack: %d, %s", pid, strerror(errno));
	pid = clone_extended_call(NULL, NULL, SIGCHLD, 0, NULL, NULL, NULL, NULL);
	count(w, 3, pid < 0 && errno == EINVAL, "no function: %s", strerror(errno));
	free(stack);
}

void rule_unused(struct world *w)
{
	pid_t pid = clone_extended(SIGCHLD, 0, NULL, &pid, NULL, NULL);

	if (pid == 0)
		_exit(0);
	count(w, 4, pid < 0 && errno == EINVAL, "a value without CLONE_SETTLS: %s",
		strerror(errno));
#if defined(__x86_64__) || defined(__aarch64__)
	/* The value that the thread has already: the child must be able to go on with it. */
	void *tls = __builtin_thread_pointer();
	struct pid_set set;
	pid_t want;
	int status = 0;

	pid = clone_extended(SIGCHLD | CLONE_SETTLS, 0, NULL, tls, NULL, set_of(w, &want, &set));
	if (pid == 0)
		_exit(__builtin_thread_pointer() == tls ? 4 : 5);
	count(w, 4, pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 4,
		"CLONE_SETTLS: %d", pid);
#endif
}

static int wait_gone(void *arg)
{
	(void)arg;
	return 0;
}

void rule_tid_ptrs(struct world *w)
{
	const int both = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID;
	struct pid_set set;
	pid_t want;
	pid_t in_parent = 0;
	_Atomic pid_t in_child = 0;
	int pidfd = -1;
	int status = 0;
	char *stack = aligned_alloc(16, STACK);
	struct clone_tid_info tids = {&in_parent, (void *)&in_child};
	pid_t pid;

	pid = clone_extended(SIGCHLD | both, 0, NULL, NULL, &tids, set_of(w, &want, &set));
	if (pid == 0)
		_exit(in_child == (pid_t)syscall(SYS_gettid) ? 7 : 8);
	count(w, 5, pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7,
		"CLONE_CHILD_SETTID: status %#x", (unsigned)status);
	count(w, 5, in_parent == pid && in_child == 0, "CLONE_PARENT_SETTID: %d", in_parent);

	in_child = -1;
	pid = clone_extended_call(wait_gone, NULL, SIGCHLD | CLONE_VM | CLONE_CHILD_CLEARTID, 0,
		stack + STACK, NULL, &tids, set_of(w, &want, &set));
	count(w, 5, pid > 0 && waitpid(pid, &status, 0) == pid && in_child == 0,
		"CLONE_CHILD_CLEARTID: %d", in_child);

	tids.parent_tid = &pidfd;
	pid = clone_extended(SIGCHLD | CLONE_PIDFD, 0, NULL, NULL, &tids, set_of(w, &want, &set));
	if (pid == 0)
		_exit(0);
	count(w, 5,
		pid > 0 && poll(&(struct pollfd){pidfd, POLLIN, 0}, 1, 60000) == 1 &&
			waitpid(pid, &status, 0) == pid,
		"CLONE_PIDFD: %d", pidfd);
	close(pidfd);
	pid = clone_extended(
		SIGCHLD | CLONE_PIDFD | CLONE_PARENT_SETTID, 0, NULL, NULL, &tids, NULL);
	if (pid == 0)
		_exit(0);
	count(w, 5, pid < 0 && errno == EINVAL, "one place for pidfd and tid");
	pid = clone_extended(SIGCHLD | CLONE_PARENT_SETTID, 0, NULL, NULL, (void *)16, NULL);
	if (pid == 0)
		_exit(0);
	count(w, 5, pid < 0 && errno == EFAULT, "unreadable tid_ptrs: %s", strerror(errno));
	free(stack);
}

/* A thread without a libc's knowledge of it: it calls the kernel only. */
static int thread_body(void *arg)
{
	_Atomic int *go = arg;

	while (!*go)
		syscall(SYS_futex, go, FUTEX_WAIT, 0, &(struct timespec){1, 0}, NULL, 0);
	return 0;
}

static int tid_pids(pid_t tid0, pid_t ret[LEVELS + 1])
{
	char path[64];
	char line[1000];
	char *at;
	int n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid0);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "NSpid:", 6) == 0)
			for (at = line + 6; n <= LEVELS && *at && *at != '\n'; n++)
				ret[n] = (pid_t)strtol(at, &at, 10);
	if (file)
		fclose(file);
	return n;
}

void rule_thread(struct world *w)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
	struct call call = free_set(w, flags, w->depth + 1);
	struct pid_set set = {call.num, call.pids};
	_Atomic int go = 0;
	_Atomic pid_t gone = 1;
	pid_t tid_seen = 0;
	struct clone_tid_info tids = {&tid_seen, (void *)&gone};
	char *stack = aligned_alloc(16, STACK);
	errors allowed;
	pid_t pids[LEVELS + 1];
	int n = 0;
	pid_t tid;
	int error;

	call.low = flags;
	allowed = predict(w, &call);
	if (w->outside && w->depth)
		allowed |= ERROR(EINVAL);
	for (int tries = 0; tries < 20; tries++) {
		errno = 0;
		tid = clone_extended_call(
			thread_body, &go, flags, 0, stack + STACK, NULL, &tids, &set);
		error = tid < 0 ? errno : 0;
		if (error != EBUSY)
			break;
		call.pids[0] = free_pid(w, 0);
	}
	if (tid > 0) {
		n = tid_pids(call.pids[0], pids);
		count(w, 14,
			n == w->depth + 1 &&
				memcmp(pids, call.pids, sizeof(pid_t) * (size_t)n) == 0,
			"tids at %d levels, the first %d", n, n ? pids[0] : 0);
		count(w, 14, tid == tid_seen && tid == call.pids[w->depth], "tid %d, told %d", tid,
			tid_seen);
		go = 1;
		syscall(SYS_futex, &go, FUTEX_WAKE, 1, NULL, NULL, 0);
		for (int i = 0; i < 60000 && gone; i++)
			usleep(1000);
		count(w, 14, gone == 0, "the thread does not end");
	}
	count(w, 14, (allowed & ERROR(error)) != 0, "a thread: %s", strerror(error));
	if (!gone || tid < 0)
		free(stack);
}
