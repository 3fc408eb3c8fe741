/* SPDX-License-Identifier: MIT */
#include "task/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/find.h"
#include "task/ptrace.h"

#define KILL_SECONDS 60
#define RELEASE_SECONDS 30
#define RELEASE_PAUSE 200 /* microseconds */

struct live_tree *tree_new(struct arena *arena)
{
	struct live_tree *tree = arena_alloc(arena, sizeof(*tree));

	if (!tree)
		return NULL;
	tree->arena = arena;
	tree->table_size = 256;
	tree->by_pid = arena_alloc(arena, tree->table_size * sizeof(*tree->by_pid));
	return tree->by_pid ? tree : NULL;
}

static struct live_process **slot_of(const struct live_tree *tree, pid_t pid)
{
	size_t mask = tree->table_size - 1, at = (size_t)pid * 2654435761U & mask;

	while (tree->by_pid[at] && tree->by_pid[at]->pid != pid)
		at = (at + 1) & mask;
	return &tree->by_pid[at];
}

struct live_process *tree_process(const struct live_tree *tree, pid_t pid)
{
	return *slot_of(tree, pid);
}

static int grow_table(struct live_tree *tree)
{
	size_t size = tree->table_size * 2;

	tree->by_pid = arena_alloc(tree->arena, size * sizeof(*tree->by_pid));
	if (!tree->by_pid)
		return -ENOMEM;
	tree->table_size = size;
	for (size_t i = 0; i < tree->count; i++)
		*slot_of(tree, tree->processes[i]->pid) = tree->processes[i];
	return 0;
}

int tree_add(struct live_tree *tree, pid_t pid, struct live_process **ret)
{
	struct live_process *process = arena_alloc(tree->arena, sizeof(*process));
	int r;

	if (!process)
		return -ENOMEM;
	process->pid = pid;
	process->index = tree->count;
	r = arena_append(tree->arena, (void ***)&tree->processes, &tree->count, process);
	if (r < 0)
		return r;
	if (tree->count * 2 > tree->table_size)
		r = grow_table(tree);
	else
		*slot_of(tree, pid) = process;
	*ret = process;
	return r;
}

int tree_add_thread(
	struct live_tree *tree, struct live_process *process, pid_t tid, struct live_thread **ret)
{
	size_t count = process->nr_threads;

	if ((count & (count - 1)) == 0) {
		size_t room = count ? count * 2 : 1;
		struct live_thread *threads = arena_alloc(tree->arena, room * sizeof(*threads));

		if (!threads)
			return -ENOMEM;
		if (count)
			memcpy(threads, process->threads, count * sizeof(*threads));
		process->threads = threads;
	}
	*ret = &process->threads[process->nr_threads++];
	**ret = (struct live_thread){.tid = tid};
	return 0;
}

/* ---- the finished tree ---- */

static size_t depth_of(const struct live_process *process, size_t limit)
{
	size_t depth = 0;

	while ((process = process->parent) && depth < limit)
		depth++;
	return depth;
}

struct placed {
	size_t depth, index;
	struct live_process *process;
};

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int rebuild_table(struct live_tree *tree)
{
	memset(tree->by_pid, 0, tree->table_size * sizeof(*tree->by_pid));
	for (size_t i = 0; i < tree->count; i++) {
		tree->processes[i]->index = i;
		*slot_of(tree, tree->processes[i]->pid) = tree->processes[i];
	}
	return 0;
}

int tree_finish(struct live_tree *tree)
{
	_cleanup_free_ struct placed *order = NULL;
	struct live_process *root = tree->processes[0];
	size_t kept = 0;

	if (root->gone)
		return -ESRCH;
	for (size_t i = 0; i < tree->count; i++) {
		struct live_process *process = tree->processes[i];

		if (!process->gone)
			tree->processes[kept++] = process;
	}
	tree->count = kept;
	rebuild_table(tree);
	order = calloc(kept, sizeof(*order));
	if (!order)
		return -ENOMEM;
	tree->nr_threads = 0;
	for (size_t i = 0; i < kept; i++) {
		struct live_process *process = tree->processes[i];

		/* A parent may have changed since the process was found. */
		process->parent = process == root
					  ? NULL
					  : tree_process(tree, process->threads[0].status.ppid);
		tree->nr_threads += process->nr_threads;
	}
	for (size_t i = 0; i < kept; i++) {
		struct live_process *process = tree->processes[i];

		order[i].process = process;
		order[i].index = i;
		order[i].depth = process == root ? 0 : depth_of(process, kept) + 1;
	}
	qsort(order, kept, sizeof(*order), compare_placed);
	for (size_t i = 0; i < kept; i++)
		tree->processes[i] = order[i].process;
	return rebuild_table(tree);
}

pid_t live_tid(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (!process->threads[i].dead)
			return process->threads[i].tid;
	return process->zombie ? 0 : process->pid;
}

const char *const live_links[LIVE_LINKS] = {
	[LIVE_PID] = "ns/pid",
	[LIVE_PID_FOR_CHILDREN] = "ns/pid_for_children",
	[LIVE_USER] = "ns/user",
	[LIVE_MOUNT] = "ns/mnt",
	[LIVE_UTS] = "ns/uts",
	[LIVE_IPC] = "ns/ipc",
	[LIVE_NETWORK] = "ns/net",
	[LIVE_CGROUP] = "ns/cgroup",
	[LIVE_TIME] = "ns/time",
	[LIVE_TIME_FOR_CHILDREN] = "ns/time_for_children",
};

uint64_t live_namespace(struct live_process *process, enum live_link link)
{
	pid_t tid = live_tid(process);

	if (!process->inodes[link])
		process->inodes[link] = proc_inode(tid ? tid : process->pid, live_links[link]);
	return process->inodes[link];
}

bool live_is_init(const struct live_process *process)
{
	const struct task_status *status = process->nr_threads ? &process->threads[0].status : NULL;

	return status && status->nr_levels > 1 && status->pids[status->nr_levels - 1] == 1;
}

bool live_is_frozen(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (process->threads[i].seized)
			return true;
	return false;
}

bool live_has_ended(const struct live_process *process)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct task_status now;
	char task[16];

	if (live_is_frozen(process))
		return false;
	snprintf(task, sizeof(task), "%d", process->pid);
	if (!arena || proc_status(arena, task, true, &now, NULL) < 0)
		return true;
	return now.start_time != process->threads[0].status.start_time ||
	       (now.state == 'Z' && now.threads <= 1) || now.state == 'X';
}

const char *live_name(const struct live_thread *thread, char *buffer, size_t size)
{
	const struct task_status *status = &thread->status;
	size_t used = 0;

	buffer[0] = '\0';
	for (int i = 0; i < status->nr_levels && used < size; i++) {
		int n = snprintf(buffer + used, size - used, i ? " %d" : "%d", status->pids[i]);

		used += n > 0 ? (size_t)n : 0;
	}
	if (!status->nr_levels)
		snprintf(buffer, size, "%d", thread->tid);
	return buffer;
}

/* ---- letting go ---- */

static double seconds_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/*
 * False: it has not stopped yet (a vfork parent), and goes on only when others do; or it was killed
 * and its end is still to come. A stop that was not the one asked for may have a signal to pass on.
 */
bool live_let_go(struct live_thread *thread)
{
	int status = 0, r;

	if (thread->held && trace_detach(thread->tid, 0) == 0)
		return true;
	thread->held = false;
	r = trace_wait(thread->tid, 0, &status);
	if (!r)
		r = trace_detach(thread->tid, status >> 16 ? 0 : WSTOPSIG(status));
	return r != -ETIMEDOUT;
}

static bool let_all_go(struct live_tree *tree)
{
	bool all = true;

	for (size_t i = 0; i < tree->count; i++) {
		struct live_process *process = tree->processes[i];

		for (size_t k = 0; k < process->nr_threads; k++) {
			struct live_thread *thread = &process->threads[k];

			if (thread->seized)
				thread->seized = !live_let_go(thread);
			all = all && !thread->seized;
		}
	}
	return all;
}

/* None is waited for alone: what it waits for itself may be one of those that come after it. */
void tree_release(struct live_tree *tree)
{
	double end = seconds_now() + RELEASE_SECONDS;

	while (tree && !let_all_go(tree) && seconds_now() < end)
		usleep(RELEASE_PAUSE);
}

/* Takes the ends of the threads that are ours to take: true when none is left. */
static bool take_ends(struct live_tree *tree)
{
	bool all = true;

	for (size_t i = 0; i < tree->count; i++) {
		struct live_process *process = tree->processes[i];

		for (size_t k = 0; k < process->nr_threads; k++) {
			struct live_thread *thread = &process->threads[k];
			int status;
			pid_t got;

			if (!thread->seized)
				continue;
			got = waitpid(thread->tid, &status, __WALL | WNOHANG);
			if ((got < 0 && errno == ECHILD) || (got > 0 && !WIFSTOPPED(status)))
				thread->seized = false;
			else
				all = false;
		}
	}
	return all;
}

int tree_kill(struct live_tree *tree, struct reprise_error *err)
{
	double end = seconds_now() + KILL_SECONDS;
	useconds_t pause = 100;

	/* All are stopped until they get it, so none sees another one's end. A number of a task
	 * that is traced is nobody else's. */
	for (size_t i = 0; i < tree->count; i++)
		if (live_is_frozen(tree->processes[i]))
			kill(tree->processes[i]->pid, SIGKILL);
	/* The init of a pid namespace ends last, after all others have been taken by their tracer
	 * and their parents: so nothing here waits for one of them alone. */
	while (!take_ends(tree)) {
		if (seconds_now() > end)
			return fail(err, ETIMEDOUT, "the tasks do not end");
		usleep(pause);
		if (pause < 5000)
			pause *= 2;
	}
	return 0;
}
