/* SPDX-License-Identifier: MIT */
/* The first thread ends; another goes on and ends the process when there is a file "go". */
#include "common.h"

#include <sys/time.h>

static void handler(int number)
{
	say("handler of %d", number);
}

static void *run(void *arg)
{
	struct itimerval value = {{2000, 0}, {3000, 0}};
	sigset_t set;

	while (access("left", F_OK) < 0)
		usleep(5000);
	CHECK(setitimer(ITIMER_REAL, &value, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
	say("ready");
	wait_go();
	CHECK(getitimer(ITIMER_REAL, &value) == 0);
	say("pid %d, interval %ld, left %d", getpid(), value.it_interval.tv_sec,
		value.it_value.tv_sec > 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	say("end");
	_exit(5);
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler};
	pthread_t thread;

	sigaction(SIGRTMIN, &action, NULL);
	CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
	say("begun");
	while (access("leave", F_OK) < 0)
		usleep(5000);
	syscall(SYS_exit, 0);
}
