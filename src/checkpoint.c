/* SPDX-License-Identifier: MIT */
/* The way there: tasks -> snapshot -> image. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <reprise.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "image/image.h"
#include "restart.h"
#include "state/capture.h"
#include "task/one_cpu.h"
#include "task/tree.h"
#include "watch.h"

struct checkpoint {
	pid_t root;
	const char *dir;
	bool stop;
	const struct reprise_watcher *watcher;
	struct reprise_error *err;
	struct timespec start;

	struct arena *arena;
	struct image_writer *writer;
	struct live_tree *found; /* before the freeze */
	struct live_tree *tree;	 /* frozen */
	struct capture capture;
};

/*
 * A caller that blocks SIGINT or SIGTERM is asked to stop by one that is pending: the tasks go on
 * and nothing of the image is left. Without that it just dies, which harms no task either.
 */
static bool interrupted(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM));
}

/* What every phase ends with. */
static int phase_done(struct checkpoint *checkpoint, const char *phase, int r)
{
	if (r < 0)
		error_phase(checkpoint->err, phase);
	else
		watch_phase(checkpoint->watcher, phase, &checkpoint->start);
	return r;
}

static int survey(struct checkpoint *checkpoint)
{
	struct reprise_error *err = checkpoint->err;
	int r = tree_find(checkpoint->arena, checkpoint->root, &checkpoint->found, err);

	if (!r && checkpoint->found->processes[0]->zombie)
		r = fail(err, ESRCH, "task %d has ended", checkpoint->root);
	if (!r)
		r = capture_survey(&checkpoint->capture, checkpoint->found);
	if (!r && interrupted())
		r = fail(err, ECANCELED, "interrupted");
	return phase_done(checkpoint, "survey", r);
}

static bool given_up(void *data)
{
	(void)data;
	return interrupted();
}

static int freeze(struct checkpoint *checkpoint)
{
	const struct tree_listener listener = {capture_frozen, given_up, &checkpoint->capture};
	int r = tree_freeze(checkpoint->arena, checkpoint->root, checkpoint->found, &listener,
		&checkpoint->tree, checkpoint->err);

	return phase_done(checkpoint, "freeze", r);
}

static int capture(struct checkpoint *checkpoint)
{
	int r = capture_survey(&checkpoint->capture, checkpoint->tree);

	if (!r)
		r = capture_take(&checkpoint->capture, interrupted, checkpoint->watcher);
	return phase_done(checkpoint, "capture", r);
}

static int write_image(struct checkpoint *checkpoint)
{
	int r = image_writer_commit(
		checkpoint->writer, checkpoint->capture.snapshot, checkpoint->err);

	return phase_done(checkpoint, "write", r);
}

/* Nothing is ended before its image has been read back and found restartable. */
static int prove(struct checkpoint *checkpoint)
{
	struct image *image;
	int r = image_read(checkpoint->dir, true, &image, checkpoint->err);

	if (!r) {
		r = restart_check(image, checkpoint->err);
		image_free(image);
	}
	if (!r && interrupted())
		r = fail(checkpoint->err, ECANCELED, "interrupted");
	return phase_done(checkpoint, "proof", r);
}

static int end_tasks(struct checkpoint *checkpoint)
{
	int r = tree_kill(checkpoint->tree, checkpoint->err);

	return phase_done(checkpoint, "stop", r);
}

static void release(struct checkpoint *checkpoint)
{
	tree_release(checkpoint->tree);
	watch_phase(checkpoint->watcher, "release", &checkpoint->start);
}

static int go_on(struct checkpoint *checkpoint)
{
	int r = capture(checkpoint);

	release(checkpoint);
	return r < 0 ? r : write_image(checkpoint);
}

static int stop_all(struct checkpoint *checkpoint)
{
	bool written = false;
	int r = capture(checkpoint);

	if (!r)
		r = write_image(checkpoint);
	if (!r) {
		written = true;
		r = prove(checkpoint);
	}
	if (!r)
		return end_tasks(checkpoint);
	release(checkpoint);
	if (written)
		image_remove(checkpoint->dir);
	return r;
}

static int run(struct checkpoint *checkpoint)
{
	cpu_set_t cpus;
	int r = image_writer_open(checkpoint->dir, &checkpoint->writer, checkpoint->err);

	if (r < 0)
		return phase_done(checkpoint, "write", r);
	r = capture_begin(
		&checkpoint->capture, checkpoint->arena, checkpoint->writer, checkpoint->err);
	if (!r)
		r = survey(checkpoint);
	if (r < 0)
		return r;
	one_cpu_stay(&cpus);
	r = freeze(checkpoint);
	if (!r)
		r = checkpoint->stop ? stop_all(checkpoint) : go_on(checkpoint);
	one_cpu_leave(&cpus);
	return r;
}

int reprise_checkpoint(pid_t root, const char *dir,
	const struct reprise_checkpoint_options *options, struct reprise_error *err)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct checkpoint checkpoint = {.root = root, .dir = dir, .err = err, .arena = arena};
	struct reprise_error own = {0};
	struct rlimit limit;
	int r;

	if (!err)
		checkpoint.err = &own;
	error_clear(checkpoint.err);
	if (root <= 0 || !dir || !arena ||
		(options && options->size < sizeof(struct reprise_checkpoint_options)))
		return fail(checkpoint.err, arena ? EINVAL : ENOMEM, "checkpoint of %d", root);
	checkpoint.stop = options && options->stop;
	checkpoint.watcher = options ? options->watcher : NULL;
	clock_gettime(CLOCK_MONOTONIC, &checkpoint.start);
	limit = descriptor_limit_raise();
	r = run(&checkpoint);
	capture_end(&checkpoint.capture);
	image_writer_free(checkpoint.writer);
	descriptor_limit_restore(&limit);
	return r;
}
