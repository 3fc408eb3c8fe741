/* SPDX-License-Identifier: MIT */
/*
 * The keeper: the init of a pid namespace that a plain tree is put into. It reaps whatever is left
 * to it, and ends, and the namespace with it, when the root of the tree has ended.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct keeper {
	pid_t pid; /* as the caller numbers it; 0: there is none */
	int wire;
};

int keeper_start(struct keeper *ret, struct reprise_error *err);
/* Names the root, by its number in the keeper's namespace; the keeper is on its own from then on.
 */
int keeper_name_root(struct keeper *keeper, pid_t root, struct reprise_error *err);
/* Ends a keeper that was given no root. Nothing to do is fine. */
void keeper_end(struct keeper *keeper);
