/* SPDX-License-Identifier: MIT */
/* Mount namespaces made again: the calls that a stub in a copy of the base namespace runs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "state/mountinfo.h"
#include "state/mounts.h"

#define FLAGS_OF_MOUNT                                                                             \
	(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | \
		256 /* MS_NOSYMFOLLOW */)

struct making {
	struct restore *restore;
	struct stub *stub;
	const MountNamespace *space;
	const char *prefix; /* where the root of the namespace is until it has been entered */
	int64_t maker;	    /* pid namespace of the stub that makes the others */
	bool late;
	struct calls calls;
};

/* proc shows the pid namespace of who mounts it: one that may not be there yet. */
static bool is_foreign_proc(const Mount *mount, int64_t maker)
{
	return mount->kind == REPRISE__MOUNT__KIND__PROC && mount->pid_namespace > 0 &&
	       mount->pid_namespace != maker;
}

/* Such a mount, and what is mounted below it, waits until all stubs are there. */
static const Mount *late_reason(const MountNamespace *space, size_t index, int64_t maker)
{
	for (size_t i = 0; i <= index; i++)
		if (is_foreign_proc(space->mounts[i], maker) &&
			path_below(space->mounts[index]->point, space->mounts[i]->point))
			return space->mounts[i];
	return NULL;
}

static const char *place(const struct making *making, const char *point)
{
	const char *path = path_join(making->restore->arena, making->prefix, point);

	return path ? path : "/";
}

static const char *label(const struct making *making, const char *what, const char *point)
{
	const char *text = arena_printf(making->restore->arena, "cannot %s %s", what, point);

	return text ? text : what;
}

static void add_mount(struct making *making, const char *what, const char *source,
	const char *target, const char *type, uint64_t flags, const char *options)
{
	struct calls *calls = &making->calls;

	calls_reserve(calls, 1, 16384);
	calls_must(calls, label(making, what, target), SYS_mount,
		source ? calls_text(calls, source) : 0, calls_text(calls, target),
		type ? calls_text(calls, type) : 0, flags,
		options && *options ? calls_text(calls, options) : 0, 0);
}

static void set_flags(struct making *making, const Mount *mount, const char *target)
{
	uint64_t flags = mount->flags & FLAGS_OF_MOUNT;

	if (flags || mount->kind == REPRISE__MOUNT__KIND__KEPT)
		add_mount(making, "set the flags of", NULL, target, NULL,
			MS_REMOUNT | MS_BIND | flags, NULL);
	if (mount->propagation)
		add_mount(making, "set the propagation of", NULL, target, NULL, mount->propagation,
			NULL);
}

/* A kept root of a read-only file system and its like: what cannot be set was so before. */
static void make_kept(struct making *making, const Mount *mount)
{
	struct calls *calls = &making->calls;
	const char *target = place(making, mount->point);

	calls_reserve(calls, 2, 16384);
	calls_may(calls, SYS_mount, 0, calls_text(calls, target), 0,
		MS_REMOUNT | MS_BIND | (mount->flags & FLAGS_OF_MOUNT), 0, 0);
	calls_may(calls, SYS_mount, 0, calls_text(calls, target), 0, mount->propagation, 0, 0);
}

static const char *bind_source(struct making *making, const Mount *mount)
{
	const Mount *same;

	if (mount->same < 0)
		return mount->source;
	same = making->space->mounts[mount->same];
	return path_join(making->restore->arena, place(making, same->point), mount->fs_root);
}

static int make_tmpfs(struct making *making, const Mount *mount, const char *target)
{
	int ret;

	add_mount(
		making, "mount a tmpfs at", mount->device_name, target, "tmpfs", 0, mount->options);
	ret = calls_run(&making->calls);
	return ret == 0 ? tmpfs_fill(making->restore, making->stub->tid, target, mount) : ret;
}

static int make_one(struct making *making, const Mount *mount)
{
	const char *target = place(making, mount->point);
	/* In a user namespace the kernel wants those that the mounts outside have from the first
	 * moment on. */
	uint64_t flags = mount->flags & FLAGS_OF_MOUNT & ~(uint64_t)MS_RDONLY;
	int ret = 0;

	switch (mount->kind) {
	case REPRISE__MOUNT__KIND__KEPT:
		make_kept(making, mount);
		return 0;
	case REPRISE__MOUNT__KIND__BIND:
		add_mount(making, "bind to", bind_source(making, mount), target, NULL,
			MS_BIND | (mount->flags & MS_REC), NULL);
		break;
	case REPRISE__MOUNT__KIND__PROC:
		add_mount(making, "mount proc at", mount->device_name, target, "proc", flags,
			mount->options);
		break;
	case REPRISE__MOUNT__KIND__SYSFS:
		add_mount(making, "mount sysfs at", mount->device_name, target, "sysfs", flags,
			mount->options);
		break;
	case REPRISE__MOUNT__KIND__DEVPTS:
		add_mount(making, "mount devpts at", mount->device_name, target, "devpts", flags,
			mount->options);
		break;
	case REPRISE__MOUNT__KIND__MQUEUE:
		add_mount(making, "mount mqueue at", mount->device_name, target, "mqueue", 0, NULL);
		break;
	case REPRISE__MOUNT__KIND__TMPFS:
		ret = make_tmpfs(making, mount, target);
		break;
	default:
		return fail(making->restore->err, EINVAL, "a mount of an unknown kind");
	}
	if (ret == 0)
		set_flags(making, mount, target);
	return ret;
}

/* The new root is a mount of its own already; the old one goes below it and away. */
static void enter_root(struct making *making)
{
	struct calls *calls = &making->calls;
	const char *dot = ".";

	calls_reserve(calls, 4, 16384);
	calls_must(calls, "cannot enter the root of the namespace", SYS_chdir,
		calls_text(calls, making->prefix), 0, 0, 0, 0, 0);
	calls_must(calls, "cannot enter the root of the namespace", SYS_pivot_root,
		calls_text(calls, dot), calls_text(calls, dot), 0, 0, 0, 0);
	calls_must(calls, "cannot leave the root of the base namespace", SYS_umount2,
		calls_text(calls, dot), MNT_DETACH, 0, 0, 0, 0);
	calls_must(calls, "cannot enter the root of the namespace", SYS_chdir,
		calls_text(calls, "/"), 0, 0, 0, 0, 0);
}

static int make_each(struct making *making)
{
	const MountNamespace *space = making->space;
	int ret = 0;

	for (size_t i = 0; i < space->n_mounts && ret == 0; i++)
		if (!late_reason(space, i, making->maker) != making->late)
			ret = make_one(making, space->mounts[i]);
	return ret;
}

static int make_all(struct making *making)
{
	const MountNamespace *space = making->space;
	struct calls *calls = &making->calls;
	int ret;

	/* Nothing that is done here must reach the base namespace. */
	add_mount(making, "separate the mounts below", NULL, "/", NULL,
		MS_REC | (space->slaves ? MS_SLAVE : MS_PRIVATE), NULL);
	for (size_t i = 0; i < space->n_gone; i++) {
		calls_reserve(calls, 1, 8192);
		calls_may(calls, SYS_umount2, calls_text(calls, space->gone[i]), MNT_DETACH, 0, 0,
			0, 0);
	}
	ret = make_each(making);
	if (ret == 0 && space->root[0])
		enter_root(making);
	return ret == 0 ? calls_run(calls) : ret;
}

/* By mount namespace: the pid namespace of the stub that has made it, + 1. */
static int64_t *makers_of(struct restore *restore)
{
	static const char key;
	int64_t **makers = kind_table_get(restore->arena, &restore->tables, &key, sizeof(*makers));

	if (makers && !*makers)
		*makers = arena_alloc(restore->arena,
			(restore->snapshot->n_mount_namespaces + 1) * sizeof(**makers));
	return makers ? *makers : NULL;
}

static struct stub *stub_in(struct restore *restore, size_t mounts, int32_t pids)
{
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Process *process = restore->snapshot->processes[i];

		if (process->mount_namespace == (int64_t)mounts &&
			process->pid_namespace == (uint32_t)pids &&
			process->state != REPRISE__PROCESS__STATE__ZOMBIE)
			return restore->leaders[i];
	}
	return NULL;
}

static int make_late(struct restore *restore, size_t index, struct stub *stub, int64_t maker)
{
	struct making making = {.restore = restore,
		.stub = stub,
		.space = restore->snapshot->mount_namespaces[index],
		.prefix = "/",
		.maker = maker,
		.late = true};
	int ret = stub_ready(stub, restore->err);

	if (ret == 0)
		ret = calls_begin(&making.calls, &stub->hand, false, restore->err);
	if (ret < 0)
		return ret;
	ret = make_each(&making);
	if (ret == 0)
		ret = calls_run(&making.calls);
	calls_end(&making.calls);
	return ret;
}

int mounts_finish(struct restore *restore)
{
	const Snapshot *snapshot = restore->snapshot;
	int64_t *makers = makers_of(restore);
	int ret = 0;

	for (size_t i = 0; makers && i < snapshot->n_mount_namespaces && ret == 0; i++) {
		const MountNamespace *space = snapshot->mount_namespaces[i];
		const Mount *late = NULL;
		struct stub *stub;

		for (size_t j = 0; makers[i] && j < space->n_mounts && !late; j++)
			late = late_reason(space, j, makers[i] - 1);
		stub = late ? stub_in(restore, i, late->pid_namespace) : NULL;
		if (late && !stub)
			ret = fail(restore->err, ESRCH,
				"nobody is left to mount proc at %s of a mount namespace",
				late->point);
		else if (late)
			ret = make_late(restore, i, stub, makers[i] - 1);
	}
	return ret;
}

int mounts_make(struct restore *restore, struct stub *stub, const MountNamespace *space)
{
	int64_t *makers = makers_of(restore);
	struct making making = {.restore = restore,
		.stub = stub,
		.space = space,
		.maker = stub->process->pid_namespace,
		.prefix = space->root[0] ? space->root : "/"};
	int ret = makers ? calls_begin(&making.calls, &stub->hand, false, restore->err) : -ENOMEM;

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < restore->snapshot->n_mount_namespaces; i++)
		if (restore->snapshot->mount_namespaces[i] == space)
			makers[i] = making.maker + 1;
	ret = make_all(&making);
	calls_end(&making.calls);
	return ret;
}
