/* SPDX-License-Identifier: MIT */
/* The kernel's own code page in a task, and the unused bytes behind it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the bytes behind the last section of pid's vdso are, up to the end of its last page.
 * seen_at: where maps shows it, or 0. -ENOENT when it has none. */
int vdso_padding(pid_t pid, uint64_t seen_at, uint64_t *ret_address, size_t *ret_size);
