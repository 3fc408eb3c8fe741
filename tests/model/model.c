/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "model.h"

static int ns_new(struct model *m, int parent)
{
	int at = m->n_nss;

	if (at == M_NSS)
		return -ENOSPC;
	m->nss[at].parent = parent;
	m->nss[at].level = parent < 0 ? 0 : m->nss[parent].level + 1;
	m->nss[at].init = -1;
	m->nss[at].dead = false;
	m->nss[at].next = 1;
	memset(m->nss[at].who, 0, sizeof(m->nss[at].who));
	m->n_nss++;
	return at;
}

static void pid_get(struct model *m, int pid)
{
	m->pids[pid].refs++;
}

static void pid_put(struct model *m, int pid)
{
	struct m_pid *p = &m->pids[pid];

	if (--p->refs)
		return;
	for (int ns = p->ns; ns >= 0; ns = m->nss[ns].parent)
		m->nss[ns].who[p->numbers[m->nss[ns].level]] = 0;
}

static void set_group(struct model *m, int leader, int group)
{
	pid_get(m, group);
	m->pids[group].groups++;
	m->pids[m->tasks[leader].group].groups--;
	pid_put(m, m->tasks[leader].group);
	m->tasks[leader].group = group;
}

static void set_session(struct model *m, int leader, int session)
{
	pid_get(m, session);
	pid_put(m, m->tasks[leader].session);
	m->tasks[leader].session = session;
}

void model_init(struct model *m)
{
	m->n_nss = 0;
	m->most_levels = M_LEVELS - 2;
	ns_new(m, -1);
	m->n_tasks = 1;
	m->nss[0].init = 0;
	m->nss[0].who[1] = 1;
	m->nss[0].next = 2;
	m->pids[0] = (struct m_pid){.ns = 0, .refs = 3, .groups = 1, .numbers = {1}};
	m->tasks[0] = (struct m_task){.session_leader = true, .subreaper = true};
}

bool model_ns_within(const struct model *m, int ns, int outer)
{
	while (ns > outer) /* an outer namespace is older */
		ns = m->nss[ns].parent;
	return ns == outer;
}

int model_ns_at(const struct model *m, int ns, int level)
{
	while (m->nss[ns].level > level)
		ns = m->nss[ns].parent;
	return ns;
}

bool model_sees(const struct model *m, int ns, int pid)
{
	return model_ns_within(m, m->pids[pid].ns, ns);
}

bool model_is_init(const struct model *m, int task)
{
	int leader = m->tasks[task].leader;

	return m->nss[m->tasks[leader].ns].init == leader;
}

bool model_has_threads(const struct model *m, int leader)
{
	for (int i = leader; i < m->n_tasks; i++)
		if (m->tasks[i].leader == leader && m->tasks[i].state == M_RUN)
			return true;
	return false;
}

static int first_thread(const struct model *m, int leader)
{
	for (int i = leader; i < m->n_tasks; i++)
		if (m->tasks[i].leader == leader && m->tasks[i].state == M_RUN)
			return i;
	return -1;
}

/* Numbers for a new pid at every level; what was chosen must be free. */
static int pid_new(struct model *m, int at, int ns, const int *numbers)
{
	struct m_pid *p = &m->pids[at];

	p->ns = ns;
	for (int n = ns; n >= 0; n = m->nss[n].parent) {
		struct m_ns *space = &m->nss[n];
		int want = numbers ? numbers[space->level] : 0;

		if (n == ns && space->init < 0) {
			if (want > 1)
				return -EINVAL;
			want = 1;
		}
		if (want < 0 || want >= M_NUMBERS)
			return -EINVAL;
		if (want && space->who[want])
			return -EEXIST;
		if (!want) {
			int tries = M_NUMBERS;

			for (want = space->next; tries && (want >= M_NUMBERS || space->who[want]);
				tries--)
				want = want >= M_NUMBERS - 1 ? 2 : want + 1;
			if (!tries)
				return -EAGAIN;
			space->next = want + 1;
		}
		p->numbers[space->level] = want;
	}
	for (int n = ns; n >= 0; n = m->nss[n].parent)
		m->nss[n].who[p->numbers[m->nss[n].level]] = at + 1;
	p->refs = 1;
	p->groups = 0;
	return 0;
}

int model_clone(struct model *m, int actor, int flags, int exit_signal, const int *numbers)
{
	struct m_task *a = &m->tasks[actor], *t;
	int at = m->n_tasks, ns = a->children_ns, r;

	if (at == M_TASKS)
		return -ENOSPC;
	if (a->state != M_RUN)
		return -ESRCH;
	if ((flags & M_CLONE_PARENT) && (model_is_init(m, actor) || actor == 0))
		return -EINVAL;
	if ((flags & M_CLONE_THREAD) && ((flags & M_CLONE_NEWPID) || ns != a->ns))
		return -EINVAL;
	if (flags & M_CLONE_NEWPID) {
		if (ns != a->ns)
			return -EINVAL;
		if (m->nss[ns].level >= m->most_levels)
			return -ENOSPC;
		ns = ns_new(m, a->ns);
		if (ns < 0)
			return ns;
	} else if (m->nss[ns].dead) {
		return -ENOMEM;
	}
	r = pid_new(m, at, ns, numbers);
	if (r < 0) {
		if (flags & M_CLONE_NEWPID)
			m->n_nss--;
		return r;
	}
	t = &m->tasks[at];
	*t = (struct m_task){.pid = at,
		.leader = at,
		.parent = actor,
		.session = a->session,
		.group = a->group,
		.ns = ns,
		.children_ns = ns,
		.exit_signal = exit_signal};
	if (flags & M_CLONE_THREAD) {
		t->leader = a->leader;
		t->parent = a->parent;
		t->exit_signal = 0;
	} else {
		struct m_task *l = &m->tasks[a->leader];

		t->session = l->session;
		t->group = l->group;
		pid_get(m, t->session);
		pid_get(m, t->group);
		m->pids[t->group].groups++;
		if (flags & M_CLONE_PARENT) {
			t->parent = l->parent;
			t->exit_signal = l->exit_signal;
		}
		if (m->nss[ns].init < 0)
			m->nss[ns].init = at;
	}
	m->n_tasks++;
	return at;
}

static void let_go(struct model *m);

int model_setsid(struct model *m, int actor)
{
	int leader = m->tasks[actor].leader;
	struct m_task *l = &m->tasks[leader];

	if (m->tasks[actor].state != M_RUN)
		return -ESRCH;
	if (l->session_leader || m->pids[leader].groups)
		return -EPERM;
	l->session_leader = true;
	set_session(m, leader, leader);
	set_group(m, leader, leader);
	let_go(m);
	return 0;
}

/* group is a pid; it has a session only through its members. */
static bool group_in_session(const struct model *m, int group, int session)
{
	for (int i = 0; i < m->n_tasks; i++)
		if (m->tasks[i].state != M_GONE && m->tasks[i].leader == i &&
			m->tasks[i].group == group)
			return m->tasks[i].session == session;
	return false;
}

int model_setpgid(struct model *m, int actor, int task, int group)
{
	int leader = m->tasks[actor].leader, parent = m->tasks[task].parent;
	struct m_task *t = &m->tasks[task];

	if (m->tasks[actor].state != M_RUN || t->state == M_GONE)
		return -ESRCH;
	if (!model_sees(m, m->tasks[actor].ns, task) || !model_sees(m, m->tasks[actor].ns, group))
		return -ESRCH;
	if (t->leader != task)
		return -EINVAL;
	if (task && m->tasks[parent].leader == leader) {
		if (t->session != m->tasks[leader].session)
			return -EPERM;
	} else if (task != leader) {
		return -ESRCH;
	}
	if (t->session_leader)
		return -EPERM;
	if (group != task && !group_in_session(m, group, m->tasks[leader].session))
		return -EPERM;
	set_group(m, task, group);
	let_go(m);
	return 0;
}

int model_unshare(struct model *m, int actor)
{
	struct m_task *a = &m->tasks[actor];
	int ns;

	if (a->state != M_RUN)
		return -ESRCH;
	if (a->children_ns != a->ns)
		return -EINVAL;
	if (m->nss[a->ns].level >= m->most_levels)
		return -ENOSPC;
	ns = ns_new(m, a->ns);
	if (ns < 0)
		return ns;
	a->children_ns = ns;
	return 0;
}

int model_setns(struct model *m, int actor, int ns)
{
	struct m_task *a = &m->tasks[actor];

	if (a->state != M_RUN)
		return -ESRCH;
	if (m->nss[ns].init < 0)
		return -ENOENT;
	if (!model_ns_within(m, ns, a->ns))
		return -EINVAL;
	a->children_ns = ns;
	return 0;
}

int model_subreaper(struct model *m, int actor, bool on)
{
	if (m->tasks[actor].state != M_RUN)
		return -ESRCH;
	m->tasks[m->tasks[actor].leader].subreaper = on;
	return 0;
}

static void release(struct model *m, int task)
{
	struct m_task *t = &m->tasks[task];

	if (t->leader == task) {
		m->pids[t->group].groups--;
		pid_put(m, t->session);
		pid_put(m, t->group);
	}
	pid_put(m, t->pid);
	t->state = M_GONE;
}

/* Where the children of a task go that has just ended; -1: nowhere, its namespace ends with it. */
static int new_parent(const struct model *m, int task)
{
	int leader = m->tasks[task].leader, level = m->nss[m->tasks[task].ns].level;
	int thread = first_thread(m, leader);

	if (thread >= 0)
		return thread;
	for (int up = m->tasks[leader].parent; m->nss[m->tasks[up].ns].level == level;
		up = m->tasks[m->tasks[up].leader].parent) {
		int up_leader = m->tasks[up].leader;

		if (m->tasks[up_leader].subreaper) {
			thread = first_thread(m, up_leader);
			if (thread >= 0)
				return thread;
		}
		if (!up)
			break;
	}
	return first_thread(m, m->nss[m->tasks[task].ns].init);
}

static void move_children(struct model *m, int task)
{
	int to = -2;

	for (int i = 1; i < m->n_tasks; i++) {
		struct m_task *t = &m->tasks[i];

		if (t->state == M_GONE || t->parent != task)
			continue;
		if (to == -2)
			to = new_parent(m, task);
		t->parent = to;
		if (t->leader == i && m->tasks[to].leader != m->tasks[task].leader)
			t->exit_signal = SIGCHLD;
	}
}

/*
 * An init that has ended waits, before it is a zombie, until no pid of its namespace is in use: by
 * zombies that others must reap, but also as anybody's group, its own included.
 */
bool model_is_held_up(const struct model *m, int task)
{
	if (!model_is_init(m, task))
		return false;
	for (int i = 1; i < m->n_tasks; i++)
		if (i != task && m->pids[i].refs &&
			model_ns_within(m, m->pids[i].ns, m->tasks[task].ns))
			return true;
	return false;
}

/* Dying inits reap what was held up until now. */
static void let_go(struct model *m)
{
	bool again = true;

	while (again) {
		again = false;
		for (int i = 1; i < m->n_tasks; i++)
			if (m->tasks[i].state == M_ZOMBIE && m->tasks[i].leader == i &&
				m->tasks[m->tasks[i].parent].state == M_ZOMBIE &&
				!model_is_held_up(m, i)) {
				release(m, i);
				again = true;
			}
	}
}

/* The end of a namespace: all in it are killed. Their children, dead like them, go to the inits of
 * their namespaces, which reap them, but for the children of others. */
static void end_namespace(struct model *m, int init)
{
	int ns = m->tasks[init].ns;

	for (int i = ns; i < m->n_nss; i++)
		if (model_ns_within(m, i, ns))
			m->nss[i].dead = true;
	for (int i = 1; i < m->n_tasks; i++) {
		struct m_task *t = &m->tasks[i];

		if (i == init || t->state == M_GONE || !model_ns_within(m, t->ns, ns))
			continue;
		if (t->leader != i) {
			release(m, i);
			continue;
		}
		if (t->state == M_RUN || model_has_threads(m, i))
			t->status = SIGKILL;
		t->state = M_ZOMBIE;
	}
	for (int i = 1; i < m->n_tasks; i++) {
		struct m_task *t = &m->tasks[i];
		int up = m->tasks[t->parent].leader;

		if (i == init || t->state == M_GONE || !model_ns_within(m, t->ns, ns) ||
			!model_ns_within(m, m->tasks[up].ns, ns))
			continue;
		t->parent = m->nss[m->tasks[up].ns].init;
		if (up != t->parent)
			t->exit_signal = SIGCHLD;
	}
	let_go(m);
}

int model_exit(struct model *m, int task, int status)
{
	struct m_task *t = &m->tasks[task];
	int leader = t->leader;

	if (t->state != M_RUN)
		return -ESRCH;
	if (task == leader) {
		t->state = M_ZOMBIE;
		t->status = status;
	} else {
		release(m, task);
	}
	/* The status of a process is the one its last thread ended with (seen on 6.18). */
	if (!model_has_threads(m, leader))
		m->tasks[leader].status = status;
	if (model_is_init(m, leader) && !model_has_threads(m, leader))
		end_namespace(m, leader);
	else
		move_children(m, task);
	let_go(m);
	return 0;
}

int model_exit_group(struct model *m, int task, int status)
{
	int leader = m->tasks[task].leader;

	if (m->tasks[task].state != M_RUN)
		return -ESRCH;
	for (int i = m->n_tasks - 1; i >= leader; i--)
		if (m->tasks[i].leader == leader && m->tasks[i].state == M_RUN)
			model_exit(m, i, status);
	m->tasks[leader].status = status;
	return 0;
}

int model_wait(struct model *m, int actor, int child)
{
	struct m_task *c = &m->tasks[child];

	if (m->tasks[actor].state != M_RUN)
		return -ESRCH;
	if (c->leader != child || c->state == M_GONE ||
		m->tasks[c->parent].leader != m->tasks[actor].leader)
		return -ECHILD;
	if (c->state != M_ZOMBIE || model_has_threads(m, child) || model_is_held_up(m, child))
		return -EAGAIN;
	release(m, child);
	let_go(m);
	return 0;
}
