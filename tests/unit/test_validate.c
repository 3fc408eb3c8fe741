// SPDX-License-Identifier: MIT
/* Every rule broken once: each change of the sample is refused, with a word that names the thing.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "sample.h"

/* change is a statement on s, the sample. */
#define CASE(name, change)                                 \
	static void name(Snapshot *s, struct arena *arena) \
	{                                                  \
		change;                                    \
	}

#define P(i) (s->processes[i])
#define T(i, j) (s->processes[i]->threads[j])
#define AREA(i) (s->processes[0]->memory->areas[i])
#define MOUNT(i) (s->mount_namespaces[0]->mounts[i])

/* clang-format off */
CASE(other_format, s->format = 2)
CASE(other_machine, s->machine = "pdp11")
CASE(other_page_size, s->page_size = 16384)
CASE(huge_xstate, s->xstate_size = 1 << 20)
CASE(no_process, s->n_processes = 0)
CASE(no_pid_namespace, s->n_pid_namespaces = 0)
CASE(many_ipc_namespaces, s->ipc_namespaces = 1000)
CASE(no_clocks, s->clocks = NULL)
CASE(unknown_field, s->base.n_unknown_fields = 1)
CASE(unknown_kind, AREA(0)->kind = (Reprise__Area__Kind)77)
CASE(outer_namespace_inside, s->pid_namespaces[0]->parent = 1)
CASE(namespace_loop, s->pid_namespaces[1]->parent = 1)
CASE(namespace_level, s->pid_namespaces[1]->level = 2)
CASE(namespace_last_pid, s->pid_namespaces[1]->last_pid = -1)
CASE(namespace_owner, s->pid_namespaces[1]->user_namespace = 5)
CASE(parent_itself, P(1)->parent = 1)
CASE(parent_later, P(1)->parent = 2)
CASE(parent_of_root, P(0)->parent = 0)
CASE(parent_below_none, P(1)->parent = -2)
CASE(in_no_namespace, P(1)->pid_namespace = 9)
CASE(parent_further_in, P(1)->parent = -1; P(2)->parent = 1; P(2)->pid_namespace = 0)
CASE(children_nowhere, P(1)->children_namespace = -1)
CASE(children_further_out, P(1)->children_namespace = 0)
CASE(threads_children_nowhere, T(1, 1)->children_namespace = 9)
CASE(threads_children_further_out, T(1, 1)->children_namespace = 1)
CASE(no_thread, P(1)->n_threads = 0)
CASE(zombie_with_threads, P(1)->state = REPRISE__PROCESS__STATE__ZOMBIE)
CASE(few_pids, T(1, 1)->n_pids = 1)
CASE(pid_zero, T(1, 1)->pids[0] = 0)
CASE(pid_negative, T(1, 1)->pids[1] = -5)
CASE(pid_huge, T(1, 1)->pids[0] = 1 << 23)
CASE(pid_twice_outside, T(1, 1)->pids[0] = 101)
CASE(pid_twice_inside, T(1, 1)->pids[1] = 1)
CASE(dead_thread, T(1, 1)->dead = true)
CASE(session_levels, P(1)->n_session = 1)
CASE(session_negative, P(1)->session[0] = -1)
CASE(group_levels, P(1)->n_group = 0)
CASE(exit_status, P(2)->exit_status = 1 << 16)
CASE(exit_signal, P(1)->exit_signal = 65)
CASE(stop_signal, P(1)->stop_signal = 65)
CASE(mount_namespace, P(1)->mount_namespace = 1)
CASE(uts_namespace, P(1)->uts_namespace = -2)
CASE(ipc_namespace, P(1)->ipc_namespace = 1)
CASE(user_namespace, P(1)->user_namespace = 1)
CASE(registers_missing, T(1, 1)->registers.len = 0)
CASE(registers_short, T(0, 0)->registers.len--)
CASE(xstate_short, T(0, 0)->xstate.len = 100)
CASE(xstate_other, T(0, 0)->xstate.len = 700)
CASE(long_name, T(0, 0)->name = "a name of over 15 bytes")
CASE(death_signal, T(0, 0)->parent_death_signal = 100)
CASE(pending_size, T(0, 0)->pending[0]->info.len = 127)
CASE(pending_number, memset(T(0, 0)->pending[0]->info.data, 0, 4))
CASE(shared_pending_number, memset(P(0)->signals->pending[0]->info.data, 0x7f, 4))
CASE(uids, T(0, 0)->credentials->n_uids = 3)
CASE(gids, T(0, 0)->credentials->n_gids = 0)
CASE(policy, T(0, 0)->scheduling->policy = 99)
CASE(nice_value, T(0, 0)->scheduling->nice = -21)
CASE(priority, T(0, 0)->scheduling->priority = 100)
CASE(many_actions, MESSAGE_ADD(arena, P(0)->signals, actions, P(0)->signals->actions[0]))
CASE(many_interval_timers, MESSAGE_ADD(arena, P(0)->timers, interval, P(0)->timers->interval[0]))
CASE(timer_id, P(0)->timers->posix[0]->id = -1)
CASE(timer_thread, P(0)->timers->posix[0]->thread = 1)
CASE(timer_signal, P(0)->timers->posix[0]->signal = 65)
CASE(limits_uneven, P(0)->limits->n_hard = 3)
CASE(limit_above, P(0)->limits->soft[0] = 6)
CASE(working_directory, P(0)->place->cwd = -1)
CASE(root_directory, P(0)->place->root = 3)
CASE(umask_bits, P(0)->place->umask = 01000)
CASE(oom_score, P(0)->identity->oom_score_adj = 1001)
CASE(area_empty, AREA(0)->end = AREA(0)->start)
CASE(area_backwards, AREA(0)->end = AREA(0)->start - 4096)
CASE(area_unaligned, AREA(0)->start += 1)
CASE(area_overlaps, AREA(1)->start = AREA(0)->end - 4096)
CASE(area_high, AREA(4)->end = UINT64_MAX - 4095)
CASE(area_protection, AREA(0)->protection = 8)
CASE(area_flags, AREA(0)->flags = 0)
CASE(area_fixed, AREA(0)->flags |= MAP_FIXED)
CASE(area_file, AREA(1)->backing = 3)
CASE(area_memory, AREA(2)->backing = -1)
CASE(area_offset, AREA(1)->offset = 100)
CASE(area_offset_huge, AREA(1)->offset = UINT64_MAX - 4095)
CASE(area_name, AREA(0)->name = memset(arena_alloc(arena, 100), 'n', 90))
CASE(area_open_flags, AREA(1)->open_flags = 3)
CASE(pages_before, AREA(0)->pages->first[0] = 1)
CASE(pages_behind, AREA(0)->pages->first[1] = AREA(0)->end / 4096)
CASE(pages_too_many, AREA(0)->pages->count[1] = 100)
CASE(pages_overflow, AREA(0)->pages->count[1] = UINT64_MAX)
CASE(pages_none, AREA(0)->pages->count[0] = 0)
CASE(pages_overlap, AREA(0)->pages->first[1] = AREA(0)->pages->first[0] + 1)
CASE(pages_uneven, AREA(0)->pages->n_count = 1)
CASE(pages_unaligned, AREA(0)->pages->offset = 1)
CASE(pages_outside, AREA(0)->pages->offset = SAMPLE_PAGES_SIZE)
CASE(pages_far_outside, AREA(0)->pages->offset = UINT64_MAX - 4095)
CASE(executable, P(0)->memory->exe = 3)
CASE(auxv_uneven, P(0)->memory->auxv.len = 17)
CASE(dumpable, P(0)->memory->dumpable = 3)
CASE(shared_size, s->shared_memory[0]->size = UINT64_MAX)
CASE(shared_pages, s->shared_memory[0]->size = 4096)
CASE(shared_seals, s->shared_memory[0]->seals = 0x100)
CASE(shared_shift, s->shared_memory[0]->huge_page_shift = 64)
CASE(file_path, s->files[0]->path = "bin/program")
CASE(file_no_path, s->files[0]->path = "")
CASE(file_namespace, s->files[0]->mount_namespace = 1)
CASE(file_mode, s->files[0]->mode = 0)
CASE(file_size, s->files[2]->size = UINT64_MAX)
CASE(file_pages, s->files[2]->size = 4096)
CASE(file_build_id, s->files[0]->build_id.len = 65)
CASE(pipe_capacity, s->pipes[0]->capacity = 0)
CASE(pipe_length, s->pipes[0]->length = 65537)
CASE(pipe_outside, s->pipes[0]->offset = SAMPLE_PAGES_SIZE - 4)
CASE(pipe_far_outside, s->pipes[0]->offset = UINT64_MAX)
CASE(pipe_packets, s->pipes[0]->packet_sizes[0] = 5)
CASE(open_file_file, s->open_files[REPRISE__OPEN_FILE__KIND__REGULAR]->file = 3)
CASE(open_file_no_file, s->open_files[REPRISE__OPEN_FILE__KIND__DIRECTORY]->file = -1)
CASE(open_file_pipe, s->open_files[REPRISE__OPEN_FILE__KIND__PIPE]->pipe = 1)
CASE(open_file_fifo, s->open_files[REPRISE__OPEN_FILE__KIND__FIFO]->pipe = -1)
CASE(open_file_memory, s->open_files[REPRISE__OPEN_FILE__KIND__MEMFD]->shared_memory = -1)
CASE(open_file_count, s->open_files[REPRISE__OPEN_FILE__KIND__EVENTFD]->count = UINT64_MAX)
CASE(open_file_offset, s->open_files[0]->offset = UINT64_MAX)
CASE(open_file_flags, s->open_files[0]->flags = UINT32_MAX)
CASE(owner_type, s->open_files[0]->owner->type = 3)
CASE(owner_process, s->open_files[0]->owner->process = 3)
CASE(owner_thread, s->open_files[0]->owner->thread = 2)
CASE(owner_signal, s->open_files[0]->owner->signal = 65)
CASE(lock_type, s->open_files[0]->locks[0]->type = 2)
CASE(lock_start, s->open_files[0]->locks[0]->start = UINT64_MAX)
CASE(lock_length, P(0)->locks[0]->length = INT64_MAX)
CASE(lock_open_file, P(0)->locks[0]->open_file = 100)
CASE(descriptor_number, P(0)->descriptors[0]->number = -1)
CASE(descriptor_order, P(0)->descriptors[1]->number = 1)
CASE(descriptor_file, P(0)->descriptors[1]->open_file = 8)
CASE(user_parent, s->user_namespaces[0]->parent = 0)
CASE(user_ids, s->user_namespaces[0]->uid_map = "0 1000")
CASE(user_ids_beyond, s->user_namespaces[0]->gid_map = "1 4294967295 1")
CASE(user_without_ids, s->user_namespaces[0]->gid_map = "")
CASE(user_groups, s->user_namespaces[0]->n_groups = 65537)
CASE(uts_owner, s->uts_namespaces[0]->owner = 2)
CASE(ipc_owners, s->n_ipc_owners = 2)
CASE(ipc_owner, s->ipc_owners[0] = 2)
CASE(uts_made_from, s->uts_namespaces[0]->made_from = 1)
CASE(uts_name, s->uts_namespaces[0]->nodename = memset(arena_alloc(arena, 80), 'n', 65))
CASE(mounts_made_from, s->mount_namespaces[0]->made_from = 0)
CASE(mounts_root, s->mount_namespaces[0]->root = "root")
CASE(mounts_gone, s->mount_namespaces[0]->gone[0] = "")
CASE(mount_point, MOUNT(0)->point = "proc")
CASE(mount_source, MOUNT(0)->kind = REPRISE__MOUNT__KIND__BIND)
CASE(mount_pid_namespace, MOUNT(0)->pid_namespace = 2)
CASE(mount_same, MOUNT(1)->same = 1)
CASE(mount_inner, MOUNT(1)->fs_root = "/a/..")
CASE(mounts_owner, s->mount_namespaces[0]->user_namespace = 1)
CASE(entry_path, MOUNT(1)->entries[0]->path = "folder/../../etc")
CASE(entry_link, MOUNT(1)->entries[0]->link = 0)
CASE(entry_pages, MOUNT(1)->entries[0]->size = 1)
CASE(entry_attributes, MOUNT(1)->entries[0]->n_xattr_values = 0)
CASE(memory_missing, P(0)->memory = NULL)
CASE(signals_missing, P(0)->signals = NULL)
CASE(timers_missing, P(0)->timers = NULL)
CASE(place_missing, P(0)->place = NULL)
CASE(limits_missing, P(0)->limits = NULL)
CASE(identity_missing, P(0)->identity = NULL)
CASE(credentials_missing, T(0, 0)->credentials = NULL)
CASE(scheduling_missing, T(0, 0)->scheduling = NULL)

#define ROW(name) {#name, name}
static const struct broken {
	const char *name;
	void (*change)(Snapshot *s, struct arena *arena);
} all[] = {
	ROW(other_format), ROW(other_machine), ROW(other_page_size), ROW(huge_xstate),
	ROW(no_process), ROW(no_pid_namespace), ROW(many_ipc_namespaces), ROW(no_clocks),
	ROW(unknown_field), ROW(unknown_kind), ROW(outer_namespace_inside), ROW(namespace_loop),
	ROW(namespace_level), ROW(namespace_last_pid), ROW(namespace_owner), ROW(parent_itself),
	ROW(parent_later), ROW(parent_of_root), ROW(parent_below_none), ROW(in_no_namespace),
	ROW(parent_further_in), ROW(children_nowhere), ROW(children_further_out),
	ROW(threads_children_nowhere), ROW(threads_children_further_out), ROW(no_thread),
	ROW(zombie_with_threads), ROW(few_pids), ROW(pid_zero), ROW(pid_negative), ROW(pid_huge),
	ROW(pid_twice_outside), ROW(pid_twice_inside), ROW(dead_thread), ROW(session_levels),
	ROW(session_negative), ROW(group_levels), ROW(exit_status), ROW(exit_signal),
	ROW(stop_signal), ROW(mount_namespace), ROW(uts_namespace), ROW(ipc_namespace),
	ROW(user_namespace), ROW(registers_missing), ROW(registers_short), ROW(xstate_short),
	ROW(xstate_other), ROW(long_name), ROW(death_signal), ROW(pending_size),
	ROW(pending_number), ROW(shared_pending_number), ROW(uids), ROW(gids), ROW(policy),
	ROW(nice_value), ROW(priority), ROW(many_actions), ROW(many_interval_timers), ROW(timer_id),
	ROW(timer_thread), ROW(timer_signal), ROW(limits_uneven), ROW(limit_above),
	ROW(working_directory), ROW(root_directory), ROW(umask_bits), ROW(oom_score),
	ROW(area_empty), ROW(area_backwards), ROW(area_unaligned), ROW(area_overlaps),
	ROW(area_high), ROW(area_protection), ROW(area_flags), ROW(area_fixed), ROW(area_file),
	ROW(area_memory), ROW(area_offset), ROW(area_offset_huge), ROW(area_name),
	ROW(area_open_flags), ROW(pages_before), ROW(pages_behind), ROW(pages_too_many),
	ROW(pages_overflow), ROW(pages_none), ROW(pages_overlap), ROW(pages_uneven),
	ROW(pages_unaligned), ROW(pages_outside), ROW(pages_far_outside), ROW(executable),
	ROW(auxv_uneven), ROW(dumpable), ROW(shared_size), ROW(shared_pages), ROW(shared_seals),
	ROW(shared_shift), ROW(file_path), ROW(file_no_path), ROW(file_namespace), ROW(file_mode),
	ROW(file_size), ROW(file_pages), ROW(file_build_id), ROW(pipe_capacity), ROW(pipe_length),
	ROW(pipe_outside), ROW(pipe_far_outside), ROW(pipe_packets), ROW(open_file_file),
	ROW(open_file_no_file), ROW(open_file_pipe), ROW(open_file_fifo), ROW(open_file_memory),
	ROW(open_file_count), ROW(open_file_offset), ROW(open_file_flags), ROW(owner_type),
	ROW(owner_process), ROW(owner_thread), ROW(owner_signal), ROW(lock_type), ROW(lock_start),
	ROW(lock_length), ROW(lock_open_file), ROW(descriptor_number), ROW(descriptor_order),
	ROW(descriptor_file), ROW(user_parent), ROW(user_ids),
	ROW(user_ids_beyond), ROW(user_without_ids), ROW(user_groups), ROW(uts_owner), ROW(ipc_owners),
	ROW(ipc_owner), ROW(uts_made_from), ROW(uts_name),
	ROW(mounts_made_from), ROW(mounts_root), ROW(mounts_gone), ROW(mount_point),
	ROW(mount_source), ROW(mount_pid_namespace), ROW(mount_same), ROW(mount_inner), ROW(mounts_owner), ROW(entry_path),
	ROW(entry_link), ROW(entry_pages), ROW(entry_attributes), ROW(memory_missing),
	ROW(signals_missing), ROW(timers_missing), ROW(place_missing), ROW(limits_missing),
	ROW(identity_missing), ROW(credentials_missing), ROW(scheduling_missing),
};
/* clang-format on */

START_TEST(the_sample_passes)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct reprise_error err = {0};
	int r = snapshot_validate(sample_snapshot(arena), SAMPLE_PAGES_SIZE, &err);

	ck_assert_msg(r == 0, "%s", err.thing);
}
END_TEST

START_TEST(each_rule_refuses)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		_cleanup_arena_ struct arena *arena = arena_new();
		Snapshot *sample = sample_snapshot(arena);
		struct reprise_error err = {0};

		all[i].change(sample, arena);
		ck_assert_msg(snapshot_validate(sample, SAMPLE_PAGES_SIZE, &err) == -EBADMSG,
			"%s passed", all[i].name);
		ck_assert_msg(err.code == EBADMSG && err.thing[0], "%s: no reason", all[i].name);
		printf("%s: %s%s%s\n", all[i].name, err.task, err.task[0] ? ": " : "", err.thing);
	}
}
END_TEST

UNIT_MAIN("validate", the_sample_passes, each_rule_refuses)
