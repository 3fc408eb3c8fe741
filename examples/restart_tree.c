/* SPDX-License-Identifier: MIT */
/*
 * Restarts a small tree of processes with the library alone: two pid namespaces, one in the other,
 * six tasks, each under the pids that the table gives it at every level. Needs root.
 *
 * A task makes its children in the table's order; the first task of a namespace is the one that
 * CLONE_NEWPID makes, and the set then covers the levels of its parent only.
 */
#include <clone_extended.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = -1, LEVELS = 3 };

/* Pids from the level of this program inwards; 0 outside: the kernel's choice. */
static const struct task {
	const char *name;
	int parent;
	int levels;
	pid_t pids[LEVELS];
} tree[] = {
	{"init of the outer container", NOBODY, 2, {0, 1}},
	{"a shell in it", 0, 2, {0, 40}},
	{"a job of the shell", 1, 2, {0, 41}},
	{"init of the inner container", 0, 3, {0, 7, 1}},
	{"a server in it", 3, 3, {0, 300, 20}},
	{"its worker", 4, 3, {0, 30, 21}},
};
enum { TASKS = sizeof(tree) / sizeof(tree[0]) };

static void show(const struct task *task)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "re");

	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, "NSpid:", 6) == 0)
			printf("%-28s %s", task->name, line + 6);
	if (status)
		fclose(status);
	fflush(stdout);
}

static pid_t make(const struct task *task, int levels_here)
{
	int opens = task->levels > levels_here;
	struct pid_set set = {
		.num_pids = task->levels - opens,
		.pids = (pid_t *)task->pids,
	};

	return clone_extended(SIGCHLD | (opens ? CLONE_NEWPID : 0), 0, NULL, NULL, NULL, &set);
}

/* Makes what is below a task, one after the other, and waits for all of it. */
static int live(int self, int levels)
{
	int failed = 0;
	int status;

	if (self != NOBODY)
		show(&tree[self]);
	for (int i = 0; i < TASKS; i++) {
		pid_t pid;

		if (tree[i].parent != self)
			continue;
		pid = make(&tree[i], levels);
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(live(i, tree[i].levels));
		}
		if (pid < 0) {
			perror(tree[i].name);
			return 1;
		}
		/* One after the other, so that the output has the order of the table. */
		if (waitpid(pid, &status, 0) != pid || status != 0)
			failed = 1;
	}
	return failed;
}

int main(void)
{
	return live(NOBODY, 1);
}
