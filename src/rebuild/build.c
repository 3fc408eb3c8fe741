/* SPDX-License-Identifier: MIT */
/* Runs the steps of a plan: each is one call made by a stub. */
#include "rebuild/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "state/namespaces.h"
#include "task/proc.h"
#include "task/ptrace.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

static struct stub *actor_of(struct rebuild *rebuild, int actor)
{
	return actor == PLAN_NURSERY ? rebuild->nursery : rebuild->stubs[actor];
}

/* The number of a task as an actor's namespace sees it. */
static pid_t number_for(const struct rebuild *rebuild, int subject, int actor)
{
	const struct plan_task *task = &rebuild->plan->tasks[subject];
	int level = actor == PLAN_NURSERY ? 0 : rebuild->plan->tasks[actor].level;
	pid_t number = task->numbers[level];

	/* The nursery stays outside of a namespace that is entered. */
	if (actor == PLAN_NURSERY && rebuild->target_pidns)
		return rebuild->stubs[subject]->tid;
	return number ? number : rebuild->stubs[subject]->tid;
}

static int run_one(struct rebuild *rebuild, struct stub *actor, const char *what, long number,
	uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct calls calls;
	int ret = stub_ready(actor, rebuild->err);

	if (ret < 0)
		return ret;
	ret = calls_begin(&calls, &actor->hand, false, rebuild->err);
	if (ret < 0)
		return ret;
	calls_must(&calls, what, number, a, b, c, d, 0, 0);
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

/* A descriptor of every namespace is kept that a later step enters: it may be dead by then. */
static int keep_namespace(struct rebuild *rebuild, const struct stub *init, int ns)
{
	if (!rebuild->ns_wanted[ns] || rebuild->ns_fds[ns] >= 0)
		return 0;
	rebuild->ns_fds[ns] = proc_open(init->tid, "ns/pid", O_RDONLY | O_CLOEXEC);
	if (rebuild->ns_fds[ns] < 0)
		return fail(rebuild->err, rebuild->ns_fds[ns], "cannot open a new pid namespace");
	return 0;
}

static int step_create(struct rebuild *rebuild, const struct plan_step *step)
{
	const struct plan_task *task = &rebuild->plan->tasks[step->subject];
	struct stub *actor = actor_of(rebuild, step->actor);
	struct stub *subject = rebuild->stubs[step->subject];
	bool nursery = step->actor == PLAN_NURSERY;
	int ret, exit_signal = step->value;
	uint64_t flags = 0;

	if (step->flags & PLAN_CLONE_THREAD)
		flags |= THREAD_FLAGS;
	if (step->flags & PLAN_CLONE_PARENT || (nursery && !rebuild->detach))
		flags |= CLONE_PARENT;
	if (step->flags & PLAN_CLONE_NEWPID)
		flags |= CLONE_NEWPID;
	if (flags & (CLONE_PARENT | CLONE_THREAD))
		exit_signal = 0;
	subject->spaces = actor->spaces;
	ret = owned_create(rebuild, actor, subject, flags, exit_signal, task);
	if (ret < 0)
		return ret;
	if (step->flags & PLAN_CLONE_THREAD)
		return 0;
	ret = keep_namespace(rebuild, subject, task->ns);
	if (ret == 0)
		owned_note(rebuild, subject, task->ns);
	if (ret == 0 && subject->process)
		ret = namespaces_enter(&rebuild->restore, subject, &subject->spaces);
	return ret;
}

static int step_setns(struct rebuild *rebuild, const struct plan_step *step)
{
	struct stub *actor = actor_of(rebuild, step->actor);
	int fd = rebuild->ns_fds[step->value];

	if (fd < 0)
		return fail(rebuild->err, ENOENT, "a pid namespace to be entered is not there");
	return enter_namespace(
		&rebuild->restore, actor, fd, CLONE_NEWPID, "cannot enter a pid namespace");
}

static int step_setpgid(struct rebuild *rebuild, const struct plan_step *step)
{
	pid_t pid =
		step->subject == step->actor ? 0 : number_for(rebuild, step->subject, step->actor);
	pid_t group = step->value == FOREST_OUTSIDE ? getpgrp()
						    : number_for(rebuild, step->value, step->actor);

	if (step->value == FOREST_OUTSIDE && rebuild->target_pidns)
		return fail(rebuild->err, EPERM,
			"its process group is outside of the pid namespace that is entered");
	return run_one(rebuild, actor_of(rebuild, step->actor), "cannot join its process group",
		SYS_setpgid, (uint64_t)pid, (uint64_t)group, 0, 0);
}

static int step_reap(struct rebuild *rebuild, const struct plan_step *step)
{
	return run_one(rebuild, actor_of(rebuild, step->actor), "cannot reap a helper task",
		SYS_wait4, (uint64_t)number_for(rebuild, step->subject, step->actor), 0, __WALL, 0);
}

static bool has_living_threads(const struct rebuild *rebuild, int actor)
{
	for (size_t i = (size_t)actor + 1; i < rebuild->plan->n_tasks; i++) {
		if (rebuild->plan->tasks[i].leader != actor)
			break;
		if (rebuild->stubs[i]->tid && !rebuild->stubs[i]->gone)
			return true;
	}
	return false;
}

/* A leader whose threads live on is a zombie that even its tracer cannot wait for. */
static int wait_for_dead_leader(struct rebuild *rebuild, struct stub *stub)
{
	_cleanup_arena_ struct arena *arena = arena_new();

	for (int i = 0; arena && i < 60000; i++) {
		struct task_status status;
		char task[64];

		snprintf(task, sizeof(task), "%d/task/%d", stub->tid, stub->tid);
		if (proc_status(arena, task, false, &status, NULL) < 0)
			break;
		if (status.state == 'Z') {
			stub->gone = true;
			return 0;
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000 * (i < 100 ? 1 : 10)}, NULL);
	}
	return fail(rebuild->err, ETIMEDOUT, "a thread-group leader that was told to end did not");
}

/* An init hears no signal of its own namespace. From outside SIGKILL ends it; what else can have
 * ended it is a fault. */
static int start_ending_init(struct rebuild *rebuild, struct stub *stub, int signal)
{
	arch_registers regs;
	int ret;

	if (signal == SIGKILL)
		return kill(stub->tid, SIGKILL) < 0 ? fail(rebuild->err, errno, "cannot be ended")
						    : 0;
	if (signal != SIGSEGV)
		return fail(rebuild->err, EOPNOTSUPP,
			"an init that signal %d has ended cannot be made again", signal);
	ret = trace_get_registers(stub->tid, &regs);
	if (ret == 0) {
		arch_set_batch(&regs, &stub->hand);
		arch_set_instruction_pointer(&regs, 0);
		ret = trace_set_registers(stub->tid, &regs);
	}
	if (ret == 0)
		ret = trace_continue(stub->tid, 0);
	return ret < 0 ? fail(rebuild->err, ret, "a task cannot be told to end") : 0;
}

/* The call never comes back, so there is nobody to stop for: the task is let go by hand. */
static int start_ending(struct rebuild *rebuild, struct stub *stub, int status)
{
	struct call_record *records = stub->hand.local;
	uint64_t *mask = (uint64_t *)&records[8];
	uint64_t mask_at = stub->hand.room + 8 * sizeof(*records);
	const uint64_t no_core_at = mask_at + sizeof(*mask);
	arch_registers regs;
	int signal = WTERMSIG(status), ret;

	memset(records, 0, 12 * sizeof(*records));
	*mask = signal ? 1ULL << (signal - 1) : 0;
	records[0] =
		(struct call_record){.number = SYS_prlimit64, .args = {0, RLIMIT_CORE, no_core_at}};
	records[1] = (struct call_record){
		.number = SYS_rt_sigprocmask, .args = {SIG_UNBLOCK, mask_at, 0, sizeof(*mask)}};
	if (signal)
		records[2] = (struct call_record){.number = SYS_tgkill,
			.args = {(uint64_t)stub->hand.own_tgid, (uint64_t)stub->hand.own_tid,
				(uint64_t)signal}};
	else
		records[2] = (struct call_record){
			.number = SYS_exit, .args = {(uint64_t)WEXITSTATUS(status)}};
	records[3].number = -1;
	ret = trace_get_registers(stub->tid, &regs);
	if (ret == 0) {
		arch_set_batch(&regs, &stub->hand);
		ret = trace_set_registers(stub->tid, &regs);
	}
	if (ret == 0)
		ret = trace_continue(stub->tid, 0);
	return ret < 0 ? fail(rebuild->err, ret, "a task cannot be told to end") : 0;
}

static int step_exit(struct rebuild *rebuild, const struct plan_step *step)
{
	struct stub *stub = actor_of(rebuild, step->actor);
	int signal = WTERMSIG(step->value), status = 0, ret;

	ret = stub_ready(stub, rebuild->err);
	if (ret == 0)
		ret = signal && stub->hand.own_tgid == 1 ? start_ending_init(rebuild, stub, signal)
							 : start_ending(rebuild, stub, step->value);
	if (ret < 0)
		return ret;
	if (!signal)
		return has_living_threads(rebuild, step->actor)
			       ? wait_for_dead_leader(rebuild, stub)
			       : stub_wait_end(stub, rebuild->err);
	for (;;) {
		ret = trace_wait(stub->tid, 60, &status);
		if (ret < 0 && ret != -ESRCH)
			return fail(rebuild->err, ret, "a task did not end");
		if (ret < 0 || !WIFSTOPPED(status))
			break;
		trace_continue(stub->tid, WSTOPSIG(status) == signal ? signal : 0);
	}
	stub->gone = true;
	return 0;
}

static int run_step(struct rebuild *rebuild, const struct plan_step *step)
{
	struct stub *actor = actor_of(rebuild, step->actor);

	switch ((enum plan_kind)step->kind) {
	case PLAN_CREATE:
		return step_create(rebuild, step);
	case PLAN_SETSID:
		return run_one(rebuild, actor, "cannot open its session", SYS_setsid, 0, 0, 0, 0);
	case PLAN_SETPGID:
		return step_setpgid(rebuild, step);
	case PLAN_UNSHARE:
		return run_one(rebuild, actor, "cannot open a pid namespace for its children",
			SYS_unshare, CLONE_NEWPID, 0, 0, 0);
	case PLAN_SETNS:
		return step_setns(rebuild, step);
	case PLAN_SUBREAPER:
		return run_one(rebuild, actor, "cannot become a subreaper", SYS_prctl,
			PR_SET_CHILD_SUBREAPER, (uint64_t)step->value, 0, 0);
	case PLAN_EXIT:
		return step_exit(rebuild, step);
	case PLAN_REAP:
		return step_reap(rebuild, step);
	}
	return fail(rebuild->err, EINVAL, "a step of a kind that is not known");
}

static int run_steps(struct rebuild *rebuild, const struct plan_step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int ret = run_step(rebuild, &steps[i]);

		if (ret < 0)
			return steps[i].actor == PLAN_NURSERY
				       ? ret
				       : stub_named(rebuild, rebuild->stubs[steps[i].actor], ret);
	}
	return 0;
}

static int make_stubs(struct rebuild *rebuild)
{
	const Snapshot *snapshot = rebuild->restore.snapshot;
	size_t task = 0;

	rebuild->nr_stubs = rebuild->plan->n_tasks + rebuild->plan->n_ghosts;
	rebuild->stubs = arena_alloc(rebuild->arena, rebuild->nr_stubs * sizeof(struct stub *));
	rebuild->restore.leaders =
		arena_alloc(rebuild->arena, snapshot->n_processes * sizeof(struct stub *));
	if (!rebuild->stubs || !rebuild->restore.leaders)
		return -ENOMEM;
	for (size_t i = 0; i < rebuild->nr_stubs; i++) {
		rebuild->stubs[i] = stub_new(rebuild);
		if (!rebuild->stubs[i])
			return -ENOMEM;
		rebuild->stubs[i]->leader = rebuild->stubs[rebuild->plan->tasks[i].leader];
	}
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];

		rebuild->restore.leaders[i] = rebuild->stubs[task];
		for (size_t j = 0; j < process->n_threads; j++, task++) {
			rebuild->stubs[task]->process = process;
			rebuild->stubs[task]->thread = process->threads[j];
		}
	}
	return 0;
}

static int note_namespaces(struct rebuild *rebuild)
{
	size_t count = rebuild->forest->n_nss;

	rebuild->ns_fds = arena_alloc(rebuild->arena, (count + 1) * sizeof(int));
	rebuild->ns_wanted = arena_alloc(rebuild->arena, count + 1);
	rebuild->ns_clerks = arena_alloc(rebuild->arena, (count + 1) * sizeof(*rebuild->ns_clerks));
	if (!rebuild->ns_fds || !rebuild->ns_wanted || !rebuild->ns_clerks)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		rebuild->ns_fds[i] = -1;
	for (size_t i = 0; i < rebuild->plan->n_steps; i++)
		if (rebuild->plan->steps[i].kind == PLAN_SETNS)
			rebuild->ns_wanted[rebuild->plan->steps[i].value] = true;
	if (!rebuild->ns_wanted[0])
		return 0;
	rebuild->ns_fds[0] =
		proc_open(rebuild->nursery->tid, "ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	return rebuild->ns_fds[0] < 0 ? rebuild->ns_fds[0] : 0;
}

/* A living stub of a namespace that may set its numbers: those of its own. */
static struct stub *member_of(const struct rebuild *rebuild, size_t ns)
{
	for (size_t i = 0; i < rebuild->plan->n_tasks; i++)
		if (rebuild->plan->tasks[i].ns == (int)ns && !rebuild->stubs[i]->gone &&
			rebuild->stubs[i]->leader == rebuild->stubs[i] &&
			owned_by(rebuild, rebuild->stubs[i], (int)ns))
			return rebuild->stubs[i];
	return NULL;
}

/* A file of /proc/sys shows the numbers of whoever opens it, by any mount of /proc: by this
 * program's, since the container's own may be read-only. Descriptors 0 and 1 are free in a stub. */
static void write_number(struct rebuild *rebuild, struct calls *calls, int proc_fd,
	const char *path, int number, const char *what)
{
	uint64_t name = calls_text(calls, path);
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	calls_must(calls, what, SYS_pidfd_getfd, (uint64_t)rebuild->restore.controller_fd,
		(uint64_t)proc_fd, 0, 0, 0, 0);
	calls_must(calls, what, SYS_openat, 0, name, O_WRONLY, 0, 0, 0);
	calls_must(calls, what, SYS_write, 1, calls_text(calls, text), strlen(text), 0, 0, 0);
	calls_must(calls, what, SYS_close, 1, 0, 0, 0, 0, 0);
	calls_must(calls, what, SYS_close, 0, 0, 0, 0, 0, 0);
}

static int set_numbers(
	struct rebuild *rebuild, struct stub *stub, const struct forest_ns *ns, int proc_fd)
{
	struct calls calls;
	int ret = stub_ready(stub, rebuild->err);

	if (ret == 0)
		ret = calls_begin(&calls, &stub->hand, false, rebuild->err);
	if (ret < 0)
		return ret;
	if (calls_reserve(&calls, 10, 512) == 0 && ns->last_pid > 0)
		write_number(rebuild, &calls, proc_fd, "sys/kernel/ns_last_pid", ns->last_pid,
			"cannot set the last pid of its namespace");
	if (ns->pid_max > 0)
		write_number(rebuild, &calls, proc_fd, "sys/kernel/pid_max", ns->pid_max,
			"cannot set pid_max of its namespace");
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

/* Where the kernel's choice of pids goes on (set_tid does not move it), and where it ends (a limit
 * of each namespace since Linux 6.14). */
static int set_limits_of_namespaces(struct rebuild *rebuild)
{
	_cleanup_close_ int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return fail(rebuild->err, errno, "cannot open /proc");
	for (size_t i = 1; i < rebuild->forest->n_nss && ret == 0; i++) {
		const struct forest_ns *ns = &rebuild->forest->nss[i];
		struct stub *stub = member_of(rebuild, i);

		if (stub && (ns->last_pid > 0 || ns->pid_max > 0))
			ret = set_numbers(rebuild, stub, ns, fd);
	}
	return ret;
}

int build_forest(struct rebuild *rebuild)
{
	int ret = make_stubs(rebuild);

	if (ret == 0)
		ret = note_namespaces(rebuild);
	if (ret == 0)
		ret = run_steps(rebuild, rebuild->plan->steps, rebuild->plan->n_steps);
	for (size_t i = 0; ret == 0 && i < rebuild->nr_stubs; i++)
		if (!rebuild->stubs[i]->gone)
			ret = stub_ready(rebuild->stubs[i], rebuild->err);
	if (ret == 0)
		ret = set_limits_of_namespaces(rebuild);
	for (size_t i = 0; rebuild->ns_fds && i < rebuild->forest->n_nss; i++)
		close_ptr(&rebuild->ns_fds[i]);
	return ret < 0 ? fail(rebuild->err, ret, "the tasks cannot be created") : 0;
}

int build_finish(struct rebuild *rebuild)
{
	return run_steps(rebuild, rebuild->plan->finish, rebuild->plan->n_finish);
}
