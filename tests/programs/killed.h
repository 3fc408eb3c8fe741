/* SPDX-License-Identifier: MIT */
#pragma once

#include "common.h"

#include <stdatomic.h>

struct common;

struct worker {
	atomic_ulong turns; /* first: the test reads it from outside */
	struct common *common;
	char name[48];
};

/* As the file "turns": the head is 256 bytes, a worker 64. */
struct common {
	int pipe[2];
	atomic_uint ball;     /* ping and pong: odd and even */
	atomic_int queue_tid; /* who waits in sigtimedwait */
	atomic_int pause_tid, suspend_tid;
	atomic_ulong pause_seen, suspend_seen; /* handlers that ran */
	atomic_ulong pause_back, suspend_back; /* calls that returned */
	pthread_barrier_t barrier;
	_Alignas(256) struct worker workers[];
};

void prepare_signals(void);

void *work_general(void *);
void *work_vectors(void *);
void *work_nanosleep(void *);
void *work_until(void *);
void *work_poll(void *);
void *work_futex(void *);
void *work_futex_until(void *);
void *work_ping(void *);
void *work_pong(void *);
void *work_reader(void *);
void *work_writer(void *);
void *work_queue_wait(void *);
void *work_queue_send(void *);
void *work_pause(void *);
void *work_suspend(void *);
void *work_wake(void *);
void *work_timer(void *);
void *work_forks(void *);
void *work_rseq(void *);
