/* SPDX-License-Identifier: MIT */
/*
 * A program that is checkpointed between its steps: round_of(n) says "ready n", makes the file
 * "at-n" when that has been written (offsets move after the bytes can be seen), and goes on when
 * "go-n" is there. What is not as it should be is said as "WRONG".
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		errno = 0;                                                                      \
		if (!(condition))                                                               \
			printf("WRONG: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
		fflush(stdout);                                                                 \
	} while (0)

static inline void wait_for(const char *path)
{
	while (access(path, F_OK) < 0)
		usleep(5000);
}

static inline void round_of(int number)
{
	char path[32];

	printf("ready %d\n", number);
	fflush(stdout);
	snprintf(path, sizeof(path), "at-%d", number);
	mknod(path, S_IFREG | 0644, 0);
	snprintf(path, sizeof(path), "go-%d", number);
	wait_for(path);
}

static inline int finished(void)
{
	printf("finished\n");
	fflush(stdout);
	for (;;)
		pause();
	return 0;
}
