// SPDX-License-Identifier: MIT
/*
 * /proc/PID/smaps is the only place that shows the flags of an area. One area is a line like that
 * of /proc/PID/maps and then fields "Name: value", of which few matter here.
 */
#include "state/areas.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "task/proc.h"

/* A two-letter word of the line VmFlags. */
struct flag_word {
	char word[3];
	uint32_t flags, trouble;
	uint64_t advice;
};

static const struct flag_word flag_words[] = {
	{"gd", .flags = MAP_GROWSDOWN},
	{"nr", .flags = MAP_NORESERVE},
	{"dc", .advice = AREA_DONTFORK},
	{"wf", .advice = AREA_WIPEONFORK},
	{"dd", .advice = AREA_DONTDUMP},
	{"hg", .advice = AREA_HUGEPAGE},
	{"nh", .advice = AREA_NOHUGEPAGE},
	{"mg", .advice = AREA_MERGEABLE},
	{"sr", .advice = AREA_SEQUENTIAL},
	{"rr", .advice = AREA_RANDOM},
	{"sl", .advice = AREA_SEALED},
	{"dp", .advice = AREA_DROPPABLE},
	{"io", .trouble = TROUBLE_DEVICE},
	{"pf", .trouble = TROUBLE_DEVICE},
	{"mm", .trouble = TROUBLE_DEVICE},
	{"ht", .trouble = TROUBLE_HUGETLB},
	{"um", .trouble = TROUBLE_USERFAULTFD},
	{"uw", .trouble = TROUBLE_USERFAULTFD},
	{"ui", .trouble = TROUBLE_USERFAULTFD},
	{"ss", .trouble = TROUBLE_SHADOW_STACK},
};

struct parser {
	struct arena *arena;
	struct live_areas *ret;
	size_t room;
	struct live_area *area;	 /* that the fields belong to */
	uint64_t size, resident; /* kB */
};

static uint64_t hexadecimal(const char **text)
{
	uint64_t value = 0;
	const char *p;

	for (p = *text;; p++) {
		if (*p >= '0' && *p <= '9')
			value = value << 4 | (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			value = value << 4 | (unsigned)(*p - 'a' + 10);
		else
			break;
	}
	*text = p;
	return value;
}

static bool expect(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* "\012" for a newline is all that maps escapes. */
static const char *unescape(struct arena *arena, const char *text)
{
	char *copy = arena_string(arena, text), *to;

	if (!copy)
		return NULL;
	for (to = strstr(copy, "\\012"); to; to = strstr(to + 1, "\\012")) {
		*to = '\n';
		memmove(to + 1, to + 4, strlen(to + 4) + 1);
	}
	return copy;
}

static struct live_area *next_area(struct parser *parser)
{
	struct live_areas *areas = parser->ret;

	if (areas->count == parser->room) {
		size_t room = parser->room ? parser->room * 2 : 64;
		struct live_area *grown = arena_alloc(parser->arena, room * sizeof(*grown));

		if (!grown)
			return NULL;
		if (areas->count)
			memcpy(grown, areas->items, areas->count * sizeof(*grown));
		areas->items = grown;
		parser->room = room;
	}
	return &areas->items[areas->count++];
}

static void end_area(struct parser *parser)
{
	struct live_area *area = parser->area;

	if (!area)
		return;
	if (area->locked && area->protection & PROT_READ && parser->resident < parser->size)
		area->lock_on_fault = true;
	parser->area = NULL;
}

/* "55d0c0a00000-55d0c0a21000 rw-p 00000000 fd:01 1234      /path" */
static int parse_head(struct parser *parser, const char *line)
{
	struct live_area area = {0}, *item;
	const char *p = line;

	area.start = hexadecimal(&p);
	if (!expect(&p, '-'))
		return -EINVAL;
	area.end = hexadecimal(&p);
	if (!expect(&p, ' ') || strnlen(p, 5) < 5)
		return -EINVAL;
	area.protection = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
			  (p[2] == 'x' ? PROT_EXEC : 0);
	area.flags = p[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
	p += 5;
	area.offset = hexadecimal(&p);
	if (!expect(&p, ' '))
		return -EINVAL;
	area.major = (uint32_t)hexadecimal(&p);
	if (!expect(&p, ':'))
		return -EINVAL;
	area.minor = (uint32_t)hexadecimal(&p);
	if (!expect(&p, ' '))
		return -EINVAL;
	area.inode = strtoull(p, (char **)&p, 10);
	p += strspn(p, " ");
	area.path = *p ? unescape(parser->arena, p) : "";
	item = area.path ? next_area(parser) : NULL;
	if (!item)
		return -ENOMEM;
	*item = area;
	parser->area = item;
	parser->size = (area.end - area.start) >> 10;
	parser->resident = 0;
	return area.start < area.end ? 0 : -EINVAL;
}

static void parse_flags(struct live_area *area, const char *words)
{
	for (const char *p = words; p[0] && p[1]; p += strspn(p, " ")) {
		for (size_t i = 0; i < ARRAY_SIZE(flag_words); i++) {
			const struct flag_word *word = &flag_words[i];

			if (word->word[0] != p[0] || word->word[1] != p[1])
				continue;
			area->flags |= word->flags;
			area->advice |= word->advice;
			area->trouble |= word->trouble;
		}
		if (p[0] == 'l' && p[1] == 'o')
			area->locked = true;
		if (p[0] == 'l' && p[1] == 'f')
			area->lock_on_fault = true;
		p += strcspn(p, " ");
	}
}

/*
 * Since Linux 4.6 x86 kernels take a key of their own for memory that may only be executed, the
 * first that is free, and so does mprotect() at restart. Another number says that the program has
 * taken keys as well.
 */
enum { EXECUTE_ONLY_KEY = 1 };

static void parse_field(struct parser *parser, const char *line)
{
	if (line[0] == 'R' && strncmp(line, "Rss:", 4) == 0)
		parser->resident = strtoull(line + 4, NULL, 10);
	else if (line[0] == 'P' && strncmp(line, "ProtectionKey:", 14) == 0) {
		unsigned long long key = strtoull(line + 14, NULL, 10);
		bool own = key == EXECUTE_ONLY_KEY && parser->area->protection == PROT_EXEC;

		if (key && !own)
			parser->area->trouble |= TROUBLE_KEY;
	} else if (line[0] == 'V' && strncmp(line, "VmFlags:", 8) == 0)
		parse_flags(parser->area, line + 8 + strspn(line + 8, " "));
}

int areas_parse(struct arena *arena, char *text, struct live_areas *ret, struct reprise_error *err)
{
	struct parser parser = {.arena = arena, .ret = ret};
	char *next;
	int r;

	*ret = (struct live_areas){0};
	for (char *line = text; *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		else
			next = line + strlen(line);
		/* Fields start with a capital letter, heads with a digit of an address. */
		if (*line >= 'A' && *line <= 'Z') {
			if (parser.area)
				parse_field(&parser, line);
			continue;
		}
		end_area(&parser);
		r = parse_head(&parser, line);
		if (r < 0)
			return fail(err, r, "cannot understand the area of memory \"%s\"", line);
	}
	end_area(&parser);
	return 0;
}

/* Whole, into *text, which has *room bytes and grows. */
static int read_whole(int fd, char **text, size_t *room)
{
	size_t size = 0;
	ssize_t n;

	do {
		if (*room - size < 64 * 1024) {
			char *grown = realloc(*text, *room ? *room * 2 : 256 * 1024);

			if (!grown)
				return -ENOMEM;
			*text = grown;
			*room = *room ? *room * 2 : 256 * 1024;
		}
		n = read(fd, *text + size, *room - size - 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		size += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	(*text)[size] = '\0';
	return 0;
}

int areas_read(struct arena *arena, pid_t tid, struct live_areas *ret, struct reprise_error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = proc_open(tid, "smaps", O_RDONLY);
	size_t room = 0;
	int r = fd < 0 ? fd : read_whole(fd, &text, &room);

	if (r < 0)
		return fail(err, r, "cannot read the areas of memory");
	return areas_parse(arena, text, ret, err);
}
