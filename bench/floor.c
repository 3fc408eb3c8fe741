/* SPDX-License-Identifier: MIT */
/*
 * The floors that the journeys are measured against, in milliseconds on standard output:
 *	clone N		N children by clone3() with chosen pids, in a pid namespace of their own
 *	write MIB FILE	memory copied and written to a file
 *	fill MIB FILE	a file read into fresh anonymous memory, the best of pread and huge pages
 *	hold MIB	not a floor: holds so much written memory, says "ready", and waits
 *	crowd N		not a floor: N small idle children, says "ready", and waits
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void *memory(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(1);
	return at;
}

static double clone_children(int count)
{
	double start = now();

	for (int i = 0; i < count; i++) {
		pid_t pid = 2 + i;
		struct clone_args args = {
			.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};

		long child = syscall(SYS_clone3, &args, sizeof(args));

		if (child == 0)
			for (;;)
				pause();
		if (child < 0)
			exit(1);
	}
	return now() - start;
}

static double clone_floor(int count)
{
	int ends[2], status;
	double result = -1;
	pid_t init;

	if (pipe(ends) < 0 || unshare(CLONE_NEWPID) < 0)
		exit(1);
	init = fork();
	if (init == 0) {
		result = clone_children(count);
		_exit(write(ends[1], &result, sizeof(result)) != sizeof(result));
	}
	waitpid(init, &status, 0);
	return read(ends[0], &result, sizeof(result)) == sizeof(result) ? result : -1;
}

static double write_floor(size_t size, const char *path)
{
	char *from = memory(size), *buffer = memory(1 << 20);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	double start;

	memset(from, 7, size);
	start = now();
	for (size_t at = 0; at < size; at += 1 << 20) {
		memcpy(buffer, from + at, 1 << 20);
		if (write(fd, buffer, 1 << 20) != 1 << 20)
			exit(1);
	}
	return now() - start;
}

static double fill_once(size_t size, int fd, int huge)
{
	double start = now();
	char *to = memory(size);

	if (huge)
		madvise(to, size, MADV_HUGEPAGE);
	for (size_t at = 0; at < size; at += 1 << 20)
		if (pread(fd, to + at, 1 << 20, (off_t)at) != 1 << 20)
			exit(1);
	start = now() - start;
	munmap(to, size);
	return start;
}

static double fill_floor(size_t size, const char *path)
{
	int fd = open(path, O_RDONLY);
	double small = fill_once(size, fd, 0), huge = fill_once(size, fd, 1);

	return small < huge ? small : huge;
}

static void hold(size_t size)
{
	char *at = memory(size);

	for (size_t i = 0; i < size; i += 8)
		*(uint64_t *)(at + i) = i * 0x9e3779b97f4a7c15ULL;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void crowd(int count)
{
	for (int i = 0; i < count; i++)
		if (fork() == 0)
			for (;;)
				pause();
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	size_t amount = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

	if (argc > 2 && strcmp(argv[1], "hold") == 0)
		hold(amount << 20);
	else if (argc > 2 && strcmp(argv[1], "crowd") == 0)
		crowd((int)amount);
	else if (argc > 2 && strcmp(argv[1], "clone") == 0)
		printf("%f\n", clone_floor((int)amount));
	else if (argc > 3 && strcmp(argv[1], "write") == 0)
		printf("%f\n", write_floor(amount << 20, argv[3]));
	else if (argc > 3 && strcmp(argv[1], "fill") == 0)
		printf("%f\n", fill_floor(amount << 20, argv[3]));
	else
		return 2;
	return 0;
}
