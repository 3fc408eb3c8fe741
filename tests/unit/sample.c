// SPDX-License-Identifier: MIT
#include "sample.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <xxhash.h>

#include "image/format.h"

#define NUMBERS(arena, owner, field, ...)                                  \
	do {                                                               \
		const __typeof__(*(owner)->field) _list[] = {__VA_ARGS__}; \
		(owner)->field = arena_copy(arena, _list, sizeof(_list));  \
		(owner)->n_##field = sizeof(_list) / sizeof(_list[0]);     \
	} while (0)

static ProtobufCBinaryData bytes(struct arena *arena, size_t size, int value)
{
	ProtobufCBinaryData data = {.len = size, .data = arena_alloc(arena, size)};

	memset(data.data, value, size);
	return data;
}

static Pages *pages(struct arena *arena, uint64_t first, uint64_t count, uint64_t offset)
{
	Pages *pages = MESSAGE_NEW(arena, Pages, pages);

	NUMBERS(arena, pages, first, first, first + count + 1);
	NUMBERS(arena, pages, count, count, 1);
	pages->offset = offset;
	return pages;
}

static PendingSignal *pending(struct arena *arena, int number)
{
	PendingSignal *signal = MESSAGE_NEW(arena, PendingSignal, pending_signal);

	signal->info = bytes(arena, 128, 0);
	memcpy(signal->info.data, &number, sizeof(number));
	return signal;
}

static void add_namespaces(struct arena *arena, Snapshot *snapshot)
{
	for (int i = 0; i < 2; i++) {
		PidNamespace *pids = MESSAGE_NEW(arena, PidNamespace, pid_namespace);

		pids->parent = i - 1;
		pids->level = (uint32_t)i;
		pids->last_pid = 300 + i;
		pids->inode = 4026531836u + (unsigned)i;
		pids->user_namespace = i - 1;
		MESSAGE_ADD(arena, snapshot, pid_namespaces, pids);
	}
	UserNamespace *user = MESSAGE_NEW(arena, UserNamespace, user_namespace);
	user->parent = -1;
	user->uid_map = user->gid_map = "0 1000 1\n";
	MESSAGE_ADD(arena, snapshot, user_namespaces, user);
	UtsNamespace *uts = MESSAGE_NEW(arena, UtsNamespace, uts_namespace);
	uts->nodename = "inner";
	uts->domainname = "(none)";
	uts->made_from = -1;
	MESSAGE_ADD(arena, snapshot, uts_namespaces, uts);
	snapshot->ipc_namespaces = 1;
	NUMBERS(arena, snapshot, ipc_owners, 1);
}

static void add_mounts(struct arena *arena, Snapshot *snapshot)
{
	MountNamespace *ns = MESSAGE_NEW(arena, MountNamespace, mount_namespace);
	Mount *proc = MESSAGE_NEW(arena, Mount, mount);
	Mount *tmpfs = MESSAGE_NEW(arena, Mount, mount);
	TmpfsEntry *entry = MESSAGE_NEW(arena, TmpfsEntry, tmpfs_entry);

	proc->kind = REPRISE__MOUNT__KIND__PROC;
	proc->point = "/proc";
	proc->pid_namespace = 1;
	proc->same = -1;
	tmpfs->kind = REPRISE__MOUNT__KIND__TMPFS;
	tmpfs->point = "/tmp";
	tmpfs->options = "size=1m";
	tmpfs->pid_namespace = tmpfs->same = -1;
	entry->path = "/folder/file";
	entry->mode = S_IFREG | 0644;
	entry->size = 3 * 4096;
	entry->link = -1;
	entry->pages = pages(arena, 0, 1, 12 * 4096);
	NUMBERS(arena, entry, xattr_names, "user.key");
	entry->n_xattr_values = 1;
	entry->xattr_values = arena_alloc(arena, sizeof(ProtobufCBinaryData));
	entry->xattr_values[0] = bytes(arena, 4, 'v');
	MESSAGE_ADD(arena, tmpfs, entries, entry);
	ns->made_from = ns->user_namespace = -1;
	NUMBERS(arena, ns, gone, "/mnt");
	MESSAGE_ADD(arena, ns, mounts, proc);
	MESSAGE_ADD(arena, ns, mounts, tmpfs);
	MESSAGE_ADD(arena, snapshot, mount_namespaces, ns);
}

static void add_files(struct arena *arena, Snapshot *snapshot)
{
	static const char *const paths[] = {"/bin/program", "/", "/tmp/deleted"};
	static const uint32_t modes[] = {S_IFREG | 0755, S_IFDIR | 0755, S_IFREG | 0600};

	for (size_t i = 0; i < 3; i++) {
		File *file = MESSAGE_NEW(arena, File, file);

		file->path = (char *)paths[i];
		file->mode = modes[i];
		file->mount_namespace = i == 2 ? 0 : -1;
		file->size = 3 * 4096;
		file->checked = i == 0;
		if (i == 0)
			file->build_id = bytes(arena, 20, 0xb1);
		if (i == 2)
			file->pages = pages(arena, 0, 1, 14 * 4096);
		MESSAGE_ADD(arena, snapshot, files, file);
	}
	SharedMemory *memory = MESSAGE_NEW(arena, SharedMemory, shared_memory);
	memory->kind = REPRISE__SHARED_MEMORY__KIND__MEMFD;
	memory->name = "buffer";
	memory->size = 5 * 4096 + 1;
	memory->pages = pages(arena, 0, 4, 0);
	MESSAGE_ADD(arena, snapshot, shared_memory, memory);
	Pipe *pipe = MESSAGE_NEW(arena, Pipe, pipe);
	pipe->capacity = 65536;
	pipe->length = 11;
	pipe->offset = 10 * 4096;
	pipe->packets = true;
	NUMBERS(arena, pipe, packet_sizes, 4, 7);
	MESSAGE_ADD(arena, snapshot, pipes, pipe);
}

static FileLock *lock(struct arena *arena, int kind)
{
	FileLock *lock = MESSAGE_NEW(arena, FileLock, file_lock);

	lock->kind = (Reprise__FileLock__Kind)kind;
	lock->type = F_WRLCK;
	lock->start = 100;
	lock->length = 10;
	lock->descriptor = kind == REPRISE__FILE_LOCK__KIND__POSIX ? 3 : -1;
	return lock;
}

static void add_open_files(struct arena *arena, Snapshot *snapshot)
{
	for (int kind = REPRISE__OPEN_FILE__KIND__REGULAR; kind <= REPRISE__OPEN_FILE__KIND__PATH;
		kind++) {
		OpenFile *file = MESSAGE_NEW(arena, OpenFile, open_file);

		file->kind = (Reprise__OpenFile__Kind)kind;
		file->file = kind == REPRISE__OPEN_FILE__KIND__DIRECTORY ? 1 : 0;
		file->pipe = file->shared_memory = -1;
		file->flags = O_RDWR;
		if (kind == REPRISE__OPEN_FILE__KIND__PIPE ||
			kind == REPRISE__OPEN_FILE__KIND__FIFO)
			file->pipe = 0;
		if (kind == REPRISE__OPEN_FILE__KIND__MEMFD)
			file->shared_memory = 0;
		if (kind == REPRISE__OPEN_FILE__KIND__REGULAR) {
			file->offset = 5;
			file->owner = MESSAGE_NEW(arena, Owner, owner);
			file->owner->type = F_OWNER_PGRP;
			file->owner->process = 1;
			file->owner->signal = 29;
			NUMBERS(arena, file->owner, group, 100, 1);
			MESSAGE_ADD(
				arena, file, locks, lock(arena, REPRISE__FILE_LOCK__KIND__FLOCK));
		}
		MESSAGE_ADD(arena, snapshot, open_files, file);
	}
}

static Thread *new_thread(struct arena *arena, int outer, int inner, bool alive)
{
	Thread *thread = MESSAGE_NEW(arena, Thread, thread);

	thread->name = "program";
	if (inner)
		NUMBERS(arena, thread, pids, outer, inner);
	else
		NUMBERS(arena, thread, pids, outer);
	if (!alive)
		return thread;
	thread->registers = bytes(arena, sizeof(struct user_regs_struct), 0x11);
	thread->xstate = bytes(arena, 832, 0x22);
	thread->blocked = 1 << 9;
	MESSAGE_ADD(arena, thread, pending, pending(arena, 10));
	thread->alternate_stack = MESSAGE_NEW(arena, AlternateStack, alternate_stack);
	thread->rseq = MESSAGE_NEW(arena, Rseq, rseq);
	thread->credentials = MESSAGE_NEW(arena, Credentials, credentials);
	NUMBERS(arena, thread->credentials, uids, 1, 2, 3, 4);
	NUMBERS(arena, thread->credentials, gids, 5, 6, 7, 8);
	NUMBERS(arena, thread->credentials, groups, 100, 101);
	thread->scheduling = MESSAGE_NEW(arena, Scheduling, scheduling);
	thread->scheduling->nice = 5;
	thread->scheduling->affinity = bytes(arena, 8, 0xff);
	return thread;
}

static Memory *new_memory(struct arena *arena)
{
	Memory *memory = MESSAGE_NEW(arena, Memory, memory);

	for (unsigned kind = 0; kind <= REPRISE__AREA__KIND__VVAR; kind++) {
		Area *area = MESSAGE_NEW(arena, Area, area);

		area->kind = (Reprise__Area__Kind)kind;
		area->start = 0x400000 + kind * 0x10000;
		area->end = area->start + 0x8000;
		area->protection = PROT_READ | PROT_WRITE;
		area->flags = kind == REPRISE__AREA__KIND__SHARED_MEMORY ? MAP_SHARED : MAP_PRIVATE;
		area->backing = kind == REPRISE__AREA__KIND__FILE ||
						kind == REPRISE__AREA__KIND__SHARED_MEMORY
					? 0
					: -1;
		if (kind == REPRISE__AREA__KIND__ANONYMOUS) {
			area->name = "heap";
			area->pages = pages(arena, area->start / 4096 + 1, 3, 5 * 4096);
		}
		MESSAGE_ADD(arena, memory, areas, area);
	}
	memory->start_brk = 0x500000;
	memory->brk = 0x501000;
	memory->auxv = bytes(arena, 336, 0);
	memory->dumpable = 1;
	return memory;
}

static void add_state(struct arena *arena, Process *process)
{
	process->memory = new_memory(arena);
	process->signals = MESSAGE_NEW(arena, Signals, signals);
	for (int i = 0; i < 64; i++)
		MESSAGE_ADD(arena, process->signals, actions,
			MESSAGE_NEW(arena, SignalAction, signal_action));
	MESSAGE_ADD(arena, process->signals, pending, pending(arena, 12));
	process->timers = MESSAGE_NEW(arena, Timers, timers);
	for (int i = 0; i < 3; i++)
		MESSAGE_ADD(arena, process->timers, interval,
			MESSAGE_NEW(arena, IntervalTimer, interval_timer));
	PosixTimer *timer = MESSAGE_NEW(arena, PosixTimer, posix_timer);
	timer->signal = 34;
	timer->thread = -1;
	MESSAGE_ADD(arena, process->timers, posix, timer);
	process->place = MESSAGE_NEW(arena, Place, place);
	process->place->cwd = 1;
	process->place->root = -1;
	process->place->umask = 022;
	process->limits = MESSAGE_NEW(arena, Limits, limits);
	NUMBERS(arena, process->limits, soft, [15] = 0, [0] = 5, [1] = UINT64_MAX);
	NUMBERS(arena, process->limits, hard, [15] = 0, [0] = 5, [1] = UINT64_MAX);
	process->identity = MESSAGE_NEW(arena, Identity, identity);
	for (int i = 0; i < 3; i++) {
		Descriptor *descriptor = MESSAGE_NEW(arena, Descriptor, descriptor);

		descriptor->number = i + 1;
		descriptor->open_file = (uint32_t)i;
		MESSAGE_ADD(arena, process, descriptors, descriptor);
	}
	MESSAGE_ADD(arena, process, locks, lock(arena, REPRISE__FILE_LOCK__KIND__POSIX));
}

static void add_processes(struct arena *arena, Snapshot *snapshot)
{
	for (int i = 0; i < 3; i++) {
		Process *process = MESSAGE_NEW(arena, Process, process);

		process->parent = i - 1;
		process->pid_namespace = i ? 1 : 0;
		process->children_namespace = 1;
		process->mount_namespace = process->uts_namespace = i ? 0 : -1;
		process->ipc_namespace = process->user_namespace = i ? 0 : -1;
		process->exit_signal = 17;
		if (i == 0)
			NUMBERS(arena, process, session, 100);
		else
			NUMBERS(arena, process, session, 100, 0);
		if (i == 0)
			NUMBERS(arena, process, group, 100);
		else
			NUMBERS(arena, process, group, 101, 1);
		MESSAGE_ADD(arena, process, threads, new_thread(arena, 100 + i, i, i < 2));
		if (i == 1) {
			process->state = REPRISE__PROCESS__STATE__STOPPED;
			process->stop_signal = 20;
			MESSAGE_ADD(arena, process, threads, new_thread(arena, 110, 7, true));
		}
		if (i == 2) {
			process->state = REPRISE__PROCESS__STATE__ZOMBIE;
			process->exit_status = 3 << 8;
		} else {
			add_state(arena, process);
		}
		MESSAGE_ADD(arena, snapshot, processes, process);
	}
}

Snapshot *sample_snapshot(struct arena *arena)
{
	Snapshot *snapshot = MESSAGE_NEW(arena, Snapshot, snapshot);

	snapshot->format = IMAGE_FORMAT;
	snapshot->machine = "x86_64";
	snapshot->kernel = "6.1.0";
	snapshot->page_size = 4096;
	snapshot->realtime = 1700000000000000000u;
	snapshot->xstate_size = 832;
	snapshot->clocks = MESSAGE_NEW(arena, Clocks, clocks);
	snapshot->clocks->monotonic = 123456789;
	add_namespaces(arena, snapshot);
	add_mounts(arena, snapshot);
	add_files(arena, snapshot);
	add_open_files(arena, snapshot);
	add_processes(arena, snapshot);
	return snapshot;
}

void *sample_file(struct arena *arena, const Snapshot *snapshot, size_t *ret_size)
{
	size_t table_size = image_pieces(SAMPLE_PAGES_SIZE) * sizeof(uint64_t);
	size_t body_size = reprise__snapshot__get_packed_size(snapshot);
	struct image_header *header = arena_alloc(arena, sizeof(*header) + table_size + body_size);
	uint8_t *table = (uint8_t *)(header + 1);

	reprise__snapshot__pack(snapshot, table + table_size);
	memcpy(header->magic, IMAGE_MAGIC, sizeof(header->magic));
	header->format = IMAGE_FORMAT;
	header->header_size = sizeof(*header);
	header->body_size = body_size;
	header->body_hash = XXH3_64bits(table + table_size, body_size);
	header->pages_size = SAMPLE_PAGES_SIZE;
	header->piece_size = IMAGE_PIECE;
	header->table_hash = XXH3_64bits(table, table_size);
	header->hash = XXH3_64bits(header, offsetof(struct image_header, hash));
	*ret_size = sizeof(*header) + table_size + body_size;
	return header;
}
