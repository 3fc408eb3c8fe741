/* SPDX-License-Identifier: MIT */
/* The rules about the set: 6 to 13, and 15. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rows.h"

#define FINE ERROR(0)

static bool call_ends_well(struct pid_set *set, struct clone_tid_info *tids)
{
	int status;
	pid_t pid = clone_extended(SIGCHLD, 0, NULL, NULL, tids, set);

	if (pid == 0)
		_exit(9);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 9;
}

void rule_no_set(struct world *w)
{
	struct pid_set junk = {0, (pid_t *)16};

	count(w, 6, call_ends_well(NULL, NULL), "a set of NULL: %s", strerror(errno));
	count(w, 6, call_ends_well(&junk, NULL), "no pids, at a junk address: %s", strerror(errno));
	count(w, 6, call_ends_well(NULL, (void *)16), "junk tid_ptrs that no flag needs: %s",
		strerror(errno));
}

void rule_order(struct world *w)
{
	struct call call = free_set(w, 0, w->depth + 1);

	row(w, 7, "a pid at every level", &call, FINE);
	for (int level = 0; level <= w->depth; level++) {
		call = free_set(w, 0, w->depth + 1);
		for (int i = 0; i < call.num; i++)
			call.pids[i] = i == level ? call.pids[i] : 0;
		row(w, 7, "a pid at one level", &call, FINE);
	}
}

void rule_fewer(struct world *w)
{
	for (int n = 1; n <= w->depth; n++) {
		struct call call = free_set(w, 0, n);

		row(w, 8, "the inner levels only", &call, FINE);
	}
}

void rule_zeros(struct world *w)
{
	struct call none = {.low = SIGCHLD, .num = w->depth + 1};

	row(w, 9, "only zeros", &none, FINE);
	for (int n = 1; n <= w->depth; n++) {
		none.num = n;
		row(w, 9, "fewer zeros than levels", &none, FINE);
	}
	for (int level = 0; level <= w->depth; level++) {
		struct call call = free_set(w, 0, w->depth + 1);

		call.pids[level] = 0;
		row(w, 9, "a zero among pids", &call, FINE);
	}
	for (int odd = 0; odd < 2; odd++) {
		struct call call = free_set(w, 0, w->depth + 1);

		for (int i = odd; i < call.num; i += 2)
			call.pids[i] = 0;
		row(w, 9, "every other pid", &call, FINE);
	}
}

static void faults(struct world *w)
{
	long page = sysconf(_SC_PAGESIZE);
	char *map = mmap(
		NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t *edge = (pid_t *)(void *)(map + page) - 1;
	struct pid_set bad[] = {{1, NULL}, {1, (pid_t *)16}, {2, edge}, {1, edge + 1},
		{1, (pid_t *)-64}, {33, (pid_t *)-4}};
	struct pid_set good = {1, edge};

	munmap(map + page, (size_t)page);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		/* Too many of them may be seen first. */
		bool more = bad[i].num_pids > w->depth + 1;

		errno = 0;
		count(w, 10,
			!call_ends_well(&bad[i], NULL) &&
				(errno == EFAULT || (more && errno == EINVAL)),
			"unreadable pids, case %zu: %s", i, strerror(errno));
	}
	errno = 0;
	count(w, 10, !call_ends_well((void *)(edge + 1), NULL) && errno == EFAULT,
		"an unreadable set: %s", strerror(errno));
	errno = 0;
	count(w, 10, !call_ends_well((void *)(edge), NULL) && errno == EFAULT,
		"a set that is readable in part: %s", strerror(errno));
	*edge = 0;
	count(w, 10, call_ends_well(&good, NULL), "a pid at the end of a page: %s",
		strerror(errno));
	munmap(map, (size_t)page);
}

void rule_invalid(struct world *w)
{
	const int levels = w->depth + 1;
	static const int too_many[] = {INT32_MIN, -1, -33};

	for (int more = 1; more <= 2; more++) {
		struct call call = free_set(w, 0, levels);

		memmove(call.pids + more, call.pids, sizeof(pid_t) * (size_t)levels);
		call.pids[0] = 0;
		call.pids[more - 1] = 0;
		call.num = levels + more;
		row(w, 10, "more pids than levels, zero outside", &call, ERROR(EINVAL));
		for (int i = 0; i < more; i++)
			call.pids[i] = 77;
		row(w, 10, "more pids than levels", &call, ERROR(EINVAL));
		memset(call.pids, 0, sizeof(call.pids));
		row(w, 10, "more zeros than levels", &call, ERROR(EINVAL));
	}
	for (int i = 0; i < 3; i++) {
		struct call call = {.low = SIGCHLD, .num = too_many[i]};

		row(w, 10, "fewer pids than none", &call, ERROR(EINVAL));
	}
	for (int level = 0; level < levels; level++) {
		struct call call = free_set(w, 0, levels);

		call.pids[level] = -1;
		row(w, 10, "a negative pid", &call, ERROR(EINVAL));
		call.pids[level] = INT32_MIN;
		row(w, 10, "the most negative pid", &call, ERROR(EINVAL));
		call.pids[level] = w->pid_max[level];
		row(w, 10, "a pid of pid_max", &call, ERROR(EINVAL));
		call.pids[level] = INT32_MAX;
		row(w, 10, "the largest pid", &call, ERROR(EINVAL));
		call.pids[level] = w->pid_max[level] - 1;
		row(w, 10, "the last pid", &call, FINE);
	}
	faults(w);
}

void rule_taken(struct world *w)
{
	const int levels = w->depth + 1;

	for (int kind = BY_TASK; kind < STATES; kind++) {
		for (int level = 0; level < levels; level++) {
			struct call call = free_set(w, 0, levels);

			call.pids[level] = w->held[kind][level];
			row(w, 11, state_names[kind], &call, ERROR(EBUSY));
			for (int i = 0; i < levels; i++)
				call.pids[i] = i == level ? call.pids[i] : 0;
			row(w, 11, state_names[kind], &call, ERROR(EBUSY));
		}
	}
}

void rule_privilege(struct world *w)
{
	const int levels = w->depth + 1;

	for (int level = 0; level < levels; level++) {
		struct call call = free_set(w, 0, levels - level);

		row(w, 12, "inner levels", &call, FINE);
		for (int i = 1; i < call.num; i++)
			call.pids[i] = 0;
		row(w, 12, "one level", &call, FINE);
	}
}

void rule_namespaces(struct world *w)
{
	const int levels = w->depth + 1;
	bool last = w->depth == LEVELS - 1;
	bool elsewhere = w->outside && w->depth;
	errors fine = elsewhere ? ERROR(EINVAL) : FINE;
	struct call call = free_set(w, CLONE_NEWPID, levels);
	struct call more = free_set(w, CLONE_NEWPID, levels);

	if (last)
		fine = (elsewhere ? ERROR(EINVAL) : 0) | ERROR(ENOSPC);
	row(w, 13, "a new namespace", &call, fine);
	call = free_set(w, CLONE_NEWPID, 1);
	row(w, 13, "a new namespace, one pid", &call, fine);
	call = (struct call){.low = CLONE_NEWPID | SIGCHLD, .num = 1};
	row(w, 13, "a new namespace, no pid", &call, fine);
	memmove(more.pids + 1, more.pids, sizeof(pid_t) * (size_t)levels);
	more.pids[0] = 0;
	more.num = levels + 1;
	row(w, 13, "a new namespace is not in the set", &more, (fine & ~ERROR(0)) | ERROR(EINVAL));
	/* After unshare(2), which cannot be undone, so in a process of its own. */
	if (elsewhere || last)
		return;
	fflush(stdout);
	if (fork() == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(w->privilege == AS_ROOT || w->privilege == AS_USERNS_ROOT);
		for (pid_t first = 0; first < 3; first++) {
			struct call child = free_set(w, 0, levels);

			if (first == 1)
				continue; /* below, for then the namespace has had its first task */
			child.fresh = true;
			child.pids[child.num++] = first;
			if (first == 2)
				row(w, 13, "a second task first", &child, ERROR(EINVAL));
		}
		call = free_set(w, 0, levels);
		call.fresh = true;
		call.pids[call.num++] = 1;
		row(w, 13, "the first task after unshare", &call, FINE);
		_exit(0);
	}
	if (wait(&(int){0}) < 0)
		count(w, 13, false, "wait: %s", strerror(errno));
}

static long last_pid(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/kernel/ns_last_pid", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atol(text);
}

void rule_error(struct world *w)
{
	const int levels = w->depth + 1;
	struct call good = free_set(w, 0, levels);
	struct call bad = good;
	struct outcome got;
	long before;

	/* Only one of the pids is taken: the others have to be free afterwards. */
	for (int level = 0; level < levels; level++) {
		bad = good;
		bad.pids[level] = w->held[BY_TASK][level];
		for (int i = 0; i < 20; i++)
			make_call(&bad, &got);
		row(w, 15, "one pid of the set is taken", &bad, ERROR(EBUSY));
		count(w, 15, waitpid(-1, NULL, __WALL | WNOHANG) < 0 && errno == ECHILD,
			"a child is left after an error");
	}
	row(w, 15, "the same pids after errors", &good, FINE);
	if (w->backend == CLONE_EXTENDED_LAST_PID || w->outside || w->depth == 0)
		return;
	before = last_pid();
	make_call(&good, &got);
	count(w, 15, last_pid() == before, "last pid went from %ld to %ld", before, last_pid());
}
