/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#define MOST_THREADS 3

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t added, finished;
	struct piece *first, **last;
	size_t running;
	bool ends;
	size_t nr_threads;
	struct worker {
		struct pool *pool;
		size_t number;
		pthread_t thread;
	} workers[MOST_THREADS];
};

/* With the lock held; it is given back while the piece runs. */
static void run_first(struct pool *pool, size_t worker)
{
	struct piece *piece = pool->first;

	pool->first = piece->next;
	if (!pool->first)
		pool->last = &pool->first;
	pool->running++;
	pthread_mutex_unlock(&pool->lock);
	piece->run(piece, worker);
	pthread_mutex_lock(&pool->lock);
	pool->running--;
	piece->done = true;
	pthread_cond_broadcast(&pool->finished);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct pool *pool = worker->pool;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		if (pool->first)
			run_first(pool, worker->number);
		else if (pool->ends)
			break;
		else
			pthread_cond_wait(&pool->added, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Signals are the caller's affair. */
static void start_threads(struct pool *pool, size_t wanted)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; i < wanted && i < MOST_THREADS; i++) {
		struct worker *worker = &pool->workers[i];

		*worker = (struct worker){.pool = pool, .number = i + 1};
		if (pthread_create(&worker->thread, NULL, work, worker) != 0)
			break;
		pool->nr_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct pool *pool_new(void)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	cpu_set_t cpus;

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->added, NULL);
	pthread_cond_init(&pool->finished, NULL);
	pool->last = &pool->first;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		start_threads(pool, (size_t)CPU_COUNT(&cpus) - 1);
	return pool;
}

size_t pool_workers(const struct pool *pool)
{
	return pool->nr_threads + 1;
}

void pool_add(struct pool *pool, struct piece *piece)
{
	piece->next = NULL;
	piece->done = false;
	pthread_mutex_lock(&pool->lock);
	*pool->last = piece;
	pool->last = &piece->next;
	if (pool->nr_threads)
		pthread_cond_signal(&pool->added);
	else
		run_first(pool, 0);
	pthread_mutex_unlock(&pool->lock);
}

void pool_finish(struct pool *pool, struct piece *piece)
{
	pthread_mutex_lock(&pool->lock);
	while (!piece->done) {
		if (pool->first)
			run_first(pool, 0);
		else
			pthread_cond_wait(&pool->finished, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
}

void pool_finish_all(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (pool->first || pool->running) {
		if (pool->first)
			run_first(pool, 0);
		else
			pthread_cond_wait(&pool->finished, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pool_finish_all(pool);
	pthread_mutex_lock(&pool->lock);
	pool->ends = true;
	pthread_cond_broadcast(&pool->added);
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->nr_threads; i++)
		pthread_join(pool->workers[i].thread, NULL);
	pthread_cond_destroy(&pool->added);
	pthread_cond_destroy(&pool->finished);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
