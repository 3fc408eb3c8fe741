/* SPDX-License-Identifier: MIT */
/* Without a chosen pid the call is clone(2), and clone3(2) for the flags that clone(2) lacks. */
#include <errno.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call/backend.h"
#include "call/last_pid.h"
#include "call/ways.h"

static void clone_args(long arg[6], long flags, long stack, long parent, long child, long tls)
{
	long order[] = {CE_CLONE_ORDER(parent, child, tls)};

	arg[0] = flags;
	arg[1] = stack;
	arg[2] = order[0];
	arg[3] = order[1];
	arg[4] = order[2];
	arg[5] = 0;
}

void ce_set_plain(struct ce_frame *frame)
{
	const struct ce_request *request = &frame->request;
	struct ce_request without;

	if (request->flags <= UINT32_MAX) {
		frame->nr = SYS_clone;
		clone_args(frame->arg, (long)request->flags, (long)request->child_stack,
			(long)request->parent_tid, (long)request->child_tid, (long)request->tls);
		return;
	}
	without = *request;
	without.num_pids = 0;
	(void)ce_translate(&without, 0, &frame->clone);
	frame->nr = SYS_clone3;
	frame->arg[0] = (long)&frame->clone.args;
	frame->arg[1] = CLONE_ARGS_SIZE_VER0;
}

int ce_plain_prepare(struct ce_frame *frame)
{
	frame->way = CE_WAY_PLAIN;
	ce_set_plain(frame);
	return CE_GO;
}

/* Without clone3() (a filter may say EPERM) nothing understands the upper half of the flags. */
int ce_plain_result(struct ce_frame *frame, int error)
{
	if (frame->nr == SYS_clone3 && (error == ENOSYS || (error == EPERM && !ce_clone3_works())))
		return -EINVAL;
	return -error;
}

/*
 * 33 pids are more than set_tid can hold, so this is seldom asked. Where /proc does not tell: level
 * 32 is the last, and a namespace below it is refused before its first pid is looked at.
 */
static int at_last_level(void)
{
	pid_t no_first = 2;
	struct clone_args args = {.flags = CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0),
		.set_tid = (uintptr_t)&no_first,
		.set_tid_size = 1};
	int levels = ce_levels_in_proc();

	if (levels < 0)
		return levels;
	if (levels)
		return levels == CE_LEVELS ? 0 : -EINVAL;
	if (syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER1) == 0)
		_exit(1); /* not reached: a first pid of 2 is always refused */
	if (errno == ENOSPC || errno == EUSERS)
		return 0;
	return errno == EPERM ? -EOPNOTSUPP : -errno;
}

/*
 * clone3() counts the levels itself, but only those that set_tid names. 1 is taken in every
 * namespace but one that has no task yet, where the next level has it: no child can come of this.
 * The number is checked before privilege, privilege before the number's use.
 */
int ce_levels_fit(int n)
{
	pid_t ones[CE_SET_TID];
	struct clone_args args = {.set_tid = (uintptr_t)ones, .set_tid_size = (unsigned)n};

	if (ce_levels_known(n))
		return 0;
	if (n > CE_SET_TID)
		return at_last_level();
	for (int i = 0; i < n; i++)
		ones[i] = 1;
	if (syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER1) == 0)
		_exit(1);
	if (errno == EEXIST)
		return 0;
	if (errno == EPERM) /* of the kernel, or of a filter before it */
		return ce_clone3_works() ? 0 : -ENOSYS;
	return errno == E2BIG ? -ENOSYS : -errno;
}
