/* SPDX-License-Identifier: MIT */
/* What this process knows of its kernel, and the backend that follows from it. */
#pragma once

#include <stdbool.h>

/* The number of the native call, or 0. */
long ce_native_number(void);

/* CLONE_EXTENDED_AUTO, or the backend that is forced. */
int ce_forced(void);

/*
 * Whether n pid namespaces are known to hold this process. Never wrong when true, for a process
 * and its descendants do not move outwards; false says nothing.
 */
bool ce_levels_known(int n);

/* Whether clone3() with set_tid gets through to the kernel: 1, or 0 (too old, or a filter). */
bool ce_clone3_works(void);
