/* SPDX-License-Identifier: MIT */
#include "state/refusals.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_LENGTH 1900 /* struct reprise_error.thing holds it */
#define MAX_THING 240
#define ROOM_TO_END 40 /* for "; and 12345 more tasks" */

struct refusal {
	const struct live_process *process;
	char *thing;
};

struct refusals {
	struct arena *arena;
	struct refusal **list;
	size_t count;
};

struct refusals *refusals_new(struct arena *arena)
{
	struct refusals *refusals = arena_alloc(arena, sizeof(*refusals));

	if (refusals)
		refusals->arena = arena;
	return refusals;
}

size_t refusals_count(const struct refusals *refusals)
{
	return refusals->count;
}

void refusals_forget(struct refusals *refusals, size_t count)
{
	if (count < refusals->count)
		refusals->count = count;
}

/* Whatever has no memory left is refused all the same: count is what counts. */
static void add(struct refusals *refusals, const struct live_process *process, const char *thing)
{
	struct refusal *refusal = arena_alloc(refusals->arena, sizeof(*refusal));

	if (!refusal)
		return;
	refusal->process = process;
	refusal->thing = arena_string(refusals->arena, thing);
	if (refusal->thing)
		arena_append(refusals->arena, (void ***)&refusals->list, &refusals->count, refusal);
}

static bool is_known(
	const struct refusals *refusals, const struct live_process *process, const char *thing)
{
	for (size_t i = refusals->count; i-- > 0 && refusals->list[i]->process == process;)
		if (strcmp(refusals->list[i]->thing, thing) == 0)
			return true;
	return false;
}

void refuse(struct refusals *refusals, const struct live_process *process, const char *thing, ...)
{
	char text[MAX_THING];
	va_list args;

	va_start(args, thing);
	vsnprintf(text, sizeof(text), thing, args);
	va_end(args);
	if (!is_known(refusals, process, text))
		add(refusals, process, text);
}

/* Both surveys run process by process within each kind: things of one process are brought together.
 */
static size_t say_process(const struct refusals *refusals, size_t first, char *line, size_t size)
{
	const struct live_process *process = refusals->list[first]->process;
	char name[256];
	size_t used = 0;
	int n = 0;

	if (process)
		n = snprintf(line, size,
			"%s (%s): ", live_name(&process->threads[0], name, sizeof(name)),
			process->threads[0].status.name);
	used = n > 0 ? (size_t)n : 0;
	for (size_t i = first; i < refusals->count && used < size; i++) {
		if (refusals->list[i]->process != process)
			continue;
		n = snprintf(line + used, size - used, "%s%s", i == first ? "" : ", ",
			refusals->list[i]->thing);
		used += n > 0 ? (size_t)n : 0;
	}
	return used < size ? used : size;
}

static bool said_before(const struct refusals *refusals, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (refusals->list[i]->process == refusals->list[index]->process)
			return true;
	return false;
}

/* What one process alone has too much of: as many whole things as fit. */
static size_t cut_short(char *line, size_t size)
{
	static const char more[] = ", and more";
	char *end = line + size - sizeof(more);

	*end = '\0';
	for (char *comma = strstr(line, ", "); comma; comma = strstr(comma + 1, ", "))
		end = comma;
	memcpy(end, more, sizeof(more));
	return (size_t)(end - line) + sizeof(more) - 1;
}

int refusals_say(const struct refusals *refusals, struct reprise_error *err)
{
	char line[MAX_LENGTH];
	size_t used = 0, left_out = 0;

	if (!refusals->count)
		return 0;
	for (size_t i = 0; i < refusals->count; i++) {
		char one[MAX_LENGTH];
		size_t size;

		if (said_before(refusals, i))
			continue;
		size = say_process(refusals, i, one, sizeof(one));
		if (!used && size + ROOM_TO_END > sizeof(line))
			size = cut_short(one, sizeof(line) - ROOM_TO_END);
		if (used + size + ROOM_TO_END > sizeof(line)) {
			left_out++;
			continue;
		}
		if (used) {
			memcpy(line + used, "; ", 2);
			used += 2;
		}
		memcpy(line + used, one, size);
		used += size;
	}
	line[used] = '\0';
	if (left_out)
		snprintf(line + used, sizeof(line) - used, "; and %zu more tasks", left_out);
	fail(err, 0, "cannot checkpoint: %s", line);
	if (err)
		err->code = EOPNOTSUPP;
	return -EOPNOTSUPP;
}
