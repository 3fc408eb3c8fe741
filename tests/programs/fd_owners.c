/* SPDX-License-Identifier: MIT */
/* F_SETOWN_EX, F_SETSIG and O_ASYNC: a write to a pipe signals who was chosen for that. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rounds.h"

#define GETOWNER_UIDS 17

static volatile sig_atomic_t got_signal, got_fd, got_tid;

static void handler(int signal, siginfo_t *info, void *context)
{
	got_fd = info->si_fd;
	got_tid = (sig_atomic_t)syscall(SYS_gettid);
	got_signal = signal;
}

static void *sleeper(void *ret_tid)
{
	*(pid_t *)ret_tid = (pid_t)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

static void make(int fds[2], int type, pid_t pid, int signal)
{
	struct f_owner_ex owner = {type, pid};

	CHECK(pipe(fds) == 0);
	CHECK(fcntl(fds[0], F_SETOWN_EX, &owner) == 0);
	if (signal)
		CHECK(fcntl(fds[0], F_SETSIG, signal) == 0);
	CHECK(fcntl(fds[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
}

static void check(const int fds[2], int type, pid_t pid, int signal, pid_t tid)
{
	struct f_owner_ex owner = {-1, -1};
	char byte;

	CHECK(fcntl(fds[0], F_GETOWN_EX, &owner) == 0);
	CHECK((int)owner.type == type && owner.pid == pid);
	CHECK(fcntl(fds[0], F_GETSIG) == signal);
	CHECK(fcntl(fds[0], F_GETFL) & O_ASYNC);
	got_signal = 0;
	CHECK(write(fds[1], "x", 1) == 1);
	for (int i = 0; i < 20000 && !got_signal; i++)
		usleep(1000);
	CHECK(got_signal == (signal ? signal : SIGIO));
	if (signal)
		CHECK(got_fd == fds[0]);
	if (tid)
		CHECK(got_tid == tid);
	CHECK(read(fds[0], &byte, 1) == 1);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	int process[2], thread[2], group[2], quiet[2], child[2];
	volatile pid_t tid = 0;
	uid_t uids[2] = {9, 9};
	struct f_owner_ex owner;
	pthread_t id;
	pid_t pid;

	setsid();
	sigaction(SIGIO, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGRTMIN + 3, &action, NULL);
	pthread_create(&id, NULL, sleeper, (void *)&tid);
	while (!tid)
		usleep(1000);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(pid, pid);
	make(process, F_OWNER_PID, getpid(), 0);
	make(thread, F_OWNER_TID, tid, SIGUSR1);
	make(group, F_OWNER_PGRP, getpgrp(), SIGRTMIN + 3);
	CHECK(pipe(quiet) == 0 && fcntl(quiet[0], F_SETSIG, SIGUSR2) == 0);
	/* Set by a user: signals are sent with the rights of that one. */
	CHECK(pipe(child) == 0 && syscall(SYS_setresuid, 1234, 1234, 0) == 0);
	owner = (struct f_owner_ex){F_OWNER_PGRP, pid};
	CHECK(fcntl(child[0], F_SETOWN_EX, &owner) == 0);
	CHECK(syscall(SYS_setresuid, 0, 0, 0) == 0);
	for (int i = 1; i <= 2; i++) {
		round_of(i);
		check(process, F_OWNER_PID, getpid(), 0, 0);
		check(thread, F_OWNER_TID, tid, SIGUSR1, tid);
		check(group, F_OWNER_PGRP, getpgrp(), SIGRTMIN + 3, 0);
		CHECK(fcntl(quiet[0], F_GETSIG) == SIGUSR2 && fcntl(quiet[0], F_GETOWN) == 0);
		CHECK(fcntl(child[0], F_GETOWN_EX, &owner) == 0);
		CHECK(owner.type == F_OWNER_PGRP && owner.pid == pid);
		CHECK(fcntl(child[0], GETOWNER_UIDS, uids) == 0);
		CHECK(uids[0] == 1234 && uids[1] == 1234);
	}
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	return finished();
}
