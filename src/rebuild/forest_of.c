/* SPDX-License-Identifier: MIT */
/* From a snapshot to the forest that the planner reads. */
#include "rebuild/forest_of.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* An identity is known by its number in each of its namespaces. */
struct slot {
	int ns;
	pid_t number; /* 0: free */
	int index;
};

/* Identities by namespace and number in it: open addressing, a power of two. */
struct identities {
	struct forest *forest;
	struct arena *arena;
	const Snapshot *snapshot;
	bool outer_pids;
	bool plain; /* the root is in namespace 0: its numbers there are chosen */
	size_t size;
	struct slot *slots;
};

static struct slot *slot_for(const struct identities *ids, int ns, pid_t number)
{
	uint64_t key = ((uint64_t)(unsigned)ns << 32 | (unsigned)number) * 0x9e3779b97f4a7c15ULL;
	size_t at = (size_t)(key >> 20) & (ids->size - 1);

	while (ids->slots[at].number &&
		(ids->slots[at].ns != ns || ids->slots[at].number != number))
		at = (at + 1) & (ids->size - 1);
	return &ids->slots[at];
}

static int find(const struct identities *ids, int ns, pid_t number)
{
	const struct slot *slot = slot_for(ids, ns, number);

	return slot->number ? slot->index : -1;
}

/* The identity with these numbers (level + 1 of them), made if it is new. */
static int identity(struct identities *ids, int ns, const int32_t *numbers)
{
	struct forest *forest = ids->forest;
	int level = forest->nss[ns].level, index;
	pid_t *copy;

	index = find(ids, ns, numbers[level]);
	if (index >= 0)
		return index;
	index = (int)forest->n_pids;
	copy = arena_copy(ids->arena, numbers, sizeof(*copy) * (size_t)(level + 1));
	if (!copy)
		return -ENOMEM;
	if (!ids->outer_pids && !ids->plain)
		copy[0] = 0;
	forest->pids[forest->n_pids++] = (struct forest_pid){ns, copy};
	for (int up = ns; up >= 0; up = up ? forest->nss[up].parent : -1) {
		pid_t number = numbers[forest->nss[up].level];
		struct slot *slot = slot_for(ids, up, number);

		if (number && !slot->number)
			*slot = (struct slot){up, number, index};
	}
	return index;
}

static int namespace_at(const struct forest *forest, int ns, int level)
{
	while (forest->nss[ns].level > level)
		ns = forest->nss[ns].parent;
	return ns;
}

/*
 * A session or group, by its numbers at each level of a member's namespaces: the deepest number
 * that is there names the leader, or who is known by it further inside. What the root has from
 * outside is the nursery's.
 */
static int shared_identity(struct identities *ids, int ns, const int32_t *numbers, size_t n,
	const int32_t *root_numbers)
{
	int level = (int)n - 1;

	while (level > 0 && numbers[level] == 0)
		level--;
	if (level < 0 || numbers[level] == 0)
		return FOREST_OUTSIDE;
	ns = namespace_at(ids->forest, ns, level);
	if (level == 0) {
		const int32_t root_pid = ids->snapshot->processes[0]->threads[0]->pids[0];

		/* Not in the tree, and the root has it too: it was inherited. */
		if (numbers[0] == root_numbers[0] && numbers[0] != root_pid)
			return FOREST_OUTSIDE;
		if (!ids->plain && find(ids, 0, numbers[0]) < 0)
			return FOREST_OUTSIDE;
	}
	return identity(ids, ns, numbers);
}

/* Dead leaders get their identities from the members that see the most of their numbers. */
static int note_leaders(struct identities *ids)
{
	const Snapshot *snapshot = ids->snapshot;
	const Process *root = snapshot->processes[0];
	int deepest = 0;

	for (size_t i = 0; i < ids->forest->n_nss; i++)
		if (ids->forest->nss[i].level > deepest)
			deepest = ids->forest->nss[i].level;
	for (int level = deepest; level >= 0; level--)
		for (size_t i = 0; i < snapshot->n_processes; i++) {
			const Process *process = snapshot->processes[i];
			int ns = (int)process->pid_namespace;

			if (ids->forest->nss[ns].level != level)
				continue;
			if (shared_identity(ids, ns, process->session, process->n_session,
				    root->session) < FOREST_OUTSIDE ||
				shared_identity(ids, ns, process->group, process->n_group,
					root->group) < FOREST_OUTSIDE)
				return -ENOMEM;
		}
	return 0;
}

static void fill_namespaces(const Snapshot *snapshot, struct forest *forest)
{
	for (size_t i = 0; i < snapshot->n_pid_namespaces; i++) {
		const PidNamespace *from = snapshot->pid_namespaces[i];

		forest->nss[i] = (struct forest_ns){.parent = i ? from->parent : FOREST_OUTSIDE,
			.level = i ? forest->nss[from->parent].level + 1 : 0,
			.state = !i	       ? FOREST_NS_LIVE
				 : from->inode ? FOREST_NS_DEAD
					       : FOREST_NS_EMPTY,
			.pid_max = from->pid_max,
			.last_pid = from->last_pid};
	}
	forest->n_nss = snapshot->n_pid_namespaces;
	for (size_t i = 0; i < snapshot->n_processes; i++)
		forest->nss[snapshot->processes[i]->pid_namespace].state = FOREST_NS_LIVE;
	forest->nss[0].state = FOREST_NS_LIVE;
}

/* The first thread that is alive: the one whose children a dead leader's have become. */
static size_t living(const Process *process)
{
	for (size_t i = 0; i < process->n_threads; i++)
		if (!process->threads[i]->dead)
			return i;
	return 0;
}

static int children_ns(const Process *process, size_t thread)
{
	if (thread == living(process))
		return process->children_namespace;
	return process->threads[thread]->children_namespace
		       ? (int)process->threads[thread]->children_namespace - 1
		       : (int)process->pid_namespace;
}

static int fill_process(struct identities *ids, size_t index, const int *first)
{
	const Snapshot *snapshot = ids->snapshot;
	const Process *process = snapshot->processes[index], *root = snapshot->processes[0];
	struct forest *forest = ids->forest;
	int leader = (int)forest->n_tasks, parent = FOREST_OUTSIDE;
	int ns = (int)process->pid_namespace;

	if (process->parent >= 0)
		parent = first[process->parent] + (int)living(snapshot->processes[process->parent]);
	for (size_t i = 0; i < process->n_threads; i++) {
		struct forest_task *task = &forest->tasks[forest->n_tasks++];
		int pid = identity(ids, ns, process->threads[i]->pids);

		if (pid < 0)
			return pid;
		*task = (struct forest_task){.pid = pid,
			.leader = leader,
			.parent = parent,
			.children_ns = children_ns(process, i),
			.exit_signal = (int)process->exit_signal,
			.status = process->exit_status,
			.zombie = process->state == REPRISE__PROCESS__STATE__ZOMBIE ||
				  process->threads[i]->dead,
			.subreaper = process->subreaper};
		task->session = shared_identity(
			ids, ns, process->session, process->n_session, root->session);
		task->group =
			shared_identity(ids, ns, process->group, process->n_group, root->group);
		if (task->session < FOREST_OUTSIDE || task->group < FOREST_OUTSIDE)
			return -ENOMEM;
	}
	return 0;
}

static int make_room(struct identities *ids)
{
	struct forest *forest = ids->forest;
	size_t n_threads = 0, n_numbers = 0;

	for (size_t i = 0; i < ids->snapshot->n_processes; i++) {
		const Process *process = ids->snapshot->processes[i];

		n_threads += process->n_threads;
		/* Its threads, and a leader of its group and of its session. */
		n_numbers += (process->n_threads + 2) * process->n_session;
	}
	for (ids->size = 64; ids->size < n_numbers * 2;)
		ids->size *= 2;
	ids->slots = arena_alloc(ids->arena, ids->size * sizeof(*ids->slots));
	forest->nss = arena_alloc(
		ids->arena, (ids->snapshot->n_pid_namespaces + 1) * sizeof(*forest->nss));
	forest->tasks = arena_alloc(ids->arena, (n_threads + 1) * sizeof(*forest->tasks));
	forest->pids = arena_alloc(ids->arena, (3 * n_threads + 1) * sizeof(*forest->pids));
	if (!ids->slots || !forest->nss || !forest->tasks || !forest->pids)
		return -ENOMEM;
	return 0;
}

int forest_of(struct arena *arena, const Snapshot *snapshot, bool outer_pids, struct forest **ret,
	struct reprise_error *err)
{
	struct forest *forest = arena_alloc(arena, sizeof(*forest));
	struct identities ids = {.forest = forest,
		.arena = arena,
		.snapshot = snapshot,
		.outer_pids = outer_pids,
		.plain = snapshot->processes[0]->pid_namespace == 0};
	int *first = arena_alloc(arena, snapshot->n_processes * sizeof(*first));
	int result = forest && first ? make_room(&ids) : -ENOMEM;

	if (result < 0)
		return fail(err, result, "no memory for the forest");
	fill_namespaces(snapshot, forest);
	/* All living identities first, so that a leader is found whoever names it. */
	for (size_t i = 0; i < snapshot->n_processes && result >= 0; i++) {
		const Process *process = snapshot->processes[i];

		for (size_t j = 0; j < process->n_threads && result >= 0; j++)
			result = identity(
				&ids, (int)process->pid_namespace, process->threads[j]->pids);
	}
	if (result >= 0)
		result = note_leaders(&ids);
	for (size_t i = 0; i < snapshot->n_processes && result >= 0; i++) {
		first[i] = (int)forest->n_tasks;
		result = fill_process(&ids, i, first);
	}
	if (result < 0)
		return fail(err, result, "no memory for the forest");
	*ret = forest;
	return 0;
}
