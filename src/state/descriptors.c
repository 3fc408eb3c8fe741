// SPDX-License-Identifier: MIT
/*
 * The kind "descriptors": which descriptors each process has, and the descriptions behind them.
 * At a restart every description is opened once, by the controller, and every process pulls it: so
 * tasks share what they shared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "state/kinds.h"
#include "state/open_file.h"
#include "state/pull.h"

/* More are read from fdinfo, one by one: a batch has room for other kinds' questions too. */
#define MAX_ASKED 1024

static bool is_last(const struct capture *capture, const struct live_process *process)
{
	for (size_t i = capture->tree->count; i > process->index + 1; i--)
		if (!capture->tree->processes[i - 1]->zombie)
			return false;
	return true;
}

static int survey(struct capture *capture, struct live_process *process)
{
	int ret = descriptions_survey(capture, process);

	/* Who else holds a pipe is looked for once, when all are known. */
	return ret == 0 && is_last(capture, process) ? outside_survey(capture) : ret;
}

static int ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct descriptor_table *table = process->notes[NOTE_DESCRIPTORS];

	table->asked = table->count <= MAX_ASKED;
	for (size_t i = 0; i < table->count && table->asked; i++) {
		size_t call = calls_may(
			calls, SYS_fcntl, (uint64_t)table->items[i].number, F_GETFD, 0, 0, 0, 0);

		if (i == 0)
			table->first_call = call;
	}
	return 0;
}

static int read_close_on_exec(struct capture *capture, const struct descriptor *item, pid_t tid)
{
	const char *field;
	char name[32], *text;
	size_t size;
	int ret;

	snprintf(name, sizeof(name), "fdinfo/%d", item->number);
	ret = proc_read(capture->arena, tid, name, &text, &size, capture->err);
	if (ret < 0)
		return ret;
	field = fdinfo_field(text, "flags:");
	return field && strtoul(field, NULL, 8) & O_CLOEXEC ? FD_CLOEXEC : 0;
}

static pid_t holder_of(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (!process->threads[i].dead)
			return process->threads[i].tid;
	return process->pid;
}

static int take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct descriptor_table *table = process->notes[NOTE_DESCRIPTORS];

	for (size_t i = 0; i < table->count; i++) {
		const struct descriptor *item = &table->items[i];
		Descriptor *message = MESSAGE_NEW(capture->arena, Descriptor, descriptor);
		int64_t flags;
		OpenFile *file;
		int error;

		error = description_message(capture, item->description, &file);
		if (error < 0)
			return error;
		flags = table->asked ? calls_result(calls, table->first_call + i)
				     : read_close_on_exec(capture, item, holder_of(process));
		if (flags < 0)
			return fail(capture->err, (int)flags, "cannot read descriptor %d",
				item->number);
		if (!message || MESSAGE_ADD(capture->arena, ret, descriptors, message) < 0)
			return fail(capture->err, ENOMEM, "no memory for descriptors");
		message->number = item->number;
		message->open_file = item->description->index;
		message->close_on_exec = flags & FD_CLOEXEC;
	}
	return 0;
}

static int take_shared(struct capture *capture)
{
	return pipes_take_content(capture);
}

int description_message(struct capture *capture, struct description *d, OpenFile **ret)
{
	_cleanup_close_ int fd = -1;
	Snapshot *snapshot = capture->snapshot;
	OpenFile *message;
	int error;

	if ((*ret = d->message))
		return 0;
	if (!d->kind)
		return fail(capture->err, EOPNOTSUPP, "descriptor %d (%s) is not supported",
			d->number, d->link);
	d->index = (uint32_t)snapshot->n_open_files;
	message = MESSAGE_NEW(capture->arena, OpenFile, open_file);
	if (!message || MESSAGE_ADD(capture->arena, snapshot, open_files, message) < 0)
		return fail(capture->err, ENOMEM, "no memory for descriptors");
	message->flags = d->flags;
	message->offset = d->pos;
	message->file = message->pipe = message->shared_memory = -1;
	error = d->kind->capture(capture, d, message);
	if (error == 0 && !(d->flags & O_PATH)) {
		error = fd = description_grab(capture, d);
		if (fd >= 0)
			error = owner_capture(capture, fd, message);
	}
	if (error < 0)
		return error;
	*ret = d->message = message;
	return 0;
}

/* ---- restart ---- */

/* Which number a stub already has for a description: the next one is a dup of it. */
struct placed {
	const struct stub *stub;
	int number;
};
static const char placed_key;

static int restore_shared(struct restore *restore)
{
	for (size_t i = 0; i < restore->snapshot->n_open_files; i++) {
		int fd = open_file_get(restore, (uint32_t)i);

		if (fd < 0)
			return fd;
	}
	return 0;
}

/* O_ASYNC is set by a descriptor of the task: its number is what the signals will tell. */
static void set_async(const OpenFile *file, int number, struct calls *calls)
{
	if (file->flags & O_ASYNC)
		calls_must(calls, "setting O_ASYNC", SYS_fcntl, (uint64_t)number, F_SETFL,
			file->flags & ~(unsigned)O_ACCMODE, 0, 0, 0);
}

static int restore_one(struct restore *restore, struct stub *stub, struct calls *calls,
	const Descriptor *descriptor)
{
	struct placed *placed = kind_table_get(restore->arena, &restore->tables, &placed_key,
		(restore->snapshot->n_open_files + 1) * sizeof(*placed));
	int number = descriptor->number, lowest = pull_lowest(restore, stub);

	if (!placed)
		return fail(restore->err, ENOMEM, "no memory for descriptors");
	placed += descriptor->open_file;
	if (placed->stub == stub) {
		calls_must(calls, "duplicating a descriptor", SYS_dup3, (uint64_t)placed->number,
			(uint64_t)number, descriptor->close_on_exec ? O_CLOEXEC : 0, 0, 0, 0);
	} else {
		int fd = open_file_get(restore, descriptor->open_file);

		if (fd < 0)
			return fd;
		pull_to(restore, calls, fd, number, descriptor->close_on_exec,
			"taking a descriptor over");
		if (!placed->stub)
			set_async(restore->snapshot->open_files[descriptor->open_file], number,
				calls);
		*placed = (struct placed){.stub = stub, .number = number};
	}
	/* Numbers come in ascending order, so the lowest free one moves only when it is hit. */
	if (number == lowest)
		pull_set_lowest(stub, lowest + 1 + (lowest + 1 == restore->controller_fd));
	return 0;
}

static int restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	for (size_t i = 0; i < stub->process->n_descriptors; i++) {
		int ret = restore_one(restore, stub, calls, stub->process->descriptors[i]);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Every task has what it needs. No task may run while the controller has an end of a pipe: there
 * would be a reader or a writer too many. */
static int finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	pipes_end(restore);
	open_files_close(restore);
	return 0;
}

static void end(struct restore *restore)
{
	pipes_end(restore);
	open_files_end(restore);
}

const struct state_kind descriptors_kind = {
	.name = "descriptors",
	.survey = survey,
	.ask = ask,
	.take = take,
	.take_shared = take_shared,
	.check = open_files_check,
	.prepare = open_files_prepare,
	.restore_shared = restore_shared,
	.restore = restore,
	.restore_thread = owners_restore_thread,
	.finish = finish,
	.end = end,
};
