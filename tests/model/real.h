/* SPDX-License-Identifier: MIT */
/*
 * Real tasks that do what they are told, one thing at a time, in a pid namespace of which the
 * caller is the init; and what /proc says of them. Indices are the model's: 0 is the caller itself.
 */
#pragma once

#include "history.h"

struct real;

struct real *real_new(void);

/* Lets the task of the deed do it. Returns what the call returned: 0 or more, or -errno. -ETIME: no
 * answer within a minute. The result of wait is as the model gives it. */
int real_do(struct real *real, const struct model *m, const struct deed *d);

/* Waits until every task has come to the state it has in the model. 0, or -1 and why. */
int real_settle(struct real *real, const struct model *m, char *why, size_t size);

/* Compares all that /proc shows with the model. 0, or -1 and why. */
int real_compare(struct real *real, const struct model *m, char *why, size_t size);

/* Ends and reaps all. */
int real_clear(struct real *real);
