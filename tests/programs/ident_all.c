/* SPDX-License-Identifier: MIT */
/*
 * Takes on what the argument names, prints all that makes up a task's identity, and prints it again
 * when there is a file "go".
 */
#include "common.h"

#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define GET_REGISTRATIONS (1 << 9)

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static pthread_barrier_t barrier;

static void print_ids(const char *who)
{
	gid_t groups[64];
	char text[1024] = "";
	uid_t r, e, s;
	int count;

	CHECK(syscall(SYS_getresuid, &r, &e, &s) == 0);
	say("%s: user %d %d %d %d", who, r, e, s, setfsuid((uid_t)-1));
	CHECK(syscall(SYS_getresgid, &r, &e, &s) == 0);
	say("%s: group %d %d %d %d", who, r, e, s, setfsgid((gid_t)-1));
	count = getgroups(64, groups);
	for (int i = 0; i < count; i++)
		sprintf(text + strlen(text), " %d", groups[i]);
	say("%s: groups%s", who, text);
}

static void print_capabilities(const char *who)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	uint64_t bounding = 0, ambient = 0;

	CHECK(syscall(SYS_capget, &header, data) == 0);
	for (int i = 0; i < 64; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			bounding |= 1ull << i;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			ambient |= 1ull << i;
	}
	say("%s: effective %08x%08x permitted %08x%08x inheritable %08x%08x", who,
		data[1].effective, data[0].effective, data[1].permitted, data[0].permitted,
		data[1].inheritable, data[0].inheritable);
	say("%s: bounding %016lx ambient %016lx securebits %x no_new_privs %d", who, (long)bounding,
		(long)ambient, prctl(PR_GET_SECUREBITS), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void print_scheduling(const char *who)
{
	struct attributes a = {0};
	cpu_set_t set;
	char text[1024] = "";

	CHECK(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0);
	say("%s: policy %u flags %lx nice %d priority %u times %lu %lu %lu", who, a.policy,
		(long)a.flags, a.nice, a.priority, (long)a.runtime, (long)a.deadline,
		(long)a.period);
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			sprintf(text + strlen(text), " %d", i);
	say("%s: affinity%s, io priority %ld", who, text,
		syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
}

static void print_thread(const char *who)
{
	int death = 0;

	print_ids(who);
	print_capabilities(who);
	print_scheduling(who);
	prctl(PR_GET_PDEATHSIG, &death);
	say("%s: personality %x, death signal %d", who, personality(0xffffffff), death);
}

static void print_process(void)
{
	char cwd[PATH_MAX];
	int subreaper = 0;
	struct stat st;
	mode_t mask;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit;

		getrlimit(i, &limit);
		say("limit %d: %lx %lx", i, (long)limit.rlim_cur, (long)limit.rlim_max);
	}
	mask = umask(0);
	umask(mask);
	CHECK(stat("/", &st) == 0);
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	say("cwd %s, root %lu, umask %o", getcwd(cwd, sizeof(cwd)) ? cwd : strerror(errno),
		(long)st.st_ino, mask);
	say("dumpable %d, subreaper %d, membarrier %lx", prctl(PR_GET_DUMPABLE), subreaper,
		syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0));
}

static void set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
			(uint32_t)(inheritable >> 32)}};

	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void become_user(void)
{
	const gid_t groups[] = {7, 1000, 65533, 3};

	CHECK(syscall(SYS_setgroups, 4, groups) == 0);
	CHECK(syscall(SYS_setresgid, 1001, 1002, 1003) == 0);
	CHECK(syscall(SYS_setresuid, 2001, 2002, 2003) == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
}

static void set_user_of_files(void)
{
	CHECK(syscall(SYS_setresgid, 5, 6, 7) == 0);
	setfsgid(5);
	setfsuid(1234);
}

static void set_some_capabilities(void)
{
	const uint64_t some = 1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_SETPCAP |
			      1ull << CAP_SYS_NICE | 1ull << CAP_SETUID;

	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	CHECK(syscall(SYS_setgroups, 0, NULL) == 0);
	CHECK(syscall(SYS_setresgid, 1000, 1000, 1000) == 0);
	CHECK(syscall(SYS_setresuid, 1000, 1000, 1000) == 0);
	set_capabilities(some, some, 1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_KILL);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0);
	for (int i = 0; i < 20; i += 2)
		CHECK(prctl(PR_CAPBSET_DROP, i) == 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS |
					       SECBIT_NO_CAP_AMBIENT_RAISE) == 0);
	set_capabilities(1ull << CAP_SYS_NICE, some & ~(1ull << CAP_SETPCAP),
		1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_KILL);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void set_limits(void)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit;

		getrlimit(i, &limit);
		if (limit.rlim_max > 1000000)
			limit.rlim_max = 900000000000ul + (unsigned)i * 4096ul < limit.rlim_max
						 ? 900000000000ul + (unsigned)i * 4096ul
						 : limit.rlim_max - 1;
		limit.rlim_cur = limit.rlim_max - (limit.rlim_max > 100 ? (rlim_t)i : 0);
		if (i == RLIMIT_NOFILE)
			limit.rlim_cur = limit.rlim_max = 40;
		CHECK(setrlimit(i, &limit) == 0);
	}
}

static void set_attributes(struct attributes a)
{
	a.size = sizeof(a);
	/* Where these are not to be had (bound to some CPUs, in a group), all is as it was. */
	CHECK(syscall(SYS_sched_setattr, 0, &a, 0) == 0 || errno == EPERM || errno == EBUSY);
}

static void set_batch(void)
{
	cpu_set_t set, all;
	int first = 0;

	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&set);
	CPU_SET(first, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	set_attributes((struct attributes){
		.policy = SCHED_BATCH, .nice = 7, .flags = SCHED_FLAG_RESET_ON_FORK});
	CHECK(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		      IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)) == 0);
}

static void set_fifo(void)
{
	set_attributes((struct attributes){.policy = SCHED_FIFO, .priority = 3});
	CHECK(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		      IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)) == 0);
}

static void set_idle(void)
{
	set_attributes((struct attributes){.policy = SCHED_IDLE});
}

static void set_nice(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, -5) == 0);
}

static void set_deadline(void)
{
	set_attributes((struct attributes){.policy = SCHED_DEADLINE,
		.runtime = 2000000,
		.deadline = 100000000,
		.period = 200000000});
}

static void set_odds(void)
{
	CHECK(personality(ADDR_NO_RANDOMIZE | SHORT_INODE) >= 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0);
	umask(0137);
	CHECK(mkdir("below", 0700) == 0 || errno == EEXIST);
	CHECK(chdir("below") == 0);
}

static void set_root(void)
{
	CHECK(mkdir("cell", 0755) == 0 || errno == EEXIST);
	CHECK(mkdir("cell/deep", 0755) == 0 || errno == EEXIST);
	CHECK(chroot("cell") == 0);
	CHECK(chdir("/deep") == 0);
}

static void set_outside_root(void)
{
	CHECK(mkdir("cell", 0755) == 0 || errno == EEXIST);
	CHECK(chroot("cell") == 0);
}

static void set_gone(void)
{
	CHECK(mkdir("gone", 0755) == 0);
	CHECK(chdir("gone") == 0);
	CHECK(rmdir("../gone") == 0);
}

static void nothing(void)
{
}

static const struct item {
	const char *name;
	void (*first)(void), (*second)(void);
} items[] = {
	{"plain", nothing, NULL},
	{"user", become_user, NULL},
	{"files", set_user_of_files, NULL},
	{"capabilities", set_some_capabilities, NULL},
	{"threads", set_some_capabilities, become_user},
	{"limits", set_limits, NULL},
	{"scheduling", set_batch, set_fifo},
	{"scheduling2", set_nice, set_idle},
	{"deadline", nothing, set_deadline},
	{"odds", set_odds, NULL},
	{"root", set_root, NULL},
	{"outside", set_outside_root, NULL},
	{"gone", set_gone, NULL},
};

static int folder;

static void *second(void *arg)
{
	const struct item *item = arg;

	if (item->second)
		item->second();
	print_thread("second");
	pthread_barrier_wait(&barrier);
	wait_go_at(folder);
	pthread_barrier_wait(&barrier);
	print_thread("second");
	pthread_barrier_wait(&barrier);
	return NULL;
}

int main(int argc, char **argv)
{
	bool with_thread;
	pthread_t thread;

	folder = open(".", O_RDONLY | O_DIRECTORY);
	pthread_barrier_init(&barrier, NULL, 2);
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (strcmp(items[i].name, argv[1]))
			continue;
		with_thread = items[i].second;
		if (with_thread) {
			CHECK(pthread_create(&thread, NULL, second, (void *)&items[i]) == 0);
			pthread_barrier_wait(&barrier);
		}
		items[i].first();
		print_thread("first");
		print_process();
		say("ready");
		wait_go_at(folder);
		if (with_thread) {
			pthread_barrier_wait(&barrier);
			pthread_barrier_wait(&barrier);
		}
		print_thread("first");
		print_process();
		say("end");
		return 0;
	}
	return 2;
}
