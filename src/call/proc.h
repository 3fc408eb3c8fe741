/* SPDX-License-Identifier: MIT */
/* Small readers of /proc that allocate nothing, for use in signal handlers and fresh children. */
#pragma once

#include "call/rules.h"

/* A file that holds one number: 0 or -errno. */
int ce_proc_number(const char *path, long *ret);

/* Writes one number to a file: 0 or -errno. */
int ce_proc_set_number(const char *path, long number);

/* Opens (or stats) NAME of the calling thread's own folder in /proc: a descriptor or -errno. */
int ce_proc_open(const char *name);

/*
 * The calling thread's pids, from the outermost namespace that the mounted /proc shows to its own
 * (NSpid, Linux 4.1): how many, 0 if it cannot be told.
 */
int ce_proc_pids(int pids[CE_LEVELS]);
