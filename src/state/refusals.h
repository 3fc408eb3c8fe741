/* SPDX-License-Identifier: MIT */
/* What cannot be checkpointed, gathered from all kinds and all tasks (state.h: refuse). */
#pragma once

#include "state/state.h"

struct refusals *refusals_new(struct arena *arena); /* NULL without memory */

/* 0 when nothing was refused; else all of it in one line, and -EOPNOTSUPP. */
int refusals_say(const struct refusals *refusals, struct reprise_error *err);

/* Drops what was refused since there were count: of a process that ended while it was looked at. */
size_t refusals_count(const struct refusals *refusals);
void refusals_forget(struct refusals *refusals, size_t count);
