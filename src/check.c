// SPDX-License-Identifier: MIT
/*
 * What this kernel and these privileges allow. Every probe does the real thing, on a child of its
 * own or in one, and returns 0 or an errno value; nothing outside the children is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/parent.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

/* ioctl PAGEMAP_SCAN of Linux 6.7: its argument has 12 words of 64 bits. */
#define PAGEMAP_SCAN_WORDS 12
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, uint64_t[PAGEMAP_SCAN_WORDS])

static int child_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/* Runs a probe in a child of its own: it may change what it likes there. */
static int in_child(int (*probe)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(probe());
	return child_status(pid);
}

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	return write(fd, text, strlen(text)) < 0 ? errno : 0;
}

/* As unshare(1) does it with --map-root-user: what every user may, where the system lets them. */
static int enter_own_user_namespace(void)
{
	char uids[32], gids[32];
	int error;

	snprintf(uids, sizeof(uids), "0 %u 1\n", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
	if (unshare(CLONE_NEWUSER) < 0)
		return errno;
	error = write_text("/proc/self/setgroups", "deny");
	if (!error)
		error = write_text("/proc/self/gid_map", gids);
	return error ? error : write_text("/proc/self/uid_map", uids);
}

/* In a pid namespace of the child's own, where every number is free. */
static int choose_pids(void)
{
	pid_t first = 1;
	struct clone_args args = {.flags = CLONE_NEWPID,
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&first,
		.set_tid_size = 1};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid < 0 ? errno : child_status((pid_t)pid);
}

static int probe_chosen_pids(void)
{
	int error = choose_pids();

	if (error == EPERM && enter_own_user_namespace() == 0)
		error = choose_pids();
	return error;
}

/* A child that waits to be looked at. */
static pid_t start_sleeper(void)
{
	_cleanup_close_ int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t pid = self < 0 ? -1 : fork();

	if (pid == 0) {
		end_with_parent(self);
		for (;;)
			pause();
	}
	return pid;
}

static void end_sleeper(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
}

static int with_stopped(pid_t pid, int (*look)(pid_t pid))
{
	int status, error;

	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) < 0)
		return errno;
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return errno;
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return errno;
	error = WIFSTOPPED(status) ? look(pid) : EIO;
	return error;
}

static int with_sleeper(int (*look)(pid_t pid), bool stopped)
{
	pid_t pid = start_sleeper();
	int error;

	if (pid < 0)
		return errno;
	error = stopped ? with_stopped(pid, look) : look(pid);
	end_sleeper(pid);
	return error;
}

static int look_nothing(pid_t pid)
{
	return 0;
}

static int probe_ptrace(void)
{
	return with_sleeper(look_nothing, true);
}

static int look_rseq(pid_t pid)
{
	char answer[64];

	return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, 24ul, answer) < 0 ? errno : 0;
}

static int probe_rseq(void)
{
	return with_sleeper(look_rseq, true);
}

static int look_seccomp(pid_t pid)
{
	long options = PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP;

	return ptrace(PTRACE_SETOPTIONS, pid, NULL, options) < 0 ? errno : 0;
}

static int probe_suspend_seccomp(void)
{
	return with_sleeper(look_seccomp, true);
}

static int look_pidfd_getfd(pid_t pid)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return errno;
	for (int fd = 0; fd < 64; fd++) {
		_cleanup_close_ int got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

		if (got >= 0 || errno != EBADF)
			return got >= 0 ? 0 : errno;
	}
	return 0; /* it has none, and was not refused */
}

static int probe_pidfd_getfd(void)
{
	return with_sleeper(look_pidfd_getfd, false);
}

static int look_kcmp(pid_t pid)
{
	return syscall(SYS_kcmp, getpid(), pid, KCMP_VM, 0, 0) < 0 ? errno : 0;
}

static int probe_kcmp(void)
{
	return with_sleeper(look_kcmp, false);
}

static int open_proc(pid_t pid, const char *name)
{
	char path[64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? errno : 0;
}

static int look_children(pid_t pid)
{
	char name[48];

	snprintf(name, sizeof(name), "task/%d/children", (int)pid);
	return open_proc(pid, name);
}

static int probe_children(void)
{
	return with_sleeper(look_children, false);
}

static int look_timers(pid_t pid)
{
	return open_proc(pid, "timers");
}

static int probe_timers(void)
{
	return with_sleeper(look_timers, false);
}

static int probe_map_files(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/map_files");
	struct dirent *entry;

	if (!dir)
		return errno;
	while ((entry = readdir(dir))) {
		_cleanup_close_ int fd = -1;

		if (entry->d_name[0] == '.')
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_PATH | O_CLOEXEC);
		return fd < 0 ? errno : 0;
	}
	return ENOENT;
}

static int probe_time_namespace(void)
{
	static const char offsets[] = "monotonic 1 0\nboottime 1 0\n";
	_cleanup_close_ int fd = -1;

	if (unshare(CLONE_NEWTIME) < 0)
		return errno;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	return write(fd, offsets, sizeof(offsets) - 1) < 0 ? errno : 0;
}

static int probe_mount_namespace(void)
{
	return unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) < 0 ? errno : 0;
}

/* Sets nothing: asks how large the argument has to be. */
static int probe_set_mm(void)
{
	unsigned size = 0;

	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) < 0 ? errno : 0;
}

static int probe_timer_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0) < 0 ? errno : 0;
}

static int probe_pagemap_scan(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *memory = mmap(
		NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t answer[3];
	uint64_t args[PAGEMAP_SCAN_WORDS] = {sizeof(args), 0, (uintptr_t)memory,
		(uintptr_t)memory + (uint64_t)page, 0, (uintptr_t)answer, 1, 0, 0, 0, 1 << 3,
		1 << 3};

	if (fd < 0)
		return errno;
	return ioctl(fd, PAGEMAP_SCAN_CALL, args) < 0 ? errno : 0;
}

static int probe_userfaultfd(void)
{
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};

	if (fd < 0)
		return errno;
	api.features =
		UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE;
	return ioctl(fd, UFFDIO_API, &api) < 0 ? errno : 0;
}

static int probe_capability(int number)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t value = CAP_CLEAR;
	int error = 0;

	if (!caps)
		return errno;
	if (cap_get_flag(caps, number, CAP_EFFECTIVE, &value) < 0 || value != CAP_SET)
		error = EPERM;
	cap_free(caps);
	return error;
}

/* ---- which trees: what the above comes to ---- */

static int probe_any_tree(void)
{
	static const int wanted[] = {
		CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_SETPCAP};
	int error = choose_pids();

	for (size_t i = 0; i < ARRAY_SIZE(wanted) && !error; i++)
		error = probe_capability(wanted[i]);
	return error;
}

static int probe_own_container(void)
{
	int error = enter_own_user_namespace();

	if (!error)
		error = probe_time_namespace();
	if (!error)
		error = probe_mount_namespace();
	return error ? error : choose_pids();
}

static int probe_plain_tree(void)
{
	int error = probe_capability(CAP_CHECKPOINT_RESTORE);

	return error ? probe_capability(CAP_SYS_ADMIN) : 0;
}

struct probe {
	struct reprise_need need;
	int (*run)(void);
	int capability; /* where run is NULL */
};

static const struct probe probes[] = {
	{{"clone3() with chosen pids", "tasks under their old pids (Linux 5.5)", true},
		probe_chosen_pids},
	{{"ptrace", "freezing and driving tasks", true}, probe_ptrace},
	{{"pidfd_getfd()", "looking at a task's open files (Linux 5.6)", true}, probe_pidfd_getfd},
	{{"kcmp()", "what tasks share (CONFIG_KCMP)", true}, probe_kcmp},
	{{"/proc/PID/task/TID/children", "finding all descendants (CONFIG_PROC_CHILDREN)", true},
		probe_children},
	{{"prctl(PR_SET_MM_MAP)", "brk, command line and executable (CONFIG_CHECKPOINT_RESTORE)",
		 true},
		probe_set_mm},
	{{"/proc/PID/map_files", "mapped files that have lost their name", false}, probe_map_files},
	{{"/proc/PID/timers", "POSIX timers (CONFIG_CHECKPOINT_RESTORE)", false}, probe_timers},
	{{"PTRACE_GET_RSEQ_CONFIGURATION", "restartable sequences (Linux 5.13)", false},
		probe_rseq},
	{{"PTRACE_O_SUSPEND_SECCOMP", "tasks under a seccomp filter", false},
		probe_suspend_seccomp},
	{{"time namespaces", "clocks that go on where they were (else --host-clocks; Linux 5.6)",
		 false},
		probe_time_namespace},
	{{"mount, uts and ipc namespaces", "containers inside the tree", false},
		probe_mount_namespace},
	{{"prctl(PR_TIMER_CREATE_RESTORE_IDS)", "POSIX timers with any number (Linux 6.15)", false},
		probe_timer_ids},
	{{"ioctl(PAGEMAP_SCAN)", "finding memory with content fast (Linux 6.7)", false},
		probe_pagemap_scan},
	{{"userfaultfd with events", "memory that is filled while tasks run", false},
		probe_userfaultfd},
	{{"CAP_SYS_PTRACE", "tasks of other users", false}, NULL, CAP_SYS_PTRACE},
	{{"CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN", "choosing pids", false}, NULL,
		CAP_CHECKPOINT_RESTORE},
	{{"CAP_SYS_ADMIN", "namespaces and mounts", false}, NULL, CAP_SYS_ADMIN},
	{{"CAP_SETUID", "tasks of other users", false}, NULL, CAP_SETUID},
	{{"CAP_SETGID", "groups of tasks", false}, NULL, CAP_SETGID},
	{{"CAP_SETPCAP", "tasks with fewer capabilities", false}, NULL, CAP_SETPCAP},
	{{"CAP_DAC_OVERRIDE", "opening files of other users", false}, NULL, CAP_DAC_OVERRIDE},
	{{"CAP_SYS_CHROOT", "tasks with a root of their own", false}, NULL, CAP_SYS_CHROOT},
	{{"CAP_SYS_NICE", "real-time and negative nice", false}, NULL, CAP_SYS_NICE},
	{{"CAP_SYS_TIME", "time namespaces", false}, NULL, CAP_SYS_TIME},
	{{"CAP_IPC_LOCK", "locked memory above its limit", false}, NULL, CAP_IPC_LOCK},
	{{"CAP_MKNOD", "device files on tmpfs", false}, NULL, CAP_MKNOD},
	{{"CAP_SYS_RESOURCE", "limits above the caller's own, lower OOM scores", false}, NULL,
		CAP_SYS_RESOURCE},
	{{"any tree below this user namespace", "of whatever users, with or without containers",
		 false},
		probe_any_tree},
	{{"plain trees of this user",
		 "not in containers; where CAP_SYS_ADMIN is missing with --host-clocks", false},
		probe_plain_tree},
	{{"containers in user namespaces of this user", "from outside; takes no privilege", false},
		probe_own_container},
};

static int run_probe(const struct probe *probe)
{
	int error;

	if (probe->run)
		return in_child(probe->run);
	error = probe_capability(probe->capability);
	if (error && probe->capability == CAP_CHECKPOINT_RESTORE)
		error = probe_capability(CAP_SYS_ADMIN);
	return error;
}

int reprise_check(void (*found)(void *arg, const struct reprise_need *need), void *arg,
	struct reprise_error *err)
{
	int missing = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		struct reprise_need need = probes[i].need;

		need.error = run_probe(&probes[i]);
		if (need.error && need.required && !missing)
			missing = -need.error;
		found(arg, &need);
	}
	return missing;
}
