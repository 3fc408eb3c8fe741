/* SPDX-License-Identifier: MIT */
/* Children dead and alive, and a count of the SIGCHLDs that their parent has seen. */
#include "common.h"

static volatile int seen;

static void handler(int number)
{
	seen++;
}

static pid_t start(int status)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (status < 0)
		wait_go();
	_exit(status < 0 ? -status : status);
}

/* A child whose own child outlives it. */
static pid_t start_orphan(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	start(-9);
	_exit(4);
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	pid_t alive, dead, stopped, other;
	siginfo_t info;
	int status;

	sigaction(SIGCHLD, &action, NULL);
	alive = start(-3);
	dead = start(7);
	other = start_orphan();
	stopped = start(-2);
	CHECK(kill(stopped, SIGSTOP) == 0);
	CHECK(waitpid(stopped, &status, WUNTRACED) == stopped);
	say("stopped %d", WIFSTOPPED(status));
	CHECK(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT) == 0);
	CHECK(waitpid(other, &status, 0) == other);
	say("orphan's parent ended with %d", WEXITSTATUS(status));
	while (seen < 1)
		sched_yield();
	seen = 0;
	say("ready");
	while (access("look", F_OK) < 0)
		usleep(5000);
	say("seen %d", seen);
	wait_go();
	CHECK(waitpid(dead, &status, 0) == dead);
	say("dead: %d", WEXITSTATUS(status));
	CHECK(waitpid(alive, &status, 0) == alive);
	say("alive: %d", WEXITSTATUS(status));
	CHECK(kill(stopped, SIGCONT) == 0);
	CHECK(waitpid(stopped, &status, 0) == stopped);
	say("stopped: %d", WEXITSTATUS(status));
	other = waitpid(-1, &status, 0);
	say("orphan: %d", other > 0 ? WEXITSTATUS(status) : -1);
	say("end");
}
