/* SPDX-License-Identifier: MIT */
/* N threads pass a turn round under one mutex and a condition variable each; prints every round. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t *turns;
static long turn, count;

static void *work(void *arg)
{
	long own = (long)arg;

	pthread_mutex_lock(&lock);
	for (long round = 0;; round++) {
		while (turn != round * count + own)
			pthread_cond_wait(&turns[own], &lock);
		if (own == 0) {
			printf("%ld\n", round);
			fflush(stdout);
			pthread_mutex_unlock(&lock);
			usleep(2000);
			pthread_mutex_lock(&lock);
		}
		turn++;
		pthread_cond_signal(&turns[(own + 1) % count]);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	count = atol(argv[argc - 1]);
	turns = calloc((size_t)count, sizeof(*turns));
	for (long i = 0; i < count; i++)
		pthread_cond_init(&turns[i], NULL);
	for (long i = 0; i < count; i++)
		if (pthread_create(&thread, NULL, work, (void *)i) != 0)
			return 1;
	pause();
}
