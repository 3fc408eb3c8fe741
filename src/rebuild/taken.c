/* SPDX-License-Identifier: MIT */
/* Which numbers are in use where a tree is to be restarted, and by whom. */
#include "rebuild/taken.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define WORDS ((1 << 22) / 64) /* PID_MAX_LIMIT is 2^22 */

struct taken {
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

/* The process group and session in a line of /proc/PID/stat. */
static bool read_groups(const char *path, int *ret_group, int *ret_session)
{
	_cleanup_fclose_ FILE *stat = fopen(path, "re");
	char text[1024];
	const char *end;
	size_t size = stat ? fread(text, 1, sizeof(text) - 1, stat) : 0;

	text[size] = '\0';
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %*d %d %d", ret_group, ret_session) == 2;
}

struct taken *taken_find(void)
{
	struct taken *taken = calloc(1, sizeof(*taken));
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (taken && proc && (entry = readdir(proc))) {
		_cleanup_closedir_ DIR *tasks = NULL;
		struct dirent *task;
		char path[300];
		int group, session;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		mark(taken, atoi(entry->d_name));
		snprintf(path, sizeof(path), "/proc/%s/task", entry->d_name);
		tasks = opendir(path);
		while (tasks && (task = readdir(tasks)))
			mark(taken, atoi(task->d_name));
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		if (!read_groups(path, &group, &session))
			continue;
		mark(taken, group);
		mark(taken, session);
	}
	return taken;
}

void taken_free(struct taken *taken)
{
	free(taken);
}

/* "1234 (sleep)", or who keeps a dead leader's number. */
static void who(pid_t number, char *text, size_t size)
{
	char path[64], name[64] = "";
	_cleanup_fclose_ FILE *comm = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", number);
	comm = fopen(path, "re");
	if (comm && fgets(name, sizeof(name), comm)) {
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
		who(wanted[i], one, sizeof(one));
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
