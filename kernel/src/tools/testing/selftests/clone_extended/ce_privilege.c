// SPDX-License-Identifier: GPL-2.0-only
/* Who may choose pids: only on levels where one is chosen, and of its owner. */
#include "ce.h"

#include <linux/capability.h>

static const int depths[] = { 0, 1, 3 };

/* Give up all capabilities but one (-1: all), staying what uid it is. */
static void keep_only(int cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	if (cap >= 0) {
		data[cap / 32].effective = 1u << (cap % 32);
		data[cap / 32].permitted = 1u << (cap % 32);
	}
	ce_expect(syscall(SYS_capset, &head, data) == 0, "capset: %s", strerror(errno));
}

static void become_nobody(int cap)
{
	ce_expect(prctl(PR_SET_KEEPCAPS, 1) == 0, "keepcaps");
	ce_expect(setresgid(65534, 65534, 65534) == 0, "gid: %s", strerror(errno));
	ce_expect(setresuid(65534, 65534, 65534) == 0, "uid: %s", strerror(errno));
	keep_only(cap);
	prctl(PR_SET_DUMPABLE, 1);
}

/* Each set of chosen levels below 2^(depth+1) succeeds or is EPERM as may says. */
static void try_levels(int depth, unsigned int may)
{
	unsigned int levels = depth + 1, which;
	pid_t pids[CE_LEVELS];
	struct pid_set set = { .num_pids = levels, .pids = pids };
	unsigned int i;

	for (which = 0; which < 1u << levels; which++) {
		for (i = 0; i < levels; i++)
			pids[i] = which & 1u << i ? ce_pid(i, 1) : 0;
		if (which & ~may)
			ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EPERM,
					"a level of others");
		else
			ce_expect_pids(0, pids, levels, levels);
	}
}

static void unprivileged(int depth)
{
	pid_t own = getpid(), bad = -1;
	struct pid_set set = { .num_pids = 1, .pids = &own };
	pid_t pid;

	become_nobody(-1);
	try_levels(depth, 0);
	pid = ce_call(SIGCHLD, 0, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	ce_expect(ce_wait_status(pid) == 0, "no set");
	/* Nothing is told about which pids are taken. */
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EPERM, "a taken pid");
	set.pids = &bad;
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EINVAL, "a negative pid");
}

static void root_without(int depth)
{
	keep_only(CAP_SYS_PTRACE);
	try_levels(depth, 0);
}

static void checkpoint_restore(int depth)
{
	become_nobody(CAP_CHECKPOINT_RESTORE);
	try_levels(depth, ~0u);
}

static void sys_admin(int depth)
{
	become_nobody(CAP_SYS_ADMIN);
	try_levels(depth, ~0u);
}

/* Be root of a user namespace that current has just entered, to open another in it. */
static void map_root(uid_t uid)
{
	char text[32];
	int fd = open("/proc/self/uid_map", O_WRONLY);
	int length = snprintf(text, sizeof(text), "0 %u 1", uid);

	ce_expect(write(fd, text, length) == length, "uid_map: %s", strerror(errno));
	close(fd);
	fd = open("/proc/self/setgroups", O_WRONLY);
	ce_expect(write(fd, "deny", 4) == 4, "setgroups: %s", strerror(errno));
	close(fd);
	fd = open("/proc/self/gid_map", O_WRONLY);
	ce_expect(write(fd, text, length) == length, "gid_map: %s", strerror(errno));
	close(fd);
}

static void inside(int depth, int more)
{
	uid_t uid = geteuid();
	pid_t pid;

	if (more == 0) {
		try_levels(depth, 1u << depth);
		return;
	}
	ce_expect(unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	map_root(uid);
	pid = fork();
	if (pid == 0) {
		ce_failures = 0;
		inside(depth + 1, more - 1);
		_exit(ce_failures ? 1 : 0);
	}
	ce_expect(ce_wait_status(pid) == 0, "inside");
}

/* Root of a user namespace may choose in the pid namespaces it owns and no others. */
static void user_namespace(int depth)
{
	become_nobody(-1);
	inside(depth, 1);
}

static void nested_user_namespaces(int depth)
{
	become_nobody(-1);
	inside(depth, 2);
}

/* Two pid namespaces of one user namespace: both may be chosen in. */
static void two_of_one_owner(int depth)
{
	pid_t pid;

	become_nobody(-1);
	ce_expect(unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		ce_failures = 0;
		ce_expect(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
		pid = fork();
		if (pid == 0) {
			ce_failures = 0;
			try_levels(depth + 2, 3u << (depth + 1));
			_exit(ce_failures ? 1 : 0);
		}
		ce_expect(ce_wait_status(pid) == 0, "inside");
		_exit(ce_failures ? 1 : 0);
	}
	ce_expect(ce_wait_status(pid) == 0, "between");
}

/* A new user namespace of the child gives its parent nothing; the caller's levels count. */
static void newuser(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = 1, .pids = pids };

	become_nobody(-1);
	ce_expect_pids(CLONE_NEWUSER | CLONE_NEWPID, pids, 1, depth + 1);
	pids[0] = ce_pid(depth, 2);
	ce_expect_error(ce_call(CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0, NULL, NULL, NULL, &set),
			EPERM, "CLONE_NEWUSER");
}

static const struct ce_case cases[] = {
	{ "without privilege", unprivileged },
	{ "root without the capability", root_without },
	{ "CAP_CHECKPOINT_RESTORE alone", checkpoint_restore },
	{ "CAP_SYS_ADMIN alone", sys_admin },
	{ "root of a user namespace", user_namespace },
	{ "root of a nested user namespace", nested_user_namespaces },
	{ "two pid namespaces of one owner", two_of_one_owner },
	{ "CLONE_NEWUSER", newuser },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
