/* SPDX-License-Identifier: MIT */
/*
 * Signal actions of every kind, masks, and signals of every origin that are pending: printed at the
 * start and, taken one by one, when there is a file "go".
 */
#include "common.h"

#include <sys/time.h>
#include <ucontext.h>

struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

static volatile int nested;
static pthread_barrier_t barrier;

static void plain(int number)
{
	say("handler of %d", number);
}

static void informed(int number, siginfo_t *info, void *context)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	say("handler of %d: code %d value %d, blocked %016lx", number, info->si_code,
		info->si_value.sival_int, (long)mask);
	nested++;
}

static void print_actions(void)
{
	for (int i = 1; i <= 64; i++) {
		struct kernel_action action;

		CHECK(syscall(SYS_rt_sigaction, i, NULL, &action, 8) == 0);
		say("action %d: %s flags %lx mask %016lx restorer %d", i,
			action.handler == SIG_DFL	     ? "default"
			: action.handler == SIG_IGN	     ? "ignore"
			: action.handler == (void *)plain    ? "plain"
			: action.handler == (void *)informed ? "informed"
							     : "?",
			action.flags, (long)action.mask, action.restorer != NULL);
	}
}

static void print_mask(const char *who)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	say("%s blocks %016lx", who, (long)mask);
}

static void take_all(const char *who, const sigset_t *set)
{
	struct timespec none = {0, 0};
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	while (sigtimedwait(set, &info, &none) > 0) {
		say("%s: signal %d code %d pid %d uid %d value %d", who, info.si_signo,
			info.si_code, info.si_pid, info.si_uid, info.si_value.sival_int);
		memset(&info, 0, sizeof(info));
	}
}

static void set(int number, void (*how)(int), int flags, int masked)
{
	struct sigaction action = {.sa_handler = how, .sa_flags = flags};

	if (masked)
		sigaddset(&action.sa_mask, masked);
	CHECK(sigaction(number, &action, NULL) == 0);
}

static void set_info(int number, int flags)
{
	struct sigaction action = {.sa_sigaction = informed, .sa_flags = SA_SIGINFO | flags};

	sigaddset(&action.sa_mask, SIGTERM);
	CHECK(sigaction(number, &action, NULL) == 0);
}

static void *second(void *arg)
{
	sigset_t set, unblocked;

	sigemptyset(&unblocked);
	sigaddset(&unblocked, SIGWINCH);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_UNBLOCK, &unblocked, NULL);
	pthread_sigqueue(pthread_self(), SIGRTMIN + 2, (union sigval){.sival_int = 21});
	pthread_sigqueue(pthread_self(), SIGRTMIN + 2, (union sigval){.sival_int = 22});
	pthread_kill(pthread_self(), SIGUSR2);
	pthread_barrier_wait(&barrier);
	wait_go();
	print_mask("second");
	take_all("second", &set);
	return NULL;
}

static void queue_all(void)
{
	struct itimerval at_once = {{0, 0}, {0, 1000}};
	siginfo_t info;
	sigset_t pending;
	pid_t child;

	for (int i = 1; i <= 3; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
	sigqueue(getpid(), SIGRTMAX, (union sigval){.sival_int = -1});
	kill(getpid(), SIGUSR1);
	raise(SIGHUP);
	sigqueue(getpid(), SIGURG, (union sigval){.sival_int = 5});
	child = fork();
	if (child == 0)
		_exit(3);
	CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
	setitimer(ITIMER_REAL, &at_once, NULL);
	do
		sigpending(&pending);
	while (!sigismember(&pending, SIGALRM));
}

int main(void)
{
	pthread_t thread;
	sigset_t all;

	pthread_barrier_init(&barrier, NULL, 2);
	set(SIGINT, SIG_IGN, 0, 0);
	set(SIGTSTP, SIG_IGN, 0, 0);
	set(SIGCHLD, SIG_DFL, SA_NOCLDSTOP, 0);
	set(SIGUSR1, plain, SA_RESTART, SIGUSR2);
	set(SIGUSR2, plain, SA_RESETHAND | SA_NODEFER, 0);
	set(SIGQUIT, plain, SA_ONSTACK, SIGALRM);
	set_info(SIGRTMIN, SA_RESTART);
	set_info(SIGRTMAX, SA_NODEFER);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	CHECK(pthread_create(&thread, NULL, second, NULL) == 0);
	pthread_barrier_wait(&barrier);
	queue_all();
	say("ready");
	wait_go();
	CHECK(pthread_join(thread, NULL) == 0);
	print_actions();
	print_mask("main");
	take_all("main", &all);
	sigqueue(getpid(), SIGRTMAX, (union sigval){.sival_int = 9});
	raise(SIGUSR1);
	sigdelset(&all, SIGRTMAX);
	sigdelset(&all, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	say("end");
}
