/* SPDX-License-Identifier: MIT */
/*
 * Is the model Linux? Random histories are done by real processes and by the model; each call must
 * return the same, and at the end /proc must show the same.
 *
 *   forest-kernel [--seed N] [--count N] [--first N]
 *   forest-kernel [--seed N] --hold N	as init of a pid namespace: does history N, says "ready",
 * waits
 *
 * A portion of histories at a time has a pid namespace of its own, whose init does them. Its parent
 * waits for a bounded time, and then ends it, and with it all that is in it.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "real.h"

#define PORTION 50
#define PATIENCE 400 /* seconds for a portion */

struct session {
	struct real *real;
	struct model *m; /* one step behind the deed at hand */
	char why[300];
	bool failed;
};

static void check_deed(void *arg, const struct model *m, const struct deed *d)
{
	struct session *s = arg;
	int r;

	if (s->failed || !d->tried)
		return;
	/* Deeds are noted when the model has done them; what is asked for was picked before. */
	r = real_do(s->real, d->result < 0 || d->kind <= OP_CONTAINER_SIBLING ? m : s->m, d);
	if ((r < 0) != (d->result < 0) || (r < 0 && r != d->result)) {
		snprintf(s->why, sizeof(s->why), "gave %d instead of %d", r, d->result);
		s->failed = true;
	} else if (real_settle(s->real, m, s->why, sizeof(s->why)) < 0) {
		s->failed = true;
	}
	if (s->failed) {
		printf("  ");
		deed_print(stdout, d);
	}
	*s->m = *m;
}

static int do_history(struct session *s, const struct history *h, struct model *m)
{
	s->failed = false;
	model_init(s->m);
	history_run(h, m, check_deed, s);
	if (!s->failed && real_compare(s->real, m, s->why, sizeof(s->why)) < 0)
		s->failed = true;
	if (real_clear(s->real) < 0) {
		snprintf(s->why, sizeof(s->why), "cannot reap all");
		return -1;
	}
	return s->failed ? -1 : 0;
}

static void seed_history(struct history *h, unsigned long long seed, unsigned long long at)
{
	h->gentle = true;
	struct rng rng = {seed * 0x9e3779b97f4a7c15 + at * 0xd1342543de82ef95};

	history_random(h, &rng,
		rng_below(&rng, 20) == 0 ? 1 + rng_below(&rng, 60) : 1 + rng_below(&rng, 14));
}

/* As init of the namespace. Returns how many failed. */
static int do_portion(unsigned long long seed, unsigned long long first, unsigned long long n)
{
	struct session s = {.m = malloc(sizeof(*s.m))};
	struct history *h = malloc(sizeof(*h));
	struct model *m = malloc(sizeof(*m));
	int failed = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* all end with the one who started it */
	setsid();
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", 0, NULL) < 0)
		return (int)n;
	s.real = real_new();
	for (unsigned long long i = first; s.real && i < first + n; i++) {
		seed_history(h, seed, i);
		if (do_history(&s, h, m) < 0) {
			printf("history %llu of seed %llu: %s\n", i, seed, s.why);
			failed++;
		}
	}
	fflush(stdout);
	return s.real ? failed : (int)n;
}

static int run_portion(unsigned long long seed, unsigned long long first, unsigned long long n)
{
	struct pollfd p = {.events = POLLIN, .fd = -1};
	unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD | SIGCHLD;
	siginfo_t info = {0};
	long pid;

	fflush(stdout);
	pid = syscall(SYS_clone, flags, 0, &p.fd, 0, 0);
	if (pid < 0) {
		printf("no pid namespace: %s\n", strerror(errno));
		return (int)n;
	}
	if (pid == 0)
		_exit(do_portion(seed, first, n));
	if (poll(&p, 1, PATIENCE * 1000) != 1) {
		printf("histories from %llu on: not done after %d s\n", first, PATIENCE);
		syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0);
	}
	waitid(P_PIDFD, (id_t)p.fd, &info, WEXITED);
	close(p.fd);
	if (info.si_code != CLD_EXITED)
		return (int)n;
	return info.si_status;
}

/* They work one after the other: to wake the next on another CPU costs more than all else. */
static void use_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)sched_getcpu(), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* For who wants to see what a history leads to. */
static int hold(unsigned long long seed, unsigned long long at)
{
	struct session s = {.m = malloc(sizeof(*s.m)), .real = real_new()};
	struct history *h = malloc(sizeof(*h));
	struct model *m = malloc(sizeof(*m));

	if (!s.m || !s.real || !h || !m)
		return 1;
	setsid();
	seed_history(h, seed, at);
	model_init(s.m);
	history_run(h, m, check_deed, &s);
	if (!s.failed && real_compare(s.real, m, s.why, sizeof(s.why)) < 0)
		s.failed = true;
	puts(s.failed ? s.why : "ready");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'}, {"count", 1, NULL, 'c'},
		{"first", 1, NULL, 'f'}, {"hold", 1, NULL, 'h'}, {0}};
	unsigned long long seed = 1, count = 2000, first = 0, failed = 0;
	bool held = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return 2;
		held = held || c == 'h';
		*(c == 's' ? &seed : c == 'c' ? &count : &first) = strtoull(optarg, NULL, 0);
	}
	if (held)
		return hold(seed, first);
	use_one_cpu();
	printf("seed %llu, histories %llu to %llu\n", seed, first, first + count - 1);
	for (unsigned long long at = 0; at < count; at += PORTION) {
		unsigned long long n = count - at < PORTION ? count - at : PORTION;

		failed += (unsigned long long)run_portion(seed, first + at, n);
	}
	printf("%llu passed, %llu failed, 0 skipped\n", count - failed, failed);
	return failed != 0;
}
