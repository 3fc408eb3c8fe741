/* SPDX-License-Identifier: MIT */
/* One function per rule tries its rows in a world, and counts. */
#pragma once

#include "world.h"

struct rule {
	int number;
	const char *text;
	void (*rows)(struct world *w);
};
extern const struct rule rules[];
enum { RULES = 15 };

/* Counts; says what failed. Returns ok. */
bool count(struct world *w, int rule, bool ok, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Makes the call and compares it with what the table says for a privileged caller on a backend that
 * can do everything, and with what the rules predict here.
 */
void row(struct world *w, int rule, const char *what, struct call *call, errors table);

/* A set of num pids, all free, of which the youngest is for the youngest level. */
struct call free_set(const struct world *w, int flags, int num);

#define RULE(number, name, text) void rule_##name(struct world *w);
#include "rules.def"
#undef RULE
