/* SPDX-License-Identifier: MIT */
/*
 * The end of a restart: each process gives back the hands' room, each thread gets its registers and
 * mask, and when all have them they are let go.
 */
#include "rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state/kinds.h"
#include "task/ptrace.h"

/*
 * The room is unmapped by a call whose instruction lies in it. An interrupt is asked for while the
 * call is being entered, so the stop comes before the instruction behind it is fetched, and it is a
 * stop at which the kernel still looks at signals and at calls to be started again.
 */
static int give_room_back(struct rebuild *rebuild, struct stub *stub)
{
	const uint64_t args[6] = {rebuild->restore.room, rebuild->restore.room_size};
	arch_registers regs;
	int status, ret = trace_get_registers(stub->tid, &regs);

	if (ret < 0)
		return ret;
	arch_set_single(&regs, &stub->hand, SYS_munmap, args);
	ret = trace_set_registers(stub->tid, &regs);
	if (ret == 0 && ptrace(PTRACE_SYSCALL, stub->tid, NULL, 0) < 0)
		ret = -errno;
	if (ret == 0)
		ret = trace_wait(stub->tid, -1, &status);
	if (ret == 0 && (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)))
		ret = -EPROTO;
	if (ret == 0)
		ret = trace_interrupt(stub->tid);
	if (ret == 0)
		ret = trace_continue(stub->tid, 0);
	if (ret == 0)
		ret = trace_wait(stub->tid, -1, &status);
	if (ret == 0 && (!WIFSTOPPED(status) || status >> 16 != PTRACE_EVENT_STOP))
		ret = -EPROTO;
	if (ret == 0)
		ret = trace_get_registers(stub->tid, &regs);
	return ret == 0 ? (int)arch_call_result(&regs) : ret;
}

static int give_registers(struct stub *stub)
{
	const Thread *thread = stub->thread;
	arch_registers regs;
	int ret = 0;

	memcpy(&regs, thread->registers.data, sizeof(regs));
	arch_for_new_task(&regs);
	if (thread->xstate.len)
		ret = trace_set_xstate(stub->tid, thread->xstate.data, thread->xstate.len);
	if (ret == 0)
		ret = trace_set_registers(stub->tid, &regs);
	if (ret == 0)
		ret = trace_set_mask(stub->tid, thread->blocked);
	return ret;
}

static int prepare_stub(struct rebuild *rebuild, struct stub *stub)
{
	int ret = stub_ready(stub, rebuild->err);

	/* The others have left it for good. */
	if (ret == 0 && stub_speaks(stub) && !stub->left_room)
		ret = give_room_back(rebuild, stub);
	if (ret == 0)
		ret = give_registers(stub);
	return ret < 0 ? fail(rebuild->err, stub_named(rebuild, stub, ret),
				 "cannot be given its registers")
		       : 0;
}

int rebuild_release(struct rebuild *rebuild)
{
	int ret = 0;

	/* Backwards: of a process the thread that speaks for it comes last. */
	for (size_t i = rebuild->plan->n_tasks; i-- > 0 && ret == 0;)
		if (!rebuild->stubs[i]->gone)
			ret = prepare_stub(rebuild, rebuild->stubs[i]);
	if (ret < 0)
		return ret;
	for (size_t i = rebuild->plan->n_tasks; i-- > 0;) {
		struct stub *stub = rebuild->stubs[i];

		if (stub->gone)
			continue;
		if (stub->process->state == REPRISE__PROCESS__STATE__STOPPED &&
			stub->leader == stub)
			syscall(SYS_tgkill, stub->tid, stub->tid,
				stub->process->stop_signal ? stub->process->stop_signal : SIGSTOP);
		trace_detach(stub->tid, 0);
		stub->gone = true;
	}
	return 0;
}

void rebuild_undo(struct rebuild *rebuild)
{
	for (size_t i = 0; i < rebuild->nr_stubs; i++)
		if (rebuild->stubs && rebuild->stubs[i])
			stub_kill(rebuild->stubs[i]);
	for (size_t i = rebuild->nr_stubs; i-- > 0;)
		if (rebuild->stubs && rebuild->stubs[i] && rebuild->stubs[i]->tid &&
			!rebuild->stubs[i]->gone)
			stub_wait_end(rebuild->stubs[i], NULL);
}
