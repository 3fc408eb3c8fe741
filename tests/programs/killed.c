/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait and count in many ways and check all that must not change when they are stopped
 * and let go: registers, results of calls, masks, signals. Each notes its turns in the shared file
 * "turns"; what is wrong is said on standard output. killed_work.c has the workers.
 */
#include "killed.h"

#include <sys/mman.h>

static const struct {
	const char *name;
	void *(*run)(void *);
} workers[] = {
	{"general", work_general},
	{"vectors", work_vectors},
	{"nanosleep", work_nanosleep},
	{"until", work_until},
	{"poll", work_poll},
	{"futex", work_futex},
	{"futex-until", work_futex_until},
	{"ping", work_ping},
	{"pong", work_pong},
	{"reader", work_reader},
	{"writer", work_writer},
	{"queue-wait", work_queue_wait},
	{"queue-send", work_queue_send},
	{"pause", work_pause},
	{"suspend", work_suspend},
	{"wake", work_wake},
	{"timer", work_timer},
	{"forks", work_forks},
	{"rseq-a", work_rseq},
	{"rseq-b", work_rseq},
};

#define NR_WORKERS (sizeof(workers) / sizeof(workers[0]))

int main(void)
{
	size_t size = NR_WORKERS * sizeof(struct worker);
	int fd = open("turns", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct common *common;
	sigset_t all;
	pthread_t thread;

	CHECK(fd >= 0 && ftruncate(fd, (off_t)(sizeof(*common) + size)) == 0);
	common = mmap(NULL, sizeof(*common) + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(common != MAP_FAILED);
	close(fd);
	CHECK(pipe(common->pipe) == 0);
	pthread_barrier_init(&common->barrier, NULL, 2);
	sigfillset(&all);
	CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
	prepare_signals();
	for (size_t i = 0; i < NR_WORKERS; i++) {
		struct worker *worker = &common->workers[i];

		worker->common = common;
		snprintf(worker->name, sizeof(worker->name), "%s", workers[i].name);
		CHECK(pthread_create(&thread, NULL, workers[i].run, worker) == 0);
	}
	say("ready %zu", NR_WORKERS);
	for (;;)
		pause();
}
