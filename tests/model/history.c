/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "history.h"

uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static const uint8_t usual[OP_KINDS] = {
	[OP_FORK] = 40,
	[OP_SIBLING] = 8,
	[OP_THREAD] = 6,
	[OP_CONTAINER] = 6,
	[OP_CONTAINER_SIBLING] = 2,
	[OP_SETSID] = 14,
	[OP_OWN_GROUP] = 8,
	[OP_JOIN_GROUP] = 10,
	[OP_CHILD_GROUP] = 8,
	[OP_EXIT] = 8,
	[OP_EXIT_GROUP] = 12,
	[OP_WAIT] = 10,
	[OP_SUBREAPER] = 6,
	[OP_UNSHARE] = 3,
	[OP_SETNS] = 4,
	[OP_SETNS_BACK] = 4,
};

void history_random(struct history *h, struct rng *rng, unsigned most_tasks)
{
	unsigned weights[OP_KINDS], sum = 0, tasks = 1;

	/* Each history has its own taste, or rare mixtures would never be seen. */
	for (int i = 0; i < OP_KINDS; i++) {
		static const uint8_t factors[] = {0, 1, 2, 2, 2, 4, 8};

		weights[i] = usual[i] * factors[rng_below(rng, i ? 7 : 5)];
		if (i == OP_FORK && !weights[i])
			weights[i] = usual[i];
		sum += weights[i];
	}
	h->n = 0;
	while (tasks < most_tasks && h->n < HISTORY_MOST) {
		struct op *op = &h->ops[h->n++];
		unsigned at = rng_below(rng, sum);
		uint64_t bits = rng_next(rng);

		op->kind = 0;
		while (at >= weights[op->kind])
			at -= weights[op->kind++];
		op->who = bits;
		op->what = bits >> 16;
		op->how = bits >> 32;
		if (op->kind <= OP_CONTAINER_SIBLING)
			tasks++;
	}
}

struct run {
	struct model *m;
	bool gentle;
	int living[M_TASKS];
	int n_living;
};

static void list_living(struct run *run)
{
	run->n_living = 0;
	for (int i = 1; i < run->m->n_tasks; i++)
		if (run->m->tasks[i].state == M_RUN)
			run->living[run->n_living++] = i;
}

static int pick_child(const struct model *m, int actor, unsigned what)
{
	int leader = m->tasks[actor].leader, n = 0, pick;

	for (int i = 1; i < m->n_tasks; i++)
		n += m->tasks[i].state != M_GONE && m->tasks[i].leader == i &&
		     m->tasks[m->tasks[i].parent].leader == leader;
	if (!n)
		return -1;
	pick = (int)(what % n);
	for (int i = 1; i < m->n_tasks; i++)
		if (m->tasks[i].state != M_GONE && m->tasks[i].leader == i &&
			m->tasks[m->tasks[i].parent].leader == leader && !pick--)
			return i;
	return -1;
}

/* A group of the same session; or the child itself, to open one. */
static int pick_group(const struct model *m, int actor, unsigned what)
{
	int session = m->tasks[m->tasks[actor].leader].session, n = 0, pick;

	for (int i = 0; i < m->n_tasks; i++)
		n += m->tasks[i].state != M_GONE && m->tasks[i].leader == i &&
		     m->tasks[i].session == session;
	pick = (int)(what % n);
	for (int i = 0; i < m->n_tasks; i++)
		if (m->tasks[i].state != M_GONE && m->tasks[i].leader == i &&
			m->tasks[i].session == session && !pick--)
			return m->tasks[i].group;
	return -1;
}

static int pick_ns(const struct model *m, int actor, unsigned what)
{
	int n = 0, pick;

	for (int i = 0; i < m->n_nss; i++)
		n += m->nss[i].init >= 0 && !m->nss[i].dead &&
		     model_ns_within(m, i, m->tasks[actor].ns);
	if (!n)
		return -1;
	pick = (int)(what % n);
	for (int i = 0; i < m->n_nss; i++)
		if (m->nss[i].init >= 0 && !m->nss[i].dead &&
			model_ns_within(m, i, m->tasks[actor].ns) && !pick--)
			return i;
	return -1;
}

static const uint8_t clone_flags[] = {
	[OP_FORK] = 0,
	[OP_SIBLING] = M_CLONE_PARENT,
	[OP_THREAD] = M_CLONE_THREAD,
	[OP_CONTAINER] = M_CLONE_NEWPID,
	[OP_CONTAINER_SIBLING] = M_CLONE_NEWPID | M_CLONE_PARENT,
};

static bool nursery_may(enum op_kind kind)
{
	switch (kind) {
	case OP_FORK:
	case OP_CONTAINER:
	case OP_CHILD_GROUP:
	case OP_WAIT:
	case OP_SETNS:
	case OP_SETNS_BACK:
		return true;
	default:
		return false;
	}
}

static bool may_join(const struct run *run, const struct deed *d)
{
	const struct model *m = run->m;
	int ns = m->tasks[d->subject].ns;

	return !run->gentle || m->nss[ns].init != d->subject || d->group == d->subject ||
	       (m->pids[d->group].ns != ns && model_ns_within(m, ns, m->pids[d->group].ns));
}

static void do_op(struct run *run, const struct op *op, struct deed *d)
{
	struct model *m = run->m;

	d->kind = op->kind;
	d->actor = run->n_living ? run->living[op->who % run->n_living] : 0;
	if (nursery_may(op->kind) && (!run->n_living || op->who % 61 == 60))
		d->actor = 0;
	d->value = 0;
	d->result = -EINVAL;
	d->tried = d->actor || nursery_may(op->kind);
	if (!d->tried)
		return;
	switch (op->kind) {
	case OP_FORK:
	case OP_SIBLING:
	case OP_THREAD:
	case OP_CONTAINER:
	case OP_CONTAINER_SIBLING:
		if (op->kind == OP_FORK || op->kind == OP_CONTAINER)
			d->value = op->how % 16 == 1 ? SIGUSR1 : op->how % 16 == 2 ? 0 : SIGCHLD;
		d->ns = m->n_nss;
		d->result = d->subject =
			model_clone(m, d->actor, clone_flags[op->kind], d->value, NULL);
		break;
	case OP_SETSID:
		d->result = model_setsid(m, d->actor);
		break;
	case OP_OWN_GROUP:
		d->subject = d->group = m->tasks[d->actor].leader;
		d->result = model_setpgid(m, d->actor, d->subject, d->group);
		break;
	case OP_JOIN_GROUP:
		d->subject = m->tasks[d->actor].leader;
		d->group = pick_group(m, d->actor, op->what);
		d->tried = may_join(run, d);
		if (d->tried)
			d->result = model_setpgid(m, d->actor, d->subject, d->group);
		break;
	case OP_CHILD_GROUP:
		d->subject = pick_child(m, d->actor, op->what);
		d->tried = d->subject >= 0;
		if (!d->tried)
			break;
		d->group = op->how % 2 ? d->subject : pick_group(m, d->actor, op->how / 2);
		d->tried = may_join(run, d);
		if (d->tried)
			d->result = model_setpgid(m, d->actor, d->subject, d->group);
		break;
	case OP_EXIT:
		d->value = (op->how % 8) << 8;
		d->result = model_exit(m, d->actor, d->value);
		break;
	case OP_EXIT_GROUP:
		d->value = op->how % 4 == 3 ? SIGKILL : (op->how % 8) << 8;
		d->result = model_exit_group(m, d->actor, d->value);
		break;
	case OP_WAIT:
		d->subject = pick_child(m, d->actor, op->what);
		d->tried = d->subject >= 0;
		if (d->tried)
			d->result = model_wait(m, d->actor, d->subject);
		break;
	case OP_SUBREAPER:
		d->value = op->how % 3 > 0;
		d->result = model_subreaper(m, d->actor, d->value);
		break;
	case OP_UNSHARE:
		d->result = d->subject = model_unshare(m, d->actor);
		break;
	case OP_SETNS:
		d->subject = pick_ns(m, d->actor, op->what);
		d->tried = d->subject >= 0;
		if (d->tried)
			d->result = model_setns(m, d->actor, d->subject);
		break;
	case OP_SETNS_BACK:
		d->subject = m->tasks[d->actor].ns;
		d->result = model_setns(m, d->actor, d->subject);
		break;
	default:
		break;
	}
}

void history_run(const struct history *h, struct model *m,
	void (*note)(void *arg, const struct model *m, const struct deed *deed), void *arg)
{
	struct run run = {.m = m, .gentle = h->gentle};
	struct deed d = {0};

	model_init(m);
	for (size_t i = 0; i < h->n; i++) {
		list_living(&run);
		do_op(&run, &h->ops[i], &d);
		if (note)
			note(arg, m, &d);
	}
}

void replay_start(struct replay *r, struct model *m)
{
	r->m = m;
	memset(r->tasks, -1, sizeof(r->tasks));
	memset(r->nss, -1, sizeof(r->nss));
	r->tasks[0] = r->nss[0] = 0;
	model_init(m);
}

bool replay_deed(struct replay *r, const struct deed *d)
{
	struct model *m = r->m;
	int actor = r->tasks[d->actor], result, ns = m->n_nss;

	if (actor < 0)
		return false;
	switch (d->kind) {
	case OP_FORK:
	case OP_SIBLING:
	case OP_THREAD:
	case OP_CONTAINER:
	case OP_CONTAINER_SIBLING:
		result = model_clone(m, actor, clone_flags[d->kind], d->value, NULL);
		r->tasks[d->subject] = result;
		if (m->n_nss > ns)
			r->nss[d->ns] = ns;
		return result >= 0;
	case OP_SETSID:
		return model_setsid(m, actor) >= 0;
	case OP_OWN_GROUP:
	case OP_JOIN_GROUP:
	case OP_CHILD_GROUP:
		return r->tasks[d->subject] >= 0 && r->tasks[d->group] >= 0 &&
		       model_setpgid(m, actor, r->tasks[d->subject], r->tasks[d->group]) >= 0;
	case OP_EXIT:
		return model_exit(m, actor, d->value) >= 0;
	case OP_EXIT_GROUP:
		return model_exit_group(m, actor, d->value) >= 0;
	case OP_WAIT:
		return r->tasks[d->subject] >= 0 && model_wait(m, actor, r->tasks[d->subject]) >= 0;
	case OP_SUBREAPER:
		return model_subreaper(m, actor, d->value) >= 0;
	case OP_UNSHARE:
		result = model_unshare(m, actor);
		r->nss[d->subject] = result;
		return result >= 0;
	case OP_SETNS:
	case OP_SETNS_BACK:
		return r->nss[d->subject] >= 0 && model_setns(m, actor, r->nss[d->subject]) >= 0;
	default:
		return false;
	}
}

void deed_print(FILE *file, const struct deed *d)
{
	static const char *const names[OP_KINDS] = {"fork", "clone(PARENT)", "clone(THREAD)",
		"clone(NEWPID)", "clone(NEWPID|PARENT)", "setsid", "setpgid(0, 0)", "setpgid",
		"setpgid(child)", "exit", "exit_group", "wait", "subreaper", "unshare(NEWPID)",
		"setns", "setns(own)"};

	fprintf(file, "%3d %s", d->actor, names[d->kind]);
	switch (d->kind) {
	case OP_FORK:
	case OP_SIBLING:
	case OP_THREAD:
	case OP_CONTAINER:
	case OP_CONTAINER_SIBLING:
		fprintf(file, " -> %d (signal %d)", d->subject, d->value);
		break;
	case OP_JOIN_GROUP:
	case OP_CHILD_GROUP:
		fprintf(file, " %d to group %d", d->subject, d->group);
		break;
	case OP_EXIT:
	case OP_EXIT_GROUP:
	case OP_SUBREAPER:
		fprintf(file, " %#x", d->value);
		break;
	case OP_WAIT:
	case OP_UNSHARE:
	case OP_SETNS:
	case OP_SETNS_BACK:
		fprintf(file, " %d", d->subject);
		break;
	default:
		break;
	}
	fputc('\n', file);
}
