/* SPDX-License-Identifier: MIT */
/* Mount, uts, ipc and user namespaces: entered by each process when it has just been created, so
 * that its children inherit them. */
#pragma once

#include "state/state.h"

enum { SPACE_MOUNT, SPACE_UTS, SPACE_IPC, N_SPACES };
extern const enum live_link space_links[N_SPACES];

/* Brings a new stub into its namespaces; from: those it has been made in. */
int namespaces_enter(struct restore *restore, struct stub *stub, const struct stub_spaces *from);

/* setns(2) in a stub by a descriptor of the controller. */
int enter_namespace(
	struct restore *restore, struct stub *stub, int fd, int flags, const char *what);

/* Gives back what is held of namespaces that have been made. */
void namespaces_end(struct restore *restore);
