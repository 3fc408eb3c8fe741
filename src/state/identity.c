// SPDX-License-Identifier: MIT
/*
 * Odds and ends that make a process what it is to the kernel: how likely it is to be killed without
 * memory, its personality, what it dumps, whether orphans come to it, membarrier registrations.
 */
#include "state/ahead.h"
#include "state/kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/open_file.h"
#include "state/privileges.h"

#ifndef MEMBARRIER_CMD_GET_REGISTRATIONS
#define MEMBARRIER_CMD_GET_REGISTRATIONS (1 << 9) /* Linux 6.3 */
#endif
#define ASK_PERSONALITY 0xffffffffu

struct identity_asked {
	uint64_t subreaper;
	size_t personality, dumpable, membarrier;
};

static int identity_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct identity_asked *asked = arena_alloc(capture->arena, sizeof(*asked));

	if (!asked)
		return fail(capture->err, ENOMEM, "identity");
	process->notes[NOTE_IDENTITY] = asked;
	asked->subreaper = calls_space(calls, sizeof(uint64_t));
	calls_must(calls, "subreaper", SYS_prctl, PR_GET_CHILD_SUBREAPER, asked->subreaper, 0, 0, 0,
		0);
	asked->personality =
		calls_must(calls, "personality", SYS_personality, ASK_PERSONALITY, 0, 0, 0, 0, 0);
	asked->dumpable = calls_must(calls, "dumpable", SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0);
	asked->membarrier =
		calls_may(calls, SYS_membarrier, MEMBARRIER_CMD_GET_REGISTRATIONS, 0, 0, 0, 0, 0);
	return 0;
}

static int read_number(struct capture *capture, struct live_process *process, enum ahead_file file,
	int base, long *ret)
{
	char *text;
	int r = ahead_read(capture, process, file, &text, NULL);

	if (r == 0)
		*ret = strtol(text, NULL, base);
	return r;
}

static int identity_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct identity_asked *asked = process->notes[NOTE_IDENTITY];
	Identity *identity = MESSAGE_NEW(capture->arena, Identity, identity);
	int64_t membarrier = calls_result(calls, asked->membarrier);
	long adjustment = 0, filter = 0;
	int r;

	if (!identity)
		return fail(capture->err, ENOMEM, "identity");
	ret->identity = identity;
	r = read_number(capture, process, AHEAD_OOM_SCORE_ADJ, 10, &adjustment);
	if (r == 0)
		r = read_number(capture, process, AHEAD_COREDUMP_FILTER, 16, &filter);
	if (r < 0)
		return r;
	identity->oom_score_adj = (int32_t)adjustment;
	identity->coredump_filter = (uint32_t)filter;
	identity->child_subreaper = *(const int *)calls_view(calls, asked->subreaper) != 0;
	identity->personality = (uint32_t)calls_result(calls, asked->personality);
	identity->membarrier = membarrier > 0 ? (uint64_t)membarrier : 0;
	ret->subreaper = identity->child_subreaper;
	if (ret->memory)
		ret->memory->dumpable = (uint32_t)calls_result(calls, asked->dumpable);
	return 0;
}

static int write_number(
	struct restore *restore, pid_t pid, const char *name, const char *format, long value)
{
	_cleanup_close_ int fd = proc_open(pid, name, O_WRONLY | O_CLOEXEC);
	char text[32];
	int len = snprintf(text, sizeof(text), format, value);

	if (fd < 0)
		return fail(restore->err, fd, "%s", name);
	if (write(fd, text, (size_t)len) != len)
		return fail(restore->err, errno, "%s %s", name, text);
	return 0;
}

/* What stubs inherit from this program. */
struct inherited {
	bool known;
	long oom_score_adj, coredump_filter;
	uint32_t personality;
};

static const char inherited_key;

static long own_number(const char *path, int base)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char text[32] = "";

	if (!file || !fgets(text, sizeof(text), file))
		return -1;
	return strtol(text, NULL, base);
}

static const struct inherited *inherited_state(struct restore *restore)
{
	struct inherited *own =
		kind_table_get(restore->arena, &restore->tables, &inherited_key, sizeof(*own));

	if (own && !own->known) {
		own->known = true;
		own->oom_score_adj = own_number("/proc/self/oom_score_adj", 10);
		own->coredump_filter = own_number("/proc/self/coredump_filter", 16);
		own->personality = (uint32_t)personality(ASK_PERSONALITY);
	}
	return own;
}

/* How low this program may go can only be tried: without CAP_SYS_RESOURCE it depends on its past.
 */
static int identity_check(struct restore *restore)
{
	const struct inherited *own = inherited_state(restore);
	int32_t lowest = INT32_MAX;
	int r;

	if (!own)
		return fail(restore->err, ENOMEM, "identity");
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Identity *identity = restore->snapshot->processes[i]->identity;

		if (identity && identity->oom_score_adj < lowest)
			lowest = identity->oom_score_adj;
	}
	if (lowest >= own->oom_score_adj || have_capability(CAP_SYS_RESOURCE))
		return 0;
	r = write_number(restore, getpid(), "oom_score_adj", "%ld", lowest);
	if (r == 0)
		r = write_number(restore, getpid(), "oom_score_adj", "%ld", own->oom_score_adj);
	return r;
}

/* One membarrier command registers one kind. */
static void restore_membarrier(struct calls *calls, uint64_t registrations)
{
	for (int bit = 0; bit < 31; bit++)
		if (registrations & 1ull << bit)
			calls_must(calls, "membarrier registration", SYS_membarrier, 1ull << bit, 0,
				0, 0, 0, 0);
}

static int identity_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Identity *identity = stub->process->identity;
	const struct inherited *own = inherited_state(restore);
	int r = 0;

	if (!own)
		return fail(restore->err, ENOMEM, "identity");
	if (!identity)
		return 0;
	if (identity->oom_score_adj != own->oom_score_adj)
		r = write_number(
			restore, stub->tid, "oom_score_adj", "%ld", identity->oom_score_adj);
	if (r == 0 && identity->coredump_filter != own->coredump_filter)
		r = write_number(restore, stub->tid, "coredump_filter", "0x%lx",
			(long)identity->coredump_filter);
	if (r < 0)
		return r;
	if (identity->child_subreaper)
		calls_must(calls, "subreaper", SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0);
	restore_membarrier(calls, identity->membarrier);
	return 0;
}

static int identity_restore_thread(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Identity *identity = stub->process->identity;
	const struct inherited *own = inherited_state(restore);

	if (own && identity && identity->personality != own->personality)
		calls_must(calls, "personality", SYS_personality, identity->personality, 0, 0, 0, 0,
			0);
	return 0;
}

/* After the credentials, a change of which makes a process less dumpable. */
static int identity_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Memory *memory = stub->process->memory;

	if (memory && stub_speaks(stub))
		/* 2, from suid_dumpable, cannot be asked for: it is nearer to 0 than to 1. */
		calls_must(calls, "dumpable", SYS_prctl, PR_SET_DUMPABLE, memory->dumpable == 1, 0,
			0, 0, 0);
	return 0;
}

const struct state_kind identity_kind = {
	.name = "identity",
	.ask = identity_ask,
	.take = identity_take,
	.check = identity_check,
	.restore = identity_restore,
	.restore_thread = identity_restore_thread,
	.finish = identity_finish,
};
