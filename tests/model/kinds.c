/* SPDX-License-Identifier: MIT */
/* Every kind of forest that a restart has to lead to, by name: a short history each, and how many
 * ghosts its plan may use at most. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "trial.h"

static int forked(struct model *m, int actor)
{
	return model_clone(m, actor, 0, SIGCHLD, NULL);
}

static int sibling(struct model *m, int actor)
{
	return model_clone(m, actor, M_CLONE_PARENT, 0, NULL);
}

static int thread(struct model *m, int actor)
{
	return model_clone(m, actor, M_CLONE_THREAD, 0, NULL);
}

static int container(struct model *m, int actor)
{
	return model_clone(m, actor, M_CLONE_NEWPID, SIGCHLD, NULL);
}

static int brought_in(struct model *m, int actor, int init)
{
	int task;

	model_setns(m, actor, m->tasks[init].ns);
	task = forked(m, actor);
	model_setns(m, actor, m->tasks[actor].ns);
	return task;
}

static void one_task(struct model *m)
{
	forked(m, 0);
}

static void one_container(struct model *m)
{
	forked(m, container(m, 0));
}

static void nested_32_deep(struct model *m)
{
	int task = 0;

	for (int i = 0; i < 32; i++)
		task = container(m, task);
	forked(m, task);
}

static void session_leaders(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), b = forked(m, a);

	model_setsid(m, root);
	model_setsid(m, a);
	model_setsid(m, b);
	forked(m, b);
}

static void dead_session_leader(struct model *m)
{
	int root = container(m, 0), shell = forked(m, root), job;

	model_setsid(m, shell);
	job = forked(m, shell);
	forked(m, job);
	model_exit(m, shell, 0);
	model_wait(m, root, shell);
}

static void zombie_session_leader(struct model *m)
{
	int root = container(m, 0), shell = forked(m, root);

	model_setsid(m, shell);
	forked(m, shell);
	model_exit(m, shell, 3 << 8);
}

static void dead_group_leader(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), b = forked(m, root);

	model_setpgid(m, a, a, a);
	model_setpgid(m, b, b, a);
	model_exit(m, a, 0);
	model_wait(m, root, a);
}

static void children_before_setsid(struct model *m)
{
	int root = container(m, 0), a = forked(m, root);

	forked(m, a);
	model_setsid(m, a);
	forked(m, a);
}

static void groups_that_swapped_leaders(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), b = forked(m, root), c;

	model_setpgid(m, a, a, a);
	c = forked(m, a);
	model_setpgid(m, b, b, b);
	model_setpgid(m, a, a, b);
	model_setpgid(m, b, b, a);
	model_exit(m, c, 0);
	model_wait(m, a, c);
}

static void group_from_an_outer_namespace(struct model *m)
{
	int root = container(m, 0), init;

	model_setsid(m, root);
	init = container(m, root);
	forked(m, forked(m, init));
}

static void group_of_a_namespace_beside(struct model *m)
{
	int root = container(m, 0), a = container(m, root), b = container(m, root);

	model_setpgid(m, root, a, a);
	model_setpgid(m, root, b, a);
	forked(m, b);
}

static void session_from_an_outer_namespace(struct model *m)
{
	int root = container(m, 0), shell = forked(m, root), init;

	model_setsid(m, shell);
	init = container(m, shell);
	forked(m, init);
	model_exit(m, shell, 0);
	model_wait(m, root, shell);
}

static void zombies(struct model *m)
{
	int root = container(m, 0);

	model_exit(m, forked(m, root), 7 << 8);
	model_exit_group(m, forked(m, root), SIGKILL);
}

static void zombie_leader_with_living_threads(struct model *m)
{
	int root = container(m, 0), leader = forked(m, root), t;

	t = thread(m, leader);
	thread(m, leader);
	forked(m, t);
	model_exit(m, leader, 5 << 8);
}

static void threads_with_children(struct model *m)
{
	int root = container(m, 0), t = thread(m, root);

	forked(m, t);
	forked(m, root);
}

static void orphan_to_init(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), b = forked(m, a);

	forked(m, b);
	model_exit(m, a, 0);
	model_wait(m, root, a);
}

static void daemon_that_forked_twice(struct model *m)
{
	int root = container(m, 0), first = forked(m, root), second;

	model_setsid(m, first);
	second = forked(m, first);
	model_exit(m, first, 0);
	model_wait(m, root, first);
	model_setpgid(m, second, second, second);
}

static void orphan_to_subreaper(struct model *m)
{
	int root = container(m, 0), manager = forked(m, root), shell;

	model_subreaper(m, manager, true);
	shell = forked(m, forked(m, manager));
	model_setsid(m, shell);
	forked(m, shell);
	model_exit(m, m->tasks[shell].parent, 0);
	model_exit(m, shell, 0);
}

static void orphan_past_a_former_subreaper(struct model *m)
{
	int root = container(m, 0), manager = forked(m, root), shell = forked(m, manager);
	int job;

	model_setsid(m, shell);
	job = forked(m, shell);
	forked(m, job);
	model_exit(m, shell, 0);
	model_wait(m, manager, shell);
}

static void siblings_by_clone_parent(struct model *m)
{
	int root = container(m, 0), a = forked(m, root);

	model_setsid(m, a);
	sibling(m, sibling(m, a));
}

static void odd_exit_signals(struct model *m)
{
	int root = container(m, 0), a;

	a = model_clone(m, root, 0, SIGUSR1, NULL);
	model_clone(m, root, 0, 0, NULL);
	sibling(m, a);
}

static void member_with_a_parent_outside(struct model *m)
{
	int root = container(m, 0), task = brought_in(m, 0, root);

	model_setsid(m, task);
	forked(m, task);
}

static void orphan_of_one_brought_in(struct model *m)
{
	int root = container(m, 0), outer = forked(m, root), inner = container(m, root);
	int task = brought_in(m, outer, inner);

	model_setsid(m, task);
	forked(m, task);
	model_exit(m, task, 0);
	model_wait(m, outer, task);
}

static void children_in_another_namespace(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), b = container(m, root);

	model_setns(m, a, m->tasks[b].ns);
	forked(m, a);
}

static void empty_namespace_for_children(struct model *m)
{
	int root = container(m, 0);

	model_unshare(m, forked(m, root));
}

static void dead_namespace_for_children(struct model *m)
{
	int root = container(m, 0), a = forked(m, root), init;

	model_unshare(m, a);
	init = forked(m, a);
	forked(m, init);
	model_exit(m, init, 0);
	model_wait(m, a, init);
}

static void zombie_init(struct model *m)
{
	int root = container(m, 0), init = container(m, root);

	forked(m, init);
	model_exit(m, init, 0);
}

static void init_held_up_by_a_zombie_of_others(struct model *m)
{
	int root = container(m, 0), outer = forked(m, root), init = container(m, root);

	brought_in(m, outer, init);
	model_exit(m, init, 0);
}

static void init_whose_parent_is_further_out(struct model *m)
{
	int root = container(m, 0), outer = forked(m, root), inner = container(m, root);
	int task = brought_in(m, outer, inner);

	model_clone(m, task, M_CLONE_PARENT | M_CLONE_NEWPID, 0, NULL);
}

static void orphan_to_the_init_that_a_thread_made(struct model *m)
{
	int a = forked(m, 0), outer = forked(m, a), init, orphan;

	model_setsid(m, outer);
	init = model_clone(m, thread(m, a), M_CLONE_NEWPID, SIGCHLD, NULL);
	model_setsid(m, init);
	model_setns(m, outer, m->tasks[init].ns);
	orphan = forked(m, outer);
	forked(m, orphan);
	model_exit(m, orphan, 6 << 8);
}

static void session_leader_that_moved_past_an_odd_signal(struct model *m)
{
	int a = model_clone(m, 0, 0, 0, NULL), b = forked(m, a), c;

	model_setsid(m, b);
	model_setsid(m, a);
	model_subreaper(m, a, true);
	c = forked(m, b);
	model_setsid(m, c);
	forked(m, c);
	model_exit(m, c, 5 << 8);
	model_subreaper(m, a, false);
	model_exit(m, b, 0);
}

static void brother_in_a_group_that_was_left(struct model *m)
{
	int a = forked(m, 0), init = container(m, a), first, inner;

	model_setsid(m, a);
	first = forked(m, init);
	model_setpgid(m, init, init, init);
	model_unshare(m, init);
	inner = forked(m, init);
	forked(m, inner);
	forked(m, a);
	sibling(m, first);
}

static void brother_in_a_namespace_that_waits_for_the_group(struct model *m)
{
	int root = container(m, 0), a = model_clone(m, root, 0, 0, NULL), b = forked(m, a), c, init;

	model_setpgid(m, root, a, a);
	c = sibling(m, a);
	model_unshare(m, c);
	init = sibling(m, c);
	model_setns(m, b, m->tasks[init].ns);
	sibling(m, b);
	model_setsid(m, root);
}

static void orphan_in_a_group_its_namespace_cannot_be_in(struct model *m)
{
	int a = model_clone(m, 0, 0, SIGUSR1, NULL), b = forked(m, a),
	    init = container(m, sibling(m, a));
	int c = forked(m, sibling(m, b)), d = forked(m, c), inner, e;

	model_setpgid(m, d, d, d);
	inner = container(m, forked(m, init));
	model_setns(m, d, m->tasks[inner].ns);
	e = forked(m, d);
	forked(m, e);
	model_setsid(m, inner);
	model_exit(m, e, 4 << 8);
}

static void orphan_beside_a_child_in_another_group(struct model *m)
{
	int a = forked(m, 0), b = forked(m, a), c = forked(m, b), d, e, f, init, inner;

	model_setpgid(m, b, c, c);
	d = sibling(m, forked(m, c));
	init = container(m, forked(m, sibling(m, forked(m, d))));
	model_setpgid(m, d, d, m->tasks[0].group);
	inner = model_clone(m, init, M_CLONE_NEWPID, SIGUSR1, NULL);
	e = model_clone(m, inner, 0, 0, NULL);
	model_setpgid(m, init, inner, inner);
	model_setns(m, d, m->tasks[inner].ns);
	f = forked(m, d);
	container(m, f);
	model_exit_group(m, f, 6 << 8);
	(void)e;
}

static const struct kind {
	const char *name;
	void (*history)(struct model *m);
	size_t ghosts;
} kinds[] = {
	{"one task", one_task, 0},
	{"one container", one_container, 0},
	{"nested 32 deep", nested_32_deep, 0},
	{"session leaders", session_leaders, 0},
	{"dead session leader", dead_session_leader, 1},
	{"zombie session leader", zombie_session_leader, 0},
	{"dead group leader", dead_group_leader, 1},
	{"children before setsid", children_before_setsid, 0},
	{"groups that swapped leaders", groups_that_swapped_leaders, 1},
	{"group from an outer namespace", group_from_an_outer_namespace, 0},
	{"group of a namespace beside", group_of_a_namespace_beside, 0},
	{"session from an outer namespace", session_from_an_outer_namespace, 1},
	{"zombies", zombies, 0},
	{"zombie leader with living threads", zombie_leader_with_living_threads, 0},
	{"threads with children", threads_with_children, 0},
	{"orphan to init", orphan_to_init, 0},
	{"daemon that forked twice", daemon_that_forked_twice, 1},
	{"orphan to subreaper", orphan_to_subreaper, 1},
	{"orphan past a former subreaper", orphan_past_a_former_subreaper, 1},
	{"siblings by CLONE_PARENT", siblings_by_clone_parent, 0},
	{"odd exit signals", odd_exit_signals, 0},
	{"member with a parent outside", member_with_a_parent_outside, 0},
	{"orphan of one brought in", orphan_of_one_brought_in, 1},
	{"children in another namespace", children_in_another_namespace, 0},
	{"empty namespace for children", empty_namespace_for_children, 0},
	{"dead namespace for children", dead_namespace_for_children, 1},
	{"zombie init", zombie_init, 0},
	{"init held up by a zombie of others", init_held_up_by_a_zombie_of_others, 0},
	{"init whose parent is further out", init_whose_parent_is_further_out, 0},
	{"orphan to the init that a thread made", orphan_to_the_init_that_a_thread_made, 1},
	{"session leader that moved past an odd signal",
		session_leader_that_moved_past_an_odd_signal, 2},
	{"brother in a group that was left", brother_in_a_group_that_was_left, 0},
	{"brother in a namespace that waits for the group",
		brother_in_a_namespace_that_waits_for_the_group, 0},
	{"orphan in a group its namespace cannot be in",
		orphan_in_a_group_its_namespace_cannot_be_in, 1},
	{"orphan beside a child in another group", orphan_beside_a_child_in_another_group, 1},
};

int main(void)
{
	struct trial t;
	size_t failed = 0, n = 2 * ARRAY_SIZE(kinds);

	trial_init(&t);
	for (size_t i = 0; i < n; i++) {
		const struct kind *kind = &kinds[i / 2];
		bool bad;

		t.choose_outer = i % 2;
		model_init(t.then);
		kind->history(t.then);
		bad = trial_check(&t) < 0;
		if (!bad && t.ghosts > kind->ghosts) {
			bad = true;
			snprintf(t.why, sizeof(t.why), "%zu ghosts", t.ghosts);
		}
		printf("%s%s: %s\n", kind->name, t.choose_outer ? " (outer pids as well)" : "",
			bad ? t.why : "ok");
		failed += bad;
	}
	trial_free(&t);
	printf("%zu passed, %zu failed, 0 skipped\n", n - failed, failed);
	return failed != 0;
}
