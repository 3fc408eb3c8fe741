/* SPDX-License-Identifier: MIT */
/* Mount namespaces as they are: compared with the namespace that each was made from. */
#include "state/mounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "state/mountinfo.h"
#include "state/users.h"

/* Two views, and what has been described of the first so far. */
struct comparison {
	struct arena *arena;
	struct mount_lines now, base;
	bool pivoted; /* another root: nothing of the base is kept as a mount */
	bool locked;  /* mounts have come from another user namespace */
	/* Refusals go here instead of messages when this is only a survey. */
	struct capture *capture;
	struct live_process *process;
	MountNamespace *space;
	int *positions; /* by line of now: its place in space->mounts, -1 */
};

static bool same_file_system(const struct mount_line *a, const struct mount_line *b)
{
	return a->major == b->major && a->minor == b->minor;
}

static const struct mount_line *root_line(const struct mount_lines *lines)
{
	const struct mount_line *found = NULL;

	for (size_t i = 0; i < lines->count; i++)
		if (strcmp(lines->lines[i].point, "/") == 0)
			found = &lines->lines[i];
	return found;
}

static void match(struct comparison *comparison)
{
	for (size_t i = 0; i < comparison->now.count; i++) {
		struct mount_line *line = &comparison->now.lines[i];

		for (size_t j = 0; j < comparison->base.count && !line->matched; j++) {
			struct mount_line *other = &comparison->base.lines[j];

			if (other->matched || !same_file_system(line, other) ||
				strcmp(line->point, other->point) != 0 ||
				strcmp(line->root, other->root) != 0)
				continue;
			line->matched = other->matched = true;
		}
	}
}

static int compare(
	struct comparison *comparison, pid_t task, pid_t base_task, struct reprise_error *err)
{
	const struct mount_line *root, *base_root;
	int ret = mount_lines_read(comparison->arena, task, &comparison->now, err);

	if (ret == 0)
		ret = mount_lines_read(comparison->arena, base_task, &comparison->base, err);
	if (ret < 0)
		return ret;
	comparison->locked = users_lock_mounts(task);
	root = root_line(&comparison->now);
	base_root = root_line(&comparison->base);
	if (!root || !base_root)
		return fail(err, EINVAL, "a mount namespace has no root");
	comparison->pivoted =
		!same_file_system(root, base_root) || strcmp(root->root, base_root->root) != 0;
	if (!comparison->pivoted)
		match(comparison);
	comparison->positions =
		arena_alloc(comparison->arena, (comparison->now.count + 1) * sizeof(int));
	if (!comparison->positions)
		return fail(err, ENOMEM, "no memory");
	for (size_t i = 0; i < comparison->now.count; i++)
		comparison->positions[i] = -1;
	return 0;
}

/* Where the base shows what a line shows: the mount whose root is the closest. */
static const char *source_in_base(struct comparison *comparison, const struct mount_line *line)
{
	const struct mount_line *best = NULL;

	for (size_t i = 0; i < comparison->base.count; i++) {
		const struct mount_line *other = &comparison->base.lines[i];

		if (same_file_system(line, other) && path_below(line->root, other->root) &&
			(!best || strlen(other->root) >= strlen(best->root)))
			best = other;
	}
	return best ? path_join(comparison->arena, best->point, path_below(line->root, best->root))
		    : NULL;
}

/* An earlier line of the same namespace whose file system it is: made anew, and then bound. */
static int same_earlier(const struct comparison *comparison, size_t index)
{
	const struct mount_line *line = &comparison->now.lines[index];

	for (size_t i = 0; i < comparison->now.count; i++)
		if (i != index && comparison->positions[i] >= 0 &&
			same_file_system(line, &comparison->now.lines[i]) &&
			path_below(line->root, comparison->now.lines[i].root))
			return (int)i;
	return -1;
}

static int fresh_kind(const struct mount_line *line)
{
	static const struct {
		const char *type;
		int kind;
	} kinds[] = {{"proc", REPRISE__MOUNT__KIND__PROC}, {"sysfs", REPRISE__MOUNT__KIND__SYSFS},
		{"tmpfs", REPRISE__MOUNT__KIND__TMPFS}, {"devpts", REPRISE__MOUNT__KIND__DEVPTS},
		{"mqueue", REPRISE__MOUNT__KIND__MQUEUE}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(line->type, kinds[i].type) == 0 && strcmp(line->root, "/") == 0)
			return kinds[i].kind;
	return -1;
}

/* Options that a mount(2) of the same kind takes; what the kernel shows and does not take is left.
 * So is the owner of a tmpfs, shown in the initial namespace's numbers: it comes with the files. */
static const char *mount_options(struct arena *arena, const struct mount_line *line)
{
	static const char *const dropped[] = {"rw", "ro", "inode64", "inode32", "seclabel"};
	bool tmpfs = strcmp(line->type, "tmpfs") == 0;
	char *copy = arena_string(arena, line->options), *result = arena_string(arena, ""),
	     *save = NULL;

	for (char *word = copy ? strtok_r(copy, ",", &save) : NULL; word;
		word = strtok_r(NULL, ",", &save)) {
		bool drop =
			tmpfs && (strncmp(word, "uid=", 4) == 0 || strncmp(word, "gid=", 4) == 0);

		for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
			drop = drop || strcmp(word, dropped[i]) == 0;
		if (!drop && result)
			result = arena_printf(arena, "%s%s%s", result, *result ? "," : "", word);
	}
	return result ? result : "";
}

static Mount *new_mount(struct comparison *comparison, size_t index, int kind)
{
	const struct mount_line *line = &comparison->now.lines[index];
	Mount *mount = MESSAGE_NEW(comparison->arena, Mount, mount);

	if (!mount)
		return NULL;
	mount->kind = (Reprise__Mount__Kind)kind;
	mount->point = (char *)line->point;
	mount->flags = line->flags;
	mount->propagation = line->propagation;
	mount->device_name = (char *)line->source;
	mount->same = -1;
	comparison->positions[index] = (int)comparison->space->n_mounts;
	return MESSAGE_ADD(comparison->arena, comparison->space, mounts, mount) < 0 ? NULL : mount;
}

static int refuse_line(struct comparison *comparison, const struct mount_line *line)
{
	if (comparison->process)
		refuse(comparison->capture->refusals, comparison->process,
			"its mount namespace has %s mounted at %s, which cannot be mounted again",
			line->type, line->point);
	return 0;
}

/* The line that shows below a new one what a line of the base shows below its source. */
static int copy_below(const struct comparison *comparison, const struct mount_line *line,
	const char *source, const struct mount_line *child)
{
	const char *rest = path_below(child->point, source);
	const char *point = rest ? path_join(comparison->arena, line->point, rest) : NULL;

	for (size_t i = 0; point && i < comparison->now.count; i++) {
		const struct mount_line *other = &comparison->now.lines[i];

		if (comparison->positions[i] < 0 && !other->matched && other != line &&
			same_file_system(other, child) && strcmp(other->root, child->root) == 0 &&
			strcmp(other->point, point) == 0)
			return (int)i;
	}
	return -1;
}

/*
 * Mounts that have come from another user namespace are locked together: they can only be bound
 * with all that is mounted below. Where all of it is there, that is how it is done; below then says
 * true. take: what has come along is noted as kept.
 */
static int bind_below(
	struct comparison *comparison, const struct mount_line *line, const char *source, bool take)
{
	int count = 0;

	for (size_t i = 0; i < comparison->base.count; i++) {
		const struct mount_line *child = &comparison->base.lines[i];
		const char *rest = path_below(child->point, source);
		int copy;

		if (!rest || !*rest)
			continue;
		copy = copy_below(comparison, line, source, child);
		if (copy < 0)
			return take ? -ENOENT : 0;
		if (take && !new_mount(comparison, (size_t)copy, REPRISE__MOUNT__KIND__KEPT))
			return -ENOMEM;
		count++;
	}
	return count;
}

static int describe_new(struct comparison *comparison, size_t index)
{
	const struct mount_line *line = &comparison->now.lines[index];
	const char *source = source_in_base(comparison, line);
	int earlier = same_earlier(comparison, index), kind = fresh_kind(line);
	Mount *mount;

	if (!source && earlier < 0 && kind < 0)
		return refuse_line(comparison, line);
	if (source || earlier >= 0)
		kind = REPRISE__MOUNT__KIND__BIND;
	mount = new_mount(comparison, index, kind);
	if (!mount)
		return -ENOMEM;
	if (source) {
		mount->source = (char *)source;
		if (comparison->locked && bind_below(comparison, line, source, false) > 0) {
			int r = bind_below(comparison, line, source, true);

			mount->flags |= MS_REC;
			return r < 0 ? r : 0;
		}
	} else if (earlier >= 0) {
		mount->same = comparison->positions[earlier];
		mount->fs_root =
			(char *)path_below(line->root, comparison->now.lines[earlier].root);
	} else {
		mount->options = (char *)mount_options(comparison->arena, line);
	}
	return 0;
}

/* A mount is made after the one it stands on. */
static bool parent_is_there(const struct comparison *comparison, const struct mount_line *line)
{
	for (size_t i = 0; i < comparison->now.count; i++)
		if (comparison->now.lines[i].id == line->parent &&
			&comparison->now.lines[i] != line)
			return comparison->now.lines[i].matched || comparison->positions[i] >= 0;
	return true;
}

static int describe_all_new(struct comparison *comparison)
{
	bool progress = true;

	while (progress) {
		progress = false;
		for (size_t i = 0; i < comparison->now.count; i++) {
			const struct mount_line *line = &comparison->now.lines[i];
			int ret;

			if (line->matched || comparison->positions[i] >= 0 ||
				!parent_is_there(comparison, line))
				continue;
			ret = describe_new(comparison, i);
			if (ret < 0)
				return ret;
			progress = progress || comparison->positions[i] >= 0;
		}
	}
	return 0;
}

/* Kept mounts whose propagation is not what the first step leaves, or whose flags were changed. */
static int describe_kept(struct comparison *comparison)
{
	for (size_t i = 0; i < comparison->now.count; i++)
		if (comparison->now.lines[i].propagation & MS_SLAVE)
			comparison->space->slaves = true;
	for (size_t i = 0; i < comparison->now.count; i++) {
		const struct mount_line *line = &comparison->now.lines[i];
		uint64_t first = comparison->space->slaves ? MS_SLAVE : MS_PRIVATE,
			 flags = line->flags;

		if (!line->matched)
			continue;
		for (size_t j = 0; j < comparison->base.count; j++)
			if (same_file_system(line, &comparison->base.lines[j]) &&
				strcmp(line->point, comparison->base.lines[j].point) == 0)
				flags = comparison->base.lines[j].flags;
		if ((line->propagation != first || flags != line->flags) &&
			!new_mount(comparison, i, REPRISE__MOUNT__KIND__KEPT))
			return -ENOMEM;
	}
	return 0;
}

static int describe_gone(struct comparison *comparison)
{
	for (size_t i = comparison->base.count; i-- > 0 && !comparison->pivoted;) {
		const struct mount_line *line = &comparison->base.lines[i];

		if (!line->matched && MESSAGE_ADD(comparison->arena, comparison->space, gone,
					      (void *)line->point) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int describe(struct comparison *comparison)
{
	const struct mount_line *root = root_line(&comparison->now);
	int ret;

	if (comparison->pivoted) {
		const char *source = source_in_base(comparison, root);

		/* A root that only this namespace has needs a place in the base to be mounted at.
		 */
		comparison->space->root = (char *)(source ? source : "/mnt");
	}
	ret = describe_gone(comparison);
	if (ret == 0)
		ret = describe_kept(comparison);
	return ret == 0 ? describe_all_new(comparison) : ret;
}

int mounts_survey(
	struct capture *capture, struct live_process *process, pid_t task, pid_t base_task)
{
	struct comparison comparison = {
		.arena = capture->arena, .capture = capture, .process = process};
	int ret = compare(&comparison, task, base_task, capture->err);

	comparison.space = MESSAGE_NEW(capture->arena, MountNamespace, mount_namespace);
	if (ret == 0)
		ret = comparison.space ? describe(&comparison) : -ENOMEM;
	return ret;
}

int mounts_take(
	struct capture *capture, pid_t task, pid_t base_task, int32_t base, MountNamespace *ret)
{
	struct comparison comparison = {.arena = capture->arena, .capture = capture, .space = ret};
	int result = compare(&comparison, task, base_task, capture->err);

	if (result == 0)
		result = describe(&comparison);
	ret->made_from = base;
	for (size_t i = 0; result == 0 && i < ret->n_mounts; i++)
		if (ret->mounts[i]->kind == REPRISE__MOUNT__KIND__TMPFS)
			result = tmpfs_take(capture, task, ret->mounts[i]);
	return result < 0 ? fail(capture->err, result, "the mounts of a namespace") : 0;
}

void mounts_take_proc(struct capture *capture, pid_t task, const MountNamespace *space)
{
	const Snapshot *snapshot = capture->snapshot;

	for (size_t i = 0; i < space->n_mounts; i++) {
		Mount *mount = space->mounts[i];
		const char *path;
		struct stat st;

		if (mount->kind != REPRISE__MOUNT__KIND__PROC)
			continue;
		mount->pid_namespace = -1;
		path = arena_printf(capture->arena, "/proc/%d/root%s/1/ns/pid", task, mount->point);
		if (!path || stat(path, &st) < 0)
			continue;
		for (size_t j = 0; j < snapshot->n_pid_namespaces; j++)
			if (snapshot->pid_namespaces[j]->inode == st.st_ino)
				mount->pid_namespace = (int32_t)j;
	}
}
