/* SPDX-License-Identifier: MIT */
/* Timers of every kind: listed before and after the file "go", then waited for. */
#include "common.h"

#include <sys/time.h>

struct event {
	union sigval value;
	int signal, notify, tid, padding[11];
};

static pthread_barrier_t barrier;
static pid_t second_tid;
static int second_timer;

static int create(clockid_t clock, int notify, int number, int value, pid_t tid)
{
	struct event event = {{.sival_int = value}, number, notify, tid, {0}};
	int id = -1;

	CHECK(syscall(SYS_timer_create, clock, &event, &id) == 0);
	return id;
}

/* Armed far away, with an interval: what is left is shown in units of 1,000 s, rounded up. */
static void arm(int id, long seconds, long interval)
{
	struct itimerspec value = {{interval, 7}, {seconds, 0}};

	CHECK(syscall(SYS_timer_settime, id, 0, &value, NULL) == 0);
}

static void arm_soon(int id)
{
	struct itimerspec value = {{0, 0}, {0, 50000000}};

	CHECK(syscall(SYS_timer_settime, id, 0, &value, NULL) == 0);
}

static void expect(int number)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	CHECK(sigwaitinfo(&set, &info) == number);
	if (info.si_code == SI_TIMER)
		say("signal %d: value %d, timer %d", number, info.si_value.sival_int,
			info.si_timerid);
	else
		say("signal %d: code %d", number, info.si_code);
}

/* Burns CPU time until the signal is pending. */
static void burn(int number)
{
	sigset_t pending;

	do
		sigpending(&pending);
	while (!sigismember(&pending, number));
	expect(number);
}

static void list(void)
{
	struct itimerval real;

	for (int i = 0; i < 18; i++) {
		struct itimerspec value;

		if (syscall(SYS_timer_gettime, i, &value) < 0)
			say("timer %d: none", i);
		else
			say("timer %d: interval %ld.%09ld, left about %ld", i,
				value.it_interval.tv_sec, value.it_interval.tv_nsec,
				(value.it_value.tv_sec + 999) / 1000);
	}
	for (int i = 0; i < 3; i++) {
		CHECK(getitimer(i, &real) == 0);
		say("interval timer %d: interval %ld.%06ld, left about %ld", i,
			real.it_interval.tv_sec, real.it_interval.tv_usec,
			(real.it_value.tv_sec + 999) / 1000);
	}
}

static void *second(void *arg)
{
	siginfo_t info;
	sigset_t set;

	second_tid = (pid_t)syscall(SYS_gettid);
	second_timer =
		create(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, SIGRTMIN + 7, 80, second_tid);
	pthread_barrier_wait(&barrier);
	wait_go();
	/* It counts this thread's time: the other one only waits. */
	arm_soon(second_timer);
	burn(SIGRTMIN + 7);
	pthread_barrier_wait(&barrier);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 4);
	say("second: code %d, value %d, timer %d", info.si_code, info.si_value.sival_int,
		info.si_timerid);
	return NULL;
}

int main(void)
{
	struct itimerval far = {{2500, 0}, {5500, 0}};
	int ids[10];
	pthread_t thread;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, second, NULL) == 0);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 10; i++)
		ids[i] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + i, 100 + i, 0);
	for (int i = 0; i < 10; i++)
		if (i != 2)
			CHECK(syscall(SYS_timer_delete, ids[i]) == 0);
	arm(ids[2], 3500, 10);
	say("ids %d", create(CLOCK_REALTIME, SIGEV_NONE, 0, 0, 0) - ids[0]);
	ids[3] = create(CLOCK_BOOTTIME, SIGEV_THREAD_ID, SIGRTMIN + 4, 77, second_tid);
	CHECK(ids[3] < 18);
	ids[4] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 5, 78, 0);
	ids[5] = create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN + 6, 79, 0);
	arm(ids[4], 100500, 0);
	CHECK(setitimer(ITIMER_REAL, &far, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &far, NULL) == 0);
	list();
	say("ready");
	wait_go();
	list();
	arm(ids[3], 1, 0);
	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, NULL) == 0);
	arm(ids[4], 1, 0);
	expect(SIGRTMIN + 5);
	arm_soon(ids[5]);
	burn(SIGRTMIN + 6);
	far = (struct itimerval){{0, 0}, {0, 100000}};
	CHECK(setitimer(ITIMER_REAL, &far, NULL) == 0);
	expect(SIGALRM);
	say("end");
}
