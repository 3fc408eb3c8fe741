/* SPDX-License-Identifier: MIT */
#include "task/borrow.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/ptrace.h"
#include "task/vdso.h"

#define SLOT_SIZE 448
#define MAX_SLOTS 2
#define SMALL_ROOM (64 * 1024)
#define MAX_STEPS 300000

/* Far below where mmap places things, far above where programs and their heaps are. */
#define SCRATCH_FIRST 0x6f0000000000
#define SCRATCH_STEP 0x000100000000
#define SCRATCH_TRIES 64

static uint64_t slot_address(const struct borrowed *borrowed, unsigned slot)
{
	return borrowed->plant + (uint64_t)slot * SLOT_SIZE;
}

/* ---- the place in the vdso ---- */

/* A slot is free when it is empty, or left by a checkpoint that was killed. */
static bool is_free(const char *slot)
{
	size_t size;
	const void *code = arch_interpreter(&size);
	static const char zeros[SLOT_SIZE];

	return memcmp(slot, zeros, SLOT_SIZE) == 0 ||
	       memcmp(slot, code, arch_interpreter_end()) == 0;
}

/* /proc shows no memory of a leader that has exited. */
static pid_t thread_with_memory(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (process->threads[i].seized)
			return process->threads[i].tid;
	return process->pid;
}

static int find_plant(struct borrowed *borrowed, struct reprise_error *err)
{
	char slots[MAX_SLOTS * SLOT_SIZE];
	uint64_t address;
	size_t size;
	int r = vdso_padding(
		thread_with_memory(borrowed->process), borrowed->process->vdso, &address, &size);

	if (r < 0)
		return fail(err, r, "it has no vdso, whose padding is needed to run calls in it");
	borrowed->nr_slots =
		size / SLOT_SIZE > MAX_SLOTS ? MAX_SLOTS : (unsigned)(size / SLOT_SIZE);
	borrowed->plant = address;
	if (!borrowed->nr_slots)
		return fail(err, ENOSPC, "there is no room behind its vdso to run calls in it");
	size = (size_t)borrowed->nr_slots * SLOT_SIZE;
	if (pread(borrowed->memory, slots, size, (off_t)address) != (ssize_t)size)
		return fail(err, errno, "cannot read its vdso");
	for (unsigned i = 0; i < borrowed->nr_slots; i++)
		if (!is_free(slots + (size_t)i * SLOT_SIZE))
			return fail(err, EBUSY, "the room behind its vdso is in use");
	return 0;
}

static bool is_away(const struct borrowed *borrowed, const struct live_thread *thread)
{
	uint64_t at = arch_instruction_pointer(&thread->registers);

	return at >= borrowed->plant && at < slot_address(borrowed, borrowed->nr_slots);
}

/* One instruction, with no signal let in. *mask becomes what the way home sets. */
static int step(struct live_thread *thread, uint64_t *mask, int *signal)
{
	const uint64_t closed = ~(1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1));
	uint64_t now = closed;
	int status = 0, r;

	r = trace_set_mask(thread->tid, closed);
	if (!r && ptrace(PTRACE_SINGLESTEP, thread->tid, 0, (unsigned long)*signal) < 0)
		r = -errno;
	if (!r)
		r = trace_wait(thread->tid, -1, &status);
	if (!r)
		r = trace_get_mask(thread->tid, &now);
	if (!r)
		r = trace_get_registers(thread->tid, &thread->registers);
	if (r < 0)
		return r;
	*signal = status >> 16 || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	if (now != closed)
		*mask = now;
	return 0;
}

/*
 * Threads that have not come home yet from a checkpoint that was killed just now, or that were
 * stopped by a signal on their way: they are led there before their registers count.
 */
static int lead_home(struct borrowed *borrowed, struct live_thread *thread)
{
	uint64_t mask = thread->mask;
	int signal = 0, r = 0;

	if (!thread->seized || !is_away(borrowed, thread))
		return 0;
	for (int i = 0; i < MAX_STEPS && !r && is_away(borrowed, thread); i++)
		r = step(thread, &mask, &signal);
	if (!r && is_away(borrowed, thread))
		r = -EBUSY;
	thread->mask = mask;
	arch_end_steps(&thread->registers);
	if (!r)
		r = trace_set_registers(thread->tid, &thread->registers);
	return r < 0 ? r : trace_set_mask(thread->tid, mask);
}

/* ---- one thread ---- */

/*
 * What the task does with this signal must be to ignore it. One that it catches, blocks or has
 * pending could be waited for.
 */
static int choose_end_signal(const struct live_process *process)
{
	static const int candidates[] = {SIGURG, SIGWINCH, SIGCHLD};
	uint64_t taken = 0, caught = 0;

	for (size_t i = 0; i < process->nr_threads; i++) {
		const struct live_thread *thread = &process->threads[i];
		const struct task_status *status = &thread->status;

		if (!thread->seized)
			continue;
		caught |= status->caught | status->pending | status->shared_pending;
		taken |= status->caught | status->blocked | status->pending |
			 status->shared_pending | thread->mask;
	}
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		if (!(taken & 1ULL << (candidates[i] - 1)))
			return candidates[i];
	/* One that is pending would be taken for the end, and be lost to the program. */
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		if (!(caught & 1ULL << (candidates[i] - 1)))
			return candidates[i];
	return SIGURG;
}

static int write_slot(struct borrowed *borrowed, struct live_thread *thread, unsigned slot)
{
	char code[SLOT_SIZE] = {0};
	size_t size;
	const void *interpreter = arch_interpreter(&size);
	size_t end = arch_interpreter_end();
	ssize_t way;

	memcpy(code, interpreter, end);
	way = arch_way_home(code + end, SLOT_SIZE - end, &thread->registers, thread->mask,
		borrowed->scratch, borrowed->hand.room_size);
	if (way < 0)
		return (int)way;
	borrowed->used |= 1U << slot;
	size = end + (size_t)way;
	if (pwrite(borrowed->memory, code, size, (off_t)slot_address(borrowed, slot)) !=
		(ssize_t)size)
		return errno ? -errno : -EIO;
	return 0;
}

/*
 * From here on the thread comes home by itself: first its registers lead to the way home, then its
 * signals are blocked. In the other order a death in between would leave them blocked.
 */
static int enter(struct borrowed *borrowed, struct live_thread *thread, unsigned slot)
{
	struct hand *hand = &borrowed->hand;
	const struct task_status *status = &thread->status;
	arch_registers regs = thread->registers;
	int r = write_slot(borrowed, thread, slot);

	if (r < 0)
		return r;
	hand->tid = thread->tid;
	hand->own_tid = status->pids[status->nr_levels - 1];
	hand->own_tgid = status->tgids[status->nr_levels - 1];
	hand->code = slot_address(borrowed, slot);
	hand->stack = 0;
	arch_set_batch(&regs, hand);
	arch_set_instruction_pointer(&regs, hand->code + arch_interpreter_end());
	r = trace_set_registers(thread->tid, &regs);
	if (r < 0)
		return r;
	borrowed->start = regs;
	hand->start = &borrowed->start;
	thread->borrowed = true;
	borrowed->thread = thread;
	borrowed->slot = slot;
	return trace_set_mask(thread->tid, ~(1ULL << (hand->end_signal - 1)));
}

/* The mask first: until the registers are back the thread finds its way home alone. */
static int leave(struct live_thread *thread)
{
	int r;

	if (!thread->borrowed)
		return 0;
	thread->borrowed = false;
	r = trace_set_mask(thread->tid, thread->mask);
	if (!r)
		r = trace_set_registers(thread->tid, &thread->registers);
	return r;
}

/* ---- scratch memory ---- */

/* The way home must know the place before it is mapped: so each try plants anew. */
static int start_map(struct borrowed *borrowed, struct live_thread *thread, uint64_t address,
	struct reprise_error *err)
{
	struct hand *hand = &borrowed->hand;
	int r;

	borrowed->scratch = hand->room = address;
	r = enter(borrowed, thread, borrowed->slot);
	if (r < 0)
		return fail(err, r, "cannot run calls in it");
	r = calls_one_start(hand, err, SYS_mmap, address, hand->room_size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	if (!r)
		borrowed->runs = BORROW_MAPS;
	return r;
}

/* -errno of the call; an error is noted where the thread is lost. */
static int finish_map(struct borrowed *borrowed, struct reprise_error *err)
{
	struct hand *hand = &borrowed->hand;
	int64_t r = calls_one_finish(hand, err);

	borrowed->runs = BORROW_RUNS_NOTHING;
	if (r >= 0 && (uint64_t)r != borrowed->scratch) {
		/* A kernel before 4.17 takes the address as a hint. */
		calls_one(hand, err, SYS_munmap, (uint64_t)r, hand->room_size, 0, 0, 0, 0);
		r = -ENOSYS;
	}
	if (r >= 0)
		return 0;
	borrowed->scratch = 0;
	return (int)r;
}

static uint64_t scratch_place(int attempt)
{
	return SCRATCH_FIRST + (uint64_t)attempt * SCRATCH_STEP;
}

/* r: what a first try at the first place has come to. */
static int map_elsewhere(
	struct borrowed *borrowed, struct live_thread *thread, int r, struct reprise_error *err)
{
	for (int i = 1; i < SCRATCH_TRIES && r < 0 && !err->code; i++) {
		/* Limits of the task: less will do. */
		if (r == -ENOMEM || r == -EAGAIN) {
			if (borrowed->hand.room_size == SMALL_ROOM)
				break;
			borrowed->hand.room_size = SMALL_ROOM;
		} else if (r != -EEXIST) {
			break;
		}
		r = start_map(borrowed, thread, scratch_place(i), err);
		if (!r)
			r = finish_map(borrowed, err);
	}
	if (r < 0 && err->code)
		return r;
	return r < 0 ? fail(err, r, "cannot map memory in it to run calls") : 0;
}

static int map_scratch(
	struct borrowed *borrowed, struct live_thread *thread, struct reprise_error *err)
{
	int r;

	borrowed->hand.room_size = CALLS_ROOM;
	r = start_map(borrowed, thread, scratch_place(0), err);
	if (!r)
		r = finish_map(borrowed, err);
	return map_elsewhere(borrowed, thread, r, err);
}

static int start_unmap(struct borrowed *borrowed, struct reprise_error *err)
{
	int r;

	if (!borrowed->scratch || borrowed->hand.lost)
		return 0;
	r = calls_one_start(&borrowed->hand, err, SYS_munmap, borrowed->scratch,
		borrowed->hand.room_size, 0, 0, 0, 0);
	if (!r)
		borrowed->runs = BORROW_UNMAPS;
	return r;
}

static int finish_unmap(struct borrowed *borrowed, struct reprise_error *err)
{
	int64_t r;

	if (borrowed->runs != BORROW_UNMAPS)
		return 0;
	borrowed->runs = BORROW_RUNS_NOTHING;
	r = calls_one_finish(&borrowed->hand, err);
	if (r < 0)
		return fail(err, (int)r, "cannot unmap memory that was mapped to run calls");
	borrowed->scratch = 0;
	return 0;
}

static int unmap_scratch(struct borrowed *borrowed, struct reprise_error *err)
{
	int r = borrowed->runs == BORROW_UNMAPS ? 0 : start_unmap(borrowed, err);

	return r < 0 ? r : finish_unmap(borrowed, err);
}

/* ---- borrowing ---- */

static struct live_thread *best_thread(struct live_process *process)
{
	struct live_thread *best = NULL;

	for (size_t i = 0; i < process->nr_threads; i++) {
		struct live_thread *thread = &process->threads[i];

		if (!thread->seized)
			continue;
		if (!arch_in_restart_block(&thread->registers))
			return thread;
		if (!best)
			best = thread;
	}
	return best;
}

static int look_for_room(struct borrowed *borrowed, struct reprise_error *err)
{
	struct live_process *process = borrowed->process;
	int r;

	if (!borrowed->room)
		borrowed->room = malloc(CALLS_ROOM);
	borrowed->hand.local = borrowed->room;
	if (!borrowed->room)
		return fail(err, ENOMEM, "no memory for calls");
	borrowed->memory = proc_open(thread_with_memory(process), "mem", O_RDWR);
	if (borrowed->memory < 0)
		return fail(err, borrowed->memory, "cannot open its memory");
	r = find_plant(borrowed, err);
	for (size_t i = 0; i < process->nr_threads && !r; i++) {
		r = lead_home(borrowed, &process->threads[i]);
		if (r < 0)
			fail(err, r, "it has not come back yet from an earlier checkpoint");
	}
	return r;
}

int borrow_start(struct live_process *process, struct borrowed *borrowed, struct reprise_error *err)
{
	struct live_thread *thread;
	int r;

	borrowed->process = process;
	borrowed->thread = NULL;
	borrowed->scratch = 0;
	borrowed->slot = borrowed->used = 0;
	borrowed->runs = BORROW_RUNS_NOTHING;
	borrowed->hand =
		(struct hand){.end_signal = choose_end_signal(process), .room_size = CALLS_ROOM};
	r = look_for_room(borrowed, err);
	thread = best_thread(process);
	if (!r && !thread)
		r = fail(err, ESRCH, "it has no thread that goes on");
	if (!r)
		r = start_map(borrowed, thread, scratch_place(0), err);
	if (r < 0)
		borrow_return(borrowed, NULL);
	return r;
}

int borrow_ready(struct borrowed *borrowed, struct reprise_error *err)
{
	int r = finish_map(borrowed, err);

	r = map_elsewhere(borrowed, borrowed->thread, r, err);
	if (r < 0)
		borrow_return(borrowed, NULL);
	return r;
}

int borrow_leave(struct borrowed *borrowed, struct reprise_error *err)
{
	return borrowed->thread ? start_unmap(borrowed, err) : 0;
}

/* With one slot only, the scratch memory goes first: no moment may be without a way home for it. */
static int change_in_one_slot(
	struct borrowed *borrowed, struct live_thread *thread, struct reprise_error *err)
{
	int r = unmap_scratch(borrowed, err);

	if (!r)
		r = leave(borrowed->thread);
	return r < 0 ? fail(err, r, "cannot change the thread that runs calls")
		     : map_scratch(borrowed, thread, err);
}

int borrow_thread(struct borrowed *borrowed, struct live_thread *thread, struct reprise_error *err)
{
	struct live_thread *before = borrowed->thread;
	int r;

	if (thread == before)
		return 0;
	if (borrowed->nr_slots < 2)
		return change_in_one_slot(borrowed, thread, err);
	/* Both know the way home for a moment: unmapping twice does no harm. */
	r = enter(borrowed, thread, !borrowed->slot);
	if (r < 0)
		return fail(err, r, "cannot run calls in thread %d", thread->tid);
	r = leave(before);
	return r < 0 ? fail(err, r, "cannot put thread %d back", before->tid) : 0;
}

int borrow_return(struct borrowed *borrowed, struct reprise_error *err)
{
	struct reprise_error own = {0};
	int r = 0;

	if (borrowed->memory < 0)
		return 0;
	if (borrowed->runs == BORROW_MAPS)
		finish_map(borrowed, &own);
	if (borrowed->thread) {
		r = unmap_scratch(borrowed, &own);
		for (size_t i = 0; i < borrowed->process->nr_threads; i++) {
			int left = leave(&borrowed->process->threads[i]);

			if (left < 0 && !borrowed->hand.lost)
				r = fail(&own, left, "cannot put thread %d back",
					borrowed->process->threads[i].tid);
		}
	}
	for (unsigned i = 0; i < borrowed->nr_slots; i++) {
		static const char zeros[SLOT_SIZE];

		if (borrowed->used & 1U << i &&
			pwrite(borrowed->memory, zeros, SLOT_SIZE,
				(off_t)slot_address(borrowed, i)) < 0 &&
			!borrowed->hand.lost)
			r = fail(&own, errno, "cannot clean the room behind the vdso");
	}
	close(borrowed->memory);
	borrowed->memory = -1;
	borrowed->thread = NULL;
	borrowed->nr_slots = 0;
	if (r < 0 && err)
		fail(err, own.code, "%s", own.thing);
	return r;
}

void borrow_end(struct borrowed *borrowed)
{
	free(borrowed->room);
	borrowed->room = NULL;
}
