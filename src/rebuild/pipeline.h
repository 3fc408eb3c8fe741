/* SPDX-License-Identifier: MIT */
/*
 * Batches of several stubs are on their way at once: the controller writes the next one while
 * others run, and waits less often. On one processor, that is: from one to another each stop takes
 * longer than what runs beside it saves. Each batch has a part of the room for itself. Stubs of one
 * process, and those of a stopped one and its parent, still run one after the other, in the order
 * in which they are begun.
 */
#pragma once

#include "rebuild/rebuild.h"

struct pipeline {
	struct rebuild *rebuild;
	struct flight {
		struct stub *stub; /* NULL: none */
		struct calls calls;
		bool last;
	} flights[ROOM_PARTS];
	size_t next;
};

/* The batch to be filled for stub. Errors of batches that are waited for here name their own task.
 */
int pipeline_begin(struct pipeline *pipeline, struct stub *stub, struct calls **ret);
/* What was begun last runs from now on; last: its last record unmaps the room. */
int pipeline_start(struct pipeline *pipeline, bool last);
/* Waits for all that run. */
int pipeline_finish(struct pipeline *pipeline);
/* After any end: gives back what batches hold. */
void pipeline_end(struct pipeline *pipeline);
