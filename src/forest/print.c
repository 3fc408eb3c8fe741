/* SPDX-License-Identifier: MIT */
/* A plan as a person reads it, and as a program does. */
#include <errno.h>

#include "forest/plan.h"

static const char *const kinds[] = {
	[PLAN_CREATE] = "clone",
	[PLAN_SETSID] = "setsid",
	[PLAN_SETPGID] = "setpgid",
	[PLAN_UNSHARE] = "unshare",
	[PLAN_SETNS] = "setns",
	[PLAN_SUBREAPER] = "subreaper",
	[PLAN_EXIT] = "exit",
	[PLAN_REAP] = "wait",
};

/* "12/3/1", outermost first; "*" where the kernel chooses; "ghost" before those of ghosts. */
static void print_task(const struct plan *plan, FILE *file, int task)
{
	const struct plan_task *t;

	if (task == PLAN_NURSERY) {
		fputs("nursery", file);
		return;
	}
	t = &plan->tasks[task];
	if ((size_t)task >= plan->n_tasks)
		fputs("ghost ", file);
	for (int level = 0; level <= t->level; level++) {
		if (level)
			fputc('/', file);
		if (t->numbers[level])
			fprintf(file, "%d", t->numbers[level]);
		else
			fputc('*', file);
	}
}

static void print_step(const struct plan *plan, FILE *file, const struct plan_step *s)
{
	print_task(plan, file, s->actor);
	fprintf(file, ": %s ", kinds[s->kind]);
	switch (s->kind) {
	case PLAN_CREATE:
		print_task(plan, file, s->subject);
		if (s->flags & PLAN_CLONE_THREAD)
			fputs(" as a thread", file);
		if (s->flags & PLAN_CLONE_PARENT)
			fputs(" as a sibling", file);
		if (s->flags & PLAN_CLONE_NEWPID)
			fputs(" in a new pid namespace", file);
		if (!(s->flags & (PLAN_CLONE_THREAD | PLAN_CLONE_PARENT)))
			fprintf(file, ", exit signal %d", s->value);
		break;
	case PLAN_SETPGID:
		print_task(plan, file, s->subject);
		fputs(" to the group of ", file);
		print_task(plan, file, s->value);
		break;
	case PLAN_UNSHARE:
	case PLAN_SETNS:
		fprintf(file, "pid namespace %d", s->value);
		break;
	case PLAN_SUBREAPER:
		fputs(s->value ? "on" : "off", file);
		break;
	case PLAN_EXIT:
		if (s->value & 0x7f)
			fprintf(file, "by signal %d", s->value & 0x7f);
		else
			fprintf(file, "%d", s->value >> 8 & 0xff);
		break;
	case PLAN_REAP:
		print_task(plan, file, s->subject);
		break;
	default:
		break;
	}
	fputc('\n', file);
}

int plan_print(const struct plan *plan, FILE *file)
{
	fprintf(file, "%zu tasks, %zu ghosts, %zu steps\n", plan->n_tasks, plan->n_ghosts,
		plan->n_steps + plan->n_finish);
	for (size_t i = 0; i < plan->n_steps; i++)
		print_step(plan, file, &plan->steps[i]);
	if (plan->n_finish)
		fputs("when the state of all is restored:\n", file);
	for (size_t i = 0; i < plan->n_finish; i++)
		print_step(plan, file, &plan->finish[i]);
	return ferror(file) ? -EIO : 0;
}

static void json_steps(FILE *file, const char *name, const struct plan_step *steps, size_t n)
{
	fprintf(file, ",\n \"%s\": [", name);
	for (size_t i = 0; i < n; i++) {
		const struct plan_step *s = &steps[i];

		fprintf(file, "%s\n  {\"call\": \"%s\", \"actor\": %d", i ? "," : "",
			kinds[s->kind], s->actor);
		switch (s->kind) {
		case PLAN_CREATE:
			fprintf(file, ", \"subject\": %d, \"exit_signal\": %d", s->subject,
				s->value);
			fprintf(file, ", \"thread\": %s, \"parent\": %s, \"newpid\": %s",
				s->flags & PLAN_CLONE_THREAD ? "true" : "false",
				s->flags & PLAN_CLONE_PARENT ? "true" : "false",
				s->flags & PLAN_CLONE_NEWPID ? "true" : "false");
			break;
		case PLAN_SETPGID:
			fprintf(file, ", \"subject\": %d, \"group\": %d", s->subject, s->value);
			break;
		case PLAN_UNSHARE:
		case PLAN_SETNS:
			fprintf(file, ", \"namespace\": %d", s->value);
			break;
		case PLAN_SUBREAPER:
			fprintf(file, ", \"on\": %s", s->value ? "true" : "false");
			break;
		case PLAN_EXIT:
			fprintf(file, ", \"status\": %d", s->value);
			break;
		case PLAN_REAP:
			fprintf(file, ", \"subject\": %d", s->subject);
			break;
		default:
			break;
		}
		fputc('}', file);
	}
	fputs("]", file);
}

int plan_print_json(const struct plan *plan, FILE *file)
{
	fputs("{\"tasks\": [", file);
	for (size_t i = 0; i < plan->n_tasks + plan->n_ghosts; i++) {
		const struct plan_task *t = &plan->tasks[i];

		fprintf(file,
			"%s\n  {\"ghost\": %s, \"namespace\": %d, \"leader\": %d, \"pids\": [",
			i ? "," : "", i >= plan->n_tasks ? "true" : "false", t->ns, t->leader);
		for (int level = 0; level <= t->level; level++)
			fprintf(file, "%s%d", level ? ", " : "", t->numbers[level]);
		fputs("]}", file);
	}
	fputs("]", file);
	json_steps(file, "steps", plan->steps, plan->n_steps);
	json_steps(file, "finish", plan->finish, plan->n_finish);
	fputs("}\n", file);
	return ferror(file) ? -EIO : 0;
}
