/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "forest/plan.h"

/* A container (namespace 1) with an init and two children, pids 1, 7 and 9; a fourth identity, 5,
 * that nobody has. */
struct sample {
	struct arena *arena;
	struct forest_ns nss[3];
	struct forest_pid pids[4];
	struct forest_task tasks[3];
	struct forest forest;
	struct reprise_error err;
	struct plan *plan;
};

static const pid_t numbers[4][2] = {{100, 1}, {101, 7}, {102, 9}, {103, 5}};

static struct sample *sample_new(void)
{
	struct arena *arena = arena_new();
	struct sample *s = arena_alloc(arena, sizeof(*s));

	s->arena = arena;
	s->nss[0] = (struct forest_ns){.parent = FOREST_OUTSIDE};
	s->nss[1] = (struct forest_ns){.parent = 0, .level = 1};
	s->nss[2] = (struct forest_ns){.parent = 1, .level = 2, .state = FOREST_NS_EMPTY};
	for (int i = 0; i < 4; i++)
		s->pids[i] = (struct forest_pid){1, numbers[i]};
	for (int i = 0; i < 3; i++)
		s->tasks[i] = (struct forest_task){.pid = i,
			.leader = i,
			.parent = i ? 0 : FOREST_OUTSIDE,
			.session = 0,
			.group = 0,
			.children_ns = 1,
			.exit_signal = SIGCHLD};
	s->forest = (struct forest){.nss = s->nss,
		.n_nss = 3,
		.pids = s->pids,
		.n_pids = 4,
		.tasks = s->tasks,
		.n_tasks = 3};
	return s;
}

static int plan_sample(struct sample *s)
{
	return forest_plan(s->arena, &s->forest, &s->plan, &s->err);
}

START_TEST(plain)
{
	struct sample *s = sample_new();

	ck_assert_int_eq(plan_sample(s), 0);
	ck_assert_uint_eq(s->plan->n_ghosts, 0);
	ck_assert_uint_eq(s->plan->n_steps, 4);
	ck_assert_int_eq(s->plan->steps[0].kind, PLAN_CREATE);
	ck_assert_int_eq(s->plan->steps[0].actor, PLAN_NURSERY);
	ck_assert_int_eq(s->plan->steps[0].flags, PLAN_CLONE_NEWPID);
	arena_free(s->arena);
}
END_TEST

START_TEST(numbers_asked_for)
{
	struct sample *s = sample_new();
	pid_t *list;
	size_t n;

	s->tasks[2].session = s->tasks[2].group = 3;
	ck_assert_int_eq(plan_sample(s), 0);
	ck_assert_uint_eq(s->plan->n_ghosts, 1);
	ck_assert_int_eq(plan_numbers(s->arena, s->plan, &list, &n), 0);
	ck_assert_uint_eq(n, 4);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(list[i], 100 + (int)i);
	arena_free(s->arena);
}
END_TEST

START_TEST(printed)
{
	struct sample *s = sample_new();
	char text[4000] = "";
	FILE *file = fmemopen(text, sizeof(text), "w");

	s->tasks[2].session = s->tasks[2].group = 3;
	s->tasks[1].zombie = true;
	s->tasks[1].status = 3 << 8;
	ck_assert_int_eq(plan_sample(s), 0);
	ck_assert_int_eq(plan_print(s->plan, file), 0);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(text, "3 tasks, 1 ghosts, "));
	ck_assert_ptr_nonnull(strstr(text, "nursery: clone 100/1 in a new pid namespace"));
	ck_assert_ptr_nonnull(strstr(text, "100/1: clone ghost 103/5"));
	ck_assert_ptr_nonnull(strstr(text, "ghost 103/5: setsid"));
	ck_assert_ptr_nonnull(strstr(text, "ghost 103/5: clone 102/9 as a sibling"));
	ck_assert_ptr_nonnull(strstr(text, "101/7: exit 3\n"));
	file = fmemopen(text, sizeof(text), "w");
	ck_assert_int_eq(plan_print_json(s->plan, file), 0);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(text, "\"pids\": [103, 5]"));
	ck_assert_ptr_nonnull(strstr(text, "{\"call\": \"setsid\", \"actor\": 3}"));
	arena_free(s->arena);
}
END_TEST

static void refused(struct sample *s, int code, const char *why)
{
	ck_assert_int_eq(plan_sample(s), -code);
	ck_assert_str_eq(s->err.phase, "plan");
	ck_assert_msg(strstr(s->err.thing, why), "%s", s->err.thing);
	arena_free(s->arena);
}

START_TEST(contradictions)
{
	struct sample *s = sample_new();

	s->tasks[2].pid = 1;
	refused(s, EINVAL, "two tasks with one identity");
	s = sample_new();
	s->tasks[1].parent = 2;
	s->tasks[2].parent = 1;
	refused(s, EINVAL, "their own ancestors");
	s = sample_new();
	s->tasks[1].session = s->tasks[1].group = 2;
	refused(s, EINVAL, "whose leader is in another");
	s = sample_new();
	s->tasks[1].leader = 2;
	refused(s, EINVAL, "a thread before its leader");
	s = sample_new();
	s->tasks[1].children_ns = 0;
	refused(s, EINVAL, "not within its own");
	s = sample_new();
	s->tasks[1].session = 9;
	refused(s, EINVAL, "a reference to nothing");
}
END_TEST

START_TEST(impossible_ones)
{
	struct sample *s = sample_new();

	/* A session of a namespace that only its own init can have been in before it was there. */
	s->tasks[1].children_ns = s->tasks[2].children_ns = 2;
	refused(s, EOPNOTSUPP, "not its own to open");
	s = sample_new();
	/* Born before its session: its parent leads one, and was born outside. */
	s->tasks[2].session = s->tasks[2].group = 3;
	s->tasks[2].exit_signal = SIGUSR1;
	s->tasks[1].session = s->tasks[1].group = 3;
	s->tasks[1].exit_signal = SIGUSR2;
	refused(s, EOPNOTSUPP, "exit signal");
}
END_TEST

/* Leaders that were below a brother once and left a member there: each is a note of the planner's,
 * of which it has as many as it needs. */
START_TEST(many_leaders_that_moved_up)
{
	enum { COUNT = 300, TASKS = 1 + 3 * COUNT };
	static pid_t chosen[TASKS][2];
	static struct forest_pid pids[TASKS];
	static struct forest_task tasks[TASKS];
	struct sample *s = sample_new();

	for (int i = 0; i < TASKS; i++) {
		int first = (i - 1) / 3 * 3 + 1; /* a brother, the leader, the member */

		chosen[i][1] = i + 1;
		pids[i] = (struct forest_pid){1, chosen[i]};
		tasks[i] = (struct forest_task){.pid = i,
			.leader = i,
			.parent = i == 0	   ? FOREST_OUTSIDE
				  : i == first + 2 ? first
						   : 0,
			.session = i == 0 || i == first ? 0 : first + 1,
			.group = i == 0 || i == first ? 0 : first + 1,
			.children_ns = 1,
			.exit_signal = SIGCHLD};
	}
	s->forest.pids = pids;
	s->forest.tasks = tasks;
	s->forest.n_pids = s->forest.n_tasks = TASKS;
	ck_assert_int_eq(plan_sample(s), 0);
	ck_assert_uint_eq(s->plan->n_tasks, TASKS);
	/* One whose orphan the leader is, and one below it for the member. */
	ck_assert_uint_eq(s->plan->n_ghosts, 2 * COUNT);
}
END_TEST

UNIT_MAIN("forest", plain, numbers_asked_for, printed, contradictions, impossible_ones,
	many_leaders_that_moved_up)
