/* SPDX-License-Identifier: MIT */
/* What differs by processor about a live task. One .c and .S file per processor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/error.h"
#include "task/calls.h"

typedef struct user_regs_struct arch_registers;

/*
 * The interpreter: position-independent code that walks the records at the address in one register
 * and then sends itself the hand's end signal. Where a tracer is there that is a stop; where none
 * is, the signal is ignored and the code behind it runs: an endless pause, or what has been put
 * over it (the way home).
 */
const void *arch_interpreter(size_t *ret_size);
/* Where in it the end is: what stands here (the pause) runs when nobody stops the thread. */
size_t arch_interpreter_end(void);
/* A thread that has stopped for a signal is there: 1, or 0; -errno. */
int arch_at_end(const struct hand *hand);

/* Registers for running the records at hand->room, or one system call at the interpreter. */
void arch_set_batch(arch_registers *regs, const struct hand *hand);
/* Offset in the interpreter of the one-call entry: it runs the call in the registers, keeps the
 * result, then ends as a batch does. */
void arch_set_single(
	arch_registers *regs, const struct hand *hand, long number, const uint64_t args[6]);
/* What a call gave, in a stop right behind it. */
int64_t arch_call_result(const arch_registers *regs);
int64_t arch_single_result(const arch_registers *regs);

/*
 * Code that brings a borrowed thread back to regs with no help: unmaps [scratch, +scratch_size),
 * sets the signal mask, every general register and the flags, jumps home. regs is first adjusted as
 * the kernel does when it restarts a system call. Registers of the FPU are not touched by
 * interpreter or way home. Returns the size, or -ENOSPC.
 */
ssize_t arch_way_home(void *code, size_t room, const arch_registers *regs, uint64_t mask,
	uint64_t scratch, size_t scratch_size);

/* The thread was stopped on its way out of a system call, whatever the call's result. */
bool arch_was_in_call(const arch_registers *regs);
/* A call that may wait for a child of vfork: vfork, clone, clone3. */
bool arch_call_may_vfork(long number);
/* The thread was stopped inside a system call that must be started again. */
bool arch_in_system_call(const arch_registers *regs, long *ret_number, int64_t *ret_result);
/* It waits with a restart block, which other calls could overwrite. */
bool arch_in_restart_block(const arch_registers *regs);
/* Puts the thread back before the system call it was in, with its own arguments. */
void arch_restart_call(arch_registers *regs);
/* rt_sigtimedwait, epoll_wait and their like show EINTR after any freeze: hides it. True if so. */
bool arch_hide_interruption(arch_registers *regs);
/* A thread that has been interrupted in its wait before waits in restart_syscall(2), and nothing
 * tells what for: the code before the instruction does, as far as it can be read. */
void arch_find_restarted_call(pid_t pid, arch_registers *regs);
/* restart_block does not come back in a new task: the original call is started anew instead. */
void arch_for_new_task(arch_registers *regs);

/* After single steps: the kernel takes a trap flag that survives an instruction like popf for the
 * program's own. */
void arch_end_steps(arch_registers *regs);

uint64_t arch_stack_pointer(const arch_registers *regs);
uint64_t arch_instruction_pointer(const arch_registers *regs);
void arch_set_instruction_pointer(arch_registers *regs, uint64_t address);
bool arch_is_compat(const arch_registers *regs); /* a 32-bit program */
