// SPDX-License-Identifier: MIT
/*
 * What the kernel keeps for each thread beside its registers: alternate signal stack, robust list,
 * address to clear at the end, restartable sequences, name, parent death signal, timer slack.
 */
#include "state/kinds.h"

#include <errno.h>
#include <linux/rseq.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "task/arch/arch.h"

#define NAME_SIZE 16
#define PTRACE_SYSCALL_DISPATCH_CONFIG 0x4211 /* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, 6.4 */

struct thread_asked {
	uint64_t stack, tid_address, death_signal, name;
	size_t slack;
};

static bool rseq_of(pid_t tid, struct __ptrace_rseq_configuration *ret)
{
	memset(ret, 0, sizeof(*ret));
	return ptrace((enum __ptrace_request)PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(*ret),
		       ret) == sizeof(*ret) &&
	       ret->rseq_abi_pointer;
}

static bool read_task(pid_t pid, uint64_t address, void *ret, size_t size)
{
	struct iovec local = {ret, size}, remote = {(void *)(uintptr_t)address, size};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/*
 * A thread that was stopped inside a restartable sequence goes on at its abort address, as it would
 * after any preemption. It has to be decided here: once the thread has run calls for the
 * controller, or has registered anew in another task, the kernel has forgotten the sequence.
 */
static void leave_sequence(struct live_thread *thread)
{
	struct __ptrace_rseq_configuration config;
	struct rseq_cs cs = {0};
	uint64_t pointer, ip;

	if (!rseq_of(thread->tid, &config))
		return;
	if (!read_task(thread->tid, config.rseq_abi_pointer + offsetof(struct rseq, rseq_cs),
		    &pointer, sizeof(pointer)) ||
		!pointer || !read_task(thread->tid, pointer, &cs, sizeof(cs)))
		return;
	ip = arch_instruction_pointer(&thread->registers);
	if (ip - cs.start_ip < cs.post_commit_offset)
		arch_set_instruction_pointer(&thread->registers, cs.abort_ip);
}

/* struct ptrace_sud_config */
struct dispatch_config {
	uint64_t mode, selector, offset, length;
};

static int thread_survey(struct capture *capture, struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++) {
		struct live_thread *thread = &process->threads[i];
		struct dispatch_config dispatch = {0};

		if (!thread->seized)
			continue;
		leave_sequence(thread);
		if (ptrace((enum __ptrace_request)PTRACE_SYSCALL_DISPATCH_CONFIG, thread->tid,
			    sizeof(dispatch), &dispatch) == 0 &&
			dispatch.mode)
			refuse(capture->refusals, process,
				"thread %d dispatches its system calls itself "
				"(PR_SET_SYSCALL_USER_DISPATCH)",
				thread->tid);
	}
	return 0;
}

static int thread_ask(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls)
{
	struct thread_asked *asked = arena_alloc(capture->arena, sizeof(*asked));

	if (!asked)
		return fail(capture->err, ENOMEM, "thread");
	process->notes[NOTE_THREAD] = asked;
	asked->stack = calls_space(calls, sizeof(stack_t));
	asked->tid_address = calls_space(calls, sizeof(uint64_t));
	asked->death_signal = calls_space(calls, sizeof(int));
	asked->name = calls_space(calls, NAME_SIZE);
	calls_must(calls, "alternate stack", SYS_sigaltstack, 0, asked->stack, 0, 0, 0, 0);
	/* Needs CONFIG_CHECKPOINT_RESTORE. */
	calls_must(calls, "address to clear at the end", SYS_prctl, PR_GET_TID_ADDRESS,
		asked->tid_address, 0, 0, 0, 0);
	calls_must(calls, "parent death signal", SYS_prctl, PR_GET_PDEATHSIG, asked->death_signal,
		0, 0, 0, 0);
	calls_must(calls, "name", SYS_prctl, PR_GET_NAME, asked->name, 0, 0, 0, 0);
	asked->slack =
		calls_must(calls, "timer slack", SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0, 0);
	return 0;
}

static int take_outside(struct capture *capture, struct live_thread *thread, Thread *ret)
{
	struct __ptrace_rseq_configuration config;
	void *head = NULL;
	size_t size = 0;

	if (syscall(SYS_get_robust_list, thread->tid, &head, &size) < 0)
		return fail(capture->err, errno, "robust list");
	ret->robust_list = (uint64_t)(uintptr_t)head;
	ret->robust_list_size = size;
	if (!rseq_of(thread->tid, &config))
		return 0;
	ret->rseq = MESSAGE_NEW(capture->arena, Rseq, rseq);
	if (!ret->rseq)
		return fail(capture->err, ENOMEM, "rseq");
	ret->rseq->address = config.rseq_abi_pointer;
	ret->rseq->size = config.rseq_abi_size;
	ret->rseq->signature = config.signature;
	ret->rseq->flags = config.flags;
	return 0;
}

static int thread_take(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls, Thread *ret)
{
	const struct thread_asked *asked = process->notes[NOTE_THREAD];
	const stack_t *stack = calls_view(calls, asked->stack);
	const char *name = calls_view(calls, asked->name);

	ret->clear_child_tid = *(const uint64_t *)calls_view(calls, asked->tid_address);
	ret->parent_death_signal = *(const uint32_t *)calls_view(calls, asked->death_signal);
	ret->timer_slack = (uint64_t)calls_result(calls, asked->slack);
	ret->name = arena_printf(capture->arena, "%.*s", NAME_SIZE - 1, name);
	if (!ret->name)
		return fail(capture->err, ENOMEM, "name");
	if (!(stack->ss_flags & SS_DISABLE)) {
		ret->alternate_stack = MESSAGE_NEW(capture->arena, AlternateStack, alternate_stack);
		if (!ret->alternate_stack)
			return fail(capture->err, ENOMEM, "alternate stack");
		ret->alternate_stack->pointer = (uint64_t)(uintptr_t)stack->ss_sp;
		ret->alternate_stack->size = stack->ss_size;
		ret->alternate_stack->flags = (uint32_t)(stack->ss_flags & ~SS_ONSTACK);
	}
	return take_outside(capture, thread, ret);
}

static int thread_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Thread *thread = stub->thread;

	if (calls_reserve(calls, 8, sizeof(stack_t) + NAME_SIZE + 32))
		return calls->failed;
	if (thread->alternate_stack) {
		stack_t stack = {
			.ss_sp = (void *)(uintptr_t)thread->alternate_stack->pointer,
			.ss_size = thread->alternate_stack->size,
			.ss_flags = (int)thread->alternate_stack->flags,
		};

		calls_must(calls, "alternate stack", SYS_sigaltstack,
			calls_data(calls, &stack, sizeof(stack)), 0, 0, 0, 0, 0);
	}
	calls_must(calls, "address to clear at the end", SYS_set_tid_address,
		thread->clear_child_tid, 0, 0, 0, 0, 0);
	if (thread->robust_list)
		calls_must(calls, "robust list", SYS_set_robust_list, thread->robust_list,
			thread->robust_list_size, 0, 0, 0, 0);
	if (thread->rseq)
		calls_must(calls, "rseq", SYS_rseq, thread->rseq->address, thread->rseq->size, 0,
			thread->rseq->signature, 0, 0);
	calls_must(calls, "name", SYS_prctl, PR_SET_NAME,
		calls_text(calls, thread->name ? thread->name : ""), 0, 0, 0, 0);
	/* 0 would ask for the default; real-time tasks have none. */
	if (thread->timer_slack)
		calls_must(calls, "timer slack", SYS_prctl, PR_SET_TIMERSLACK, thread->timer_slack,
			0, 0, 0, 0);
	return 0;
}

/* After the credentials, a change of which resets it, and after the ends of all that have been a
 * parent while the tree was built. */
static int thread_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	if (stub->thread->parent_death_signal)
		calls_must(calls, "parent death signal", SYS_prctl, PR_SET_PDEATHSIG,
			stub->thread->parent_death_signal, 0, 0, 0, 0);
	return 0;
}

const struct state_kind thread_kind = {
	.name = "thread",
	.survey = thread_survey,
	.ask_thread = thread_ask,
	.take_thread = thread_take,
	.restore_thread = thread_restore,
	.finish = thread_finish,
};
