/* SPDX-License-Identifier: MIT */
#include "task/late.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "task/proc.h"
#include "task/ptrace.h"

#define LOOK_SECONDS 0.05 /* between two looks whether the caller has given up */

bool late_waits(pid_t pid, pid_t tid)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct task_status status;
	char task[48], *text;

	snprintf(task, sizeof(task), "%d/task/%d", pid, tid);
	if (!arena || proc_status(arena, task, false, &status, NULL) < 0 || status.state != 'D')
		return false;
	snprintf(task, sizeof(task), "task/%d/syscall", tid);
	return proc_read(arena, pid, task, &text, NULL, NULL) == 0 &&
	       arch_call_may_vfork(strtol(text, NULL, 10));
}

bool tree_waits_for_vfork(const struct live_process *process)
{
	struct ids ids = {0};
	bool waits = false;

	if (ids_of_threads(&ids, process->pid) == 0)
		for (size_t i = 0; i < ids.count && !waits; i++)
			waits = late_waits(process->pid, ids.list[i]);
	ids_free(&ids);
	return waits;
}

bool late_is_kept(const struct late *late, pid_t tid)
{
	for (size_t i = 0; i < late->kept.count; i++)
		if (late->kept.list[i] == tid)
			return true;
	return false;
}

void late_forget(struct late *late, pid_t tid)
{
	size_t left = 0;

	for (size_t i = 0; i < late->kept.count; i++)
		if (late->kept.list[i] != tid)
			late->kept.list[left++] = late->kept.list[i];
	late->kept.count = left;
}

static struct live_thread *find_thread(const struct live_tree *tree, pid_t tid)
{
	for (size_t i = 0; i < tree->count; i++)
		for (size_t k = 0; k < tree->processes[i]->nr_threads; k++)
			if (tree->processes[i]->threads[k].tid == tid)
				return &tree->processes[i]->threads[k];
	return NULL;
}

int late_release(struct late *late, struct live_tree *tree)
{
	int r = late->tid && !late_is_kept(late, late->tid) ? ids_add(&late->kept, late->tid) : 0;

	for (size_t i = 0; i < late->kept.count; i++) {
		struct live_thread *thread = find_thread(tree, late->kept.list[i]);

		if (thread)
			thread->seized = false;
	}
	tree_release(tree);
	return r;
}

int late_wait(struct late *late, double seconds, const struct tree_listener *listener)
{
	int status, r;

	for (int looks = (int)(seconds / LOOK_SECONDS); looks > 0; looks--) {
		if (listener && listener->given_up && listener->given_up(listener->data))
			return -ECANCELED;
		r = trace_wait(late->tid, LOOK_SECONDS, &status);
		if (r == -ESRCH)
			late_forget(late, late->tid);
		if (r != -ETIMEDOUT)
			return r == -ESRCH ? 0 : r;
	}
	return -ETIMEDOUT;
}

void late_end(struct late *late, const struct live_tree *tree)
{
	for (size_t i = 0; i < late->kept.count; i++) {
		struct live_thread kept = {.tid = late->kept.list[i]};

		if (!tree || !find_thread(tree, kept.tid))
			live_let_go(&kept);
	}
	ids_free(&late->kept);
}
