/* SPDX-License-Identifier: MIT */
/* ptrace(2) and the waiting that belongs to it, bounded and with errors. */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "task/arch/arch.h"

int trace_seize(pid_t tid, unsigned long options); /* 0 or -errno */
int trace_interrupt(pid_t tid);
int trace_detach(pid_t tid, int signal);
int trace_continue(pid_t tid, int signal);

/* Waits for the next stop; *ret_status as wait(2) gives it. -ESRCH when the task has died,
 * -ETIMEDOUT after seconds; less than 0: no limit, and the fastest way to wait. */
int trace_wait(pid_t tid, double seconds, int *ret_status);

int trace_get_registers(pid_t tid, arch_registers *ret);
int trace_set_registers(pid_t tid, const arch_registers *regs);
/* NT_X86_XSTATE: *size is the room before and the size after. */
int trace_get_xstate(pid_t tid, void *ret, size_t *size);
int trace_set_xstate(pid_t tid, const void *xstate, size_t size);
int trace_get_mask(pid_t tid, uint64_t *ret);
int trace_set_mask(pid_t tid, uint64_t mask);
