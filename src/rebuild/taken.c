/* SPDX-License-Identifier: MIT */
/* Which numbers are in use where a tree is to be restarted, and by whom. */
#include "rebuild/taken.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rebuild/proc_view.h"

#define WORDS ((1 << 22) / 64) /* PID_MAX_LIMIT is 2^22 */

struct taken {
	int proc; /* /proc as the namespace has it */
	uint64_t bits[WORDS];
};

static void mark(struct taken *taken, pid_t number)
{
	if (number > 0 && (size_t)number < sizeof(taken->bits) * 8)
		taken->bits[number / 64] |= 1ULL << (number % 64);
}

static bool marked(const struct taken *taken, pid_t number)
{
	return number > 0 && (size_t)number < sizeof(taken->bits) * 8 &&
	       taken->bits[number / 64] >> (number % 64) & 1;
}

static void read_text(int proc, const char *path, char *text, size_t size)
{
	_cleanup_close_ int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

	text[got > 0 ? got : 0] = '\0';
}

static DIR *open_folder(int proc, const char *path)
{
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

/* The process group and session in a line of /proc/PID/stat. */
static bool read_groups(int proc, const char *path, int *ret_group, int *ret_session)
{
	char text[1024];
	const char *end;

	read_text(proc, path, text, sizeof(text));
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %*d %d %d", ret_group, ret_session) == 2;
}

static void mark_process(struct taken *taken, const char *name)
{
	_cleanup_closedir_ DIR *tasks = NULL;
	struct dirent *task;
	char path[300];
	int group, session;

	mark(taken, atoi(name));
	snprintf(path, sizeof(path), "%s/task", name);
	tasks = open_folder(taken->proc, path);
	while (tasks && (task = readdir(tasks)))
		mark(taken, atoi(task->d_name));
	snprintf(path, sizeof(path), "%s/stat", name);
	if (!read_groups(taken->proc, path, &group, &session))
		return;
	mark(taken, group);
	mark(taken, session);
}

struct taken *taken_find(pid_t target)
{
	struct taken *taken = calloc(1, sizeof(*taken));
	_cleanup_closedir_ DIR *all = NULL;
	struct dirent *entry;

	if (!taken)
		return NULL;
	taken->proc = proc_view(target);
	all = taken->proc < 0 ? NULL : open_folder(taken->proc, ".");
	if (!all) {
		taken_free(taken);
		return NULL;
	}
	while ((entry = readdir(all)))
		if (isdigit((unsigned char)entry->d_name[0]))
			mark_process(taken, entry->d_name);
	return taken;
}

void taken_free(struct taken *taken)
{
	if (taken)
		close_ptr(&taken->proc);
	free(taken);
}

/* "1234 (sleep)", or who keeps a dead leader's number. */
static void who(const struct taken *taken, pid_t number, char *text, size_t size)
{
	char path[64], name[64];

	snprintf(path, sizeof(path), "%d/comm", number);
	read_text(taken->proc, path, name, sizeof(name));
	if (name[0]) {
		name[strcspn(name, "\n")] = '\0';
		snprintf(text, size, "%d (%s)", number, name);
	} else {
		snprintf(text, size, "%d (a session or process group)", number);
	}
}

size_t taken_list(
	const struct taken *taken, const pid_t *wanted, size_t count, char *text, size_t size)
{
	size_t found = 0, used = 0;

	if (size)
		text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		char one[128];

		if (!marked(taken, wanted[i]))
			continue;
		found++;
		who(taken, wanted[i], one, sizeof(one));
		if (used < size)
			used += (size_t)snprintf(
				text + used, size - used, "%s%s", used ? ", " : "", one);
	}
	return found;
}

int taken_numbers(const struct taken *taken, struct arena *arena, pid_t **ret, size_t *ret_count)
{
	size_t count = 0;
	pid_t *numbers;

	for (size_t i = 0; i < WORDS; i++)
		count += (size_t)__builtin_popcountll(taken->bits[i]);
	numbers = arena_alloc(arena, (count + 1) * sizeof(*numbers));
	if (!numbers)
		return -ENOMEM;
	*ret_count = 0;
	for (size_t i = 0; i < WORDS; i++)
		for (uint64_t bits = taken->bits[i]; bits; bits &= bits - 1)
			numbers[(*ret_count)++] = (pid_t)(i * 64) + __builtin_ctzll(bits);
	*ret = numbers;
	return 0;
}
