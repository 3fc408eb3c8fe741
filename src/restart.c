/* SPDX-License-Identifier: MIT */
/* The way back: image -> snapshot -> plan -> tasks. */
#include "restart.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "rebuild/forest_of.h"
#include "rebuild/keeper.h"
#include "rebuild/rebuild.h"
#include "rebuild/taken.h"
#include "state/privileges.h"
#include "task/one_cpu.h"
#include "watch.h"

static int check_kinds(struct restore *restore)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		int ret = state_kinds[i]->check ? state_kinds[i]->check(restore) : 0;

		if (ret < 0)
			return fail(restore->err, ret, "%s", state_kinds[i]->name);
	}
	return 0;
}

static int prepare_kinds(struct restore *restore)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		int ret = state_kinds[i]->prepare ? state_kinds[i]->prepare(restore) : 0;

		if (ret < 0)
			return fail(restore->err, ret, "%s", state_kinds[i]->name);
	}
	return 0;
}

static void end_kinds(struct restore *restore)
{
	for (size_t i = 0; state_kinds[i]; i++)
		if (state_kinds[i]->end)
			state_kinds[i]->end(restore);
}

/* Fills everything that is known before a task exists, and plans. */
static int plan_image(struct rebuild *rebuild, const struct image *image, struct arena *arena,
	struct reprise_error *err)
{
	struct forest *forest;
	struct plan *plan;
	pid_t *taken_now = NULL;
	size_t count = 0;
	int ret;

	rebuild->arena = arena;
	rebuild->err = err;
	rebuild->restore = (struct restore){.arena = arena,
		.snapshot = image->snapshot,
		.image = image,
		.host_clocks = rebuild->restore.host_clocks,
		.err = err};
	ret = forest_of(arena, image->snapshot, rebuild->outer_pids, &forest, err);
	if (ret < 0)
		return ret;
	/* Only where numbers are chosen in a namespace that others live in. */
	if (rebuild->outer_pids || image->snapshot->processes[0]->pid_namespace == 0) {
		struct taken *taken = taken_find(rebuild->target_pidns);

		ret = taken ? taken_numbers(taken, arena, &taken_now, &count) : -ENOMEM;
		taken_free(taken);
		if (ret < 0)
			return fail(err, ret, "cannot find the pids in use");
	}
	forest->taken = taken_now;
	forest->n_taken = count;
	ret = forest_plan(arena, forest, &plan, err);
	rebuild->forest = forest;
	rebuild->plan = plan;
	return ret;
}

int restart_check(const struct image *image, struct reprise_error *err)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct rebuild rebuild = {0};
	int ret;

	if (!arena)
		return fail(err, ENOMEM, "no memory");
	/* Where only this is possible, it counts as possible. */
	rebuild.restore.host_clocks = !have_capability(CAP_SYS_ADMIN);
	ret = plan_image(&rebuild, image, arena, err);
	if (ret == 0)
		ret = check_kinds(&rebuild.restore);
	end_kinds(&rebuild.restore);
	return ret;
}

int restart_plan(const char *dir, bool outer_pids, bool json, FILE *out, struct reprise_error *err)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct rebuild rebuild = {.outer_pids = outer_pids};
	struct image *image = NULL;
	int ret = arena ? image_read(dir, false, &image, err) : -ENOMEM;

	if (ret == 0)
		ret = plan_image(&rebuild, image, arena, err);
	if (ret == 0)
		ret = json ? plan_print_json(rebuild.plan, out) : plan_print(rebuild.plan, out);
	image_free(image);
	error_phase(err, "plan");
	return ret;
}

/* All pids that are taken are known, and said, before the first task is made. */
static int wait_for_numbers(struct rebuild *rebuild, unsigned seconds)
{
	struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	char text[1800];
	size_t count, found;
	pid_t *wanted;
	int ret = plan_numbers(rebuild->arena, rebuild->plan, &wanted, &count);

	if (ret < 0 || count == 0)
		return ret;
	/* A reaper may be slow: two seconds of patience are always given. */
	for (unsigned i = 0;; i++) {
		struct taken *taken = taken_find(rebuild->target_pidns);

		if (!taken)
			return fail(rebuild->err, ENOMEM, "cannot find the pids in use");
		found = taken_list(taken, wanted, count, text, sizeof(text));
		taken_free(taken);
		if (found == 0)
			return 0;
		if (i >= (seconds > 2 ? seconds : 2) * 50)
			break;
		nanosleep(&pause, NULL);
	}
	return fail(rebuild->err, EBUSY, "%zu pid%s taken: %s", found, found > 1 ? "s are" : " is",
		text);
}

static int make_tasks(
	struct rebuild *rebuild, const struct reprise_watcher *watcher, struct timespec *start)
{
	static const struct {
		const char *name;
		int (*run)(struct rebuild *rebuild);
	} phases[] = {
		{"nursery", nursery_start},
		{"build", build_forest},
		{"build", nursery_leave},
		{"restore", rebuild_state},
		{"restore", build_finish},
		{"restore", rebuild_finish_state},
		{"release", rebuild_release},
	};
	int ret = prepare_kinds(&rebuild->restore);

	for (size_t i = 0; i < ARRAY_SIZE(phases) && ret == 0; i++) {
		ret = phases[i].run(rebuild);
		if (ret < 0)
			error_phase(rebuild->err, phases[i].name);
		watch_phase(watcher, phases[i].name, start);
	}
	return ret;
}

static int rebuild_image(struct rebuild *rebuild, const struct image *image,
	const struct reprise_restart_options *options, pid_t *ret_root, struct reprise_error *err)
{
	struct timespec start;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ret = plan_image(rebuild, image, rebuild->arena, err);
	if (ret == 0)
		ret = check_kinds(&rebuild->restore);
	if (ret == 0)
		ret = wait_for_numbers(rebuild, options->wait_seconds);
	error_phase(err, ret < 0 ? "plan" : "");
	watch_phase(options->watcher, "plan", &start);
	if (ret == 0) {
		cpu_set_t before;

		one_cpu_stay(&before);
		ret = make_tasks(rebuild, options->watcher, &start);
		one_cpu_leave(&before);
	}
	if (ret < 0)
		rebuild_undo(rebuild);
	else if (rebuild->restore.leaders)
		*ret_root = rebuild->restore.leaders[0]->tid;
	end_kinds(&rebuild->restore);
	nursery_end(rebuild);
	return ret;
}

/* One try, in a pid namespace of its own where that is asked for. */
static int try_once(const struct image *image, const struct reprise_restart_options *options,
	pid_t *ret_root, struct reprise_error *err)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct keeper keeper = {0};
	struct rebuild rebuild = {.arena = arena,
		.detach = options->detach,
		.outer_pids = options->outer_pids,
		.target_pidns = options->into_pidns,
		.watcher = options->watcher,
		.restore = {.host_clocks = options->host_clocks}};
	int ret = arena ? 0 : fail(err, ENOMEM, "no memory");

	if (ret == 0 && options->new_pidns) {
		ret = keeper_start(&keeper, err);
		rebuild.target_pidns = keeper.pid;
	}
	if (ret == 0)
		ret = rebuild_image(&rebuild, image, options, ret_root, err);
	if (ret == 0)
		ret = keeper_name_root(
			&keeper, image->snapshot->processes[0]->threads[0]->pids[0], err);
	keeper_end(&keeper);
	return ret;
}

static int check_options(const struct reprise_restart_options *options, const struct image *image,
	struct reprise_error *err)
{
	bool plain = image->snapshot->processes[0]->pid_namespace == 0;

	if (options->new_pidns && options->into_pidns)
		return fail(err, EINVAL, "a new pid namespace, or one that is there: not both");
	if (options->new_pidns && !plain)
		return fail(err, EINVAL, "the image is a container: it brings its pid namespace");
	if (options->new_pidns && image->snapshot->processes[0]->threads[0]->pids[0] == 1)
		return fail(
			err, EINVAL, "the root has pid 1, which is the new pid namespace's own");
	return 0;
}

int reprise_restart(const char *dir, const struct reprise_restart_options *options, pid_t *ret_root,
	struct reprise_error *err)
{
	static const struct reprise_restart_options defaults = {.size = sizeof(defaults)};
	struct reprise_error ignored = {0};
	struct image *image = NULL;
	struct rlimit limit;
	int ret = 0;

	if (!err)
		err = &ignored;
	error_clear(err);
	if (!options)
		options = &defaults;
	if (options->size != sizeof(*options))
		return fail(err, EINVAL, "options of another version of the library");
	limit = descriptor_limit_raise();
	ret = image_read(dir, true, &image, err);
	error_phase(err, ret < 0 ? "image" : "");
	if (ret == 0)
		ret = check_options(options, image, err);
	/* A pid can be taken between the look and the creation: undone, and tried once more. */
	for (int attempt = 0; ret == 0 && attempt < 2; attempt++) {
		error_clear(err);
		ret = try_once(image, options, ret_root, err);
		if (ret != -EEXIST || attempt)
			break;
		ret = 0;
	}
	image_free(image);
	descriptor_limit_restore(&limit);
	return ret;
}
