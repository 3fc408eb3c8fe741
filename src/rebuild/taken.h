/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"

/* Every number in use in a pid namespace: of tasks, threads, zombies, sessions and
 * groups. */
struct taken;

/* Of target's namespace, 0: the caller's. NULL without memory, or where it cannot be looked at. */
struct taken *taken_find(pid_t target);
void taken_free(struct taken *taken);

/* Which of the wanted numbers are taken: how many, and by whom as text. */
size_t taken_list(
	const struct taken *taken, const pid_t *wanted, size_t count, char *text, size_t size);

/* All of them, ascending. */
int taken_numbers(const struct taken *taken, struct arena *arena, pid_t **ret, size_t *ret_count);
