// SPDX-License-Identifier: MIT
/* The descriptions of an image, each opened once by the controller of a restart. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "state/open_file.h"

/* What F_SETFL can change. The others are open(2)'s. */
#define SETTABLE ((unsigned)(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME))

struct open_table {
	int *fds; /* + 1, by index; 0: not open yet */
	struct rlimit before;
	bool raised, known;
};
static const char open_table_key;

static const struct open_kind *const kinds[] = {
	[REPRISE__OPEN_FILE__KIND__REGULAR] = &regular_kind,
	[REPRISE__OPEN_FILE__KIND__DIRECTORY] = &directory_kind,
	[REPRISE__OPEN_FILE__KIND__DEVICE] = &device_kind,
	[REPRISE__OPEN_FILE__KIND__PIPE] = &pipe_kind,
	[REPRISE__OPEN_FILE__KIND__FIFO] = &fifo_kind,
	[REPRISE__OPEN_FILE__KIND__EVENTFD] = &eventfd_kind,
	[REPRISE__OPEN_FILE__KIND__MEMFD] = &memfd_kind,
	[REPRISE__OPEN_FILE__KIND__PATH] = &path_kind,
};

static const struct open_kind *kind_of(const OpenFile *file)
{
	unsigned kind = file->kind;

	return kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[kind] : NULL;
}

/* Besides the descriptions: ends of pipes, namespaces, files for mappings, pidfds. */
static size_t descriptors_needed(const Snapshot *snapshot)
{
	return snapshot->n_open_files + 2 * snapshot->n_pipes + snapshot->n_files + 64;
}

int open_files_check(struct restore *restore)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
		descriptors_needed(restore->snapshot) > limit.rlim_max)
		return fail(restore->err, EMFILE,
			"up to %zu descriptors are needed at once and only %llu allowed",
			descriptors_needed(restore->snapshot), (unsigned long long)limit.rlim_max);
	for (size_t i = 0; i < restore->snapshot->n_open_files; i++) {
		const OpenFile *file = restore->snapshot->open_files[i];
		const struct open_kind *kind = kind_of(file);
		int ret;

		if (!kind)
			return fail(restore->err, EBADMSG, "open file %zu is of unknown kind %u", i,
				(unsigned)file->kind);
		ret = kind->check ? kind->check(restore, file) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The controller has all of them open at once; and stubs, which inherit the limit until they get
 * their own, may need numbers above it. */
static void raise_limit(struct open_table *table)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &table->before) < 0)
		return;
	limit = table->before;
	limit.rlim_cur = limit.rlim_max;
	table->raised =
		limit.rlim_cur != table->before.rlim_cur && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static struct open_table *get_table(struct restore *restore)
{
	struct open_table *table =
		kind_table_get(restore->arena, &restore->tables, &open_table_key, sizeof(*table));

	if (!table || table->known)
		return table;
	table->fds = arena_alloc(
		restore->arena, (restore->snapshot->n_open_files + 1) * sizeof(*table->fds));
	if (!table->fds)
		return NULL;
	table->known = true;
	raise_limit(table);
	return table;
}

int open_files_prepare(struct restore *restore)
{
	return get_table(restore) ? 0 : fail(restore->err, ENOMEM, "no memory for open files");
}

int open_file_get(struct restore *restore, uint32_t index)
{
	struct open_table *table = get_table(restore);
	const OpenFile *file = restore->snapshot->open_files[index];
	int fd;

	if (!table || !table->fds)
		return fail(restore->err, table ? EBADF : ENOMEM, "open file %u", index);
	if (table->fds[index])
		return table->fds[index] - 1;
	fd = kind_of(file)->open(restore, file);
	if (fd < 0)
		return fd;
	table->fds[index] = fd + 1;
	if (file->owner && file->owner->signal && fcntl(fd, F_SETSIG, file->owner->signal) < 0)
		return fail(restore->err, errno, "cannot set the signal of an open file");
	return fd;
}

void open_files_close(struct restore *restore)
{
	struct open_table *table =
		kind_table_get(restore->arena, &restore->tables, &open_table_key, sizeof(*table));

	if (!table || !table->fds)
		return;
	for (size_t i = 0; i < restore->snapshot->n_open_files; i++)
		if (table->fds[i])
			close(table->fds[i] - 1);
	table->fds = NULL;
}

void open_files_end(struct restore *restore)
{
	struct open_table *table =
		kind_table_get(restore->arena, &restore->tables, &open_table_key, sizeof(*table));

	open_files_close(restore);
	if (table && table->raised)
		setrlimit(RLIMIT_NOFILE, &table->before);
}

int open_again(struct restore *restore, int fd, unsigned flags)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* O_NONBLOCK: an end of a pipe does not wait for the other. O_DIRECT comes with F_SETFL. */
	ret = open(path, (int)(flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
	if (ret < 0)
		return fail(restore->err, errno, "cannot open the end of a pipe again");
	return ret;
}

int open_set_flags(struct restore *restore, int fd, unsigned flags)
{
	int now = fcntl(fd, F_GETFL);

	if (now < 0 || (((unsigned)now ^ flags) & SETTABLE) == 0)
		return now < 0 ? fail(restore->err, errno, "cannot read the flags of a file") : 0;
	if (fcntl(fd, F_SETFL, (int)(flags & SETTABLE)) < 0)
		return fail(restore->err, errno, "cannot set the flags %#o of a file", flags);
	return 0;
}
