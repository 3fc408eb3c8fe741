/* SPDX-License-Identifier: MIT */
#include "task/arch/arch.h"

#include <asm/unistd.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* What the kernel leaves in rax of an interrupted call, for itself (include/linux/errno.h). */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

#define SYSCALL_INSTRUCTION 2 /* bytes */
#define FLAG_TRAP 0x100UL

extern const char interpreter[] __attribute__((visibility("hidden")));
extern const uint64_t interpreter_single __attribute__((visibility("hidden")));
extern const uint64_t interpreter_end __attribute__((visibility("hidden")));
extern const uint64_t interpreter_size __attribute__((visibility("hidden")));

const void *arch_interpreter(size_t *ret_size)
{
	*ret_size = interpreter_size;
	return interpreter;
}

size_t arch_interpreter_end(void)
{
	return interpreter_end;
}

static void set_common(arch_registers *regs, const struct hand *hand)
{
	regs->r12 = (uint64_t)hand->own_tgid;
	regs->r13 = (uint64_t)hand->own_tid;
	regs->r14 = (uint64_t)hand->end_signal;
	if (hand->stack)
		regs->rsp = hand->stack;
	/* Else the kernel takes it for an interrupted call and moves rip. */
	regs->orig_rax = (uint64_t)-1;
	regs->eflags &= ~FLAG_TRAP;
}

void arch_set_batch(arch_registers *regs, const struct hand *hand)
{
	set_common(regs, hand);
	regs->rbx = hand->room;
	regs->rip = hand->code;
}

void arch_set_single(
	arch_registers *regs, const struct hand *hand, long number, const uint64_t args[6])
{
	set_common(regs, hand);
	regs->rax = (uint64_t)number;
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
	regs->rip = hand->code + interpreter_single;
}

int64_t arch_call_result(const arch_registers *regs)
{
	return (int64_t)regs->rax;
}

int64_t arch_single_result(const arch_registers *regs)
{
	return (int64_t)regs->r15;
}

int arch_at_end(const struct hand *hand)
{
	long rip;

	errno = 0;
	rip = ptrace(PTRACE_PEEKUSER, hand->tid, offsetof(struct user, regs.rip), NULL);
	if (errno)
		return -errno;
	return (uint64_t)rip == hand->code + interpreter_end;
}

/* ---- the way home ---- */

struct emitter {
	unsigned char *code;
	size_t room, used;
};

static void emit(struct emitter *out, const void *bytes, size_t size)
{
	if (out->used + size <= out->room)
		memcpy(out->code + out->used, bytes, size);
	out->used += size;
}

#define EMIT(out, ...)                                  \
	emit(out, (const unsigned char[]){__VA_ARGS__}, \
		sizeof((const unsigned char[]){__VA_ARGS__}))

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* movabs $value, %reg: changes no flag. */
static void emit_move(struct emitter *out, int reg, uint64_t value)
{
	EMIT(out, reg >= R8 ? 0x49 : 0x48, 0xb8 + (reg & 7));
	emit(out, &value, sizeof(value));
}

/* Writes the distance to target into a rip-relative operand: always the last one of its insn. */
static void emit_distance(struct emitter *out, size_t target)
{
	int32_t distance = (int32_t)(target - (out->used + sizeof(distance)));

	emit(out, &distance, sizeof(distance));
}

static void emit_syscall(struct emitter *out)
{
	EMIT(out, 0x0f, 0x05);
}

/* As the kernel does when no handler runs (arch_do_signal_or_restart). */
static void adjust_interrupted(arch_registers *regs)
{
	if ((int64_t)regs->orig_rax < 0)
		return;
	switch ((int64_t)regs->rax) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
		regs->rax = regs->orig_rax;
		regs->rip -= SYSCALL_INSTRUCTION;
		break;
	case -ERESTART_RESTARTBLOCK:
		regs->rax = __NR_restart_syscall;
		regs->rip -= SYSCALL_INSTRUCTION;
		break;
	}
}

/* Three words that the code below reads: at its start, so that their distances are known. */
enum { DATA_FLAGS = 2, DATA_MASK = 10, DATA_HOME = 18, DATA_END = 26 };

ssize_t arch_way_home(void *code, size_t room, const arch_registers *home, uint64_t mask,
	uint64_t scratch, size_t scratch_size)
{
	struct emitter out = {code, room, 0};
	arch_registers regs = *home;
	uint64_t flags = regs.eflags & ~FLAG_TRAP;

	adjust_interrupted(&regs);
	EMIT(&out, 0xeb, DATA_END - 2); /* jmp over the data */
	emit(&out, &flags, sizeof(flags));
	emit(&out, &mask, sizeof(mask));
	emit(&out, &regs.rip, sizeof(regs.rip));

	/* System calls keep the flags. They are popped from here while all signals are blocked, so
	 * that nothing is written to a stack; nothing behind this changes them. */
	EMIT(&out, 0x48, 0x8d, 0x25); /* lea flags(%rip), %rsp */
	emit_distance(&out, DATA_FLAGS);
	EMIT(&out, 0x9d); /* popf */
	emit_move(&out, RSP, regs.rsp);

	emit_move(&out, RAX, __NR_munmap);
	emit_move(&out, RDI, scratch);
	emit_move(&out, RSI, scratch_size);
	emit_syscall(&out);

	emit_move(&out, RAX, __NR_rt_sigprocmask);
	emit_move(&out, RDI, SIG_SETMASK);
	EMIT(&out, 0x48, 0x8d, 0x35); /* lea mask(%rip), %rsi */
	emit_distance(&out, DATA_MASK);
	emit_move(&out, RDX, 0);
	emit_move(&out, R10, sizeof(mask));
	emit_syscall(&out);

	emit_move(&out, RAX, regs.rax);
	emit_move(&out, RCX, regs.rcx);
	emit_move(&out, RDX, regs.rdx);
	emit_move(&out, RBX, regs.rbx);
	emit_move(&out, RBP, regs.rbp);
	emit_move(&out, RSI, regs.rsi);
	emit_move(&out, RDI, regs.rdi);
	emit_move(&out, R8, regs.r8);
	emit_move(&out, R9, regs.r9);
	emit_move(&out, R10, regs.r10);
	emit_move(&out, R11, regs.r11);
	emit_move(&out, R12, regs.r12);
	emit_move(&out, R13, regs.r13);
	emit_move(&out, R14, regs.r14);
	emit_move(&out, R15, regs.r15);
	EMIT(&out, 0xff, 0x25); /* jmp *home(%rip) */
	emit_distance(&out, DATA_HOME);
	return out.used <= room ? (ssize_t)out.used : -ENOSPC;
}

/* ---- interrupted calls ---- */

bool arch_was_in_call(const arch_registers *regs)
{
	return (int64_t)regs->orig_rax >= 0;
}

bool arch_call_may_vfork(long number)
{
	return number == __NR_vfork || number == __NR_clone || number == __NR_clone3;
}

bool arch_in_system_call(const arch_registers *regs, long *ret_number, int64_t *ret_result)
{
	int64_t result = (int64_t)regs->rax;

	if ((int64_t)regs->orig_rax < 0)
		return false;
	if (result != -ERESTARTSYS && result != -ERESTARTNOINTR && result != -ERESTARTNOHAND &&
		result != -ERESTART_RESTARTBLOCK)
		return false;
	if (ret_number)
		*ret_number = (long)regs->orig_rax;
	if (ret_result)
		*ret_result = result;
	return true;
}

bool arch_in_restart_block(const arch_registers *regs)
{
	return (int64_t)regs->orig_rax >= 0 && (int64_t)regs->rax == -ERESTART_RESTARTBLOCK;
}

void arch_restart_call(arch_registers *regs)
{
	if (!arch_in_system_call(regs, NULL, NULL))
		return;
	regs->rax = regs->orig_rax;
	regs->rip -= SYSCALL_INSTRUCTION;
	regs->orig_rax = (uint64_t)-1;
}

/* signal(7), "Interruption of system calls and library functions by stop signals": what is left
 * of that list in kernels of today. */
static bool shows_interruption(uint64_t number)
{
	switch (number) {
	case __NR_rt_sigtimedwait:
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case 441: /* epoll_pwait2 */
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_io_getevents:
		return true;
	}
	return false;
}

bool arch_hide_interruption(arch_registers *regs)
{
	if ((int64_t)regs->orig_rax < 0 || (int64_t)regs->rax != -EINTR ||
		!shows_interruption(regs->orig_rax))
		return false;
	/* The kernel starts it again, or makes EINTR of it if a handler runs. */
	regs->rax = (uint64_t)-ERESTARTNOHAND;
	return true;
}

/* mov $number, %eax before the instruction at address: the nearest one of the calls that leave a
 * restart block. */
static bool number_before(pid_t pid, uint64_t address, unsigned long long *ret)
{
	unsigned char code[64];
	struct iovec local = {code, sizeof(code)};
	struct iovec remote = {(void *)(address - sizeof(code)), sizeof(code)};

	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(code))
		return false;
	for (int i = (int)sizeof(code) - 5; i >= 0; i--) {
		uint32_t number;

		memcpy(&number, code + i + 1, sizeof(number));
		if (code[i] == 0xb8 &&
			(number == __NR_poll || number == __NR_nanosleep || number == __NR_futex ||
				number == __NR_clock_nanosleep)) {
			*ret = number;
			return true;
		}
	}
	return false;
}

void arch_find_restarted_call(pid_t pid, arch_registers *regs)
{
	unsigned char code[SYSCALL_INSTRUCTION];
	struct iovec local = {code, sizeof(code)};
	struct iovec remote = {(void *)regs->rip, sizeof(code)};

	if (regs->orig_rax == __NR_restart_syscall && (int64_t)regs->rax == -ERESTART_RESTARTBLOCK)
		number_before(pid, regs->rip - SYSCALL_INSTRUCTION, &regs->orig_rax);
	/* One that has just been put before the instruction. */
	else if ((int64_t)regs->orig_rax < 0 && regs->rax == __NR_restart_syscall &&
		 process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof(code) &&
		 code[0] == 0x0f && code[1] == 0x05)
		number_before(pid, regs->rip, &regs->rax);
}

void arch_for_new_task(arch_registers *regs)
{
	/* Started again from its arguments; EINTR if a handler runs, as with a restart block. */
	if ((int64_t)regs->orig_rax >= 0 && (int64_t)regs->rax == -ERESTART_RESTARTBLOCK)
		regs->rax = (uint64_t)-ERESTARTNOHAND;
}

void arch_end_steps(arch_registers *regs)
{
	regs->eflags &= ~FLAG_TRAP;
}

uint64_t arch_stack_pointer(const arch_registers *regs)
{
	return regs->rsp;
}

uint64_t arch_instruction_pointer(const arch_registers *regs)
{
	return regs->rip;
}

void arch_set_instruction_pointer(arch_registers *regs, uint64_t address)
{
	regs->rip = address;
}

bool arch_is_compat(const arch_registers *regs)
{
	return regs->cs == 0x23; /* __USER32_CS */
}
