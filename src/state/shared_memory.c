// SPDX-License-Identifier: MIT
/*
 * An object is told apart by device and inode. It comes back as what it was: anonymous shared
 * memory is mapped by the controller for a moment, and opened through /proc/self/map_files, so that
 * tasks that map the descriptor share what the kernel made for MAP_ANONYMOUS.
 */
#include "state/shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/content.h"
#include "state/files_table.h"
#include "state/kinds.h"
#include "task/proc.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#define MEMFD "/memfd:"
#define DELETED " (deleted)"

struct taken {
	ino_t inode;
	uint32_t index;
	struct taken *next;
};

struct taken_table {
	struct taken *first;
	dev_t device;
};

struct made {
	int reading, writing; /* -1: not there yet */
};

struct made_table {
	struct made *items;
	bool sealed;
};

static const char taken_key, made_key;

/* ---- checkpoint ---- */

static struct taken_table *taken_of(struct capture *capture)
{
	struct taken_table *table =
		kind_table_get(capture->arena, &capture->tables, &taken_key, sizeof(*table));

	if (table && !table->device)
		table->device = shared_memory_device();
	return table;
}

static char *memfd_name(struct arena *arena, const char *target)
{
	size_t length = strlen(target), suffix = strlen(DELETED);
	char *name = arena_string(arena, target + strlen(MEMFD));

	if (name && length >= strlen(MEMFD) + suffix)
		name[length - strlen(MEMFD) - suffix] = '\0';
	return name;
}

static int take(struct capture *capture, int fd, const char *target, uint64_t size, uint32_t *ret)
{
	SharedMemory *memory = MESSAGE_NEW(capture->arena, SharedMemory, shared_memory);
	int seals = fcntl(fd, F_GET_SEALS), r;

	if (!memory)
		return fail(capture->err, ENOMEM, "cannot note shared memory");
	memory->size = size;
	if (strncmp(target, MEMFD, strlen(MEMFD)) == 0) {
		memory->kind = REPRISE__SHARED_MEMORY__KIND__MEMFD;
		memory->name = memfd_name(capture->arena, target);
		memory->seals = seals > 0 ? (uint32_t)seals : 0;
		if (!memory->name)
			return fail(capture->err, ENOMEM, "cannot note shared memory");
	}
	r = content_take_file(capture, fd, size, &memory->pages);
	if (r < 0)
		return r;
	*ret = (uint32_t)capture->snapshot->n_shared_memory;
	r = MESSAGE_ADD(capture->arena, capture->snapshot, shared_memory, memory);
	return r < 0 ? fail(capture->err, r, "cannot note shared memory") : 0;
}

/* path: what leads to it for this program. */
static int take_new(struct capture *capture, struct live_process *process, const char *link,
	const char *path, const struct stat *st, uint32_t *ret)
{
	char target[PATH_MAX];
	ssize_t length = proc_link(live_tid(process), link, target, sizeof(target));
	_cleanup_close_ int fd = -1;

	if (length < 0)
		return fail(capture->err, (int)length, "cannot read the link %s", link);
	if (strncmp(target, MEMFD, strlen(MEMFD)) != 0 &&
		strncmp(target, "/dev/zero", strlen("/dev/zero")) != 0)
		return -EOPNOTSUPP;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(capture->err, errno, "cannot open the shared memory %s", target);
	return take(capture, fd, target, (uint64_t)st->st_size, ret);
}

int shared_memory_refer(struct capture *capture, struct live_process *process, const char *link,
	const struct live_area *area, uint32_t *ret)
{
	struct taken_table *table = taken_of(capture);
	struct taken *taken;
	char path[128];
	struct stat st;
	int r;

	if (!table)
		return fail(capture->err, ENOMEM, "cannot note shared memory");
	snprintf(path, sizeof(path), "/proc/%d/%s", live_tid(process), link);
	r = stat(path, &st);
	/* Links of map_files may not be followed by everybody. */
	if (r < 0 && errno == EPERM && area &&
		mapped_somewhere(capture->tree, area, path, sizeof(path)))
		r = stat(path, &st);
	if (r < 0)
		return fail(capture->err, errno, "cannot look at %s", path);
	if (!table->device || st.st_dev != table->device)
		return -EMEDIUMTYPE;
	for (taken = table->first; taken; taken = taken->next)
		if (taken->inode == st.st_ino) {
			*ret = taken->index;
			return 0;
		}
	r = take_new(capture, process, link, path, &st, ret);
	if (r < 0)
		return r;
	taken = arena_alloc(capture->arena, sizeof(*taken));
	if (!taken)
		return fail(capture->err, ENOMEM, "cannot note shared memory");
	*taken = (struct taken){.inode = st.st_ino, .index = *ret, .next = table->first};
	table->first = taken;
	return 0;
}

/* ---- restart ---- */

static struct made_table *made_of(struct restore *restore)
{
	struct made_table *table =
		kind_table_get(restore->arena, &restore->tables, &made_key, sizeof(*table));
	size_t count = restore->snapshot->n_shared_memory;

	if (!table || table->items)
		return table;
	table->items = arena_alloc(restore->arena, count * sizeof(*table->items));
	if (!table->items)
		return NULL;
	for (size_t i = 0; i < count; i++)
		table->items[i] = (struct made){-1, -1};
	return table;
}

static int open_anonymous(uint64_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t start = (uintptr_t)memory;
	uint64_t whole = (size + 4095) & ~(uint64_t)4095;
	char path[96];
	int fd;

	if (memory == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)start,
		(unsigned long)(start + whole));
	fd = open(path, O_RDWR | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	munmap(memory, size);
	return fd;
}

/* What only makes itself known when it is tried: whether map_files may be used. */
static int check(struct restore *restore)
{
	for (size_t i = 0; i < restore->snapshot->n_shared_memory; i++) {
		_cleanup_close_ int fd = -1;

		if (restore->snapshot->shared_memory[i]->kind !=
			REPRISE__SHARED_MEMORY__KIND__ANONYMOUS)
			continue;
		fd = open_anonymous(1);
		return fd < 0 ? fail(restore->err, fd,
					"cannot open shared anonymous memory "
					"(/proc/self/map_files, "
					"which takes CAP_CHECKPOINT_RESTORE)")
			      : 0;
	}
	return 0;
}

static int open_memfd(const SharedMemory *memory)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	if (memory->seals & F_SEAL_EXEC)
		flags = MFD_CLOEXEC | MFD_NOEXEC_SEAL;
	fd = memfd_create(memory->name, flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)memory->size) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static int make(struct restore *restore, const SharedMemory *memory)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (memory->kind == REPRISE__SHARED_MEMORY__KIND__MEMFD)
		fd = open_memfd(memory);
	else if (memory->kind == REPRISE__SHARED_MEMORY__KIND__ANONYMOUS)
		fd = open_anonymous(memory->size);
	else
		fd = -EOPNOTSUPP;
	if (fd < 0)
		return fail(restore->err, fd, "cannot make shared memory of %llu bytes",
			(unsigned long long)memory->size);
	r = content_put_file(restore->image, memory->pages, fd, memory->size, restore->err);
	return r < 0 ? r : take_fd(fd);
}

static int open_through(struct restore *restore, int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	return again < 0 ? fail(restore->err, errno, "cannot open shared memory again") : again;
}

int shared_memory_shared(struct restore *restore, uint32_t index, int flags)
{
	struct made_table *table = made_of(restore);
	struct made *made;
	int fd;

	if (!table)
		return fail(restore->err, ENOMEM, "cannot make shared memory");
	if (index >= restore->snapshot->n_shared_memory)
		return fail(restore->err, EBADF, "the image has no shared memory %u", index);
	made = &table->items[index];
	if (made->writing < 0) {
		fd = make(restore, restore->snapshot->shared_memory[index]);
		if (fd < 0)
			return fd;
		made->writing = fd;
	}
	if ((flags & O_ACCMODE) == O_RDWR)
		return made->writing;
	if (made->reading < 0) {
		fd = open_through(restore, made->writing, O_RDONLY);
		if (fd < 0)
			return fd;
		made->reading = fd;
	}
	return made->reading;
}

int shared_memory_open(struct restore *restore, uint32_t index, int flags)
{
	int fd = shared_memory_shared(restore, index, O_RDWR);

	return fd < 0 ? fd : open_through(restore, fd, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
}

/* When every task has its mappings: a seal against writing does not let one be made. */
static int seal(struct restore *restore, struct stub *stub, struct calls *calls)
{
	struct made_table *table = made_of(restore);

	if (!table || table->sealed)
		return 0;
	table->sealed = true;
	for (size_t i = 0; i < restore->snapshot->n_shared_memory; i++) {
		const SharedMemory *memory = restore->snapshot->shared_memory[i];

		if (memory->seals && table->items[i].writing >= 0 &&
			fcntl(table->items[i].writing, F_ADD_SEALS, (int)memory->seals) < 0)
			return fail(restore->err, errno, "cannot seal the memfd %s", memory->name);
	}
	return 0;
}

static void end(struct restore *restore)
{
	struct made_table *table = made_of(restore);

	for (size_t i = 0; table && i < restore->snapshot->n_shared_memory; i++) {
		close_ptr(&table->items[i].reading);
		close_ptr(&table->items[i].writing);
		table->items[i] = (struct made){-1, -1};
	}
}

const struct state_kind shared_memory_kind = {
	.name = "shared memory",
	.check = check,
	.finish = seal,
	.end = end,
};
