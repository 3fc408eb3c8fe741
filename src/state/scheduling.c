// SPDX-License-Identifier: MIT
/* How each thread is scheduled: policy, nice, priority, deadlines, CPUs, I/O priority. All of it is
 * asked for and set from outside. */
#include "state/kinds.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MASK_SIZE 1024 /* bytes: 8192 CPUs, the most that Linux can be built for */

/* struct sched_attr up to its first version; what came behind it needs flags of its own. */
struct scheduling_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int get_attributes(pid_t tid, struct scheduling_attributes *ret)
{
	memset(ret, 0, sizeof(*ret));
	return syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) < 0 ? -errno : 0;
}

/* Only those with a slice of their own keep it: the default is the next kernel's affair. */
static void forget_default_slice(struct scheduling_attributes *attributes)
{
	struct scheduling_attributes own;

	if (attributes->policy == SCHED_DEADLINE)
		return;
	attributes->deadline = attributes->period = 0;
	if (get_attributes(0, &own) == 0 && own.runtime == attributes->runtime)
		attributes->runtime = 0;
}

static int scheduling_take_thread(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls, Thread *ret)
{
	Scheduling *scheduling = MESSAGE_NEW(capture->arena, Scheduling, scheduling);
	struct scheduling_attributes attributes;
	unsigned char mask[MASK_SIZE];
	long size, priority;
	int r;

	if (!scheduling)
		return fail(capture->err, ENOMEM, "scheduling");
	ret->scheduling = scheduling;
	r = get_attributes(thread->tid, &attributes);
	if (r < 0)
		return fail(capture->err, r, "scheduling policy");
	forget_default_slice(&attributes);
	scheduling->policy = attributes.policy;
	scheduling->flags = attributes.flags;
	scheduling->nice = attributes.nice;
	scheduling->priority = attributes.priority;
	scheduling->runtime = attributes.runtime;
	scheduling->deadline = attributes.deadline;
	scheduling->period = attributes.period;
	size = syscall(SYS_sched_getaffinity, thread->tid, sizeof(mask), mask);
	if (size < 0)
		return fail(capture->err, errno, "CPU affinity");
	scheduling->affinity.data = arena_copy(capture->arena, mask, (size_t)size);
	scheduling->affinity.len = (size_t)size;
	if (!scheduling->affinity.data)
		return fail(capture->err, ENOMEM, "CPU affinity");
	priority = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, thread->tid);
	/* A kernel without block devices (CONFIG_BLOCK) has no such priority. */
	if (priority < 0 && errno == ENOSYS)
		priority = 0;
	if (priority < 0)
		return fail(capture->err, errno, "I/O priority");
	ret->io_priority = (uint32_t)priority;
	return 0;
}

static int check_affinity(struct restore *restore, const Scheduling *scheduling,
	const unsigned char *own, long own_size)
{
	if (!scheduling || !scheduling->affinity.len)
		return 0;
	for (size_t i = 0; i < scheduling->affinity.len && i < (size_t)own_size; i++)
		if (scheduling->affinity.data[i] & own[i])
			return 0;
	return fail(restore->err, EINVAL,
		"a thread is bound to CPUs that this machine, or this program's cpuset, has not");
}

static int scheduling_check(struct restore *restore)
{
	unsigned char own[MASK_SIZE];
	long size;

	/* All CPUs that there are: affinity of this program does not limit what it sets. */
	memset(own, 0, sizeof(own));
	for (long i = 0, cpus = sysconf(_SC_NPROCESSORS_CONF); i < cpus && i < MASK_SIZE * 8; i++)
		own[i / 8] |= (unsigned char)(1 << i % 8);
	size = MASK_SIZE;
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Process *process = restore->snapshot->processes[i];

		for (size_t j = 0; j < process->n_threads; j++) {
			int r = check_affinity(restore, process->threads[j]->scheduling, own, size);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int restore_policy(struct restore *restore, pid_t tid, const Scheduling *scheduling)
{
	struct scheduling_attributes now, wanted = {
						  .size = sizeof(wanted),
						  .policy = scheduling->policy,
						  .flags = scheduling->flags,
						  .nice = scheduling->nice,
						  .priority = scheduling->priority,
						  .runtime = scheduling->runtime,
						  .deadline = scheduling->deadline,
						  .period = scheduling->period,
					  };
	int r = get_attributes(tid, &now);

	if (r < 0)
		return fail(restore->err, r, "scheduling policy");
	if (now.policy == wanted.policy && now.flags == wanted.flags && now.nice == wanted.nice &&
		now.priority == wanted.priority && !wanted.runtime)
		return 0;
	if (syscall(SYS_sched_setattr, tid, &wanted, 0) < 0)
		return fail(restore->err, errno, "scheduling policy");
	return 0;
}

/* Without a class of its own a thread's I/O priority follows from its nice value. */
static int restore_io_priority(struct restore *restore, pid_t tid, uint32_t wanted)
{
	long now = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid);

	if (!IOPRIO_PRIO_CLASS(wanted))
		wanted = 0;
	if (now >= 0 && (!IOPRIO_PRIO_CLASS(now) ? 0 : (uint32_t)now) == wanted)
		return 0;
	if (now < 0 && errno == ENOSYS && !wanted)
		return 0;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, wanted) < 0)
		return fail(restore->err, errno, "I/O priority");
	return 0;
}

/* At the end: a stub that waits behind others, or moves, makes the restart slower. */
static int scheduling_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Thread *thread = stub->thread;
	const Scheduling *scheduling = thread->scheduling;
	int r;

	if (!scheduling || thread->dead)
		return 0;
	/* Before the policy: a task with a deadline may not be bound any more. */
	if (scheduling->affinity.len &&
		syscall(SYS_sched_setaffinity, stub->tid, scheduling->affinity.len,
			scheduling->affinity.data) < 0)
		return fail(restore->err, errno, "CPU affinity");
	r = restore_policy(restore, stub->tid, scheduling);
	if (r < 0)
		return r;
	return restore_io_priority(restore, stub->tid, thread->io_priority);
}

const struct state_kind scheduling_kind = {
	.name = "scheduling",
	.take_thread = scheduling_take_thread,
	.check = scheduling_check,
	.finish = scheduling_finish,
};
