/* SPDX-License-Identifier: MIT */
#include "killed.h"

#include <sys/mman.h>

#define MILLISECOND 1000000L
#define QUEUED (SIGRTMIN + 1)
#define TICK (SIGRTMIN + 2)
#define STACK_SIZE (64 * 1024)

static __thread volatile unsigned long handled;
static __thread char *alternate;

static void note(int signal)
{
	(void)signal;
	handled++;
}

/* Registers of the interrupted thread are overwritten: they must come back. */
static void tick(int signal)
{
	char here;

	(void)signal;
	if (&here < alternate || &here >= alternate + STACK_SIZE)
		abort();
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n pcmpeqd %%xmm7, %%xmm7\n"
			 "pcmpeqd %%xmm15, %%xmm15\n" ::
				 : "xmm0", "xmm7", "xmm15");
	handled++;
}

void prepare_signals(void)
{
	struct sigaction action = {.sa_handler = note};

	sigfillset(&action.sa_mask);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
	action.sa_handler = tick;
	action.sa_flags = SA_ONSTACK | SA_RESTART;
	CHECK(sigaction(TICK, &action, NULL) == 0);
}

static void open_signal(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

/* ---- one that waits for queued signals ---- */

void *work_queue_wait(void *arg)
{
	struct worker *worker = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, QUEUED);
	worker->common->queue_tid = gettid();
	for (int wanted = 0;; wanted++, worker->turns++) {
		struct timespec time = {600, 0};
		siginfo_t info;
		int signal;

		/* EINTR after a stop is what signal(7) allows for this call. */
		do
			signal = sigtimedwait(&set, &info, &time);
		while (signal < 0 && errno == EINTR);
		CHECK(signal == QUEUED);
		CHECK(info.si_code == SI_QUEUE && info.si_pid == getpid());
		CHECK(info.si_value.sival_int == wanted);
	}
}

void *work_queue_send(void *arg)
{
	struct worker *worker = arg;
	struct timespec nap = {0, 2 * MILLISECOND};

	while (!worker->common->queue_tid)
		sched_yield();
	for (int i = 0;; i++, worker->turns++) {
		CHECK(sigqueue(getpid(), QUEUED, (union sigval){.sival_int = i}) == 0);
		CHECK(nanosleep(&nap, NULL) == 0);
	}
}

/* ---- two that wait for a handler ---- */

void *work_pause(void *arg)
{
	struct worker *worker = arg;

	open_signal(SIGUSR1);
	worker->common->pause_tid = gettid();
	for (;; worker->turns++) {
		unsigned long before = handled;

		CHECK(pause() == -1 && errno == EINTR);
		CHECK(handled > before);
		worker->common->pause_back++;
	}
}

/* No race here: the signal is open only inside the call. */
void *work_suspend(void *arg)
{
	struct worker *worker = arg;
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	worker->common->suspend_tid = gettid();
	for (;; worker->turns++) {
		unsigned long before = handled;

		CHECK(sigsuspend(&set) == -1 && errno == EINTR);
		CHECK(handled > before);
		worker->common->suspend_back++;
	}
}

/* pause(2) may miss a signal that comes just before it: that one is sent until it is back. */
void *work_wake(void *arg)
{
	struct worker *worker = arg;
	struct common *common = worker->common;
	struct timespec nap = {0, MILLISECOND};

	while (!common->pause_tid || !common->suspend_tid)
		sched_yield();
	for (;; worker->turns++) {
		unsigned long paused = common->pause_back, suspended = common->suspend_back;

		CHECK(tgkill(getpid(), common->suspend_tid, SIGUSR2) == 0);
		while (common->pause_back == paused) {
			CHECK(tgkill(getpid(), common->pause_tid, SIGUSR1) == 0);
			CHECK(nanosleep(&nap, NULL) == 0);
		}
		while (common->suspend_back == suspended)
			CHECK(nanosleep(&nap, NULL) == 0);
	}
}

/* ---- one that is interrupted by a timer, on an alternate stack ---- */

static bool registers_hold(void)
{
	unsigned long good = 0;
	const unsigned long low = 0x0123456789abcdef;

	__asm__ volatile("movq %1, %%xmm0\n movq %1, %%xmm7\n movq %1, %%xmm15\n"
			 "mov $20000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
			 "movq %%xmm0, %%rax\n cmp %%rax, %1\n jne 2f\n"
			 "movq %%xmm7, %%rax\n cmp %%rax, %1\n jne 2f\n"
			 "movq %%xmm15, %%rax\n cmp %%rax, %1\n jne 2f\n"
			 "mov $1, %0\n 2:\n"
			 : "+&r"(good)
			 : "r"(low)
			 : "rax", "rcx", "xmm0", "xmm7", "xmm15", "cc");
	return good;
}

void *work_timer(void *arg)
{
	struct worker *worker = arg;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK};
	struct itimerspec every = {{0, 2 * MILLISECOND}, {0, 2 * MILLISECOND}};
	stack_t stack = {.ss_size = STACK_SIZE};
	timer_t timer;

	stack.ss_sp = alternate =
		mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(alternate != MAP_FAILED && sigaltstack(&stack, NULL) == 0);
	event._sigev_un._tid = gettid();
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	open_signal(TICK);
	CHECK(timer_settime(timer, 0, &every, NULL) == 0);
	for (;; worker->turns++) {
		unsigned long before = handled;

		while (handled == before)
			CHECK(registers_hold());
	}
}
