/* SPDX-License-Identifier: MIT */
/* Prints CLOCK_MONOTONIC and CLOCK_BOOTTIME in ns, at the start and when there is a file "go". */
#include "common.h"

static void print(void)
{
	struct timespec monotonic, boottime;

	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_BOOTTIME, &boottime);
	say("%ld%09ld %ld%09ld", monotonic.tv_sec, monotonic.tv_nsec, boottime.tv_sec,
		boottime.tv_nsec);
	/* The same without the vdso. */
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic);
	syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &boottime);
	say("%ld%09ld %ld%09ld", monotonic.tv_sec, monotonic.tv_nsec, boottime.tv_sec,
		boottime.tv_nsec);
}

int main(void)
{
	print();
	say("ready");
	wait_go();
	print();
	say("end");
}
