/* SPDX-License-Identifier: MIT */
/* Timers that run all the time: each prints a line with every tenth of a second. */
#include "common.h"

#include <sys/time.h>

int main(void)
{
	struct itimerval interval = {{0, 100000}, {0, 100000}};
	struct itimerspec period = {{0, 100000000}, {0, 100000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	sigset_t all;
	timer_t timer;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &period, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
	for (;;) {
		int number = sigwaitinfo(&all, NULL);

		if (number == SIGALRM)
			say("interval");
		else if (number == SIGUSR1)
			say("posix");
		else
			say("signal %d, error %d", number, errno);
	}
}
