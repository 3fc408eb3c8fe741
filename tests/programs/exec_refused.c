/* SPDX-License-Identifier: MIT */
/* Takes on something that cannot be checkpointed, then waits for a file "go". */
#include "common.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static char selector;
static char stack[65536] __attribute__((aligned(16)));

static void seccomp(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void dispatch(void)
{
	CHECK(prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &selector) == 0);
}

static void traced(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		CHECK(ptrace(PTRACE_TRACEME) == 0);
		raise(SIGSTOP);
		wait_go();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
}

static int child_of_clone(void *arg)
{
	wait_go();
	return 0;
}

static void shares_folder(void)
{
	CHECK(clone(child_of_clone, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL) > 0);
}

/* Two that share it, and not with their parent. */
static void siblings_share(void)
{
	static char second[65536] __attribute__((aligned(16)));
	pid_t parent = fork();

	CHECK(parent >= 0);
	if (parent == 0) {
		CHECK(clone(child_of_clone, second + sizeof(second),
			      CLONE_PARENT | CLONE_FS | SIGCHLD, NULL) > 0);
		child_of_clone(NULL);
		_exit(0);
	}
	CHECK(clone(child_of_clone, stack + sizeof(stack), SIGCHLD, NULL) > 0);
}

static void *apart(void *arg)
{
	CHECK(unshare(*(const int *)arg) == 0);
	say("ready");
	wait_go();
	return NULL;
}

static void thread_apart(int flag)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, apart, &flag) == 0);
	pthread_join(thread, NULL);
}

static void thread_folder(void)
{
	thread_apart(CLONE_FS);
}

static void thread_network(void)
{
	thread_apart(CLONE_NEWNET);
}

static void thread_uts(void)
{
	thread_apart(CLONE_NEWUTS);
}

static void thread_ipc(void)
{
	thread_apart(CLONE_NEWIPC);
}

static void thread_cgroup(void)
{
	thread_apart(CLONE_NEWCGROUP);
}

static void thread_time(void)
{
	thread_apart(0x80); /* CLONE_NEWTIME */
}

static void clocks(void)
{
	CHECK(unshare(0x80) == 0); /* CLONE_NEWTIME */
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*set)(void);
	} items[] = {
		{"seccomp", seccomp},
		{"dispatch", dispatch},
		{"traced", traced},
		{"fs", shares_folder},
		{"siblings_fs", siblings_share},
		{"thread_fs", thread_folder},
		{"thread_network", thread_network},
		{"thread_uts", thread_uts},
		{"thread_ipc", thread_ipc},
		{"thread_cgroup", thread_cgroup},
		{"thread_time", thread_time},
		{"time", clocks},
	};

	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (!strcmp(items[i].name, argv[1]))
			items[i].set();
	say("ready");
	wait_go();
	say("end");
}
