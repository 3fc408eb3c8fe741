// SPDX-License-Identifier: MIT
#include "state/capture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "image/format.h"
#include "state/ahead.h"
#include "state/content.h"
#include "state/kinds.h"
#include "state/refusals.h"
#include "state/tree.h"
#include "watch.h"

#define AHEAD 16 /* processes */

static int begin_pool(struct capture *capture)
{
	size_t workers;

	capture->pool = pool_new();
	if (!capture->pool)
		return -ENOMEM;
	workers = pool_workers(capture->pool);
	capture->arenas = arena_alloc(capture->arena, workers * sizeof(*capture->arenas));
	if (!capture->arenas)
		return -ENOMEM;
	capture->arenas[0] = capture->arena;
	for (size_t i = 1; i < workers; i++)
		if (!(capture->arenas[i] = arena_new()))
			return -ENOMEM;
	return 0;
}

int capture_begin(struct capture *capture, struct arena *arena, struct image_writer *writer,
	struct reprise_error *err)
{
	struct timespec now;
	struct utsname name;
	Snapshot *snapshot;

	*capture = (struct capture){.arena = arena, .writer = writer, .err = err};
	capture->refusals = refusals_new(arena);
	capture->snapshot = snapshot = MESSAGE_NEW(arena, Snapshot, snapshot);
	if (!snapshot || !capture->refusals || uname(&name) < 0)
		return fail(err, ENOMEM, "no memory for the snapshot");
	clock_gettime(CLOCK_REALTIME, &now);
	snapshot->format = IMAGE_FORMAT;
	snapshot->machine = arena_string(arena, name.machine);
	snapshot->kernel = arena_string(arena, name.release);
	snapshot->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	snapshot->realtime = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
	if (!snapshot->machine || !snapshot->kernel || begin_pool(capture) < 0)
		return fail(err, ENOMEM, "no memory for the snapshot");
	return tree_begin(capture);
}

void capture_end(struct capture *capture)
{
	for (size_t i = 1; capture->arenas && i < pool_workers(capture->pool); i++)
		arena_free(capture->arenas[i]);
	capture->arenas = NULL;
	pool_free(capture->pool);
	capture->pool = NULL;
}

static void name_task(struct reprise_error *err, const struct live_process *process)
{
	char name[256];

	error_task(err, "%s (%s)", live_name(&process->threads[0], name, sizeof(name)),
		process->threads[0].status.name);
}

static int look_ahead(struct capture *capture, struct live_process *process)
{
	int r = 0;

	for (size_t k = 0; state_kinds[k] && !r; k++)
		if (state_kinds[k]->ahead)
			r = state_kinds[k]->ahead(capture, process);
	return r;
}

int capture_frozen(struct live_process *process, void *capture)
{
	int r = ahead_start(capture, process);

	return r < 0 ? r : look_ahead(capture, process);
}

static int survey_process(struct capture *capture, struct live_process *process)
{
	size_t refused = refusals_count(capture->refusals);
	int r = 0;

	ahead_finish(capture, process);
	for (size_t k = 0; state_kinds[k] && !r; k++)
		if (state_kinds[k]->survey)
			r = state_kinds[k]->survey(capture, process);
	/* Before the freeze a task may end at any time: what was said of it does not count then. */
	if ((r < 0 || refusals_count(capture->refusals) > refused) && !process->zombie &&
		live_has_ended(process)) {
		error_clear(capture->err);
		refusals_forget(capture->refusals, refused);
		r = 0;
	}
	if (r < 0)
		name_task(capture->err, process);
	return r;
}

/* Frozen tasks have been looked at ahead from the moment they stopped. */
int capture_survey(struct capture *capture, struct live_tree *tree)
{
	size_t ahead = live_is_frozen(tree->processes[0]) ? tree->count : 0;
	int r = 0;

	capture->tree = tree;
	if (ahead == 0)
		r = tree_survey_sharing(capture);
	for (size_t i = 0; i < tree->count && !r; i++) {
		for (; ahead < tree->count && ahead <= i + AHEAD && !r; ahead++)
			r = look_ahead(capture, tree->processes[ahead]);
		if (!r)
			r = survey_process(capture, tree->processes[i]);
	}
	pool_finish_all(capture->pool);
	return r < 0 ? fail(capture->err, r, "cannot look at the tasks")
		     : refusals_say(capture->refusals, capture->err);
}

/* ---- one process ---- */

struct taking {
	struct capture *capture;
	struct live_process *process; /* NULL: none */
	struct borrowed borrowed;
	struct calls calls;
	Process *message;
};

static int ask_process(struct taking *taking)
{
	int r = 0;

	for (size_t k = 0; state_kinds[k] && !r; k++)
		if (state_kinds[k]->ask)
			r = state_kinds[k]->ask(taking->capture, taking->process, &taking->calls);
	return r;
}

static int ask_thread(struct taking *taking, struct live_thread *thread)
{
	int r = 0;

	for (size_t k = 0; state_kinds[k] && !r; k++)
		if (state_kinds[k]->ask_thread)
			r = state_kinds[k]->ask_thread(
				taking->capture, taking->process, thread, &taking->calls);
	return r;
}

static int take_process(struct taking *taking)
{
	int r = 0;

	for (size_t k = 0; state_kinds[k] && !r; k++) {
		if (state_kinds[k]->take)
			r = state_kinds[k]->take(
				taking->capture, taking->process, &taking->calls, taking->message);
		if (r < 0)
			fail(taking->capture->err, r, "%s", state_kinds[k]->name);
	}
	return r;
}

static int take_thread(struct taking *taking, struct live_thread *thread)
{
	Thread *message = taking->message->threads[thread - taking->process->threads];
	int r = 0;

	for (size_t k = 0; state_kinds[k] && !r; k++) {
		if (state_kinds[k]->take_thread)
			r = state_kinds[k]->take_thread(
				taking->capture, taking->process, thread, &taking->calls, message);
		if (r < 0)
			fail(taking->capture->err, r, "%s", state_kinds[k]->name);
	}
	return r;
}

static int take_other_threads(struct taking *taking)
{
	struct live_process *process = taking->process;
	struct live_thread *first = taking->borrowed.thread;
	int r = 0;

	for (size_t i = 0; i < process->nr_threads && !r; i++) {
		struct live_thread *thread = &process->threads[i];

		if (thread == first || thread->dead)
			continue;
		r = borrow_thread(&taking->borrowed, thread, taking->capture->err);
		if (!r)
			r = ask_thread(taking, thread);
		if (!r)
			r = calls_run(&taking->calls);
		if (!r)
			r = take_thread(taking, thread);
	}
	return r;
}

/*
 * One process is taken in four steps, between which its borrowed thread runs alone: it maps memory
 * for calls, runs them, and unmaps it. So others are looked at meanwhile. A failure names the task;
 * take_return is due after any of them.
 */
static int named(struct taking *taking, int r)
{
	if (r < 0)
		name_task(taking->capture->err, taking->process);
	return r;
}

static int take_start(struct taking *taking, struct capture *capture, struct live_process *process)
{
	int r;

	taking->capture = capture;
	taking->process = process;
	taking->calls = (struct calls){0};
	r = tree_take(capture, process, &taking->message);
	if (r == 0 && !process->zombie)
		r = borrow_start(process, &taking->borrowed, capture->err);
	return named(taking, r);
}

/* The thread that was borrowed first speaks for the process too: one stop for all of it. */
static int take_asked(struct taking *taking)
{
	struct reprise_error *err = taking->capture->err;
	int r;

	if (taking->process->zombie)
		return 0;
	r = borrow_ready(&taking->borrowed, err);
	if (!r)
		r = calls_begin(&taking->calls, &taking->borrowed.hand, true, err);
	if (!r)
		r = ask_process(taking);
	if (!r)
		r = ask_thread(taking, taking->borrowed.thread);
	if (!r)
		r = calls_start(&taking->calls);
	return named(taking, r);
}

static int take_told(struct taking *taking)
{
	struct live_thread *first = taking->borrowed.thread;
	int r;

	if (taking->process->zombie)
		return 0;
	r = calls_finish(&taking->calls);
	if (!r)
		r = take_process(taking);
	if (!r)
		r = take_thread(taking, first);
	if (!r)
		r = take_other_threads(taking);
	if (!r)
		r = borrow_leave(&taking->borrowed, taking->capture->err);
	return named(taking, r);
}

static int take_return(struct taking *taking)
{
	int r;

	if (!taking->process)
		return 0;
	calls_end(&taking->calls);
	r = named(taking, borrow_return(&taking->borrowed, taking->capture->err));
	taking->process = NULL;
	return r;
}

/* In flight at once: one that goes, one that is looked at, one that comes. */
#define IN_FLIGHT 3

static int take_all(struct capture *capture, struct taking *all, bool (*interrupted)(void),
	const struct reprise_watcher *watcher)
{
	struct live_tree *tree = capture->tree;
	int r = take_start(&all[0], capture, tree->processes[0]);

	for (size_t i = 0; i < tree->count && !r; i++) {
		struct taking *now = &all[i % IN_FLIGHT];

		if (interrupted())
			return fail(capture->err, ECANCELED, "interrupted");
		r = take_asked(now);
		if (!r && i + 1 < tree->count)
			r = take_start(&all[(i + 1) % IN_FLIGHT], capture, tree->processes[i + 1]);
		if (!r)
			r = take_told(now);
		if (!r && i > 0)
			r = take_return(&all[(i - 1) % IN_FLIGHT]);
		if (i % 64 == 63)
			watch_progress(watcher, "capture", i + 1, tree->count);
	}
	return r;
}

int capture_take(
	struct capture *capture, bool (*interrupted)(void), const struct reprise_watcher *watcher)
{
	struct taking all[IN_FLIGHT];
	int r, back;

	for (size_t i = 0; i < IN_FLIGHT; i++)
		all[i] = (struct taking){.borrowed = BORROWED_NONE};
	r = take_all(capture, all, interrupted, watcher);
	back = content_finish(capture, r < 0);
	r = r < 0 ? r : back;
	for (size_t i = 0; i < IN_FLIGHT; i++) {
		back = take_return(&all[i]);
		r = r < 0 ? r : back;
		borrow_end(&all[i].borrowed);
	}
	for (size_t k = 0; state_kinds[k] && !r; k++) {
		if (state_kinds[k]->take_shared)
			r = state_kinds[k]->take_shared(capture);
		if (r < 0)
			fail(capture->err, r, "%s", state_kinds[k]->name);
	}
	return r;
}
