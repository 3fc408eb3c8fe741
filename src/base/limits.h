/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/resource.h>

/* A journey holds a descriptor for each task: as many as the hard limit allows, for its time.
 * Returns the limit there was, for descriptor_limit_restore(). */
struct rlimit descriptor_limit_raise(void);
void descriptor_limit_restore(const struct rlimit *before);
