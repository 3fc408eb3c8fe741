/* SPDX-License-Identifier: MIT */
#include "call/rules.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#define EXIT_SIGNAL 0xffULL
#define LAST_SIGNAL 64

/*
 * CLONE_DETACHED has meant nothing since Linux 2.6.2 and so is refused, as clone3() does.
 * CLONE_INTO_CGROUP has no argument here; CLONE_NEWTIME lies in the byte of the exit signal.
 */
#define KNOWN_FLAGS ((0xffffff00ULL & ~0x00400000ULL) | CLONE_CLEAR_SIGHAND | EXIT_SIGNAL)

int ce_check_flags(const struct ce_request *request)
{
	if (request->flags & ~KNOWN_FLAGS)
		return -EINVAL;
	if ((request->flags & EXIT_SIGNAL) > LAST_SIGNAL)
		return -EINVAL;
	if (request->tls && !(request->flags & CLONE_SETTLS))
		return -EINVAL;
	return 0;
}

int ce_outer_zeros(const pid_t *pids, int num_pids)
{
	int zeros = 0;

	while (zeros < num_pids && pids[zeros] == 0)
		zeros++;
	return zeros;
}

int ce_errno(int clone3_errno)
{
	return clone3_errno == EEXIST ? EBUSY : clone3_errno;
}

static int check_pids(const struct ce_request *request, int levels)
{
	int n = request->num_pids;

	if (n < 0 || n > CE_LEVELS || (levels > 0 && n > levels))
		return -EINVAL;
	for (int i = 0; i < n; i++)
		if (request->pids[i] < 0)
			return -EINVAL;
	return 0;
}

/* set_tid runs from the youngest level outwards, and ends with the outermost pid that is chosen. */
static void set_pids(const struct ce_request *request, struct ce_clone *to)
{
	int n = request->num_pids;
	int chosen = n - ce_outer_zeros(request->pids, n);
	int at = 0;

	if (!chosen)
		return;
	if (request->flags & CLONE_NEWPID)
		to->set_tid[at++] = 1;
	for (int i = 0; i < chosen; i++, at++) {
		to->set_tid[at] = request->pids[n - 1 - i];
		if (!to->set_tid[at])
			to->open |= 1ULL << at;
	}
	to->args.set_tid = (uintptr_t)to->set_tid;
	to->args.set_tid_size = at;
}

int ce_translate(const struct ce_request *request, int levels, struct ce_clone *ret)
{
	uint64_t flags = request->flags;
	int r;

	r = ce_check_flags(request);
	if (r == 0)
		r = check_pids(request, levels);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->args.flags = flags & ~EXIT_SIGNAL;
	/* clone() ignores the exit signal of a thread or a sibling, clone3() refuses it. */
	if (!(flags & (CLONE_THREAD | CLONE_PARENT)))
		ret->args.exit_signal = flags & EXIT_SIGNAL;
	ret->args.parent_tid = (uintptr_t)request->parent_tid;
	ret->args.child_tid = (uintptr_t)request->child_tid;
	if (flags & CLONE_PIDFD)
		ret->args.pidfd = (uintptr_t)request->parent_tid;
	ret->args.tls = (uintptr_t)request->tls;
	/* clone3() sets the stack pointer to stack + stack_size and looks at no more than that. */
	if (request->child_stack) {
		ret->args.stack = (uintptr_t)request->child_stack - 16;
		ret->args.stack_size = 16;
	}
	set_pids(request, ret);
	return 0;
}
