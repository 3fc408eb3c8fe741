// SPDX-License-Identifier: MIT
/* What a process and its threads have of their own: numbers that the kernel would take or that
 * something is indexed with. */
#include <string.h>
#include <sys/user.h>

#include "image/validate.h"

#define MAX_COMM 15
#define MAX_XSTATE 65536
#define MIN_XSTATE 576 /* legacy area and header */
#define MAX_GROUPS 65536
#define MAX_AFFINITY 8192
#define NR_LIMITS 16
#define NR_PERSONAL_CLOCKS 3

static int check_credentials(const struct rules *rules, const Credentials *credentials)
{
	if (!credentials)
		return 0;
	REQUIRE(rules, credentials->n_uids == 4 && credentials->n_gids == 4,
		"%zu user and %zu group ids", credentials->n_uids, credentials->n_gids);
	REQUIRE(rules, credentials->n_groups <= MAX_GROUPS, "%zu groups", credentials->n_groups);
	return 0;
}

static int check_scheduling(const struct rules *rules, const Scheduling *scheduling)
{
	if (!scheduling)
		return 0;
	REQUIRE(rules, scheduling->policy <= 7, "scheduling policy %u", scheduling->policy);
	REQUIRE(rules, scheduling->nice >= -20 && scheduling->nice <= 19, "nice %d",
		scheduling->nice);
	REQUIRE(rules, scheduling->priority <= 99, "priority %u", scheduling->priority);
	REQUIRE(rules, scheduling->affinity.len <= MAX_AFFINITY, "an affinity of %zu bytes",
		scheduling->affinity.len);
	return 0;
}

/* Of a living thread: what it goes on with. */
static int check_registers(const struct rules *rules, const Thread *thread)
{
	uint32_t size = rules->snapshot->xstate_size;

	REQUIRE(rules, thread->credentials && thread->scheduling,
		"a thread without credentials or scheduling");
	REQUIRE(rules, thread->registers.len == sizeof(struct user_regs_struct),
		"registers of %zu bytes", thread->registers.len);
	REQUIRE(rules,
		thread->xstate.len == 0 ||
			(thread->xstate.len >= MIN_XSTATE && thread->xstate.len <= MAX_XSTATE &&
				thread->xstate.len == size),
		"extended registers of %zu bytes", thread->xstate.len);
	return 0;
}

static int check_thread(const struct rules *rules, const Thread *thread, bool alive)
{
	int r = alive ? check_registers(rules, thread) : 0;

	if (r < 0)
		return r;
	REQUIRE(rules, strlen(thread->name) <= MAX_COMM, "its name is too long");
	REQUIRE(rules, thread->parent_death_signal <= MAX_SIGNAL, "parent death signal %u",
		thread->parent_death_signal);
	REQUIRE(rules, thread->io_priority <= 0xffff, "input/output priority %x",
		thread->io_priority);
	r = check_credentials(rules, thread->credentials);
	if (r == 0)
		r = check_scheduling(rules, thread->scheduling);
	return r < 0 ? r : check_pending(rules, thread->pending, thread->n_pending);
}

static int check_timers(const struct rules *rules, const Timers *timers, size_t n_threads)
{
	REQUIRE(rules, timers->n_interval <= NR_PERSONAL_CLOCKS, "%zu interval timers",
		timers->n_interval);
	for (size_t i = 0; i < timers->n_posix; i++) {
		const PosixTimer *timer = timers->posix[i];

		REQUIRE(rules, timer->id >= 0, "timer %d", timer->id);
		REQUIRE(rules, timer->notify <= 7 && timer->signal <= MAX_SIGNAL,
			"timer %d: signal %u in the way %u", timer->id, timer->signal,
			timer->notify);
		REQUIRE(rules, is_index_or_none(timer->thread, n_threads), "timer %d: thread %d",
			timer->id, timer->thread);
	}
	return 0;
}

static int check_limits(const struct rules *rules, const Limits *limits)
{
	REQUIRE(rules, limits->n_soft == limits->n_hard && limits->n_soft <= NR_LIMITS,
		"%zu soft and %zu hard limits", limits->n_soft, limits->n_hard);
	for (size_t i = 0; i < limits->n_soft; i++)
		REQUIRE(rules, limits->soft[i] <= limits->hard[i],
			"limit %zu: the soft one is above the hard one", i);
	return 0;
}

static int check_place(const struct rules *rules, const Place *place)
{
	REQUIRE(rules, is_index(place->cwd, rules->snapshot->n_files),
		"its working directory is file %d", place->cwd);
	REQUIRE(rules, is_index_or_none(place->root, rules->snapshot->n_files),
		"its root is file %d", place->root);
	REQUIRE(rules, place->umask <= 0777, "umask %o", place->umask);
	return 0;
}

static int check_signals(const struct rules *rules, const Signals *signals)
{
	REQUIRE(rules, signals->n_actions <= MAX_SIGNAL, "%zu signal actions", signals->n_actions);
	return check_pending(rules, signals->pending, signals->n_pending);
}

/* A living process has them all. */
static int check_parts(const struct rules *rules, const Process *process)
{
	int r;

	REQUIRE(rules,
		process->memory && process->signals && process->timers && process->place &&
			process->limits && process->identity,
		"its state is not complete");
	REQUIRE(rules,
		process->identity->oom_score_adj >= -1000 &&
			process->identity->oom_score_adj <= 1000,
		"OOM score adjustment %d", process->identity->oom_score_adj);
	r = check_signals(rules, process->signals);
	if (r == 0)
		r = check_timers(rules, process->timers, process->n_threads);
	if (r == 0)
		r = check_limits(rules, process->limits);
	if (r == 0)
		r = check_place(rules, process->place);
	return r < 0 ? r : check_memory(rules, process->memory);
}

static int check_namespaces_of(const struct rules *rules, const Process *process)
{
	const Snapshot *snapshot = rules->snapshot;

	REQUIRE(rules, is_index_or_none(process->mount_namespace, snapshot->n_mount_namespaces),
		"its mount namespace is number %d", process->mount_namespace);
	REQUIRE(rules, is_index_or_none(process->uts_namespace, snapshot->n_uts_namespaces),
		"its uts namespace is number %d", process->uts_namespace);
	REQUIRE(rules, is_index_or_none(process->ipc_namespace, snapshot->ipc_namespaces),
		"its ipc namespace is number %d", process->ipc_namespace);
	REQUIRE(rules, is_index_or_none(process->user_namespace, snapshot->n_user_namespaces),
		"its user namespace is number %d", process->user_namespace);
	return 0;
}

int check_process(const struct rules *rules, const Process *process)
{
	bool zombie = process->state == REPRISE__PROCESS__STATE__ZOMBIE;
	int r;

	REQUIRE(rules, process->exit_status >= 0 && process->exit_status <= 0xffff,
		"exit status %x", process->exit_status);
	REQUIRE(rules, process->exit_signal <= MAX_SIGNAL, "exit signal %u", process->exit_signal);
	REQUIRE(rules, process->stop_signal <= MAX_SIGNAL, "stop signal %u", process->stop_signal);
	r = check_namespaces_of(rules, process);
	for (size_t i = 0; r == 0 && i < process->n_threads; i++)
		r = check_thread(rules, process->threads[i], !zombie && !process->threads[i]->dead);
	return r < 0 || zombie ? r : check_parts(rules, process);
}
