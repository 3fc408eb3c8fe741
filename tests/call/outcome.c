/* SPDX-License-Identifier: MIT */
/* Making a call, and what the rules say about it. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int levels_of(const struct world *w, const struct call *call)
{
	return w->depth + 1 + (call->fresh ? 1 : 0);
}

static bool is_allowed(const struct world *w, int level)
{
	if (w->privilege == AS_USERNS_ROOT)
		return level >= w->owner;
	return w->privilege != AS_NOBODY;
}

bool is_taken(const struct world *w, int level, pid_t pid)
{
	for (int i = 0; i < TASKS; i++)
		if (w->others[i][level] == pid)
			return true;
	for (int kind = BY_TASK; kind < STATES; kind++)
		if (w->held[kind][level] == pid)
			return true;
	return pid == 1;
}

static int32_t pid_max_at(const struct world *w, int level)
{
	return level <= w->depth ? w->pid_max[level] : 1 << 22;
}

static errors errors_at(const struct world *w, const struct call *call, int level, pid_t pid)
{
	bool fresh = call->fresh && level == w->depth + 1;
	int lives = w->outside ? 0 : w->depth;
	errors found = 0;

	if (pid >= pid_max_at(w, level) || (fresh && pid != 1))
		found |= ERROR(EINVAL);
	if (!is_allowed(w, level))
		found |= ERROR(EPERM);
	if (!fresh && is_taken(w, level, pid))
		found |= ERROR(EBUSY);
	if (w->backend == CLONE_EXTENDED_LAST_PID && level < lives)
		found |= ERROR(EOPNOTSUPP);
	return found;
}

/* What set_tid would have to hold, which is one less than there can be levels. */
static bool too_long_for_clone3(const struct world *w, const struct call *call, int chosen)
{
	return w->backend == CLONE_EXTENDED_CLONE3 &&
	       chosen + (call->low & CLONE_NEWPID ? 1 : 0) > SET_TID;
}

static errors errors_of_flags(const struct world *w, const struct call *call)
{
	bool elsewhere = (w->outside && w->depth) || call->fresh;
	errors found = 0;

	if (!(call->low & CLONE_NEWPID))
		return 0;
	if (elsewhere)
		found |= ERROR(EINVAL);
	if (w->privilege == AS_NOBODY || w->privilege == AS_RESTORER)
		found |= ERROR(EPERM);
	if (w->depth == LEVELS - 1)
		found |= ERROR(ENOSPC);
	return found;
}

errors predict(const struct world *w, const struct call *call)
{
	int levels = levels_of(w, call);
	int first = call->num;
	errors found = 0;

	if (call->num < 0)
		return ERROR(EINVAL);
	found = errors_of_flags(w, call);
	if (call->num > levels)
		found |= ERROR(EINVAL);
	for (int i = call->num - 1; i >= 0; i--) {
		int level = levels - call->num + i;

		if (call->pids[i] < 0)
			found |= ERROR(EINVAL);
		if (call->pids[i] && level >= 0)
			found |= errors_at(w, call, level, call->pids[i]);
		if (call->pids[i])
			first = i;
	}
	if (too_long_for_clone3(w, call, call->num - first))
		found |= ERROR(EOPNOTSUPP);
	return found ? found : ERROR(0);
}

static int wait_for_the_end(void *unused)
{
	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(600);
	for (;;)
		pause();
	return 0;
}

void make_call(const struct call *call, struct outcome *ret)
{
	struct pid_set set = {call->num, (pid_t *)call->pids};
	char stack[16384] __attribute__((aligned(16)));
	pid_t pid;

	memset(ret, 0, sizeof(*ret));
	errno = 0;
	if (call->low & CLONE_VM)
		pid = clone_extended_call(wait_for_the_end, NULL, call->low, call->high,
			stack + sizeof(stack), NULL, NULL, &set);
	else
		pid = clone_extended(call->low, call->high, NULL, NULL, NULL, &set);
	if (pid == 0)
		wait_for_the_end(NULL);
	ret->returned = pid;
	if (pid < 0) {
		ret->error = errno;
		return;
	}
	ret->levels = pids_of(pid, ret->pids);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/*
 * Others work in the initial namespace as well: half the range away from where the kernel chooses
 * next, a pid is not met by chance before it is used.
 */
pid_t free_pid(const struct world *w, int level)
{
	int32_t max = pid_max_at(w, level);
	int span = (max < 32768 ? max : 32768) - 1000;
	struct timespec now;
	char path[32];

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (int tries = 0; tries < span; tries++) {
		long from = level ? 0 : *(const volatile int32_t *)&w->last_pid + span / 2;
		pid_t pid = 500 + (pid_t)((from + now.tv_nsec / 64 % 4000 + tries) % span);

		snprintf(path, sizeof(path), "/proc/%d", pid);
		if (!is_taken(w, level, pid) && (level || access(path, F_OK) < 0))
			return pid;
	}
	return -1;
}

static const char *error_name(int error)
{
	return error == 0 ? "success" : strerrorname_np(error);
}

void describe(const struct call *call, char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "flags %#x %#x, %d pids {", (unsigned)call->low,
		(unsigned)call->high, call->num);

	for (int i = 0; i < call->num && i < LEVELS + 3 && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%d", i ? "," : "", call->pids[i]);
	if (at < size)
		snprintf(text + at, size - at, "}%s", call->fresh ? " after unshare" : "");
}

static void say_errors(errors allowed, int got, char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "%s, but the rules say", error_name(got));

	for (int e = 0; e < 64 && at < size; e++)
		if (allowed & (1ULL << e))
			at += (size_t)snprintf(
				text + at, size - at, " %s", error_name(e == 63 ? EOPNOTSUPP : e));
}

bool agrees(const struct world *w, const struct call *call, const struct outcome *got, char *text,
	size_t size)
{
	errors allowed = predict(w, call);
	int newpid = call->low & CLONE_NEWPID ? 1 : 0;
	int levels = levels_of(w, call);
	int lives = w->outside ? 0 : w->depth;

	if (got->error >= 63 ? got->error != EOPNOTSUPP || !(allowed & ERROR(EOPNOTSUPP))
			     : !(allowed & ERROR(got->error))) {
		say_errors(allowed, got->error, text, size);
		return false;
	}
	if (got->error)
		return true;
	if (got->levels != levels + newpid) {
		snprintf(text, size, "the child has pids at %d levels, not at %d", got->levels,
			levels + newpid);
		return false;
	}
	if (got->returned != got->pids[lives] || (newpid && got->pids[levels] != 1)) {
		snprintf(text, size, "the call returned %d, and the child is %d here",
			got->returned, got->pids[lives]);
		return false;
	}
	for (int i = 0; i < call->num; i++) {
		int level = levels - call->num + i;

		if (call->pids[i] && got->pids[level] != call->pids[i]) {
			snprintf(text, size, "pid %d at level %d, not %d", got->pids[level], level,
				call->pids[i]);
			return false;
		}
	}
	return true;
}
