/* SPDX-License-Identifier: MIT */
/* What the test programs share: lines on standard output, and waiting for the test's word. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* One line, whole, unbuffered. */
static __attribute__((format(printf, 1, 2), unused)) void say(const char *format, ...)
{
	char line[4096];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	if (write(1, line, (size_t)len) != len)
		abort();
}

#define CHECK(condition)                                                                      \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			say("FAILED line %d: %s: %s", __LINE__, #condition, strerror(errno)); \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

/* Waits until there is a file "go" in the folder of the descriptor. */
static __attribute__((unused)) void wait_go_at(int folder)
{
	struct timespec pause = {0, 5000000};

	while (faccessat(folder, "go", F_OK, AT_EACCESS) < 0)
		nanosleep(&pause, NULL);
}

static __attribute__((unused)) void wait_go(void)
{
	wait_go_at(AT_FDCWD);
}
