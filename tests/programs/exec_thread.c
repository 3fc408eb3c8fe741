/* SPDX-License-Identifier: MIT */
/* What the kernel keeps for each thread: printed, and used, when there is a file "go". */
#include "common.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>

#define STACK_SIZE 65536
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static pthread_mutex_t robust;
static pthread_barrier_t barrier;
static char stacks[2][STACK_SIZE];

static void on_stack(int number)
{
	char here;
	int which = -1;

	for (int i = 0; i < 2; i++)
		if (&here >= stacks[i] && &here < stacks[i] + STACK_SIZE)
			which = i;
	say("handler on stack %d", which);
}

static void set_stack(int which, unsigned flags)
{
	stack_t stack = {.ss_sp = stacks[which], .ss_size = STACK_SIZE, .ss_flags = (int)flags};

	CHECK(sigaltstack(&stack, NULL) == 0);
}

static void print_all(const char *who)
{
	char name[16] = "";
	int death = -1, *clear = NULL;
	void *head = NULL;
	size_t size = 0;
	stack_t stack;

	CHECK(prctl(PR_GET_NAME, name) == 0);
	CHECK(prctl(PR_GET_PDEATHSIG, &death) == 0);
	CHECK(prctl(PR_GET_TID_ADDRESS, &clear) == 0);
	CHECK(syscall(SYS_get_robust_list, 0, &head, &size) == 0);
	CHECK(sigaltstack(NULL, &stack) == 0);
	say("%s: name %s, death signal %d, slack %d, tid %ld, clear %p, robust %p %zu", who, name,
		death, prctl(PR_GET_TIMERSLACK), syscall(SYS_gettid), (void *)clear, head, size);
	say("%s: stack %p %zu %x", who, stack.ss_sp, stack.ss_size, stack.ss_flags);
	/* Registering once more what is registered is EBUSY, and EINVAL or EPERM what is not. */
	CHECK(syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 0,
		      RSEQ_SIG) == -1);
	say("%s: rseq %s, processor known %d", who, strerrorname_np(errno), sched_getcpu() >= 0);
}

static void *second(void *arg)
{
	CHECK(prctl(PR_SET_NAME, "the\nsecond \\one") == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
	CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
	set_stack(1, SS_AUTODISARM);
	pthread_mutex_lock(&robust);
	print_all("second");
	pthread_barrier_wait(&barrier);
	wait_go();
	print_all("second");
	raise(SIGUSR2);
	/* Ends with the mutex held. */
	return NULL;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_stack, .sa_flags = SA_ONSTACK};
	pthread_mutexattr_t attributes;
	pthread_t thread;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attributes);
	pthread_barrier_init(&barrier, NULL, 2);
	sigaction(SIGUSR2, &action, NULL);
	CHECK(prctl(PR_SET_NAME, "first one") == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGHUP) == 0);
	set_stack(0, 0);
	print_all("first");
	CHECK(pthread_create(&thread, NULL, second, NULL) == 0);
	pthread_barrier_wait(&barrier);
	say("ready");
	wait_go();
	CHECK(pthread_join(thread, NULL) == 0);
	print_all("first");
	raise(SIGUSR2);
	say("mutex: %s", strerrorname_np(pthread_mutex_lock(&robust)));
	say("end");
}
