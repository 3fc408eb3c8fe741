/* SPDX-License-Identifier: MIT */
/* So that a test program can be the init of an initramfs. */
#pragma once

/* As the first process of a kernel: mounts /proc, and becomes a child of one that stays. */
void boot(void);
