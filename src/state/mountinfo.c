/* SPDX-License-Identifier: MIT */
#include "state/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/users.h"

static const struct {
	const char *name;
	uint64_t flag;
} flag_names[] = {
	{"ro", MS_RDONLY},
	{"nosuid", MS_NOSUID},
	{"nodev", MS_NODEV},
	{"noexec", MS_NOEXEC},
	{"noatime", MS_NOATIME},
	{"nodiratime", MS_NODIRATIME},
	{"relatime", MS_RELATIME},
	{"nosymfollow", 256},
};

static uint64_t parse_flags(char *words)
{
	uint64_t flags = 0;
	char *save = NULL;

	for (char *word = strtok_r(words, ",", &save); word; word = strtok_r(NULL, ",", &save))
		for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
			if (strcmp(word, flag_names[i].name) == 0)
				flags |= flag_names[i].flag;
	return flags;
}

/* \040 and its like: octal, for characters that would end a word. */
static char *unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		unsigned value;

		if (*from == '\\' && sscanf(from + 1, "%3o", &value) == 1 && strlen(from) >= 4) {
			*to++ = (char)value;
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return text;
}

/* Optional fields up to a lone "-". */
static uint64_t parse_propagation(char **save)
{
	uint64_t found = 0;

	for (char *word; (word = strtok_r(NULL, " ", save)) && strcmp(word, "-") != 0;) {
		if (strncmp(word, "shared:", 7) == 0)
			found |= MS_SHARED;
		else if (strncmp(word, "master:", 7) == 0)
			found |= MS_SLAVE;
		else if (strcmp(word, "unbindable") == 0)
			found |= MS_UNBINDABLE;
	}
	return found ? found : MS_PRIVATE;
}

static bool parse_line(char *text, struct mount_line *ret)
{
	char *save = NULL, *words[6];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		words[i] = strtok_r(i ? NULL : text, " ", &save);
		if (!words[i])
			return false;
	}
	if (sscanf(words[2], "%u:%u", &ret->major, &ret->minor) != 2)
		return false;
	ret->id = atoi(words[0]);
	ret->parent = atoi(words[1]);
	ret->root = unescape(words[3]);
	ret->point = unescape(words[4]);
	ret->flags = parse_flags(words[5]);
	ret->propagation = parse_propagation(&save);
	ret->type = strtok_r(NULL, " ", &save);
	ret->source = strtok_r(NULL, " ", &save);
	ret->options = strtok_r(NULL, " ", &save);
	if (!ret->type || !ret->source)
		return false;
	if (!ret->options)
		ret->options = "";
	return true;
}

static int parse(struct arena *arena, char *text, struct mount_lines *ret)
{
	size_t room = 1;
	char *save = NULL;

	for (const char *c = text; c && *c; c++)
		room += *c == '\n';
	ret->lines = arena_alloc(arena, room * sizeof(*ret->lines));
	if (!ret->lines)
		return -ENOMEM;
	ret->count = 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (ret->count < room && parse_line(line, &ret->lines[ret->count]))
			ret->count++;
	return 0;
}

static char *read_all(struct arena *arena, int fd)
{
	size_t size = 0, room = 65536;
	_cleanup_free_ char *text = malloc(room);

	while (text) {
		ssize_t got = read(fd, text + size, room - size - 1);
		char *more;

		if (got < 0)
			return NULL;
		if (got == 0)
			break;
		size += (size_t)got;
		if (size + 1 < room)
			continue;
		more = realloc(text, room *= 2);
		if (!more)
			return NULL;
		text = more;
	}
	if (!text)
		return NULL;
	text[size] = '\0';
	return arena_copy(arena, text, size + 1);
}

/*
 * In a child that enters the namespace, so that the view is from its root, whatever root the task
 * has. Only system calls: the caller may have other threads.
 */
static _Noreturn void send_mountinfo(int namespace, int proc, int out)
{
	char text[4096];
	ssize_t got;
	long fd;

	users_join_owner(namespace);
	if (syscall(SYS_setns, namespace, CLONE_NEWNS) < 0)
		syscall(SYS_exit_group, 1);
	proc = (int)syscall(SYS_openat, proc, "self", O_RDONLY | O_DIRECTORY);
	fd = proc < 0 ? -1 : syscall(SYS_openat, proc, "mountinfo", O_RDONLY);
	if (fd < 0)
		syscall(SYS_exit_group, 2);
	while ((got = syscall(SYS_read, fd, text, sizeof(text))) > 0)
		for (ssize_t sent = 0, n; sent < got; sent += n) {
			n = syscall(SYS_write, out, text + sent, got - sent);
			if (n <= 0)
				syscall(SYS_exit_group, 3);
		}
	syscall(SYS_exit_group, 0);
	__builtin_unreachable();
}

static int read_from_inside(struct arena *arena, pid_t task, char **ret)
{
	_cleanup_close_ int namespace = -1, proc = -1, in = -1, out = -1;
	char path[64];
	int ends[2], status = 0;
	long child;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", task);
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (namespace < 0 || proc < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	in = ends[0];
	out = ends[1];
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		send_mountinfo(namespace, proc, out);
	if (child < 0)
		return -errno;
	close(take_fd(out));
	*ret = read_all(arena, in);
	while (waitpid((pid_t)child, &status, 0) < 0 && errno == EINTR)
		;
	if (!*ret)
		return -ENOMEM;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int mount_lines_read(
	struct arena *arena, pid_t task, struct mount_lines *ret, struct reprise_error *err)
{
	_cleanup_close_ int fd = -1;
	char *text = NULL;
	int result = 0;

	if (task) {
		result = read_from_inside(arena, task, &text);
	} else {
		fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
		text = fd < 0 ? NULL : read_all(arena, fd);
		if (!text)
			result = -ENOENT;
	}
	if (result == 0)
		result = parse(arena, text, ret);
	return result < 0 ? fail(err, result, "cannot read the mounts of a namespace") : 0;
}

const char *path_below(const char *path, const char *root)
{
	size_t length = strlen(root);

	if (length && root[length - 1] == '/')
		length--;
	if (strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != '\0'))
		return NULL;
	return path[length] == '/' && path[length + 1] == '\0' ? "" : path + length;
}

const char *path_join(struct arena *arena, const char *first, const char *rest)
{
	size_t length = strlen(first);

	while (length && first[length - 1] == '/')
		length--;
	while (*rest == '/')
		rest++;
	if (!*rest)
		return length ? arena_printf(arena, "%.*s", (int)length, first) : "/";
	return arena_printf(arena, "%.*s/%s", (int)length, first, rest);
}
