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
	struct calls calls;
};

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

static int make_all(struct making *making)
{
	const MountNamespace *space = making->space;
	struct calls *calls = &making->calls;
	int ret = 0;

	/* Nothing that is done here must reach the base namespace. */
	add_mount(making, "separate the mounts below", NULL, "/", NULL,
		MS_REC | (space->slaves ? MS_SLAVE : MS_PRIVATE), NULL);
	for (size_t i = 0; i < space->n_gone; i++) {
		calls_reserve(calls, 1, 8192);
		calls_may(calls, SYS_umount2, calls_text(calls, space->gone[i]), MNT_DETACH, 0, 0,
			0, 0);
	}
	for (size_t i = 0; i < space->n_mounts && ret == 0; i++)
		ret = make_one(making, space->mounts[i]);
	if (ret == 0 && space->root[0])
		enter_root(making);
	return ret == 0 ? calls_run(calls) : ret;
}

int mounts_make(struct restore *restore, struct stub *stub, const MountNamespace *space)
{
	struct making making = {.restore = restore,
		.stub = stub,
		.space = space,
		.prefix = space->root[0] ? space->root : "/"};
	int ret = calls_begin(&making.calls, &stub->hand, false, restore->err);

	if (ret < 0)
		return ret;
	ret = make_all(&making);
	calls_end(&making.calls);
	return ret;
}
