/* SPDX-License-Identifier: MIT */
/* Mount, uts and ipc namespaces: entered by each process when it has just been created, so that its
 * children inherit them. */
#pragma once

#include "state/state.h"

/* Brings a new stub into its namespaces; creator is the stub that made it, NULL for the nursery. */
int namespaces_enter(struct restore *restore, struct stub *stub, struct stub *creator);

/* setns(2) in a stub by a descriptor of the controller. */
int enter_namespace(
	struct restore *restore, struct stub *stub, int fd, int flags, const char *what);
