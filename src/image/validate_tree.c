// SPDX-License-Identifier: MIT
/* Pids, parents, namespaces of pids. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "image/validate.h"

#define MAX_PID (1 << 22) /* PID_MAX_LIMIT */

int check_pid_namespaces(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_pid_namespaces; i++) {
		const PidNamespace *ns = snapshot->pid_namespaces[i];

		if (i == 0) {
			REQUIRE(rules, ns->parent == -1 && ns->level == 0,
				"pid namespace 0 is inside another");
		} else {
			REQUIRE(rules, is_index(ns->parent, i),
				"pid namespace %zu: its parent does not come before it", i);
			REQUIRE(rules,
				ns->level == snapshot->pid_namespaces[ns->parent]->level + 1 &&
					ns->level < MAX_LEVELS,
				"pid namespace %zu: level %u", i, ns->level);
		}
		REQUIRE(rules, ns->last_pid >= 0 && ns->last_pid <= MAX_PID,
			"pid namespace %zu: last pid %d", i, ns->last_pid);
		REQUIRE(rules, ns->pid_max >= 0 && ns->pid_max <= MAX_PID,
			"pid namespace %zu: highest pid %d", i, ns->pid_max);
		REQUIRE(rules, is_index_or_none(ns->user_namespace, snapshot->n_user_namespaces),
			"pid namespace %zu: owner %d", i, ns->user_namespace);
	}
	return 0;
}

/* Is inner the namespace outer, or inside it? */
static bool is_within(const Snapshot *snapshot, int32_t inner, int32_t outer)
{
	while (inner > outer)
		inner = snapshot->pid_namespaces[inner]->parent;
	return inner == outer;
}

static int check_numbers(const struct rules *rules, const int32_t *numbers, size_t count,
	size_t levels, const char *what)
{
	REQUIRE(rules, count == levels, "%s has %zu numbers at %zu levels", what, count, levels);
	for (size_t i = 0; i < count; i++)
		REQUIRE(rules, numbers[i] >= 0 && numbers[i] <= MAX_PID, "%s has the number %d",
			what, numbers[i]);
	return 0;
}

static int check_threads(const struct rules *rules, const Process *process, size_t levels)
{
	const Snapshot *snapshot = rules->snapshot;

	REQUIRE(rules, process->n_threads > 0, "it has no thread");
	REQUIRE(rules, process->state != REPRISE__PROCESS__STATE__ZOMBIE || process->n_threads == 1,
		"a zombie has threads");
	for (size_t i = 0; i < process->n_threads; i++) {
		const Thread *thread = process->threads[i];

		REQUIRE(rules, thread->n_pids == levels, "thread %zu has %zu pids at %zu levels", i,
			thread->n_pids, levels);
		for (size_t j = 0; j < levels; j++)
			REQUIRE(rules, thread->pids[j] > 0 && thread->pids[j] <= MAX_PID,
				"thread %zu has the pid %d", i, thread->pids[j]);
		REQUIRE(rules, !thread->dead || i == 0, "thread %zu is dead", i);
		REQUIRE(rules,
			!thread->children_namespace ||
				(thread->children_namespace <= snapshot->n_pid_namespaces &&
					is_within(snapshot, (int32_t)thread->children_namespace - 1,
						(int32_t)process->pid_namespace)),
			"the children of thread %zu are in pid namespace %u", i,
			thread->children_namespace);
	}
	return 0;
}

int check_tree(const struct rules *rules, size_t index)
{
	const Snapshot *snapshot = rules->snapshot;
	const Process *process = snapshot->processes[index];
	size_t levels;
	int r;

	REQUIRE(rules,
		is_index_or_none(process->parent, index) && (index > 0 || process->parent == -1),
		"its parent does not come before it");
	REQUIRE(rules, is_index(process->pid_namespace, snapshot->n_pid_namespaces),
		"it is in pid namespace %u", process->pid_namespace);
	REQUIRE(rules, is_index(process->children_namespace, snapshot->n_pid_namespaces),
		"its children are in pid namespace %d", process->children_namespace);
	if (process->parent >= 0)
		REQUIRE(rules,
			is_within(snapshot, (int32_t)process->pid_namespace,
				(int32_t)snapshot->processes[process->parent]->pid_namespace),
			"it is in a pid namespace that its parent cannot see");
	/* A zombie has given its namespaces up. */
	if (process->state != REPRISE__PROCESS__STATE__ZOMBIE)
		REQUIRE(rules,
			is_within(snapshot, process->children_namespace,
				(int32_t)process->pid_namespace),
			"its children are in a pid namespace that it cannot see");
	levels = snapshot->pid_namespaces[process->pid_namespace]->level + 1;
	r = check_threads(rules, process, levels);
	if (r == 0)
		r = check_numbers(
			rules, process->session, process->n_session, levels, "its session");
	if (r == 0)
		r = check_numbers(
			rules, process->group, process->n_group, levels, "its process group");
	return r;
}

/* A number in a namespace. */
struct number {
	int32_t ns, pid;
};

static int compare(const void *a, const void *b)
{
	const struct number *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static size_t add_numbers(
	const Snapshot *snapshot, const Process *process, const Thread *thread, struct number *to)
{
	int32_t ns = (int32_t)process->pid_namespace;

	for (size_t level = thread->n_pids; level-- > 0;) {
		to[level] = (struct number){ns, thread->pids[level]};
		ns = snapshot->pid_namespaces[ns]->parent;
	}
	return thread->n_pids;
}

int check_pids_differ(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;
	_cleanup_free_ struct number *numbers = NULL;
	size_t room = 0, count = 0;

	for (size_t i = 0; i < snapshot->n_processes; i++)
		room += snapshot->processes[i]->n_threads *
			snapshot->processes[i]->threads[0]->n_pids;
	numbers = calloc(room, sizeof(*numbers));
	if (!numbers)
		return fail(rules->err, ENOMEM, "cannot check the image's pids");
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];

		for (size_t j = 0; j < process->n_threads; j++)
			count += add_numbers(
				snapshot, process, process->threads[j], numbers + count);
	}
	qsort(numbers, count, sizeof(*numbers), compare);
	for (size_t i = 1; i < count; i++)
		REQUIRE(rules, compare(&numbers[i - 1], &numbers[i]) != 0,
			"two tasks have the pid %d in pid namespace %d", numbers[i].pid,
			numbers[i].ns);
	return 0;
}
