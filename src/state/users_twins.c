// SPDX-License-Identifier: MIT
/*
 * User namespaces made again. A stub in one may not look at the controller, which is outside, so
 * each has a twin there: a child that shares the controller's descriptors, and of which the stub
 * holds a pidfd instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/users_twins.h"
#include "task/proc.h"

#define WAIT_STEPS 30000 /* of a millisecond */

static const char twins_key;

struct twins *twins_of(struct restore *restore)
{
	struct twins *twins =
		kind_table_get(restore->arena, &restore->tables, &twins_key, sizeof(*twins));
	size_t count = restore->snapshot->n_user_namespaces;

	if (!twins || twins->list || !count)
		return twins;
	twins->list = arena_alloc(restore->arena, count * sizeof(*twins->list));
	twins->orders = mmap(NULL, count * sizeof(*twins->orders), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	twins->controller = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (!twins->list || twins->orders == MAP_FAILED || twins->controller < 0)
		return NULL;
	for (size_t i = 0; i < count; i++)
		twins->list[i] = (struct twin){0, -1, -1};
	twins->count = count;
	return twins;
}

/* ---- the twin: only system calls, since the caller may have other threads ---- */

static _Noreturn void twin_fails(struct twin_order *order)
{
	__atomic_store_n(&order->error, errno, __ATOMIC_RELEASE);
	for (;;)
		syscall(SYS_exit_group, 1);
}

/* Until it is told where to go; or for good. It ends with the controller. */
static void twin_waits(const struct twin_order *order, int controller, bool for_good)
{
	struct pollfd end = {.fd = controller, .events = POLLIN};

	while (for_good || __atomic_load_n(&order->enter_fd, __ATOMIC_ACQUIRE) < 0) {
		struct timespec step = {.tv_nsec = 200000};

		if (syscall(SYS_ppoll, &end, 1, for_good ? NULL : &step, NULL, 0) == 1)
			syscall(SYS_exit_group, 1);
	}
}

/* The kernel notes the effective user who makes a namespace as its owner. */
static void twin_becomes(struct twin_order *order)
{
	if (order->owner == USER_UNCHANGED || (uint32_t)syscall(SYS_geteuid) == order->owner)
		return;
	syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
	if (syscall(SYS_setresuid, order->owner, order->owner, order->owner) < 0)
		twin_fails(order);
}

static _Noreturn void twin_lives(struct twin_order *order, int controller)
{
	if (order->enter_fd == -2)
		twin_waits(order, controller, false);
	if (order->enter_fd >= 0) {
		if (syscall(SYS_setns, order->enter_fd, CLONE_NEWUSER) < 0)
			twin_fails(order);
	} else {
		if (order->parent_fd >= 0 &&
			syscall(SYS_setns, order->parent_fd, CLONE_NEWUSER) < 0)
			twin_fails(order);
		twin_becomes(order);
		syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
		if (syscall(SYS_unshare, CLONE_NEWUSER) < 0)
			twin_fails(order);
	}
	/* Those in the namespace look at it: with other ids than before it would not let them. */
	syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	__atomic_store_n(&order->there, 1, __ATOMIC_RELEASE);
	twin_waits(order, controller, true);
	__builtin_unreachable();
}

int twin_start(struct twins *twins, int32_t user, const struct twin_order *order)
{
	struct twin *twin = &twins->list[user];
	long child;

	twins->orders[user] = *order;
	child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		twin_lives(&twins->orders[user], twins->controller);
	if (child < 0)
		return -errno;
	twin->pid = (pid_t)child;
	twin->pidfd = (int)syscall(SYS_pidfd_open, twin->pid, 0);
	return twin->pidfd < 0 ? -errno : 0;
}

void twin_end(struct twin *twin)
{
	if (twin->pid) {
		kill(twin->pid, SIGKILL);
		while (waitpid(twin->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close_ptr(&twin->pidfd);
	close_ptr(&twin->ns_fd);
	*twin = (struct twin){0, -1, -1};
}

int twin_wait(struct twins *twins, int32_t user)
{
	const struct twin_order *order = &twins->orders[user];

	for (int i = 0; i < WAIT_STEPS; i++) {
		int error = __atomic_load_n(&order->error, __ATOMIC_ACQUIRE);

		if (error)
			return -error;
		if (__atomic_load_n(&order->there, __ATOMIC_ACQUIRE))
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = i < 100 ? 20000 : 1000000}, NULL);
	}
	return -ETIMEDOUT;
}

/* ---- ids ---- */

/* Only system calls. 0 or an errno value. */
static int write_file(pid_t pid, const char *name, const char *text)
{
	int fd = proc_open(pid, name, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -fd;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		error = errno;
	close(fd);
	return error;
}

static _Noreturn void write_maps_inside(const UserNamespace *space, int parent_fd, pid_t pid)
{
	int error = 0;

	if (parent_fd >= 0 && syscall(SYS_setns, parent_fd, CLONE_NEWUSER) < 0)
		error = errno;
	if (!error && space->setgroups_denied)
		error = write_file(pid, "setgroups", "deny");
	if (!error)
		error = write_file(pid, "gid_map", space->gid_map);
	if (!error)
		error = write_file(pid, "uid_map", space->uid_map);
	syscall(SYS_exit_group, error);
	__builtin_unreachable();
}

/* From the parent namespace, whose ids they are in; pid is a task in the new one. */
int twins_write_maps(struct restore *restore, struct twins *twins, int32_t user, pid_t pid)
{
	const UserNamespace *space = restore->snapshot->user_namespaces[user];
	int parent_fd = space->parent < 0 ? -1 : twins->list[space->parent].ns_fd;
	int status = 0;
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		write_maps_inside(space, parent_fd, pid);
	while (child > 0 && waitpid((pid_t)child, &status, 0) < 0 && errno == EINTR)
		;
	if (child < 0 || !WIFEXITED(status))
		return fail(restore->err, child < 0 ? errno : ECHILD, "a helper");
	if (WEXITSTATUS(status))
		return fail(restore->err, WEXITSTATUS(status),
			"a user namespace with the users %.*s and groups %.*s cannot be made by "
			"this program",
			(int)strcspn(space->uid_map, "\n"), space->uid_map,
			(int)strcspn(space->gid_map, "\n"), space->gid_map);
	return 0;
}

void users_end(struct restore *restore)
{
	struct twins *twins = twins_of(restore);

	if (!twins || !twins->list)
		return;
	for (size_t i = twins->count; i-- > 0;)
		twin_end(&twins->list[i]);
	munmap(twins->orders, twins->count * sizeof(*twins->orders));
	close_ptr(&twins->controller);
	*twins = (struct twins){0};
}
