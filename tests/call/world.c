/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const privilege_names[] = {
	"root", "root of a user namespace", "unprivileged", "CAP_CHECKPOINT_RESTORE alone"};
const char *const state_names[] = {"free", "a task", "a zombie", "a dead session", "a dead group"};

enum { PATIENCE = 600 }; /* seconds, after which everything gives up */

static long number_in(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atol(text);
}

static int nspid(const char *path, pid_t ret[LEVELS + 1])
{
	char text[8192];
	size_t size = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *at;
	int count = 0;

	if (fd < 0)
		return 0;
	while (size < sizeof(text) - 1 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += (size_t)n;
	close(fd);
	text[size] = 0;
	at = strstr(text, "NSpid:");
	if (!at)
		return 0;
	for (at += 6; count <= LEVELS && *at && *at != '\n'; count++)
		ret[count] = (pid_t)strtol(at, &at, 10);
	return count;
}

/* A pidfd sees the process whatever /proc it is read through. */
int pids_of(pid_t pid, pid_t ret[LEVELS + 1])
{
	char path[64];
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int n;

	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	n = nspid(path, ret);
	close(fd);
	return n;
}

static pid_t parent_in_proc(void)
{
	char text[2048] = "";
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	const char *at;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	at = strstr(text, "\nPPid:");
	return at ? (pid_t)atol(at + 6) : -1;
}

/*
 * parent: as level 0 numbers it, for it may have ended before the signal was asked for; 0 where it
 * is the first task of a namespace, with which all that is in there ends anyway.
 */
static void die_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(PATIENCE);
	if (parent && parent_in_proc() != parent)
		_exit(1);
}

static void tell_own(pid_t to[LEVELS])
{
	pid_t own[LEVELS + 1] = {0};
	int n = nspid("/proc/self/status", own);

	for (int i = 0; i < n && i < LEVELS; i++)
		to[i] = own[i];
}

static void stay_until_closed(int line)
{
	char c;

	alarm(PATIENCE);
	while (read(line, &c, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static pid_t own_in_proc(void)
{
	char text[32] = "";

	return readlink("/proc/self", text, sizeof(text) - 1) > 0 ? (pid_t)atol(text) : 0;
}

/* Every task of the world tells its pids, so that the model knows all that are taken. */
static void join(struct world *w)
{
	int at = w->tasks++;

	if (at >= TASKS)
		exit(5);
	tell_own(w->others[at]);
}

/*
 * A number that outlives its task: a member stays in the session, or in the group alone. It ends
 * when the last of those who made it has gone, and with that its end of the line.
 */
static void leave_number(struct world *w, enum state kind, const int line[2])
{
	int ready[2];
	char c;
	pid_t leader;

	if (pipe(ready) < 0)
		exit(1);
	leader = fork();
	if (leader == 0) {
		die_with_parent(0);
		tell_own(w->held[kind]);
		if (kind == BY_SESSION)
			setsid();
		else
			setpgid(0, 0);
		if (fork() == 0) {
			close(line[1]);
			join(w);
			if (kind == BY_SESSION)
				setpgid(0, 0);
			if (write(ready[1], "x", 1) != 1)
				_exit(1);
			close(ready[1]);
			stay_until_closed(line[0]);
		}
		_exit(0);
	}
	if (read(ready[0], &c, 1) != 1)
		w->failures++;
	waitpid(leader, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void hold_pids(struct world *w)
{
	siginfo_t info;
	int line[2];
	pid_t pid;

	if (pipe(line) < 0)
		exit(1);
	tell_own(w->held[BY_TASK]);
	pid = fork();
	if (pid == 0) {
		tell_own(w->held[BY_ZOMBIE]);
		_exit(0);
	}
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	leave_number(w, BY_SESSION, line);
	leave_number(w, BY_GROUP, line);
	for (int kind = BY_TASK; kind < STATES; kind++)
		if (w->held[kind][w->depth] <= 0)
			w->failures++;
}

static void drop_privileges(const struct world *w)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};

	if (w->privilege == AS_USERNS_ROOT && w->owner > w->depth) {
		if (unshare(CLONE_NEWUSER) < 0)
			exit(3);
	} else if (w->privilege == AS_NOBODY) {
		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			exit(3);
	} else if (w->privilege == AS_RESTORER) {
		data[1].permitted = data[1].effective = 1U << (CAP_CHECKPOINT_RESTORE - 32);
		if (syscall(SYS_capset, &header, data) < 0)
			exit(3);
	}
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The caller is a process of its own, so that nothing it does to itself outlives it. */
static void run_caller(struct world *w, void (*body)(struct world *w))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		char path[64];
		int fd;

		die_with_parent(w->outside || !w->depth ? w->top : 0);
		join(w);
		if (w->outside && w->depth) {
			snprintf(path, sizeof(path), "/proc/%d/ns/pid", w->init);
			fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0 || setns(fd, CLONE_NEWPID) < 0)
				exit(4);
			close(fd);
		}
		drop_privileges(w);
		body(w);
		fflush(stdout);
		w->done = 1;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!w->done) {
		printf("FAIL the caller ended with status %#x\n", (unsigned)status);
		w->failures++;
	}
}

static void deepest(struct world *w, void (*body)(struct world *w), int end)
{
	char c;

	hold_pids(w);
	w->init = w->held[BY_TASK][0];
	if (!w->outside)
		run_caller(w, body);
	fflush(stdout);
	/* The one at level 0 ends everything by closing its end. */
	if (w->outside && read(end, &c, 1) < 0)
		_exit(1);
	_exit(0);
}

/* The first task of each level makes the next; with it, all that is below it ends. */
static void descend(struct world *w, void (*body)(struct world *w), int level, int end)
{
	int flags = SIGCHLD | CLONE_NEWPID;
	pid_t pid;

	if (w->privilege == AS_USERNS_ROOT && level == w->owner)
		flags |= CLONE_NEWUSER;
	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
	if (pid < 0) {
		printf("FAIL no namespace at level %d: %s\n", level, strerror(errno));
		w->failures++;
		return;
	}
	if (pid == 0) {
		die_with_parent(level == 1 ? w->top : 0);
		join(w);
		w->pid_max[level] = (int32_t)number_in("/proc/sys/kernel/pid_max");
		if (level == w->depth)
			deepest(w, body, end);
		descend(w, body, level + 1, end);
		_exit(0);
	}
	if (level > 1 || !w->outside)
		waitpid(pid, NULL, 0);
}

static void top(struct world *w, void (*body)(struct world *w))
{
	int end[2];

	die_with_parent(w->maker);
	join(w);
	w->top = w->others[0][0];
	w->pid_max[0] = (int32_t)number_in("/proc/sys/kernel/pid_max");
	if (w->depth == 0) {
		hold_pids(w);
		run_caller(w, body);
		_exit(0);
	}
	if (pipe(end) < 0)
		_exit(1);
	descend(w, body, 1, end[0]);
	if (!w->outside)
		_exit(0);
	for (int i = 0; i < PATIENCE * 100 && !*(volatile pid_t *)&w->init && !w->failures; i++)
		usleep(10000);
	if (w->init)
		run_caller(w, body);
	close(end[1]);
	_exit(0);
}

int world_run(struct world *w, void (*body)(struct world *w))
{
	struct world *shared =
		mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (shared == MAP_FAILED)
		return -1;
	*shared = *w;
	shared->maker = own_in_proc();
	shared->last_pid = (int32_t)number_in("/proc/sys/kernel/ns_last_pid");
	shared->owner = w->depth / 2 + 1;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		top(shared, body);
	do {
		shared->last_pid = (int32_t)number_in("/proc/sys/kernel/ns_last_pid");
		usleep(5000);
	} while (waitpid(pid, &status, WNOHANG) == 0);
	*w = *shared;
	munmap(shared, sizeof(*shared));
	return w->failures || !w->done ? -1 : 0;
}
