/* SPDX-License-Identifier: MIT */
#include "task/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static void path_of(char *path, size_t size, pid_t pid, const char *name)
{
	snprintf(path, size, "/proc/%d/%s", pid, name);
}

int proc_open(pid_t pid, const char *name, int flags)
{
	char path[96];
	int fd;

	path_of(path, sizeof(path), pid, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Reads until the end or until the buffer is full: bytes, or -errno. A file of /proc that is read
 * in one piece is one consistent view; none of those with a bounded size needs a second read. */
static ssize_t read_up_to(int fd, char *buffer, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t got = read(fd, buffer + used, size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

static int read_path(struct arena *arena, const char *path, char **ret, size_t *ret_size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *grown = NULL;
	char small[16 * 1024], *buffer = small;
	size_t room = sizeof(small);
	ssize_t used;

	if (fd < 0)
		return -errno;
	used = read_up_to(fd, buffer, room);
	while (used == (ssize_t)room) {
		char *bigger = malloc(room * 2);
		ssize_t more;

		if (!bigger)
			return -ENOMEM;
		memcpy(bigger, buffer, room);
		free(grown);
		grown = buffer = bigger;
		more = read_up_to(fd, buffer + room, room);
		used = more < 0 ? more : used + more;
		room *= 2;
	}
	if (used < 0)
		return (int)used;
	*ret = arena_alloc(arena, (size_t)used + 1);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, buffer, (size_t)used);
	if (ret_size)
		*ret_size = (size_t)used;
	return 0;
}

int proc_read(struct arena *arena, pid_t pid, const char *name, char **ret, size_t *ret_size,
	struct reprise_error *err)
{
	char path[96];
	int r;

	path_of(path, sizeof(path), pid, name);
	r = read_path(arena, path, ret, ret_size);
	return r < 0 ? fail(err, r, "cannot read %s", path) : 0;
}

ssize_t proc_link(pid_t pid, const char *name, char *target, size_t size)
{
	char path[96];
	ssize_t length;

	path_of(path, sizeof(path), pid, name);
	length = readlink(path, target, size);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -ENAMETOOLONG;
	target[length] = '\0';
	return length;
}

/* By the text of the link, "mnt:[4026531840]": to follow it costs twice as much. */
uint64_t proc_inode(pid_t pid, const char *name)
{
	char path[96], target[96];
	const char *number;
	ssize_t length;

	path_of(path, sizeof(path), pid, name);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return 0;
	target[length] = '\0';
	number = strchr(target, '[');
	return number ? strtoull(number + 1, NULL, 10) : 0;
}

/* ---- status ---- */

static int parse_list(const char *text, pid_t *ret, int max)
{
	int count = 0;

	while (count < max) {
		char *end;
		long value = strtol(text, &end, 10);

		if (end == text)
			break;
		ret[count++] = (pid_t)value;
		text = end;
		if (*text == '\n')
			break;
	}
	return count;
}

static void parse_four(const char *text, uint32_t ret[4])
{
	char *end;

	for (int i = 0; i < 4; i++, text = end)
		ret[i] = (uint32_t)strtoul(text, &end, 10);
}

static int parse_groups(struct arena *arena, const char *text, struct task_status *ret)
{
	size_t count = 0;

	for (const char *at = text; *at && *at != '\n'; at++)
		if (*at >= '0' && *at <= '9' && (at[1] < '0' || at[1] > '9'))
			count++;
	ret->nr_groups = count;
	if (!count)
		return 0;
	ret->groups = arena_alloc(arena, count * sizeof(*ret->groups));
	if (!ret->groups)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		char *end;

		ret->groups[i] = (uint32_t)strtoul(text, &end, 10);
		text = end;
	}
	return 0;
}

/* The kernel writes \n and \\ for those two characters of a name, and nothing else. */
static void parse_name(const char *text, struct task_status *ret)
{
	size_t used = 0;

	if (*text == '\t')
		text++;
	while (*text && *text != '\n' && used + 1 < sizeof(ret->name)) {
		char c = *text++;

		if (c == '\\' && (*text == '\\' || *text == 'n'))
			c = *text++ == 'n' ? '\n' : '\\';
		ret->name[used++] = c;
	}
	ret->name[used] = '\0';
}

/* text: what follows "Key:". Keys that are not of interest are passed over. */
static int parse_line(struct arena *arena, const char *key, size_t length, const char *text,
	struct task_status *ret)
{
#define KEY(word) (length == sizeof(word) - 1 && memcmp(key, word, sizeof(word) - 1) == 0)
#define HEX(word, field)                               \
	if (KEY(word)) {                               \
		ret->field = strtoull(text, NULL, 16); \
		return 0;                              \
	}
#define NUMBER(word, field)                                                  \
	if (KEY(word)) {                                                     \
		ret->field = (__typeof__(ret->field))strtol(text, NULL, 10); \
		return 0;                                                    \
	}
#define LEVELS(word, field)                                                    \
	if (KEY(word)) {                                                       \
		ret->nr_levels = parse_list(text, ret->field, MAX_PID_LEVELS); \
		return 0;                                                      \
	}
	switch (key[0]) {
	case 'C':
		HEX("CapInh", cap_inheritable)
		HEX("CapPrm", cap_permitted)
		HEX("CapEff", cap_effective)
		HEX("CapBnd", cap_bounding)
		HEX("CapAmb", cap_ambient)
		break;
	case 'N':
		if (KEY("Name"))
			parse_name(text, ret);
		LEVELS("NStgid", tgids)
		LEVELS("NSpid", pids)
		LEVELS("NSpgid", pgids)
		LEVELS("NSsid", sids)
		NUMBER("NoNewPrivs", no_new_privs)
		break;
	case 'S':
		if (KEY("State"))
			ret->state = text[1];
		HEX("SigPnd", pending)
		HEX("ShdPnd", shared_pending)
		HEX("SigBlk", blocked)
		HEX("SigIgn", ignored)
		HEX("SigCgt", caught)
		NUMBER("Seccomp", seccomp)
		break;
	case 'G':
		if (KEY("Gid"))
			parse_four(text, ret->gids);
		else if (KEY("Groups"))
			return parse_groups(arena, text, ret);
		break;
	case 'T':
		NUMBER("Tgid", tgid)
		NUMBER("TracerPid", tracer)
		NUMBER("Threads", threads)
		break;
	case 'P':
		NUMBER("PPid", ppid)
		break;
	case 'U':
		if (KEY("Uid"))
			parse_four(text, ret->uids);
		else if (KEY("Umask"))
			ret->umask = (uint32_t)strtoul(text, NULL, 8);
		break;
	case 'K':
		NUMBER("Kthread", kernel_thread) /* Linux 6.8 */
		break;
	case 'V':
		if (KEY("VmSize"))
			ret->has_memory = true;
		break;
	}
	return 0;
#undef KEY
#undef HEX
#undef NUMBER
#undef LEVELS
}

static int parse_status(struct arena *arena, const char *text, struct task_status *ret)
{
	for (const char *line = text; *line;) {
		const char *colon = strchr(line, ':'), *end = strchr(line, '\n');
		int r;

		if (!colon || !end)
			break;
		r = parse_line(arena, line, (size_t)(colon - line), colon + 1, ret);
		if (r < 0)
			return r;
		line = end + 1;
	}
	return ret->nr_levels ? 0 : -EBADMSG;
}

/* Numbers are those of proc(5). */
static int parse_stat(const char *text, struct task_status *ret)
{
	const char *at = strrchr(text, ')');
	uint64_t field[53] = {0};

	if (!at || at[1] != ' ' || !at[2])
		return -EBADMSG;
	at += 3; /* behind the state, field 3 */
	for (int i = 4; i <= 52; i++) {
		char *end;

		field[i] = strtoull(at, &end, 10);
		if (end == at)
			return -EBADMSG;
		at = end;
	}
	ret->start_time = field[22];
	ret->start_code = field[26];
	ret->end_code = field[27];
	ret->start_stack = field[28];
	ret->exit_signal = (int)field[38];
	ret->start_data = field[45];
	ret->end_data = field[46];
	ret->start_brk = field[47];
	ret->arg_start = field[48];
	ret->arg_end = field[49];
	ret->env_start = field[50];
	ret->env_end = field[51];
	ret->exit_code = (int)field[52];
	return 0;
}

/* Into buffer, with a NUL; a text that is too long goes into the arena. */
static int read_text(struct arena *arena, const char *path, char *buffer, size_t size, char **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	/* One read is the whole of a status: what the buffer does not fill has ended. */
	do
		got = read(fd, buffer, size);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if ((size_t)got == size)
		return read_path(arena, path, ret, NULL);
	buffer[got] = '\0';
	*ret = buffer;
	return 0;
}

int proc_status(struct arena *arena, const char *task, bool with_stat, struct task_status *ret,
	struct reprise_error *err)
{
	char path[96], buffer[4096], *text = buffer;
	int r;

	buffer[0] = '\0';
	*ret = (struct task_status){0};
	snprintf(path, sizeof(path), "/proc/%s/status", task);
	r = read_text(arena, path, buffer, sizeof(buffer), &text);
	if (!r)
		r = parse_status(arena, text, ret);
	if (!r && with_stat) {
		snprintf(path, sizeof(path), "/proc/%s/stat", task);
		r = read_text(arena, path, buffer, sizeof(buffer), &text);
		if (!r)
			r = parse_stat(text, ret);
	}
	/* A task that goes away while it is read. */
	if (r == -ENOENT)
		r = -ESRCH;
	return r < 0 ? fail(err, r, "cannot read %s", path) : 0;
}
