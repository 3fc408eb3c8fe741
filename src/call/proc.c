/* SPDX-License-Identifier: MIT */
#include "call/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int ce_proc_number(const char *path, long *ret)
{
	char text[24];
	long value = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0 || text[0] < '0' || text[0] > '9')
		return -EIO;
	for (ssize_t i = 0; i < n && i < 18 && text[i] >= '0' && text[i] <= '9'; i++)
		value = value * 10 + (text[i] - '0');
	*ret = value;
	return 0;
}

int ce_proc_set_number(const char *path, long number)
{
	char text[24];
	size_t at = sizeof(text);
	int r = 0;
	int fd;

	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text + at, sizeof(text) - at) < 0)
		r = -errno;
	close(fd);
	return r;
}

int ce_proc_open(const char *name)
{
	char path[64] = "/proc/thread-self/"; /* Linux 3.17 */
	int fd;

	strcat(path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || access("/proc/thread-self", F_OK) == 0)
		return fd >= 0 ? fd : -errno;
	strcpy(path, "/proc/self/");
	strcat(path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

struct scan {
	int matched; /* characters of the line's name seen, -1 on another line */
	int count;
	int in_number;
};

/* One character of the file; true when the line is over. */
static int scan_one(struct scan *s, char c, int pids[CE_LEVELS])
{
	static const char name[] = "NSpid:";
	int whole = (int)sizeof(name) - 1;

	if (s->matched < whole) {
		if (c == '\n')
			s->matched = 0;
		else if (s->matched >= 0)
			s->matched = c == name[s->matched] ? s->matched + 1 : -1;
		return 0;
	}
	if (c >= '0' && c <= '9') {
		if (!s->in_number && s->count < CE_LEVELS)
			pids[s->count++] = 0;
		s->in_number = 1;
		pids[s->count - 1] = pids[s->count - 1] * 10 + (c - '0');
		return 0;
	}
	s->in_number = 0;
	return c == '\n';
}

int ce_proc_pids(int pids[CE_LEVELS])
{
	struct scan s = {0};
	char text[256];
	int done = 0;
	ssize_t n;
	int fd;

	fd = ce_proc_open("status");
	if (fd < 0)
		return 0;
	while (!done && (n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n && !done; i++)
			done = scan_one(&s, text[i], pids);
	close(fd);
	return done ? s.count : 0;
}
