/* SPDX-License-Identifier: MIT */
/* The kinds of state, one file each, and the slots of notes[] that they use. */
#pragma once

#include "state/state.h"

extern const struct state_kind namespaces_kind;
extern const struct state_kind tree_kind;
extern const struct state_kind registers_kind;
extern const struct state_kind descriptors_kind;
extern const struct state_kind locks_kind;
extern const struct state_kind files_kind;
extern const struct state_kind shared_memory_kind;
extern const struct state_kind memory_kind;
extern const struct state_kind place_kind;
extern const struct state_kind signals_kind;
extern const struct state_kind limits_kind;
extern const struct state_kind thread_kind;
extern const struct state_kind scheduling_kind;
extern const struct state_kind identity_kind;
extern const struct state_kind credentials_kind;
extern const struct state_kind timers_kind;
extern const struct state_kind clocks_kind;
extern const struct state_kind unsupported_kind;

/* Slots in live_process.notes and stub.notes. */
enum note {
	NOTE_TREE,
	NOTE_MEMORY,
	NOTE_DESCRIPTORS,
	NOTE_LOCKS,
	NOTE_PLACE,
	NOTE_SIGNALS,
	NOTE_LIMITS,
	NOTE_THREAD,
	NOTE_SCHEDULING,
	NOTE_IDENTITY,
	NOTE_CREDENTIALS,
	NOTE_TIMERS,
	NOTE_MOUNTS,
	NOTE_AHEAD,
};

/* In finish: this stub does what is done once per process, as the last of its live threads. */
static inline bool stub_speaks(const struct stub *stub)
{
	size_t first = 0;

	while (first + 1 < stub->process->n_threads && stub->process->threads[first]->dead)
		first++;
	return stub->process->threads[first] == stub->thread;
}
