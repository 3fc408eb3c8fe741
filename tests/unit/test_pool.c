/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"

#define COUNT 5000

struct sum {
	struct piece piece;
	_Atomic size_t *total;
	size_t *by_worker;
	size_t value;
};

static void add(struct piece *piece, size_t worker)
{
	struct sum *sum = (struct sum *)piece;

	*sum->total += sum->value;
	sum->by_worker[worker] += sum->value;
}

/* Each piece runs once, and what a worker has to itself needs no lock. */
static void run_all(bool one_by_one)
{
	static struct sum sums[COUNT];
	struct pool *pool = pool_new();
	_Atomic size_t total = 0;
	size_t by_worker[64] = {0}, sum = 0;

	ck_assert_ptr_nonnull(pool);
	for (size_t i = 0; i < COUNT; i++) {
		sums[i] = (struct sum){{.run = add}, &total, by_worker, i};
		pool_add(pool, &sums[i].piece);
	}
	for (size_t i = 0; one_by_one && i < COUNT; i++) {
		pool_finish(pool, &sums[i].piece);
		ck_assert(sums[i].piece.done);
	}
	pool_finish_all(pool);
	for (size_t i = 0; i < pool_workers(pool); i++)
		sum += by_worker[i];
	ck_assert_uint_eq(total, (size_t)COUNT * (COUNT - 1) / 2);
	ck_assert_uint_eq(sum, total);
	pool_free(pool);
}

START_TEST(every_piece_once)
{
	run_all(false);
	run_all(true);
}
END_TEST

START_TEST(with_one_cpu)
{
	cpu_set_t before, one;
	int cpu = sched_getcpu();

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	run_all(true);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}
END_TEST

/* Freed with work left: all of it is done first. */
START_TEST(nothing_is_left_out)
{
	static struct sum sums[COUNT];
	struct pool *pool = pool_new();
	_Atomic size_t total = 0;
	size_t by_worker[64] = {0};

	for (size_t i = 0; i < COUNT; i++) {
		sums[i] = (struct sum){{.run = add}, &total, by_worker, 1};
		pool_add(pool, &sums[i].piece);
	}
	pool_free(pool);
	ck_assert_uint_eq(total, COUNT);
	pool_free(NULL);
}
END_TEST

UNIT_MAIN("pool", every_piece_once, with_one_cpu, nothing_is_left_out)
