/* SPDX-License-Identifier: MIT */
/* Gives every stub its state: all kinds, process by process, then thread by thread. */
#include "rebuild/pipeline.h"

#include <errno.h>
#include <sys/syscall.h>

#include "watch.h"

#include "state/kinds.h"

typedef int (*restore_hook)(struct restore *restore, struct stub *stub, struct calls *calls);
typedef restore_hook (*hook_of)(const struct state_kind *kind);

static restore_hook hook_restore(const struct state_kind *kind)
{
	return kind->restore;
}

static restore_hook hook_thread(const struct state_kind *kind)
{
	return kind->restore_thread;
}

static restore_hook hook_finish(const struct state_kind *kind)
{
	return kind->finish;
}

/* One hook of all kinds, in one stub: as few batches as they fit in. */
static int run_kinds(struct rebuild *rebuild, struct stub *stub, hook_of of, struct calls *calls)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		restore_hook hook = of(state_kinds[i]);
		int ret = hook ? hook(&rebuild->restore, stub, calls) : 0;

		if (ret < 0)
			return fail(rebuild->err, ret, "%s", state_kinds[i]->name);
	}
	return 0;
}

static bool is_zombie(const struct stub *stub)
{
	return stub->process->state == REPRISE__PROCESS__STATE__ZOMBIE;
}

/* A leader speaks for its process too: all of it in one batch. */
static int restore_in(struct pipeline *pipeline, struct stub *stub)
{
	struct rebuild *rebuild = pipeline->rebuild;
	struct calls *calls;
	int ret = pipeline_begin(pipeline, stub, &calls);

	if (ret < 0)
		return ret;
	if (stub->leader == stub && !is_zombie(stub))
		ret = run_kinds(rebuild, stub, hook_restore, calls);
	if (ret == 0)
		ret = run_kinds(rebuild, stub, hook_thread, calls);
	return ret < 0 ? stub_named(pipeline->rebuild, stub, ret) : pipeline_start(pipeline, false);
}

/* The last thread of its process lets go of what all stubs have: the controller's pidfd and the
 * room. Where a fault is no way to stop, the room is given back later (release.c). */
static int finish_in(struct pipeline *pipeline, struct stub *stub)
{
	const struct restore *restore = &pipeline->rebuild->restore;
	bool speaks = stub_speaks(stub), last = speaks && stub->hand.ends_by_fault;
	struct calls *calls;
	int ret = pipeline_begin(pipeline, stub, &calls);

	if (ret < 0)
		return ret;
	ret = run_kinds(pipeline->rebuild, stub, hook_finish, calls);
	if (ret == 0)
		ret = calls_reserve(calls, 2, 0);
	if (ret < 0)
		return stub_named(pipeline->rebuild, stub, ret);
	if (speaks)
		calls_must(calls, "cannot let go of the controller", SYS_close,
			(uint64_t)restore->controller_fd, 0, 0, 0, 0, 0);
	/* A thread that created others last stands in the middle of that call: it leaves it. */
	else
		calls_may(calls, SYS_getpid, 0, 0, 0, 0, 0, 0);
	if (last)
		calls_must(calls, "cannot give back the memory to drive it with", SYS_munmap,
			restore->room, restore->room_size, 0, 0, 0, 0);
	return pipeline_start(pipeline, last);
}

static int restore_all(struct pipeline *pipeline)
{
	struct rebuild *rebuild = pipeline->rebuild;
	size_t task = 0, count = rebuild->restore.snapshot->n_processes;
	int ret = 0;

	for (size_t i = 0; i < count && ret == 0; i++) {
		struct stub *leader = rebuild->restore.leaders[i];
		size_t threads = leader->process->n_threads;

		for (size_t j = 0; j < threads && ret == 0; j++)
			ret = restore_in(pipeline, rebuild->stubs[task + j]);
		task += threads;
		watch_progress(rebuild->watcher, "restore", i + 1, count);
	}
	return ret == 0 ? pipeline_finish(pipeline) : ret;
}

int rebuild_state(struct rebuild *rebuild)
{
	struct pipeline pipeline = {.rebuild = rebuild};
	int ret = 0;

	for (size_t i = 0; state_kinds[i] && ret == 0; i++)
		if (state_kinds[i]->restore_shared)
			ret = state_kinds[i]->restore_shared(&rebuild->restore);
	if (ret == 0)
		ret = restore_all(&pipeline);
	pipeline_end(&pipeline);
	return ret < 0 ? fail(rebuild->err, ret, "the state of the tasks") : 0;
}

/* Threads before their leader: what the leader closes last is theirs as well. */
int rebuild_finish_state(struct rebuild *rebuild)
{
	struct pipeline pipeline = {.rebuild = rebuild};
	int ret = 0;

	for (size_t i = rebuild->plan->n_tasks; i-- > 0 && ret == 0;) {
		struct stub *stub = rebuild->stubs[i];

		if (!stub->gone && !is_zombie(stub))
			ret = finish_in(&pipeline, stub);
	}
	if (ret == 0)
		ret = pipeline_finish(&pipeline);
	pipeline_end(&pipeline);
	return ret;
}
