/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/find.h"
#include "task/late.h"
#include "task/ptrace.h"

#define STOP_SECONDS 20	  /* for one thread */
#define FREEZE_SECONDS 30 /* for all attempts */
#define VFORK_CHECK 0.02  /* seconds after which a vfork is looked for */

/* A search: of a tree that goes on, or of one that is stopped as it is found. */
struct search {
	struct live_tree *tree;
	bool stop;
	const struct tree_listener *listener;
	struct ids ids;
	struct late late;
	struct reprise_error *err;
};

static int read_status(
	struct search *search, struct live_process *process, struct live_thread *thread)
{
	bool leader = thread->tid == process->pid;
	char task[48];

	if (leader)
		snprintf(task, sizeof(task), "%d", process->pid);
	else
		snprintf(task, sizeof(task), "%d/task/%d", process->pid, thread->tid);
	return proc_status(search->tree->arena, task, leader, &thread->status, NULL);
}

/* ---- stopping one thread ---- */

/* Until the stop that we asked for. Signals that come first are passed on. */
static int wait_for_stop(struct search *search, struct live_process *process,
	struct live_thread *thread, int *ret_status)
{
	int status, r;

	for (;;) {
		r = trace_wait(thread->tid, VFORK_CHECK, &status);
		if (r == -ETIMEDOUT) {
			if (late_waits(process->pid, thread->tid)) {
				search->late.tid = thread->tid;
				return -EAGAIN;
			}
			r = trace_wait(thread->tid, STOP_SECONDS, &status);
		}
		if (r < 0)
			return r;
		if (status >> 16 == PTRACE_EVENT_STOP)
			break;
		r = trace_continue(thread->tid, WSTOPSIG(status));
		if (r < 0 && r != -ESRCH)
			return r;
	}
	*ret_status = status;
	return 0;
}

/* A restartable sequence that was left in its middle ends at its abort address: the kernel would do
 * that now, but does not see it any more once the thread has run calls for us. */
static void leave_sequence(pid_t tid, arch_registers *regs)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} config;
	struct {
		uint32_t version, flags;
		uint64_t start, length, abort;
	} sequence;
	uint64_t current;
	struct iovec local = {&current, sizeof(current)};
	struct iovec remote;

	/* Not while in a system call: no sequence may hold one. */
	if (arch_was_in_call(regs))
		return;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(config), &config) !=
			(long)sizeof(config) ||
		!config.pointer)
		return;
	remote = (struct iovec){(void *)(config.pointer + 8), sizeof(current)};
	if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(current) || !current)
		return;
	local = (struct iovec){&sequence, sizeof(sequence)};
	remote = (struct iovec){(void *)current, sizeof(sequence)};
	if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(sequence))
		return;
	if (arch_instruction_pointer(regs) - sequence.start < sequence.length)
		arch_set_instruction_pointer(regs, sequence.abort);
}

static bool is_stop_signal(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* -ESRCH: it has died. */
static int stop_done(
	struct search *search, struct live_process *process, struct live_thread *thread)
{
	int status, r;

	r = wait_for_stop(search, process, thread, &status);
	if (r == -EAGAIN)
		return r;
	thread->held = !r;
	if (!r)
		r = trace_get_registers(thread->tid, &thread->registers);
	if (!r)
		r = trace_get_mask(thread->tid, &thread->mask);
	if (!r && arch_hide_interruption(&thread->registers))
		r = trace_set_registers(thread->tid, &thread->registers);
	if (!r)
		r = read_status(search, process, thread);
	if (r == -ESRCH)
		return r;
	if (r < 0)
		return fail(search->err, r, "cannot stop task %d", thread->tid);
	leave_sequence(thread->tid, &thread->registers);
	if (is_stop_signal(WSTOPSIG(status))) {
		thread->group_stopped = true;
		process->stopped = true;
		process->stop_signal = WSTOPSIG(status);
	}
	return 0;
}

/* -ESRCH: there is nothing to stop. */
static int stop_begin(
	struct search *search, struct live_process *process, struct live_thread *thread)
{
	int r;

	thread->seized = late_is_kept(&search->late, thread->tid);
	if (thread->seized)
		return 0;
	r = trace_seize(thread->tid, 0);
	if (r == -EPERM || r == -ESRCH) {
		/* A zombie cannot be seized. */
		int seen = read_status(search, process, thread);

		if (seen < 0 || thread->status.state == 'X')
			return -ESRCH;
		if (thread->status.state == 'Z' || r == -ESRCH) {
			thread->dead = true;
			return thread->tid == process->pid ? 0 : -ESRCH;
		}
	}
	if (r < 0)
		return fail(search->err, r, "cannot trace task %d", thread->tid);
	thread->seized = true;
	r = trace_interrupt(thread->tid);
	return r < 0 && r != -ESRCH ? fail(search->err, r, "cannot stop task %d", thread->tid) : 0;
}

/* ---- one process ---- */

static struct live_thread *thread_of(struct live_process *process, pid_t tid)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (process->threads[i].tid == tid)
			return &process->threads[i];
	return NULL;
}

/* Starts to stop a thread, or reads it. Threads that end meanwhile are no error. */
static int add_thread(struct search *search, struct live_process *process, pid_t tid)
{
	struct live_thread *thread;
	int r;

	r = tree_add_thread(search->tree, process, tid, &thread);
	if (r < 0)
		return r;
	r = search->stop ? stop_begin(search, process, thread)
			 : read_status(search, process, thread);
	if (r == -ESRCH) {
		if (tid == process->pid)
			process->gone = true;
		process->nr_threads--;
		return 0;
	}
	if (r < 0)
		return r;
	if (!search->stop && (thread->status.state == 'Z' || thread->status.state == 'X'))
		thread->dead = true;
	return 0;
}

/* Waits for the stops of the threads from first on. */
static int finish_threads(struct search *search, struct live_process *process, size_t first)
{
	for (size_t i = first; i < process->nr_threads; i++) {
		struct live_thread *thread = &process->threads[i];
		int r;

		if (!thread->seized)
			continue;
		r = stop_done(search, process, thread);
		if (r == -ESRCH) {
			late_forget(&search->late, thread->tid);
			thread->seized = false;
			thread->gone = true;
			continue;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* A thread that ended while it was looked at: a leader becomes a zombie, or has been reaped. */
static void drop_gone_threads(struct search *search, struct live_process *process)
{
	size_t kept = 0;

	for (size_t i = 0; i < process->nr_threads; i++) {
		struct live_thread *thread = &process->threads[i];

		if (thread->gone && thread->tid == process->pid) {
			thread->gone = false;
			thread->dead = true;
			if (read_status(search, process, thread) < 0)
				process->gone = true;
		}
		if (!thread->gone)
			process->threads[kept++] = *thread;
	}
	process->nr_threads = kept;
}

/* Adds the threads that are not known yet; *ret_new how many. */
static int list_threads(struct search *search, struct live_process *process, size_t *ret_new)
{
	size_t before = process->nr_threads;
	int r = ids_of_threads(&search->ids, process->pid);

	*ret_new = 0;
	if (r == -ESRCH) {
		process->gone = true;
		return 0;
	}
	for (size_t i = 0; i < search->ids.count && r >= 0; i++)
		if (!thread_of(process, search->ids.list[i]))
			r = add_thread(search, process, search->ids.list[i]);
	if (r < 0)
		return r;
	*ret_new = process->nr_threads - before;
	return search->stop ? finish_threads(search, process, before) : 0;
}

/* All threads of a process whose leader has been stopped or read. */
static int settle(struct search *search, struct live_process *process)
{
	struct live_thread *leader;
	size_t new_threads;
	int r;

	r = search->stop ? finish_threads(search, process, 0) : 0;
	if (r < 0)
		return r;
	drop_gone_threads(search, process);
	if (process->gone)
		return 0;
	/* The kernel's count is right once the leader is stopped: nothing to list then. */
	leader = &process->threads[0];
	if (leader->status.threads > 1) {
		do {
			r = list_threads(search, process, &new_threads);
			if (r < 0)
				return r;
			drop_gone_threads(search, process);
		} while (search->stop && new_threads > 0 && !process->gone);
	}
	process->zombie = process->threads[0].dead && process->nr_threads == 1;
	process->settled = true;
	return search->listener && !process->gone
		       ? search->listener->frozen(process, search->listener->data)
		       : 0;
}

static int add_process(struct search *search, pid_t pid)
{
	struct live_process *process;
	int r;

	if (tree_process(search->tree, pid))
		return 0;
	if (pid == getpid())
		return fail(
			search->err, EINVAL, "the tree contains the checkpointing process itself");
	r = tree_add(search->tree, pid, &process);
	if (r == -ESRCH)
		return 0;
	if (r < 0)
		return fail(search->err, r, "cannot hold task %d", pid);
	return add_thread(search, process, pid);
}

/* ---- the whole tree ---- */

/* Children of a process that are not known yet. */
static int discover(struct search *search, struct live_process *process)
{
	for (size_t k = 0; k < process->nr_threads && !process->gone; k++) {
		int r;

		if (process->threads[k].dead)
			continue;
		r = ids_of_children(&search->ids, process->pid, process->threads[k].tid);
		if (r == -ESRCH)
			continue;
		for (size_t c = 0; c < search->ids.count && r >= 0; c++)
			r = add_process(search, search->ids.list[c]);
		if (r < 0)
			return fail(search->err, r, "cannot read the children of %d", process->pid);
	}
	return 0;
}

static int discover_strangers(struct search *search)
{
	struct ids found = {0};
	int r = strangers_find(search->tree, &found);

	for (size_t i = 0; i < found.count && r >= 0; i++)
		r = add_process(search, found.list[i]);
	ids_free(&found);
	return r < 0 ? fail(search->err, r, "cannot look for tasks in /proc") : 0;
}

/* Down the tree from the processes that are new. */
static int settle_new(struct search *search, size_t *settled)
{
	int r = 0;

	for (; *settled < search->tree->count && !r; (*settled)++) {
		struct live_process *process = search->tree->processes[*settled];

		if (!process->gone)
			r = settle(search, process);
		if (!r)
			r = discover(search, process);
	}
	return r;
}

static int discover_again(struct search *search, size_t known)
{
	int r = 0;

	for (size_t i = 0; i < known && !r; i++)
		r = discover(search, search->tree->processes[i]);
	return r;
}

/* Until a pass over stopped tasks finds nothing new. */
static int search_all(struct search *search, pid_t root)
{
	size_t settled = 0;
	int r = add_process(search, root);

	/* Not the number of a thread. */
	if (!r && !search->stop && search->tree->count &&
		search->tree->processes[0]->threads[0].status.tgid != root)
		r = -ESRCH;
	while (!r) {
		size_t known;

		r = settle_new(search, &settled);
		known = search->tree->count;
		/*
		 * The child of a task that has died since may be the child now of one whose
		 * children were read before. Where the root is an init it lives in a namespace of
		 * the tree, and is found as a stranger.
		 */
		if (!r && known && !live_is_init(search->tree->processes[0]))
			r = discover_again(search, known);
		if (!r && search->tree->count == known)
			r = discover_strangers(search);
		if (!r && search->tree->count == known)
			break;
	}
	if (!r && !search->tree->count)
		r = -ESRCH;
	if (!r)
		r = tree_finish(search->tree);
	if (r == -ESRCH)
		return fail(search->err, r, "there is no task %d", root);
	return r == -EAGAIN ? r : r < 0 ? fail(search->err, r, "cannot find the tasks") : 0;
}

static int search_once(struct arena *arena, pid_t root, struct search *search,
	const struct live_tree *found, struct live_tree **ret)
{
	int r, kept;

	search->tree = tree_new(arena);
	if (!search->tree)
		return fail(search->err, ENOMEM, "no memory for the tree");
	if (found) {
		search->tree->outside = found->outside;
		search->tree->nr_outside = found->nr_outside;
	}
	search->late.tid = 0;
	r = search_all(search, root);
	ids_free(&search->ids);
	if (r < 0) {
		kept = late_release(&search->late, search->tree);
		return kept < 0 ? fail(search->err, kept, "no memory for the tree") : r;
	}
	*ret = search->tree;
	return 0;
}

int tree_find(struct arena *arena, pid_t root, struct live_tree **ret, struct reprise_error *err)
{
	struct search search = {.err = err};

	return search_once(arena, root, &search, NULL, ret);
}

/* Attempts end with -EAGAIN while a thread waits for its vfork child. */
int tree_freeze(struct arena *arena, pid_t root, const struct live_tree *found,
	const struct tree_listener *listener, struct live_tree **ret, struct reprise_error *err)
{
	struct search search = {.stop = true, .listener = listener, .err = err};
	struct timespec start, now;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while ((r = search_once(arena, root, &search, found, ret)) == -EAGAIN) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		r = late_wait(&search.late, FREEZE_SECONDS - (double)(now.tv_sec - start.tv_sec),
			listener);
		if (r == -ECANCELED)
			fail(err, r, "interrupted");
		else if (r < 0)
			fail(err, EBUSY, "a task waits for its vfork child and cannot be stopped");
		if (r < 0)
			break;
	}
	late_end(&search.late, r < 0 ? NULL : *ret);
	return r == -ETIMEDOUT ? -EBUSY : r;
}
