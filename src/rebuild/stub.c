/* SPDX-License-Identifier: MIT */
#include "rebuild/rebuild.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "call/backend.h"
#include "call/rules.h"
#include "task/proc.h"
#include "task/ptrace.h"

#define CREATE_SECONDS 60.0

/* What one creation puts into the actor's room. */
struct creation {
	struct call_record clone, end;
	struct clone_args args;
	pid_t set_tid[CE_LEVELS + 1];
	struct { /* struct pid_set, as a task reads it */
		int32_t num_pids, padding;
		uint64_t pids;
	} set;
};

struct stub *stub_new(struct rebuild *rebuild)
{
	return arena_alloc(rebuild->arena, sizeof(struct stub));
}

const char *stub_name(const struct stub *stub, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	if (!stub->thread) {
		snprintf(buffer, size, "%d", stub->tid);
		return buffer;
	}
	for (size_t i = 0; i < stub->thread->n_pids && used < size; i++)
		used += (size_t)snprintf(
			buffer + used, size - used, "%s%d", i ? " " : "", stub->thread->pids[i]);
	if (used < size)
		snprintf(buffer + used, size - used, " (%s)", stub->thread->name);
	return buffer;
}

int stub_named(const struct rebuild *rebuild, const struct stub *stub, int ret)
{
	char name[256];

	if (ret < 0)
		error_task(rebuild->err, "%s", stub_name(stub, name, sizeof(name)));
	return ret;
}

/* On a kernel that has the call itself. */
static void fill_native(struct stub *actor, long number, uint64_t flags, int exit_signal,
	const pid_t *pids, int nr_pids)
{
	struct creation *creation = actor->hand.local;
	uint64_t address = actor->hand.room;

	flags = (flags & ~(uint64_t)CSIGNAL) | (unsigned)exit_signal | CLONE_PTRACE;
	memset(creation, 0, sizeof(*creation));
	if (nr_pids)
		memcpy(creation->set_tid, pids, (size_t)nr_pids * sizeof(*pids));
	creation->set.num_pids = nr_pids;
	creation->set.pids = address + offsetof(struct creation, set_tid);
	creation->clone = (struct call_record){.number = number,
		.args = {(uint32_t)flags, flags >> 32, 0, 0, 0,
			address + offsetof(struct creation, set)},
		.must = 1};
	creation->end.number = -1;
}

static int fill_creation(struct stub *actor, uint64_t flags, int exit_signal, const pid_t *pids,
	int nr_pids, struct reprise_error *err)
{
	struct creation *creation = actor->hand.local;
	uint64_t address = actor->hand.room;
	long native = ce_native_number();
	struct ce_request request = {.flags = (flags & ~(uint64_t)CSIGNAL) | (unsigned)exit_signal,
		.pids = pids,
		.num_pids = nr_pids};
	struct ce_clone clone;
	int ret = ce_translate(&request, 0, &clone);

	if (ret == 0 && native > 0) {
		fill_native(actor, native, flags, exit_signal, pids, nr_pids);
		return 0;
	}
	if (ret < 0)
		return fail(err, ret, "these pids and flags cannot be asked for");
	if (clone.open)
		return fail(err, EINVAL, "a pid is left open inside of a chosen one");
	memset(creation, 0, sizeof(*creation));
	creation->args = clone.args;
	/* The child is traced from its first instruction on, and stops before it. */
	creation->args.flags |= CLONE_PTRACE;
	memcpy(creation->set_tid, clone.set_tid, sizeof(creation->set_tid));
	if (clone.args.set_tid_size)
		creation->args.set_tid = address + offsetof(struct creation, set_tid);
	creation->clone = (struct call_record){.number = SYS_clone3,
		.args = {address + offsetof(struct creation, args), sizeof(creation->args)},
		.must = 1};
	creation->end.number = -1;
	return 0;
}

/* clone3() says EEXIST where clone_extended() says EBUSY: one word for both here. */
static int creation_error(int64_t result)
{
	if (result == -EBUSY)
		return -EEXIST;
	return result < 0 ? (int)result : -EIO;
}

/* Runs the creation up to the event that names the child, where the actor is left: the next batch
 * starts from there as from any stop. */
static int run_creation(struct stub *actor, pid_t *ret_child, struct reprise_error *err)
{
	const struct creation *creation = actor->hand.local;
	arch_registers regs;
	unsigned long child;
	int status = 0, ret;

	memset(&regs, 0, sizeof(regs));
	ret = trace_get_registers(actor->tid, &regs);
	if (ret < 0)
		return fail(err, ret, "cannot read registers");
	arch_set_batch(&regs, &actor->hand);
	ret = trace_set_registers(actor->tid, &regs);
	if (ret < 0)
		return fail(err, ret, "cannot set registers");
	for (int signal = 0;; signal = 0) {
		ret = trace_continue(actor->tid, signal);
		if (ret == 0)
			ret = trace_wait(actor->tid, -1, &status);
		if (ret < 0)
			return fail(err, ret, "the task that creates others is lost");
		if (!WIFSTOPPED(status))
			return fail(err, ECHILD, "the task that creates others has ended");
		if (status >> 16 == PTRACE_EVENT_FORK || status >> 16 == PTRACE_EVENT_VFORK ||
			status >> 16 == PTRACE_EVENT_CLONE)
			break;
		if (WSTOPSIG(status) == actor->hand.end_signal)
			return creation_error(creation->clone.result);
	}
	if (ptrace(PTRACE_GETEVENTMSG, actor->tid, NULL, &child) < 0)
		return fail(err, errno, "cannot learn the child's pid");
	*ret_child = (pid_t)child;
	return 0;
}

/* The number of a task in its own namespace, where nobody has chosen it. */
static pid_t own_number(pid_t tid)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct task_status status;
	char task[32];

	snprintf(task, sizeof(task), "%d", tid);
	if (!arena || proc_status(arena, task, false, &status, NULL) < 0 || !status.nr_levels)
		return tid;
	return status.pids[status.nr_levels - 1];
}

int stub_create(struct rebuild *rebuild, struct stub *actor, struct stub *subject, uint64_t flags,
	int exit_signal, const pid_t *pids, int nr_pids)
{
	struct reprise_error *err = rebuild->err;
	pid_t child = 0;
	int ret;

	ret = stub_ready(actor, err);
	if (ret == 0)
		ret = fill_creation(actor, flags, exit_signal, pids, nr_pids, err);
	if (ret == 0)
		ret = run_creation(actor, &child, err);
	if (ret < 0)
		return fail(err, stub_named(rebuild, subject, ret), "cannot be created");
	subject->tid = child;
	subject->hand = actor->hand;
	subject->hand.tid = child;
	subject->hand.own_tid = flags & CLONE_NEWPID ? 1 : nr_pids ? pids[nr_pids - 1] : 0;
	if (!subject->hand.own_tid)
		subject->hand.own_tid = own_number(child);
	if (!(flags & CLONE_THREAD))
		subject->hand.own_tgid = subject->hand.own_tid;
	subject->fresh = true;
	return 0;
}

int stub_ready(struct stub *stub, struct reprise_error *err)
{
	int status, ret;

	if (!stub->fresh)
		return 0;
	ret = trace_wait(stub->tid, -1, &status);
	if (ret == 0 && !WIFSTOPPED(status))
		ret = -ECHILD;
	if (ret < 0)
		return fail(err, ret, "a new task did not come to its first stop");
	stub->fresh = false;
	return 0;
}

int stub_wait_end(struct stub *stub, struct reprise_error *err)
{
	int status = 0, ret;

	do {
		ret = trace_wait(stub->tid, CREATE_SECONDS, &status);
		if (ret == 0 && WIFSTOPPED(status))
			trace_continue(stub->tid, 0);
	} while (ret == 0 && WIFSTOPPED(status));
	if (ret < 0 && ret != -ESRCH)
		return fail(err, ret, "a task that was told to end did not");
	stub->gone = true;
	return 0;
}

void stub_kill(struct stub *stub)
{
	if (stub && stub->tid > 0 && !stub->gone)
		syscall(SYS_tgkill, stub->leader ? stub->leader->tid : stub->tid, stub->tid,
			SIGKILL);
}
