/* SPDX-License-Identifier: MIT */
/*
 * A thread waits in one system call, named by the argument; the first thread wakes it when there is
 * a file "go", and the call's outcome is printed.
 */
#include "common.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/stat.h>

static int fds[2];
static uint32_t word;
static pid_t child;
static pthread_t waiter;
static volatile int handled;

static void handler(int number)
{
	handled++;
}

static void block(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

static long do_read(void)
{
	char byte;

	return read(fds[0], &byte, 1);
}

static void fill(void)
{
	char bytes[4096] = "";

	CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	while (write(fds[1], bytes, sizeof(bytes)) > 0)
		;
	CHECK(fcntl(fds[1], F_SETFL, 0) == 0);
}

static long do_write(void)
{
	char bytes[4096] = "";

	return write(fds[1], bytes, sizeof(bytes));
}

static long do_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static struct timespec deadline(clockid_t clock, int seconds)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += seconds;
	return ts;
}

static void check_not_early(clockid_t clock, const struct timespec *ts)
{
	struct timespec now;

	clock_gettime(clock, &now);
	say("early %d",
		now.tv_sec < ts->tv_sec || (now.tv_sec == ts->tv_sec && now.tv_nsec < ts->tv_nsec));
}

static long do_futex_deadline(void)
{
	struct timespec ts = deadline(CLOCK_MONOTONIC, 2);
	long ret = syscall(
		SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL, FUTEX_BITSET_MATCH_ANY);
	int error = errno;

	check_not_early(CLOCK_MONOTONIC, &ts);
	errno = error;
	return ret;
}

static long do_futex_timeout(void)
{
	struct timespec ts = {2, 0};

	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
}

static long do_nanosleep(void)
{
	struct timespec ts = {2, 0};

	return syscall(SYS_nanosleep, &ts, NULL);
}

static long do_clock_nanosleep(void)
{
	struct timespec ts = deadline(CLOCK_MONOTONIC, 2);
	long ret = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);

	check_not_early(CLOCK_MONOTONIC, &ts);
	return ret;
}

static long do_clock_nanosleep_boot(void)
{
	struct timespec ts = deadline(CLOCK_BOOTTIME, 2);
	long ret = clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL);

	check_not_early(CLOCK_BOOTTIME, &ts);
	return ret;
}

static long do_poll(void)
{
	struct pollfd one = {fds[0], POLLIN, 0};

	return poll(&one, 1, -1);
}

static long do_poll_timeout(void)
{
	struct pollfd one = {fds[0], POLLIN, 0};

	return poll(&one, 1, 2000);
}

static long do_ppoll(void)
{
	struct pollfd one = {fds[0], POLLIN, 0};
	struct timespec ts = {1000000, 0};
	sigset_t set;

	sigfillset(&set);
	return ppoll(&one, 1, &ts, &set);
}

static long do_pselect(void)
{
	fd_set set;
	sigset_t mask;

	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	sigfillset(&mask);
	return pselect(fds[0] + 1, &set, NULL, NULL, NULL, &mask);
}

static void fork_child(void)
{
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		wait_go();
		_exit(7);
	}
}

static long do_wait4(void)
{
	int status = 0;
	pid_t pid = wait4(child, &status, 0, NULL);

	say("status %d, the child %d", WEXITSTATUS(status), pid == child);
	return pid > 0;
}

static long do_waitid(void)
{
	siginfo_t info = {0};
	int ret = waitid(P_ALL, 0, &info, WEXITED);

	say("status %d, the child %d", info.si_status, info.si_pid == child);
	return ret;
}

static long do_pause(void)
{
	long ret = pause();

	say("handled %d", handled);
	return ret;
}

static long do_sigsuspend(void)
{
	sigset_t set;
	long ret;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	ret = sigsuspend(&set);
	say("handled %d", handled);
	return ret;
}

static long wait_signal(const struct timespec *timeout)
{
	siginfo_t info = {0};
	sigset_t set;
	long ret;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	ret = sigtimedwait(&set, &info, timeout);
	if (ret == SIGUSR2)
		say("value %d", info.si_value.sival_int);
	return ret == SIGUSR2 ? 1 : ret;
}

static long do_sigwaitinfo(void)
{
	return wait_signal(NULL);
}

static long do_sigtimedwait(void)
{
	struct timespec ts = {2, 0};

	return wait_signal(&ts);
}

static void lock_in_child(void)
{
	int ready[2];
	char byte;

	CHECK(pipe(ready) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		int fd = open("locked", O_RDWR | O_CREAT, 0600);

		CHECK(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
		CHECK(write(ready[1], "", 1) == 1);
		wait_go();
		_exit(0);
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	fds[0] = open("locked", O_RDWR);
	CHECK(fds[0] >= 0);
}

static long do_lock(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fds[0], F_SETLKW, &lock);
}

static void make_fifo(void)
{
	CHECK(mkfifo("fifo", 0600) == 0 || errno == EEXIST);
}

static long do_open(void)
{
	return open("fifo", O_RDONLY) >= 0;
}

static void make_pipe(void)
{
	CHECK(pipe(fds) == 0);
}

static void make_full_pipe(void)
{
	make_pipe();
	fill();
}

static void wake_write(void)
{
	CHECK(write(fds[1], "x", 1) == 1);
}

static void wake_read(void)
{
	char bytes[8192];

	CHECK(read(fds[0], bytes, sizeof(bytes)) == sizeof(bytes));
}

static void wake_futex(void)
{
	struct timespec ts = {0, 5000000};

	/* The waiter may still be on its way into the call. */
	while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1)
		nanosleep(&ts, NULL);
}

static void wake_kill(void)
{
	pthread_kill(waiter, SIGUSR1);
}

static void wake_queue(void)
{
	sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42});
}

static void wake_open(void)
{
	CHECK(open("fifo", O_WRONLY) >= 0);
}

static const struct item {
	const char *name;
	long (*wait)(void);
	void (*prepare)(void);
	void (*wake)(void);
} items[] = {
	{"read", do_read, make_pipe, wake_write},
	{"write", do_write, make_full_pipe, wake_read},
	{"futex", do_futex, NULL, wake_futex},
	{"futex_deadline", do_futex_deadline, NULL, NULL},
	{"futex_timeout", do_futex_timeout, NULL, NULL},
	{"nanosleep", do_nanosleep, NULL, NULL},
	{"clock_nanosleep", do_clock_nanosleep, NULL, NULL},
	{"clock_nanosleep_boot", do_clock_nanosleep_boot, NULL, NULL},
	{"poll", do_poll, make_pipe, wake_write},
	{"poll_timeout", do_poll_timeout, make_pipe, NULL},
	{"ppoll", do_ppoll, make_pipe, wake_write},
	{"pselect", do_pselect, make_pipe, wake_write},
	{"wait4", do_wait4, fork_child, NULL},
	{"waitid", do_waitid, fork_child, NULL},
	{"pause", do_pause, NULL, wake_kill},
	{"sigsuspend", do_sigsuspend, NULL, wake_kill},
	{"sigwaitinfo", do_sigwaitinfo, NULL, wake_queue},
	{"sigtimedwait", do_sigtimedwait, NULL, NULL},
	{"lock", do_lock, lock_in_child, NULL},
	{"open", do_open, make_fifo, wake_open},
};

static void *run(void *arg)
{
	const struct item *item = arg;
	long ret;

	errno = 0;
	ret = item->wait();
	say("%s: %ld %s", item->name, ret, ret < 0 ? strerrorname_np(errno) : "");
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = handler};

	sigaction(SIGUSR1, &action, NULL);
	block(SIGUSR2);
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (strcmp(items[i].name, argv[1]))
			continue;
		if (items[i].prepare)
			items[i].prepare();
		if (!strcmp(argv[1], "sigsuspend"))
			block(SIGUSR1);
		CHECK(pthread_create(&waiter, NULL, run, (void *)&items[i]) == 0);
		say("ready");
		wait_go();
		if (items[i].wake)
			items[i].wake();
		CHECK(pthread_join(waiter, NULL) == 0);
		say("end");
		return 0;
	}
	return 2;
}
