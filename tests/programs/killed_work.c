/* SPDX-License-Identifier: MIT */
#include "killed.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/wait.h>

#define MILLISECOND 1000000L

/* All signals but these are blocked: in every thread, after every turn. */
static void check_mask(int open_signal)
{
	sigset_t mask;

	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
	for (int signal = 1; signal < 64; signal++) {
		if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33)
			continue;
		CHECK(sigismember(&mask, signal) == (signal != open_signal));
	}
}

static void turn(struct worker *worker)
{
	check_mask(0);
	worker->turns++;
}

static struct timespec in(long nanoseconds)
{
	struct timespec time;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
	time.tv_nsec += nanoseconds;
	if (time.tv_nsec >= 1000 * MILLISECOND) {
		time.tv_sec++;
		time.tv_nsec -= 1000 * MILLISECOND;
	}
	return time;
}

static bool has_come(struct timespec time)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return now.tv_sec > time.tv_sec ||
	       (now.tv_sec == time.tv_sec && now.tv_nsec >= time.tv_nsec);
}

/* ---- sleeping ---- */

void *work_nanosleep(void *arg)
{
	struct timespec nap = {0, 3 * MILLISECOND};

	for (;; turn(arg)) {
		struct timespec end = in(nap.tv_nsec);

		CHECK(nanosleep(&nap, NULL) == 0);
		CHECK(has_come(end));
	}
}

void *work_until(void *arg)
{
	for (;; turn(arg)) {
		struct timespec end = in(3 * MILLISECOND);

		errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
		CHECK(errno == 0);
		CHECK(has_come(end));
	}
}

void *work_poll(void *arg)
{
	int ends[2];
	struct pollfd fds = {.events = POLLIN};

	CHECK(pipe(ends) == 0);
	fds.fd = ends[0];
	for (;; turn(arg)) {
		struct timespec end = in(3 * MILLISECOND);

		CHECK(poll(&fds, 1, 3) == 0);
		CHECK(has_come(end));
	}
}

static long futex(atomic_uint *word, int op, unsigned value, const struct timespec *time)
{
	return syscall(SYS_futex, word, op, value, time, NULL, FUTEX_BITSET_MATCH_ANY);
}

void *work_futex(void *arg)
{
	static atomic_uint word;
	struct timespec nap = {0, 3 * MILLISECOND};

	for (;; turn(arg)) {
		struct timespec end = in(nap.tv_nsec);

		CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 0, &nap) == -1);
		CHECK(errno == ETIMEDOUT);
		CHECK(has_come(end));
	}
}

void *work_futex_until(void *arg)
{
	static atomic_uint word;

	for (;; turn(arg)) {
		struct timespec end = in(3 * MILLISECOND);

		CHECK(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &end) == -1);
		CHECK(errno == ETIMEDOUT);
		CHECK(has_come(end));
	}
}

/* ---- waking each other ---- */

static void play(struct worker *worker, unsigned side)
{
	struct common *common = worker->common;

	for (;; turn(worker)) {
		for (unsigned ball; ((ball = common->ball) & 1) != side;) {
			long r = futex(&common->ball, FUTEX_WAIT, ball, NULL);

			CHECK(r == 0 || errno == EAGAIN);
		}
		if (side)
			CHECK(nanosleep(&(struct timespec){0, MILLISECOND}, NULL) == 0);
		common->ball++;
		CHECK(futex(&common->ball, FUTEX_WAKE, 1, NULL) >= 0);
	}
}

void *work_ping(void *arg)
{
	play(arg, 0);
	return NULL;
}

void *work_pong(void *arg)
{
	play(arg, 1);
	return NULL;
}

void *work_reader(void *arg)
{
	struct worker *worker = arg;

	for (unsigned char wanted = 0;; wanted++, turn(worker)) {
		unsigned char byte;

		CHECK(read(worker->common->pipe[0], &byte, 1) == 1);
		CHECK(byte == wanted);
	}
}

void *work_writer(void *arg)
{
	struct worker *worker = arg;
	struct timespec nap = {0, MILLISECOND};

	for (unsigned char byte = 0;; byte++, turn(worker)) {
		CHECK(nanosleep(&nap, NULL) == 0);
		CHECK(write(worker->common->pipe[1], &byte, 1) == 1);
	}
}

/* ---- processes ---- */

/* Children that end while they are looked at, one in eight of them by vfork. */
static __attribute__((noinline)) void one_child(int number)
{
	struct timespec nap = {0, 2 * MILLISECOND};
	int status;
	pid_t pid = number % 8 ? fork() : vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		syscall(SYS_nanosleep, &nap, NULL);
		_exit(number);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == number);
}

void *work_forks(void *arg)
{
	for (unsigned i = 0;; i++, turn(arg))
		one_child((int)(i & 0x7f));
	return NULL;
}
