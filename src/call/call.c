/* SPDX-License-Identifier: MIT */
/* From the arguments to a backend, and from its result to errno. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call/backend.h"
#include "call/frame.h"
#include "call/user.h"
#include "call/ways.h"

/* Flags whose argument is in tid_ptrs: without one of them nothing is read there. */
#define TID_FLAGS (CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PIDFD)

static int give(int r)
{
	if (r >= 0 || r == CE_GO)
		return r;
	errno = -r;
	return -1;
}

/* What the kernel of clone_extended() is given is what the caller gave. */
static int native(struct ce_frame *frame, const long argument[6])
{
	memcpy(frame->arg, argument, sizeof(frame->arg));
	frame->nr = ce_native_number();
	frame->way = CE_WAY_NATIVE;
	return CE_GO;
}

static int take_arguments(struct ce_frame *frame, const long argument[6])
{
	struct clone_tid_info *tid_ptrs = (void *)argument[4];
	struct clone_tid_info tids = {0};
	int r;

	frame->request.flags =
		(uint64_t)(uint32_t)argument[1] << 32 | (uint64_t)(uint32_t)argument[0];
	frame->request.child_stack = (void *)argument[2];
	frame->request.tls = (void *)argument[3];
	r = ce_check_flags(&frame->request);
	if (r == 0 && tid_ptrs && (frame->request.flags & TID_FLAGS))
		r = ce_take(&tids, tid_ptrs, sizeof(tids));
	if (r == 0)
		r = ce_take_set(frame, (void *)argument[5]);
	frame->request.parent_tid = tids.parent_tid;
	frame->request.child_tid = tids.child_tid;
	return r;
}

/* A set is translated once for all backends; without a chosen pid it is clone(2). */
static int stock(struct ce_frame *frame, const long argument[6])
{
	const struct ce_request *request = &frame->request;
	int backend = ce_forced();
	int zeros;
	int r;

	r = take_arguments(frame, argument);
	if (r < 0)
		return r;
	if (request->num_pids == 0)
		return ce_plain_prepare(frame);
	r = ce_translate(request, 0, &frame->clone);
	if (r < 0)
		return r;
	zeros = ce_outer_zeros(request->pids, request->num_pids);
	if (zeros && backend != CLONE_EXTENDED_LAST_PID) {
		r = ce_levels_fit(request->num_pids);
		if (r < 0 && r != -ENOSYS)
			return r;
		if (r == -ENOSYS)
			backend = CLONE_EXTENDED_LAST_PID;
	}
	if (backend == CLONE_EXTENDED_LAST_PID)
		return ce_last_pid_prepare(frame);
	if (zeros == request->num_pids)
		return ce_plain_prepare(frame);
	return ce_clone3_prepare(frame);
}

int ce_prepare(int flags_low, int flags_high, void *child_stack, void *unused,
	struct clone_tid_info *tid_ptrs, struct pid_set *pid_setp, struct ce_frame *frame)
{
	long argument[6] = {(unsigned int)flags_low, (unsigned int)flags_high, (long)child_stack,
		(long)unused, (long)tid_ptrs, (long)pid_setp};
	int backend = ce_forced();

	frame->calls = frame->gate != NULL;
	frame->gate = NULL;
	if (frame->calls && !frame->fn)
		return give(-EINVAL);
	/* The child returns through the stub, which takes its frame off the stack. */
	if (child_stack) {
		if ((uintptr_t)child_stack <= CE_UNWIND + 16)
			return give(-EINVAL);
		argument[2] -= CE_UNWIND;
	}
	if (backend == CLONE_EXTENDED_NATIVE && !ce_native_number())
		return give(-ENOSYS);
	if (ce_native_number() &&
		(backend == CLONE_EXTENDED_AUTO || backend == CLONE_EXTENDED_NATIVE))
		return native(frame, argument);
	return give(stock(frame, argument));
}

/* A filter may hide the call that the kernel publishes. */
static int native_result(struct ce_frame *frame, int error)
{
	long argument[6];

	if (error != ENOSYS || ce_forced() == CLONE_EXTENDED_NATIVE)
		return -error;
	memcpy(argument, frame->arg, sizeof(argument));
	return stock(frame, argument);
}

int ce_result(struct ce_frame *frame, long result)
{
	if (frame->way == CE_WAY_LAST_PID)
		return give(ce_last_pid_result(frame, result));
	if (frame->way == CE_WAY_NATIVE)
		return give(native_result(frame, (int)-result));
	if (frame->way == CE_WAY_CLONE3)
		return give(ce_clone3_result(frame, (int)-result));
	return give(ce_plain_result(frame, (int)-result));
}
