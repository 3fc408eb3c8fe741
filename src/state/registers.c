// SPDX-License-Identifier: MIT
/* General and extended registers, and the signal mask: read from outside. Restart sets them last of
 * all, when the thread has run its calls (src/rebuild). */
#include <errno.h>
#include <string.h>

#include "state/kinds.h"
#include "task/ptrace.h"

#define XSTATE_ROOM (64 * 1024)
/* In the part of the legacy area that the kernel fills with what it says of the rest. */
#define XSTATE_FEATURES 464

static int take_xstate(struct capture *capture, const struct live_thread *thread, Thread *ret)
{
	Snapshot *snapshot = capture->snapshot;
	_Alignas(64) char xstate[XSTATE_ROOM];
	size_t size = sizeof(xstate);
	int r = trace_get_xstate(thread->tid, xstate, &size);

	if (r == -ENODEV || r == -EINVAL)
		return 0; /* a processor without XSAVE */
	if (r < 0)
		return fail(capture->err, r, "extended registers");
	ret->xstate.data = arena_copy(capture->arena, xstate, size);
	ret->xstate.len = size;
	if (!ret->xstate.data)
		return fail(capture->err, ENOMEM, "no memory for registers");
	if (!snapshot->xstate_size) {
		snapshot->xstate_size = (uint32_t)size;
		memcpy(&snapshot->xstate_features, xstate + XSTATE_FEATURES,
			sizeof(snapshot->xstate_features));
	}
	return 0;
}

static int registers_take(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls, Thread *ret)
{
	arch_registers regs = thread->registers;

	(void)calls;
	arch_find_restarted_call(thread->tid, &regs);
	arch_for_new_task(&regs);
	ret->blocked = thread->mask;
	ret->registers.data = arena_copy(capture->arena, &regs, sizeof(regs));
	ret->registers.len = sizeof(regs);
	if (!ret->registers.data)
		return fail(capture->err, ENOMEM, "no memory for registers");
	return take_xstate(capture, thread, ret);
}

const struct state_kind registers_kind = {
	.name = "registers",
	.take_thread = registers_take,
};
