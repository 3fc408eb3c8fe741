/* SPDX-License-Identifier: MIT */
/*
 * Plans of large forests: flat, binary, chain, nested, threads, sessions with dead leaders. For
 * each: tasks, ghosts, steps, bytes and milliseconds (of the processor). What is checked is that
 * steps grow no faster than tasks; time is for people and for bench/.
 *
 *   forest-scale [TASKS …]
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "forest/plan.h"

enum shape {
	FLAT,
	BINARY,
	CHAIN,
	NESTED,	 /* 32 deep, the tasks spread over the levels */
	THREADS, /* in processes of 5,000 */
	SESSIONS,
	DEAD_SESSIONS, /* orphans of dead session leaders, 20 each */
	SHAPES,
};

static const char *const names[SHAPES] = {
	"flat", "binary", "chain", "nested", "threads", "sessions", "dead sessions"};

struct forest_builder {
	struct arena *arena;
	struct forest *f;
	pid_t next;
};

static int add_ns(struct forest_builder *b, int parent)
{
	int at = (int)b->f->n_nss++;

	b->f->nss[at] = (struct forest_ns){
		.parent = parent, .level = parent < 0 ? 0 : b->f->nss[parent].level + 1};
	return at;
}

static int add_pid(struct forest_builder *b, int ns, bool init)
{
	int level = b->f->nss[ns].level;
	pid_t *numbers = arena_alloc(b->arena, ((size_t)level + 1) * sizeof(*numbers));

	for (int i = 1; i <= level; i++)
		numbers[i] = i == level && init ? 1 : b->next;
	b->next++;
	b->f->pids[b->f->n_pids] = (struct forest_pid){ns, numbers};
	return (int)b->f->n_pids++;
}

static int add_task(struct forest_builder *b, int ns, int parent, int session, bool init)
{
	struct forest *f = b->f;
	int at = (int)f->n_tasks++, pid = add_pid(b, ns, init);

	if (session == -2)
		session = pid;
	f->tasks[at] = (struct forest_task){.pid = pid,
		.leader = at,
		.parent = parent,
		.session = session,
		.group = session,
		.children_ns = ns,
		.exit_signal = SIGCHLD};
	return at;
}

static void add_thread(struct forest_builder *b, int leader)
{
	int at = add_task(b, b->f->pids[b->f->tasks[leader].pid].ns, b->f->tasks[leader].parent,
		b->f->tasks[leader].session, false);

	b->f->tasks[at].leader = leader;
}

static void build(struct forest_builder *b, enum shape shape, int n)
{
	int ns = add_ns(b, add_ns(b, FOREST_OUTSIDE)), last;
	int root = add_task(b, ns, FOREST_OUTSIDE, FOREST_OUTSIDE, true), leader = root;

	last = root;
	for (int i = 1; i < n; i++)
		switch (shape) {
		case FLAT:
			add_task(b, ns, root, FOREST_OUTSIDE, false);
			break;
		case BINARY:
			add_task(b, ns, (i - 1) / 2, FOREST_OUTSIDE, false);
			break;
		case CHAIN:
			last = add_task(b, ns, last, FOREST_OUTSIDE, false);
			break;
		case NESTED:
			if (i % (n / 31 + 1) == 0) {
				ns = add_ns(b, ns);
				root = add_task(b, ns, root, FOREST_OUTSIDE, true);
			} else {
				add_task(b, ns, root, FOREST_OUTSIDE, false);
			}
			break;
		case THREADS:
			if (i % 5000 == 0)
				leader = add_task(b, ns, root, FOREST_OUTSIDE, false);
			else
				add_thread(b, leader);
			break;
		case SESSIONS:
			last = add_task(b, ns, i % 20 == 1 ? root : last,
				i % 20 == 1 ? -2 : b->f->tasks[last].session, false);
			break;
		default:
			if (i % 20 == 1)
				last = add_pid(b, ns, false);
			add_task(b, ns, root, last, false);
			break;
		}
}

static int try_shape(enum shape shape, int n)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct forest_builder b = {.arena = arena, .next = 2};
	struct reprise_error err = {0};
	struct timespec from, to;
	struct plan *plan;
	char line[500];
	size_t room = (size_t)n + (size_t)n / 20 + 40;

	b.f = arena_alloc(arena, sizeof(*b.f));
	b.f->nss = arena_alloc(arena, 64 * sizeof(*b.f->nss));
	b.f->pids = arena_alloc(arena, room * sizeof(*b.f->pids));
	b.f->tasks = arena_alloc(arena, room * sizeof(*b.f->tasks));
	build(&b, shape, n);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	if (forest_plan(arena, b.f, &plan, &err) < 0) {
		reprise_error_line(&err, line, sizeof(line));
		printf("%s %d: %s\n", names[shape], n, line);
		return -1;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	printf("%-14s %6zu tasks %5zu ghosts %6zu steps %8.2f ms\n", names[shape], plan->n_tasks,
		plan->n_ghosts, plan->n_steps + plan->n_finish,
		(double)(to.tv_sec - from.tv_sec) * 1e3 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e6);
	return plan->n_steps + plan->n_finish > 4 * plan->n_tasks + 8 ? -1 : 0;
}

int main(int argc, char **argv)
{
	static const int usual[] = {100, 1000, 5000, 20000};
	int passed = 0, failed = 0, n_sizes = argc > 1 ? argc - 1 : (int)ARRAY_SIZE(usual);

	for (enum shape shape = FLAT; shape < SHAPES; shape++)
		for (int i = 0; i < n_sizes; i++) {
			int n = argc > 1 ? atoi(argv[i + 1]) : usual[i];

			if (try_shape(shape, n > 1 ? n : 2) < 0)
				failed++;
			else
				passed++;
		}
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}
