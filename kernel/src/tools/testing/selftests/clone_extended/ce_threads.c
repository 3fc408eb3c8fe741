// SPDX-License-Identifier: GPL-2.0-only
/* Threads with chosen tids. */
#include "ce.h"

#include <dirent.h>

#define THREADS 16
#define STACK 16384
#define THREAD_FLAGS                                                                   \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |            \
	 CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID)

static const int depths[] = { 0, 1, 32 };
static int stop;
static alignas(64) char stacks[THREADS][STACK];
static pid_t tid_of[THREADS];

static int wait_for_stop(void *arg)
{
	ce_set(arg, syscall(SYS_gettid));
	while (!ce_get(&stop))
		usleep(500);
	return 0;
}

/* The pids of a thread on each level, from its status. */
static int thread_pids(pid_t tid, pid_t *pids)
{
	char path[320], line[1024];
	int levels = 0;
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *one;

	/* The directory numbers threads as the mounter of /proc does: find it by its last. */
	while (tasks && (one = readdir(tasks)) && !levels) {
		pid_t found[CE_LEVELS] = {};
		int n = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", one->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			char *at = line + 6, *end;

			if (strncmp(line, "NSpid:", 6))
				continue;
			for (; n < CE_LEVELS; n++, at = end) {
				found[n] = strtol(at, &end, 10);
				if (end == at)
					break;
			}
		}
		if (f)
			fclose(f);
		if (n && found[n - 1] == tid) {
			memcpy(pids, found, sizeof(found));
			levels = n;
		}
	}
	if (tasks)
		closedir(tasks);
	return levels;
}

static void threads(int depth)
{
	static pid_t clear[THREADS];
	pid_t pids[CE_LEVELS], seen[CE_LEVELS];
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	int i, k, levels;

	for (i = 0; i < THREADS; i++) {
		struct clone_tid_info info = { .child_tid = &clear[i] };
		void *top = ce_stack(stacks[i], STACK, wait_for_stop, &tid_of[i]);
		long tid;

		ce_set(&clear[i], -1);
		for (k = 0; k <= depth; k++)
			pids[k] = k % 3 == 1 ? 0 : 7000 + 40 * i + k;
		pids[depth] = 9000 + 40 * i;
		tid = ce_call(THREAD_FLAGS, 0, top, NULL, &info, &set);
		ce_expect(tid == pids[depth], "tid %ld, not %d", tid, pids[depth]);
		if (tid < 0)
			continue;
		while (ce_get(&tid_of[i]) != tid)
			usleep(500);
		levels = thread_pids(tid, seen);
		ce_expect(levels == depth + 1, "%d levels", levels);
		for (k = 0; k <= depth && levels == depth + 1; k++)
			ce_expect(!pids[k] || seen[k] == pids[k], "level %d: %d, not %d", k,
				  seen[k], pids[k]);
		ce_expect_error(ce_call(THREAD_FLAGS, 0, top, NULL, &info, &set), EBUSY, "again");
	}
	ce_set(&stop, 1);
	for (i = 0; i < THREADS; i++) {
		while (ce_get(&clear[i]))
			usleep(500);
	}
}

/* Without a set, and with one that a thread may not have. */
static void thread_errors(int depth)
{
	static pid_t clear;
	struct clone_tid_info info = { .child_tid = &clear };
	void *top = ce_stack(stacks[0], STACK, wait_for_stop, &tid_of[0]);
	pid_t pids[CE_LEVELS] = { getpid() };
	struct pid_set set = { .num_pids = 1, .pids = pids };
	long tid;

	ce_expect_error(ce_call(THREAD_FLAGS, 0, top, NULL, &info, &set), EBUSY, "its leader");
	pids[0] = -1;
	ce_expect_error(ce_call(THREAD_FLAGS, 0, top, NULL, &info, &set), EINVAL, "negative");
	pids[0] = 5000;
	ce_expect_error(ce_call(THREAD_FLAGS & ~CLONE_VM, 0, top, NULL, &info, &set), EINVAL,
			"not in one memory");
	ce_expect_error(ce_call(THREAD_FLAGS | CLONE_NEWPID, 0, top, NULL, &info, &set), EINVAL,
			"a namespace for a thread");
	ce_set(&clear, -1);
	ce_set(&stop, 1);
	tid = ce_call(THREAD_FLAGS, 0, top, NULL, &info, NULL);
	ce_expect(tid > 0, "no set: %ld", tid);
	while (ce_get(&clear))
		usleep(500);
}

static const struct ce_case cases[] = {
	{ "threads with chosen tids", threads },
	{ "what threads may not have", thread_errors },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
