/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "compare.h"

struct extract {
	struct arena *arena;
	const struct model *m;
	struct forest *f;
	bool choose_outer;
	int ns_index[M_NSS]; /* model's namespace to forest's */
	int pid_index[M_TASKS];
	int depth[M_TASKS]; /* innermost namespace in which anybody sees the pid; -1: unused */
	int task_index[M_TASKS];
};

/* The innermost namespace in which both are seen. */
static int common_ns(const struct model *m, int a, int b)
{
	while (a != b) {
		if (a > b)
			a = m->nss[a].parent;
		else
			b = m->nss[b].parent;
	}
	return a;
}

static void see(struct extract *x, int pid, int from)
{
	int common = common_ns(x->m, x->m->pids[pid].ns, from);

	/* An init that cannot end shows that a pid of its namespace is in use. */
	for (int ns = x->m->pids[pid].ns; ns != common; ns = x->m->nss[ns].parent)
		if (x->m->tasks[x->m->nss[ns].init].state == M_ZOMBIE) {
			common = ns;
			break;
		}
	if (x->depth[pid] < 0 || x->m->nss[common].level > x->m->nss[x->depth[pid]].level)
		x->depth[pid] = common;
}

static void use_ns(struct extract *x, int ns)
{
	for (; ns >= 0 && x->ns_index[ns] < 0; ns = x->m->nss[ns].parent)
		x->ns_index[ns] = 0;
}

static void extract_nss(struct extract *x)
{
	const struct model *m = x->m;
	struct forest *f = x->f;

	for (int i = 0; i < m->n_nss; i++)
		x->ns_index[i] = -1;
	use_ns(x, 0);
	for (int i = 1; i < m->n_tasks; i++) {
		if (m->tasks[i].state == M_GONE)
			continue;
		use_ns(x, m->tasks[i].ns);
		if (m->tasks[i].state == M_RUN)
			use_ns(x, m->tasks[i].children_ns);
	}
	f->nss = arena_alloc(x->arena, m->n_nss * sizeof(*f->nss));
	for (int i = 0; i < m->n_nss; i++) {
		const struct m_ns *ns = &m->nss[i];

		if (x->ns_index[i] < 0)
			continue;
		x->ns_index[i] = (int)f->n_nss;
		f->nss[f->n_nss++] = (struct forest_ns){
			.parent = i ? x->ns_index[ns->parent] : FOREST_OUTSIDE,
			.level = ns->level,
			.pid_max = M_NUMBERS,
			.state = ns->init < 0			      ? FOREST_NS_EMPTY
				 : m->tasks[ns->init].state == M_GONE ? FOREST_NS_DEAD
								      : FOREST_NS_LIVE,
		};
	}
}

static void extract_pids(struct extract *x)
{
	const struct model *m = x->m;
	struct forest *f = x->f;

	for (int i = 0; i < m->n_tasks; i++)
		x->depth[i] = -1;
	for (int i = 1; i < m->n_tasks; i++) {
		const struct m_task *t = &m->tasks[i];

		if (t->state == M_GONE)
			continue;
		see(x, i, t->ns);
		if (t->leader == i) {
			see(x, t->session, t->ns);
			see(x, t->group, t->ns);
		}
	}
	f->pids = arena_alloc(x->arena, m->n_tasks * sizeof(*f->pids));
	x->pid_index[0] = FOREST_OUTSIDE;
	for (int i = 1; i < m->n_tasks; i++) {
		int level;
		pid_t *numbers;

		if (x->depth[i] < 0)
			continue;
		level = m->nss[x->depth[i]].level;
		numbers = arena_copy(x->arena, m->pids[i].numbers, (level + 1) * sizeof(pid_t));
		if (!x->choose_outer)
			numbers[0] = 0;
		x->pid_index[i] = (int)f->n_pids;
		f->pids[f->n_pids++] = (struct forest_pid){x->ns_index[x->depth[i]], numbers};
	}
}

struct forest *forest_of_model(
	struct arena *arena, const struct model *m, bool choose_outer, int **of)
{
	struct extract *x = malloc(sizeof(*x));
	struct forest *f = arena_alloc(arena, sizeof(*f));
	static const pid_t taken[] = {1};

	x->arena = arena;
	x->m = m;
	x->f = f;
	x->choose_outer = choose_outer;
	extract_nss(x);
	extract_pids(x);
	f->taken = taken;
	f->n_taken = 1;
	f->tasks = arena_alloc(arena, m->n_tasks * sizeof(*f->tasks));
	*of = arena_alloc(arena, m->n_tasks * sizeof(**of));
	x->task_index[0] = FOREST_OUTSIDE;
	for (int i = 1; i < m->n_tasks; i++) {
		if (m->tasks[i].state == M_GONE)
			continue;
		(*of)[f->n_tasks] = i;
		x->task_index[i] = (int)f->n_tasks++;
	}
	for (size_t i = 0; i < f->n_tasks; i++) {
		const struct m_task *t = &m->tasks[(*of)[i]], *l = &m->tasks[t->leader];

		f->tasks[i] = (struct forest_task){
			.pid = x->pid_index[t->pid],
			.leader = x->task_index[t->leader],
			.parent = x->task_index[t->parent],
			.session = x->pid_index[l->session],
			.group = x->pid_index[l->group],
			.children_ns = x->ns_index[t->state == M_RUN ? t->children_ns : t->ns],
			.exit_signal = l->exit_signal,
			.status = t->status,
			.zombie = t->state == M_ZOMBIE,
			.subreaper = l->subreaper,
		};
	}
	free(x);
	return f;
}

static int run_step(
	const struct plan *plan, const struct plan_step *s, struct model *m, int *made, int *nss)
{
	int actor = s->actor < 0 ? 0 : made[s->actor], r;

	switch (s->kind) {
	case PLAN_CREATE:
		r = model_clone(m, actor, s->flags, s->value, plan->tasks[s->subject].numbers);
		if (r > 0) {
			made[s->subject] = r;
			if (nss[plan->tasks[s->subject].ns] < 0)
				nss[plan->tasks[s->subject].ns] = m->tasks[r].ns;
			if (nss[plan->tasks[s->subject].ns] != m->tasks[r].ns)
				return -1;
		}
		return r;
	case PLAN_SETSID:
		return model_setsid(m, actor);
	case PLAN_SETPGID:
		return model_setpgid(m, actor, s->subject < 0 ? 0 : made[s->subject],
			s->value < 0 ? 0 : made[s->value]);
	case PLAN_UNSHARE:
		r = model_unshare(m, actor);
		nss[s->value] = r;
		return r;
	case PLAN_SETNS:
		return nss[s->value] < 0 ? -1 : model_setns(m, actor, nss[s->value]);
	case PLAN_SUBREAPER:
		return model_subreaper(m, actor, s->value);
	case PLAN_EXIT:
		return model_exit(m, actor, s->value);
	case PLAN_REAP:
		return model_wait(m, actor, made[s->subject]);
	default:
		return -1;
	}
}

int plan_run(const struct plan *plan, struct model *m, int *made, char *why, size_t size)
{
	int nss[M_NSS];

	model_init(m);
	memset(nss, -1, sizeof(nss));
	nss[0] = 0;
	for (size_t i = 0; i < plan->n_tasks + plan->n_ghosts; i++)
		made[i] = -1;
	for (size_t i = 0; i < plan->n_steps + plan->n_finish; i++) {
		const struct plan_step *s =
			i < plan->n_steps ? &plan->steps[i] : &plan->finish[i - plan->n_steps];
		int r = run_step(plan, s, m, made, nss);

		if (r < 0) {
			snprintf(why, size, "step %zu (kind %d actor %d subject %d value %d): %d",
				i, s->kind, s->actor, s->subject, s->value, r);
			return -1;
		}
	}
	return 0;
}

struct pair {
	const struct model *a, *b;
	bool choose_outer;
	int task[M_TASKS]; /* a's to b's, -1 */
	int back[M_TASKS];
	int pid[M_TASKS];
	int pid_back[M_TASKS];
	int ns[M_NSS];
	int ns_back[M_NSS];
};

/* Enters a pair into a one-to-one map; false when it contradicts what is there. */
static bool match(int *map, int *back, int from, int to)
{
	if (map[from] < 0 && back[to] < 0) {
		map[from] = to;
		back[to] = from;
	}
	return map[from] == to && back[to] == from;
}

static bool match_ns(struct pair *p, int a, int b)
{
	if (p->a->nss[a].level != p->b->nss[b].level || p->a->nss[a].dead != p->b->nss[b].dead ||
		(p->a->nss[a].init < 0) != (p->b->nss[b].init < 0))
		return false;
	for (; a >= 0 && b >= 0; a = p->a->nss[a].parent, b = p->b->nss[b].parent)
		if (!match(p->ns, p->ns_back, a, b))
			return false;
	return a == b;
}

/* The same identity, with the same numbers, as far as one who lives in these namespaces sees it. */
static bool match_pid(struct pair *p, int a, int b, int ns_a, int ns_b)
{
	int common_a = common_ns(p->a, p->a->pids[a].ns, ns_a);
	int common_b = common_ns(p->b, p->b->pids[b].ns, ns_b);
	int level = p->a->nss[common_a].level;

	if (!match(p->pid, p->pid_back, a, b) || level != p->b->nss[common_b].level)
		return false;
	for (int i = p->choose_outer || !a ? 0 : 1; i <= level; i++)
		if (p->a->pids[a].numbers[i] != p->b->pids[b].numbers[i])
			return false;
	return true;
}

static const char *compare_task(struct pair *p, int a, int b)
{
	const struct m_task *ta = &p->a->tasks[a], *tb = &p->b->tasks[b];

	if (ta->state != tb->state)
		return "state";
	if (!match_ns(p, ta->ns, tb->ns))
		return "namespace";
	if (!match_pid(p, a, b, ta->ns, tb->ns))
		return "pid";
	if (p->task[ta->leader] != tb->leader)
		return "leader";
	if (p->task[ta->parent] != tb->parent)
		return "parent";
	if (ta->state == M_RUN && !match_ns(p, ta->children_ns, tb->children_ns))
		return "children's namespace";
	if (ta->leader != a)
		return NULL;
	if (!match_pid(p, ta->session, tb->session, ta->ns, tb->ns))
		return "session";
	if (!match_pid(p, ta->group, tb->group, ta->ns, tb->ns))
		return "group";
	if (ta->exit_signal != tb->exit_signal)
		return "exit signal";
	if (ta->state == M_ZOMBIE && ta->status != tb->status)
		return "status";
	if ((ta->state == M_RUN || model_has_threads(p->a, a)) && ta->subreaper != tb->subreaper)
		return "subreaper";
	return NULL;
}

int models_compare(const struct model *a, const int *of, const struct model *b, const int *made,
	size_t n, bool choose_outer, char *why, size_t size)
{
	static struct pair p; /* large; the driver has one thread */
	size_t living = 0;

	p.a = a;
	p.b = b;
	p.choose_outer = choose_outer;
	memset(p.task, -1, sizeof(*p.task) * a->n_tasks);
	memset(p.pid, -1, sizeof(*p.pid) * a->n_tasks);
	memset(p.pid_back, -1, sizeof(*p.pid_back) * b->n_tasks);
	memset(p.ns, -1, sizeof(p.ns));
	memset(p.ns_back, -1, sizeof(p.ns_back));
	p.task[0] = 0;
	for (size_t i = 0; i < n; i++)
		p.task[of[i]] = made[i];
	for (int i = 1; i < b->n_tasks; i++)
		living += b->tasks[i].state != M_GONE;
	if (living != n) {
		snprintf(why, size, "%zu tasks instead of %zu", living, n);
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		const char *what = compare_task(&p, of[i], made[i]);

		if (what) {
			snprintf(why, size, "task %d of the history: another %s", of[i], what);
			return -1;
		}
	}
	return 0;
}
