// SPDX-License-Identifier: MIT
#include "state/kinds.h"

const struct state_kind *const state_kinds[] = {
	&unsupported_kind,
	&tree_kind,
	&registers_kind,
	&namespaces_kind,
	&files_kind,
	&shared_memory_kind,
	/* Before what a task cannot do any more once it has it: limits, credentials, place. */
	&memory_kind,
	&descriptors_kind,
	&locks_kind,
	&place_kind,
	&signals_kind,
	&limits_kind,
	&thread_kind,
	&scheduling_kind,
	&identity_kind,
	&timers_kind,
	&credentials_kind,
	&clocks_kind,
	NULL,
};
