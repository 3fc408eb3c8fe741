// SPDX-License-Identifier: MIT
/*
 * Tasks in user namespaces. clone3() lets only those choose a number who have the capability in the
 * user namespace that owns the pid namespace. For the levels further out another stub, which has
 * it, says which number comes next there, and it is looked at whether the kernel has taken that.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "rebuild/rebuild.h"
#include "state/users.h"
#include "task/proc.h"

static int32_t owner_of(const struct rebuild *rebuild, int ns)
{
	return rebuild->restore.snapshot->pid_namespaces[ns]->user_namespace;
}

bool owned_by(const struct rebuild *rebuild, const struct stub *stub, int ns)
{
	return users_cover(rebuild->restore.snapshot, stub->spaces.user, owner_of(rebuild, ns));
}

void owned_note(struct rebuild *rebuild, struct stub *stub, int ns)
{
	/* It may go further in later, and not be able to any more: then that is said. */
	const struct stub *clerk = rebuild->ns_clerks[ns];

	if ((!clerk || clerk->gone) && stub->process &&
		users_cover(rebuild->restore.snapshot, stub->process->user_namespace,
			owner_of(rebuild, ns)))
		rebuild->ns_clerks[ns] = stub;
}

static int open_last_pid(struct rebuild *rebuild)
{
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? fail(rebuild->err, errno, "cannot open ns_last_pid") : fd;
}

static int write_in_clerk(struct rebuild *rebuild, struct stub *clerk, int fd, const char *text)
{
	static const char what[] = "cannot choose the next pid of a namespace";
	struct calls calls;
	int ret = stub_ready(clerk, rebuild->err);

	if (ret == 0)
		ret = calls_begin(&calls, &clerk->hand, false, rebuild->err);
	if (ret < 0)
		return ret;
	/* The lowest number that is free in a stub is 0. */
	calls_must(&calls, what, SYS_pidfd_getfd, (uint64_t)rebuild->restore.controller_fd,
		(uint64_t)fd, 0, 0, 0, 0);
	calls_must(&calls, what, SYS_write, 0, calls_text(&calls, text), strlen(text), 0, 0, 0);
	calls_must(&calls, what, SYS_close, 0, 0, 0, 0, 0, 0);
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

/* The next number of a namespace: of the outermost one it is this program that says it. */
static int set_next(struct rebuild *rebuild, int ns, pid_t number)
{
	_cleanup_close_ int fd = open_last_pid(rebuild);
	struct stub *clerk = rebuild->ns_clerks[ns];
	char text[16];

	if (fd < 0)
		return fd;
	snprintf(text, sizeof(text), "%d", number - 1);
	if (clerk && !clerk->gone)
		return write_in_clerk(rebuild, clerk, fd, text);
	if (ns != 0 || rebuild->target_pidns)
		return fail(rebuild->err, EPERM,
			"nobody is in a pid namespace who may choose pids there");
	return write(fd, text, strlen(text)) < 0
		       ? fail(rebuild->err, errno, "cannot choose the next pid")
		       : 0;
}

static int ns_at(const struct rebuild *rebuild, int ns, int level)
{
	while (rebuild->forest->nss[ns].level > level)
		ns = rebuild->forest->nss[ns].parent;
	return ns;
}

/* Levels from the outermost one on whose numbers the actor cannot choose. */
static int foreign_levels(
	const struct rebuild *rebuild, const struct stub *actor, const struct plan_task *task)
{
	int level = 0;

	while (level <= task->level && !owned_by(rebuild, actor, ns_at(rebuild, task->ns, level)))
		level++;
	return level;
}

static int check_numbers(
	struct rebuild *rebuild, const struct stub *subject, const pid_t *numbers, int levels)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct task_status status;
	char task[32];
	int ret;

	snprintf(task, sizeof(task), "%d", subject->tid);
	ret = arena ? proc_status(arena, task, false, &status, rebuild->err) : -ENOMEM;
	for (int i = 0; i < levels && ret == 0; i++)
		if (numbers[i] && numbers[i] != status.pids[i])
			ret = fail(rebuild->err, EEXIST, "the pid %d is taken", numbers[i]);
	return ret;
}

static int create_with_numbers(struct rebuild *rebuild, struct stub *actor, struct stub *subject,
	uint64_t flags, int exit_signal, const struct plan_task *task)
{
	int nr_pids = task->level + !(flags & CLONE_NEWPID), ret = 0;
	int foreign = foreign_levels(rebuild, actor, task);
	pid_t numbers[MAX_PID_LEVELS];

	if (!foreign)
		return stub_create(
			rebuild, actor, subject, flags, exit_signal, task->numbers, nr_pids);
	memcpy(numbers, task->numbers, sizeof(*numbers) * (size_t)(task->level + 1));
	if (foreign > nr_pids)
		foreign = nr_pids;
	for (int i = 0; i < foreign && ret == 0; i++) {
		if (numbers[i])
			ret = set_next(rebuild, ns_at(rebuild, task->ns, i), numbers[i]);
		numbers[i] = 0;
	}
	if (ret == 0)
		ret = stub_create(rebuild, actor, subject, flags, exit_signal, numbers, nr_pids);
	return ret == 0 ? check_numbers(rebuild, subject, task->numbers, foreign) : ret;
}

int owned_create(struct rebuild *rebuild, struct stub *actor, struct stub *subject, uint64_t flags,
	int exit_signal, const struct plan_task *task)
{
	int32_t owner = owner_of(rebuild, task->ns);
	struct users_birth birth;
	int ret;

	if (!(flags & CLONE_NEWPID) || owner == actor->spaces.user)
		return create_with_numbers(rebuild, actor, subject, flags, exit_signal, task);
	ret = stub_ready(actor, rebuild->err);
	if (ret == 0)
		ret = users_birth_begin(&rebuild->restore, actor, subject, owner, &birth);
	if (ret == 0)
		ret = create_with_numbers(
			rebuild, actor, subject, flags | CLONE_NEWUSER, exit_signal, task);
	if (ret == 0)
		ret = users_birth_end(&rebuild->restore, actor, subject, &birth);
	subject->spaces.user = owner;
	return ret;
}
