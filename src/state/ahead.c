// SPDX-License-Identifier: MIT
#include "state/ahead.h"

#include <errno.h>
#include <string.h>

#include "state/files_table.h"
#include "state/kinds.h"
#include "task/proc.h"

static const char *const names[AHEAD_FILES] = {
	"auxv", "timers", "oom_score_adj", "coredump_filter"};

struct ahead {
	struct piece piece;
	struct arena **arenas;
	pid_t tid;
	uint64_t inodes[LIVE_LINKS];
	int result[AHEAD_FILES];
	char *text[AHEAD_FILES];
	size_t size[AHEAD_FILES];
};

static void read_all(struct piece *piece, size_t worker)
{
	struct ahead *ahead = (struct ahead *)piece;

	for (int i = 0; i < AHEAD_FILES; i++)
		ahead->result[i] = proc_read(ahead->arenas[worker], ahead->tid, names[i],
			&ahead->text[i], &ahead->size[i], NULL);
	for (int i = 0; i < LIVE_LINKS; i++)
		ahead->inodes[i] = proc_inode(ahead->tid, live_links[i]);
}

int ahead_start(struct capture *capture, struct live_process *process)
{
	struct ahead *ahead;
	pid_t tid = live_tid(process);

	if (process->zombie || tid <= 0)
		return 0;
	ahead = arena_alloc(capture->arena, sizeof(*ahead));
	if (!ahead)
		return fail(capture->err, ENOMEM, "no memory to look at the tasks");
	ahead->piece.run = read_all;
	ahead->arenas = capture->arenas;
	ahead->tid = tid;
	process->notes[NOTE_AHEAD] = ahead;
	pool_add(capture->pool, &ahead->piece);
	return 0;
}

void ahead_finish(struct capture *capture, struct live_process *process)
{
	struct ahead *ahead = process->notes[NOTE_AHEAD];

	if (!ahead)
		return;
	pool_finish(capture->pool, &ahead->piece);
	memcpy(process->inodes, ahead->inodes, sizeof(process->inodes));
}

int ahead_read(struct capture *capture, struct live_process *process, enum ahead_file file,
	char **ret, size_t *ret_size)
{
	struct ahead *ahead = process->notes[NOTE_AHEAD];

	if (!ahead)
		return fail(capture->err, ESRCH, "cannot read its %s", names[file]);
	if (ahead->result[file] < 0)
		return fail(capture->err, ahead->result[file], "cannot read its %s", names[file]);
	*ret = ahead->text[file];
	if (ret_size)
		*ret_size = ahead->size[file];
	return 0;
}
