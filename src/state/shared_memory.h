/* SPDX-License-Identifier: MIT */
/* Memory that several tasks may share and that has no path: MAP_SHARED | MAP_ANONYMOUS, memfd. */
#pragma once

#include <stdint.h>

#include "state/areas.h"
#include "state/state.h"

/* Notes the object that the link /proc/PID/LINK leads to, with its content: its index in
 * snapshot->shared_memory. -EMEDIUMTYPE without an error when it is no shared memory; -EOPNOTSUPP
 * without an error when it is of System V or of a device. area: whose link it is; may be NULL. */
int shared_memory_refer(struct capture *capture, struct live_process *process, const char *link,
	const struct live_area *area, uint32_t *ret);

/* Opens an object of the image, which the first one makes: flags are O_RDONLY, O_WRONLY, O_RDWR and
 * status flags. A description of its own that belongs to the caller; or -errno with an error. */
int shared_memory_open(struct restore *restore, uint32_t index, int flags);

/* A descriptor that stays with the table, for mappings: O_RDONLY or O_RDWR. Not to be closed. */
int shared_memory_shared(struct restore *restore, uint32_t index, int flags);
