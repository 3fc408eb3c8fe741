/* SPDX-License-Identifier: MIT */
#include "task/calls.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "task/arch/arch.h"
#include "task/ptrace.h"

#define NOT_RUN INT64_MIN
#define RECORDS_STEP 16 /* records that fit behind new data in any case */

static bool is_error(int64_t result)
{
	return result < 0 && result >= -4095;
}

/* Records have 9/16 of the room: CALLS_MAX_RECORDS in a whole one, the last of them the end. */
static size_t records_room(const struct hand *hand)
{
	return hand->room_size / 16 * 9;
}

static size_t max_records(const struct hand *hand)
{
	return records_room(hand) / sizeof(struct call_record) - 1;
}

static size_t data_room(const struct hand *hand)
{
	return hand->room_size - records_room(hand);
}

static struct call_record *records(const struct calls *calls)
{
	return calls->hand->local;
}

int hand_ready(struct hand *hand, struct reprise_error *err)
{
	uint64_t open = 1ULL << (hand->end_signal - 1);
	int r;

	if (hand->ends_by_fault)
		open |= 1ULL << (SIGSEGV - 1);
	r = trace_set_mask(hand->tid, ~open);
	return r < 0 ? fail(err, r, "cannot block signals") : 0;
}

/* ---- a batch under construction ---- */

int calls_begin(struct calls *calls, struct hand *hand, bool keep, struct reprise_error *err)
{
	*calls = (struct calls){.hand = hand, .err = err, .keep = keep};
	calls->notes = malloc((max_records(hand) + 1) * sizeof(*calls->notes));
	if (!calls->notes)
		calls->failed = fail(err, ENOMEM, "no memory for calls");
	return calls->failed;
}

void calls_end(struct calls *calls)
{
	free(calls->notes);
	calls->notes = NULL;
}

static int failed(struct calls *calls, int code, const char *what)
{
	if (!calls->failed)
		calls->failed = fail(calls->err, code, "%s", what);
	return calls->failed;
}

static void start_anew(struct calls *calls)
{
	if (!calls->ran)
		return;
	calls->ran = calls->runs = false;
	calls->count = 0;
	calls->data_used = 0;
	calls->data_open = false;
}

int calls_reserve(struct calls *calls, size_t nr, size_t bytes)
{
	start_anew(calls);
	if (calls->failed)
		return calls->failed;
	if (nr > max_records(calls->hand) || bytes > data_room(calls->hand))
		return failed(calls, ENOBUFS, "calls do not fit into a batch");
	if (calls->count + nr <= max_records(calls->hand) &&
		calls->data_used + bytes <= data_room(calls->hand))
		return 0;
	if (calls->keep)
		return failed(calls, ENOBUFS, "too many calls for a batch");
	calls_run(calls);
	start_anew(calls);
	return calls->failed;
}

static size_t add(struct calls *calls, const char *what, long number, const uint64_t args[6])
{
	struct call_record *record;

	start_anew(calls);
	if (calls->failed)
		return 0;
	if (calls->count == max_records(calls->hand)) {
		size_t data_used = calls->data_used;

		if (calls->keep) {
			failed(calls, ENOBUFS, "too many calls for a batch");
			return 0;
		}
		/* Data stays where it is: this record may need it. */
		if (calls_run(calls) < 0)
			return 0;
		start_anew(calls);
		calls->data_used = data_used;
	}
	record = &records(calls)[calls->count];
	record->number = number;
	memcpy(record->args, args, sizeof(record->args));
	record->result = NOT_RUN;
	record->must = what != NULL;
	calls->notes[calls->count] = (struct call_note){.what = what};
	calls->data_open = false;
	return calls->count++;
}

size_t calls_must(struct calls *calls, const char *what, long number, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t args[6] = {a, b, c, d, e, f};

	return add(calls, what, number, args);
}

size_t calls_may(struct calls *calls, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
	uint64_t e, uint64_t f)
{
	const uint64_t args[6] = {a, b, c, d, e, f};

	return add(calls, NULL, number, args);
}

void calls_expect(struct calls *calls, size_t index, int64_t result, const char *otherwise)
{
	if (calls->failed || index >= calls->count)
		return;
	calls->notes[index].expected = result;
	calls->notes[index].otherwise = otherwise;
}

/* Aligned room for data: NULL on failure. */
static void *data_piece(struct calls *calls, size_t size, uint64_t *ret_address)
{
	size_t aligned = (size + 15) & ~(size_t)15, position;

	*ret_address = 0;
	start_anew(calls);
	if (aligned < size) {
		failed(calls, ENOBUFS, "data does not fit into a batch");
		return NULL;
	}
	/* The first data of a record may run what is there, later data of it may not. */
	if (!calls->data_open && !calls->keep &&
		(calls->count + RECORDS_STEP > max_records(calls->hand) ||
			calls->data_used + aligned + CALLS_DATA_STEP > data_room(calls->hand)) &&
		calls->count > 0) {
		calls_run(calls);
		start_anew(calls);
	}
	if (calls->failed)
		return NULL;
	if (aligned > data_room(calls->hand) - calls->data_used) {
		failed(calls, ENOBUFS, "data does not fit into a batch");
		return NULL;
	}
	calls->data_open = true;
	position = records_room(calls->hand) + calls->data_used;
	calls->data_used += aligned;
	*ret_address = calls->hand->room + position;
	return (char *)calls->hand->local + position;
}

uint64_t calls_data(struct calls *calls, const void *data, size_t size)
{
	uint64_t address;
	void *piece = data_piece(calls, size, &address);

	if (piece && size)
		memcpy(piece, data, size);
	return address;
}

uint64_t calls_text(struct calls *calls, const char *text)
{
	return calls_data(calls, text, strlen(text) + 1);
}

uint64_t calls_space(struct calls *calls, size_t size)
{
	uint64_t address;
	void *piece = data_piece(calls, size, &address);

	if (piece)
		memset(piece, 0, size);
	return address;
}

void *calls_view(const struct calls *calls, uint64_t address)
{
	return (char *)calls->hand->local + (address - calls->hand->room);
}

int64_t calls_result(const struct calls *calls, size_t index)
{
	return index < calls->count ? records(calls)[index].result : -EINVAL;
}

/* ---- running ---- */

/* Waits until the thread, which has been let run, comes to its end signal. */
static int wait_for_end(struct hand *hand, bool last, struct reprise_error *err)
{
	for (;;) {
		int status = 0, signal = 0, r;

		r = trace_wait(hand->tid, -1, &status);
		if (r == -ESRCH) {
			hand->lost = true;
			return fail(err, r, "the task died");
		}
		if (r < 0)
			return fail(err, r, "cannot run calls in the task");
		/* A group stop, or the end of one, is kept for the time after us; a SIGSTOP that is
		 * delivered becomes one. */
		if (!(status >> 16)) {
			signal = WSTOPSIG(status);
			if (last && signal == SIGSEGV)
				return 0;
			if (signal != SIGSTOP && signal != hand->end_signal)
				return fail(
					err, EIO, "calls in the task ended with signal %d", signal);
		}
		if (signal && signal == hand->end_signal) {
			r = arch_at_end(hand);
			if (r < 0)
				return fail(err, r, "cannot read the task's registers");
			if (r)
				return 0;
			hand->foreign_ends++;
			signal = 0;
		}
		r = trace_continue(hand->tid, signal);
		if (r < 0 && r != -ESRCH)
			return fail(err, r, "cannot run calls in the task");
	}
}

/* Where calls start: the registers that are not theirs are the thread's, or no matter. */
static int start_registers(const struct hand *hand, arch_registers *ret)
{
	if (!hand->start)
		return trace_get_registers(hand->tid, ret);
	*ret = *hand->start;
	return 0;
}

static int let_run(struct hand *hand, const arch_registers *regs, struct reprise_error *err)
{
	int r = trace_set_registers(hand->tid, regs);

	if (!r)
		r = trace_continue(hand->tid, 0);
	hand->lost = hand->lost || r == -ESRCH;
	return r < 0 ? fail(err, r, "cannot set the task's registers") : 0;
}

/* A hand whose memory is not shared: what is used of it goes over, or comes back. */
static int carry(struct calls *calls, bool back)
{
	struct hand *hand = calls->hand;
	size_t size = (calls->count + (back ? 0 : 1)) * sizeof(struct call_record);
	struct iovec local[2] = {
		{hand->local, size},
		{(char *)hand->local + records_room(hand), calls->data_used},
	};
	struct iovec remote[2] = {
		{(void *)hand->room, size},
		{(void *)(hand->room + records_room(hand)), calls->data_used},
	};
	int count = calls->data_used ? 2 : 1;
	ssize_t done = back ? process_vm_readv(hand->tid, local, count, remote, count, 0)
			    : process_vm_writev(hand->tid, local, count, remote, count, 0);

	if (done < 0)
		return fail(calls->err, errno, "cannot reach the task's memory");
	if ((size_t)done != size + calls->data_used)
		return fail(calls->err, EFAULT, "cannot reach the task's memory");
	return 0;
}

static int start_batch(struct calls *calls)
{
	struct hand *hand = calls->hand;
	arch_registers regs = {0};
	int r;

	records(calls)[calls->count].number = -1;
	if (!hand->shared && (r = carry(calls, false)) < 0)
		return r;
	r = start_registers(hand, &regs);
	if (r < 0) {
		hand->lost = hand->lost || r == -ESRCH;
		return fail(calls->err, r, "cannot read the task's registers");
	}
	arch_set_batch(&regs, hand);
	return let_run(hand, &regs, calls->err);
}

static int check_record(struct calls *calls, size_t index)
{
	const struct call_record *record = &records(calls)[index];
	const struct call_note *note = &calls->notes[index];

	if (note->what && is_error(record->result))
		return fail(calls->err, (int)-record->result, "%s", note->what);
	if (note->otherwise && record->result != note->expected)
		return fail(calls->err, EIO, "%s", note->otherwise);
	return 0;
}

int calls_start(struct calls *calls)
{
	if (calls->failed || calls->ran || !calls->count)
		return calls->failed;
	calls->failed = start_batch(calls);
	calls->ran = calls->runs = true;
	return calls->failed;
}

static int finish(struct calls *calls, bool last)
{
	if (!calls->runs || calls->failed)
		return calls->failed;
	calls->runs = false;
	calls->failed = wait_for_end(calls->hand, last, calls->err);
	if (!calls->failed && !calls->hand->shared)
		calls->failed = carry(calls, true);
	for (size_t i = 0; i < calls->count && !calls->failed; i++)
		calls->failed = check_record(calls, i);
	return calls->failed;
}

int calls_finish(struct calls *calls)
{
	return finish(calls, false);
}

int calls_run(struct calls *calls)
{
	calls_start(calls);
	return finish(calls, false);
}

int calls_finish_last(struct calls *calls)
{
	return finish(calls, true);
}

int calls_one_start(struct hand *hand, struct reprise_error *err, long number, uint64_t a,
	uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t args[6] = {a, b, c, d, e, f};
	arch_registers regs = {0};
	int r = start_registers(hand, &regs);

	if (r < 0) {
		hand->lost = hand->lost || r == -ESRCH;
		return fail(err, r, "cannot read the task's registers");
	}
	arch_set_single(&regs, hand, number, args);
	return let_run(hand, &regs, err);
}

int64_t calls_one_finish(struct hand *hand, struct reprise_error *err)
{
	arch_registers regs = {0};
	int r = wait_for_end(hand, false, err);

	if (r < 0)
		return r;
	r = trace_get_registers(hand->tid, &regs);
	return r < 0 ? fail(err, r, "cannot read the task's registers") : arch_single_result(&regs);
}

int64_t calls_one(struct hand *hand, struct reprise_error *err, long number, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	int r = calls_one_start(hand, err, number, a, b, c, d, e, f);

	return r < 0 ? r : calls_one_finish(hand, err);
}
