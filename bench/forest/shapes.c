/* SPDX-License-Identifier: MIT */
/*
 * A tree of N small idle processes: says "ready" when all are there, and waits.
 *	shapes flat N	children of the first
 *	shapes binary N	two children each
 *	shapes chain N	each the child of the one before
 *	shapes nested N	eight pid namespaces, each inside the one before, with as many processes
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEVELS 8

/* Open for writing in all that are not done yet. */
static int not_done;

static _Noreturn void idle(void)
{
	close(not_done);
	for (;;)
		pause();
}

/* In the child: true. */
static int born(void)
{
	pid_t pid = fork();

	if (pid < 0)
		_exit(1);
	return pid == 0;
}

static void flat(long count)
{
	while (count-- > 1)
		if (born())
			idle();
}

static void binary(long count)
{
	long left = (count - 1) / 2, sizes[2] = {left, count - 1 - left};

	for (int i = 0; i < 2; i++)
		if (sizes[i] > 0 && born()) {
			binary(sizes[i]);
			idle();
		}
}

static void chain(long count)
{
	while (count-- > 1)
		if (!born())
			return;
}

static void nested(long count)
{
	for (int level = 1;; level++) {
		flat(count / LEVELS);
		if (level == LEVELS)
			return;
		if (unshare(CLONE_NEWPID) < 0)
			_exit(1);
		if (!born())
			return;
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(long count);
	} shapes[] = {{"flat", flat}, {"binary", binary}, {"chain", chain}, {"nested", nested}};
	long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
	int ends[2];
	pid_t first = getpid();
	char byte;

	if (pipe(ends) < 0 || count < LEVELS)
		return 2;
	not_done = ends[1];
	/* The first one's child makes the tree, so that the first can wait for the end of the pipe.
	 */
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(argv[1], shapes[i].name) == 0 && born()) {
			close(ends[0]);
			shapes[i].make(count - 1);
			idle();
		}
	close(ends[1]);
	if (getpid() != first || read(ends[0], &byte, 1) != 0)
		return 1;
	close(ends[0]);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
