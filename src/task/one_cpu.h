/* SPDX-License-Identifier: MIT */
#pragma once

#include <sched.h>

/*
 * Calls in tasks are several times quicker when controller and task share a processor: keeps the
 * caller, and what it makes, on the one it is on. *ret_before is empty where that cannot be done.
 */
void one_cpu_stay(cpu_set_t *ret_before);
void one_cpu_leave(const cpu_set_t *before);
