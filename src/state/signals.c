// SPDX-License-Identifier: MIT
/*
 * Signals of a process: what it does about each, and those sent to it, or to one of its threads,
 * that it has not taken yet. Masks belong to the registers of a thread (src/task).
 */
#include "state/kinds.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#define NR_SIGNALS 64
#define PEEK_AT_ONCE 32

/* As rt_sigaction(2) of the kernel takes it on this processor. */
struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};
_Static_assert(sizeof(siginfo_t) == 128, "the kernel's siginfo_t has 128 bytes");

struct signals_asked {
	uint64_t actions; /* NR_SIGNALS of them, in the task */
};

/*
 * Where the default is done, flags and mask mean nothing: but for SIGCHLD, whose flags say what
 * becomes of children.
 */
static uint64_t actions_that_matter(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++) {
		const struct task_status *status = &process->threads[i].status;

		if (process->threads[i].seized)
			return status->caught | status->ignored | 1ull << (SIGCHLD - 1);
	}
	return UINT64_MAX;
}

static int signals_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct signals_asked *asked = arena_alloc(capture->arena, sizeof(*asked));
	const size_t size = sizeof(struct kernel_sigaction);
	const uint64_t asked_for = actions_that_matter(process);

	if (!asked)
		return fail(capture->err, ENOMEM, "signals");
	process->notes[NOTE_SIGNALS] = asked;
	asked->actions = calls_space(calls, NR_SIGNALS * size);
	for (int i = 0; i < NR_SIGNALS; i++)
		if (asked_for >> i & 1)
			calls_must(calls, "signal action", SYS_rt_sigaction, i + 1, 0,
				asked->actions + i * size, 8, 0, 0);
	return 0;
}

/* Adds what is pending for the thread, or with PTRACE_PEEKSIGINFO_SHARED for its process. */
static int peek(
	struct capture *capture, pid_t tid, uint32_t flags, PendingSignal ***ret, size_t *ret_count)
{
	siginfo_t infos[PEEK_AT_ONCE];
	struct __ptrace_peeksiginfo_args args = {.flags = flags, .nr = PEEK_AT_ONCE};
	long count;

	do {
		count = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos);
		if (count < 0)
			return fail(capture->err, errno, "pending signals");
		for (long i = 0; i < count; i++) {
			PendingSignal *pending =
				MESSAGE_NEW(capture->arena, PendingSignal, pending_signal);

			if (!pending)
				return fail(capture->err, ENOMEM, "pending signals");
			pending->info.data =
				arena_copy(capture->arena, &infos[i], sizeof(infos[i]));
			pending->info.len = sizeof(infos[i]);
			if (!pending->info.data ||
				arena_append(capture->arena, (void ***)ret, ret_count, pending))
				return fail(capture->err, ENOMEM, "pending signals");
		}
		args.off += (uint64_t)count;
	} while (count == PEEK_AT_ONCE);
	return 0;
}

static int take_actions(
	struct capture *capture, const struct kernel_sigaction *actions, Signals *ret)
{
	static const struct kernel_sigaction none;
	size_t count = NR_SIGNALS;

	/* The list ends with the last signal that is not all default. */
	while (count && !memcmp(&actions[count - 1], &none, sizeof(none)))
		count--;
	for (size_t i = 0; i < count; i++) {
		SignalAction *action = MESSAGE_NEW(capture->arena, SignalAction, signal_action);

		if (!action || MESSAGE_ADD(capture->arena, ret, actions, action))
			return fail(capture->err, ENOMEM, "signal actions");
		action->handler = actions[i].handler;
		action->flags = actions[i].flags;
		action->restorer = actions[i].restorer;
		action->mask = actions[i].mask;
	}
	return 0;
}

static int signals_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct signals_asked *asked = process->notes[NOTE_SIGNALS];
	Signals *signals = MESSAGE_NEW(capture->arena, Signals, signals);
	int r;

	if (!signals)
		return fail(capture->err, ENOMEM, "signals");
	ret->signals = signals;
	r = take_actions(capture, calls_view(calls, asked->actions), signals);
	for (size_t i = 0; r == 0 && i < process->nr_threads; i++) {
		if (!process->threads[i].seized)
			continue;
		return peek(capture, process->threads[i].tid, PTRACE_PEEKSIGINFO_SHARED,
			&signals->pending, &signals->n_pending);
	}
	return r;
}

static int signals_take_thread(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls, Thread *ret)
{
	return peek(capture, thread->tid, 0, &ret->pending, &ret->n_pending);
}

static int signals_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Signals *signals = stub->process->signals;

	for (size_t i = 0; signals && i < signals->n_actions && i < NR_SIGNALS; i++) {
		const SignalAction *from = signals->actions[i];
		struct kernel_sigaction action = {
			from->handler, from->flags, from->restorer, from->mask};

		/* The stub starts with all of them at the default. */
		if (i + 1 == SIGKILL || i + 1 == SIGSTOP || (!action.handler && !action.flags))
			continue;
		if (calls_reserve(calls, 1, sizeof(action)))
			return calls->failed;
		calls_must(calls, "signal action", SYS_rt_sigaction, i + 1,
			calls_data(calls, &action, sizeof(action)), 0, 8, 0, 0);
	}
	return 0;
}

/* tid 0: to the process. Siginfo with a kernel's code is taken only from the receiver itself. */
static int queue(struct restore *restore, struct stub *stub, struct calls *calls, pid_t tid,
	PendingSignal **pending, size_t count)
{
	const pid_t tgid = stub->hand.own_tgid;

	for (size_t i = 0; i < count; i++) {
		siginfo_t info;
		uint64_t data;

		if (pending[i]->info.len != sizeof(info))
			return fail(restore->err, EBADMSG, "a pending signal");
		memcpy(&info, pending[i]->info.data, sizeof(info));
		if (info.si_signo < 1 || info.si_signo > NR_SIGNALS)
			return fail(restore->err, EBADMSG, "a pending signal");
		if (calls_reserve(calls, 1, sizeof(info)))
			return calls->failed;
		data = calls_data(calls, &info, sizeof(info));
		if (tid)
			calls_must(calls, "pending signal of a thread", SYS_rt_tgsigqueueinfo, tgid,
				tid, info.si_signo, data, 0, 0);
		else
			calls_must(calls, "pending signal", SYS_rt_sigqueueinfo, tgid,
				info.si_signo, data, 0, 0, 0);
	}
	return 0;
}

static uint64_t numbers_of(PendingSignal **pending, size_t count)
{
	uint64_t numbers = 0;

	for (size_t i = 0; i < count; i++) {
		int number = 0;

		if (pending[i]->info.len >= sizeof(number))
			memcpy(&number, pending[i]->info.data, sizeof(number));
		if (number >= 1 && number <= NR_SIGNALS)
			numbers |= 1ull << (number - 1);
	}
	return numbers;
}

static bool ignores(const Signals *signals, int number)
{
	return signals && (size_t)number <= signals->n_actions &&
	       signals->actions[number - 1]->handler == (uintptr_t)SIG_IGN;
}

/*
 * The signals with which calls end are not blocked while they run: none that is to be pending. All
 * threads of a process come to the same ones. A fault while SIGSEGV is ignored would reset that.
 */
static int change_end_signal(struct restore *restore, struct stub *stub)
{
	const Process *process = stub->process;
	struct hand *hand = &stub->hand;
	uint64_t pending = 0;
	bool faults;

	if (process->signals)
		pending = numbers_of(process->signals->pending, process->signals->n_pending);
	for (size_t i = 0; i < process->n_threads; i++)
		pending |= numbers_of(process->threads[i]->pending, process->threads[i]->n_pending);
	faults = !(pending >> (SIGSEGV - 1) & 1) && !ignores(process->signals, SIGSEGV);
	if (!(pending >> (hand->end_signal - 1) & 1) && faults)
		return 0;
	hand->ends_by_fault = faults;
	for (int number = NR_SIGNALS; pending >> (hand->end_signal - 1) & 1 && number > SIGWINCH;)
		hand->end_signal = number--;
	return hand_ready(hand, restore->err);
}

static int signals_restore_thread(struct restore *restore, struct stub *stub, struct calls *calls)
{
	int r = stub->thread->dead ? 0 : change_end_signal(restore, stub);

	if (r < 0)
		return r;
	/* Those of the thread that takes strays come after that, in finish. */
	if (stub_speaks(stub))
		return 0;
	return queue(restore, stub, calls, stub->hand.own_tid, stub->thread->pending,
		stub->thread->n_pending);
}

static int signals_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Signals *signals = stub->process->signals;
	const uint64_t child = 1ull << (SIGCHLD - 1);
	const struct timespec at_once = {0, 0};
	int r;

	if (!stub_speaks(stub))
		return 0;
	/* Ghosts and zombies that exited while the tree was built have left one of these. */
	if (calls_reserve(calls, 1, 64))
		return calls->failed;
	calls_may(calls, SYS_rt_sigtimedwait, calls_data(calls, &child, sizeof(child)), 0,
		calls_data(calls, &at_once, sizeof(at_once)), sizeof(child), 0, 0);
	r = queue(restore, stub, calls, stub->hand.own_tid, stub->thread->pending,
		stub->thread->n_pending);
	if (r == 0 && signals)
		r = queue(restore, stub, calls, 0, signals->pending, signals->n_pending);
	/* It goes on running calls, but its parent, whose turn comes after its children's, is told
	 * now, and not again when it is let go. */
	if (r == 0 && stub->process->state == REPRISE__PROCESS__STATE__STOPPED &&
		stub->process->n_threads == 1)
		calls_must(calls, "stop", SYS_tgkill, stub->hand.own_tgid, stub->hand.own_tid,
			SIGSTOP, 0, 0, 0);
	return r;
}

const struct state_kind signals_kind = {
	.name = "signals",
	.ask = signals_ask,
	.take = signals_take,
	.take_thread = signals_take_thread,
	.restore = signals_restore,
	.restore_thread = signals_restore_thread,
	.finish = signals_finish,
};
