/* SPDX-License-Identifier: MIT */
/*
 * clone3(2) with set_tid. It has no form for "any pid here, that pid further out": such levels get
 * a pid that is likely to be free, and another while it is taken.
 */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "call/backend.h"
#include "call/ways.h"

enum {
	TRIES = 256,
	LOWEST = 300,	 /* the kernel keeps what is below for the start of a system */
	HIGHEST = 32768, /* the smallest pid_max that is usual */
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t seed_of(const struct ce_frame *frame)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return mix((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) ^ (uintptr_t)frame;
}

static void choose(struct ce_frame *frame, int level, int low, int high)
{
	uint64_t random = mix(seed_of(frame) + (uint64_t)level);

	frame->clone.set_tid[level] = low + (pid_t)(random % (uint64_t)(high - low));
}

static void choose_all(struct ce_frame *frame, int low, int high)
{
	for (uint64_t rest = frame->clone.open; rest; rest &= rest - 1)
		choose(frame, __builtin_ctzll(rest), low, high);
}

int ce_clone3_prepare(struct ce_frame *frame)
{
	if (frame->clone.args.set_tid_size > CE_SET_TID)
		return ce_forced() == CLONE_EXTENDED_CLONE3 ? -EOPNOTSUPP
							    : ce_last_pid_prepare(frame);
	frame->way = CE_WAY_CLONE3;
	frame->tries = 0;
	frame->low = frame->first = false;
	frame->nr = SYS_clone3;
	frame->arg[0] = (long)&frame->clone.args;
	frame->arg[1] = CLONE_ARGS_SIZE_VER1;
	if (frame->clone.open)
		choose_all(frame, LOWEST, HIGHEST);
	return CE_GO;
}

/*
 * Which level's pid is taken: the kernel looks from the youngest outwards, so one that it can
 * never accept, put behind a prefix of the set, says whether the prefix was free.
 */
static int first_taken(const struct ce_frame *frame)
{
	struct clone_args args = frame->clone.args;
	pid_t pids[CE_LEVELS + 1];
	int size = (int)args.set_tid_size;

	args.set_tid = (uintptr_t)pids;
	for (int i = 0; i + 1 < size; i++) {
		pids[i] = frame->clone.set_tid[i];
		pids[i + 1] = INT_MAX;
		args.set_tid_size = (unsigned)i + 2;
		if (syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER1) == 0)
			_exit(1); /* not reached: INT_MAX is above every pid_max */
		if (errno == EEXIST)
			return i;
	}
	return size - 1;
}

static int choose_again(struct ce_frame *frame)
{
	int level = first_taken(frame);

	if (!(frame->clone.open >> level & 1))
		return -EBUSY;
	/* The usual pids may all be in use: try those of the system's start as well. */
	if (frame->low || frame->tries % 4 == 3)
		choose(frame, level, 2, LOWEST);
	else
		choose(frame, level, LOWEST, HIGHEST);
	return CE_GO;
}

/*
 * EINVAL with a pid of our choice may be our fault: the first task of a namespace has to be 1
 * there, and pid_max can be as low as 301 since 6.14 knows one per namespace.
 */
static int choose_otherwise(struct ce_frame *frame)
{
	int youngest = frame->request.flags & CLONE_NEWPID ? 1 : 0;

	if (frame->low)
		return -EINVAL;
	if (!frame->first && (frame->clone.open >> youngest & 1)) {
		frame->first = true;
		frame->clone.set_tid[youngest] = 1;
		return CE_GO;
	}
	frame->low = true;
	choose_all(frame, 2, LOWEST);
	return CE_GO;
}

int ce_clone3_result(struct ce_frame *frame, int error)
{
	bool may_fall_back = ce_forced() != CLONE_EXTENDED_CLONE3;

	if (may_fall_back &&
		(error == ENOSYS || error == E2BIG || (error == EPERM && !ce_clone3_works())))
		return ce_last_pid_prepare(frame);
	if (frame->clone.open && ++frame->tries < TRIES) {
		if (error == EEXIST)
			return choose_again(frame);
		if (error == EINVAL)
			return choose_otherwise(frame);
	}
	return -ce_errno(error);
}
