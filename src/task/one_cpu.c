/* SPDX-License-Identifier: MIT */
#include "task/one_cpu.h"

void one_cpu_stay(cpu_set_t *ret_before)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(ret_before);
	if (cpu < 0 || sched_getaffinity(0, sizeof(*ret_before), ret_before) < 0) {
		CPU_ZERO(ret_before);
		return;
	}
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

void one_cpu_leave(const cpu_set_t *before)
{
	if (CPU_COUNT(before))
		sched_setaffinity(0, sizeof(*before), before);
}
