/* SPDX-License-Identifier: MIT */
/* Files that are mapped; all of them in the working directory. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"

#define SIZE (64 * PAGE)

static int make(const char *name)
{
	char *content = malloc(SIZE);
	int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);

	fill(content, SIZE, 20);
	if (fd < 0 || write(fd, content, SIZE) != (ssize_t)SIZE)
		abort();
	free(content);
	return fd;
}

static char *map(int fd, int protection, int flags)
{
	char *memory = mmap(NULL, SIZE, protection, flags, fd, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static int file_has(const char *name, off_t offset, const char *word)
{
	char text[32] = "";
	int fd = open(name, O_RDONLY);
	ssize_t n = pread(fd, text, strlen(word), offset);

	close(fd);
	return n == (ssize_t)strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

static void file_private(void)
{
	int fd = make("mapped");
	char *memory = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *fixed = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	close(fd);
	strcpy(memory + 5 * PAGE, "mine");
	memset(memory + 7 * PAGE, 0, PAGE);
	strcpy(fixed + 9 * PAGE, "kept");
	mprotect(fixed, SIZE, PROT_READ);
	READY();
	GOOD(filled(memory, 5 * PAGE, 20) && strcmp(memory + 5 * PAGE, "mine") == 0);
	GOOD(zero(memory + 7 * PAGE, PAGE) && strcmp(fixed + 9 * PAGE, "kept") == 0);
	GOOD(filled(fixed, 9 * PAGE, 20));
	/* What was not written is the file's still. */
	fd = open("mapped", O_RDWR);
	GOOD(pwrite(fd, "news", 4, 3 * PAGE) == 4 && memcmp(memory + 3 * PAGE, "news", 4) == 0);
	madvise(memory + 5 * PAGE, PAGE, MADV_DONTNEED);
	GOOD(strcmp(memory + 5 * PAGE, "mine") != 0);
}

static void file_shared(void)
{
	int fd = make("mapped");
	char *memory = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	pid_t child;

	close(fd);
	strcpy(memory + PAGE, "before");
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 60000 && strcmp(memory + 2 * PAGE, "after") != 0; i++)
			usleep(2000);
		strcpy(memory + 3 * PAGE, "seen");
		for (;;)
			pause();
	}
	READY();
	GOOD(strcmp(memory + PAGE, "before") == 0);
	strcpy(memory + 2 * PAGE, "after");
	GOOD(file_has("mapped", 2 * PAGE, "after"));
	for (int i = 0; i < 60000 && strcmp(memory + 3 * PAGE, "seen") != 0; i++)
		usleep(2000);
	GOOD(file_has("mapped", 3 * PAGE, "seen"));
}

static void file_read_only(void)
{
	char *memory;
	int fd = make("mapped");

	close(fd);
	fd = open("mapped", O_RDONLY);
	memory = map(fd, PROT_READ, MAP_SHARED);
	close(fd);
	READY();
	GOOD(filled(memory, SIZE, 20));
	GOOD(mprotect(memory, SIZE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
}

static void file_deleted(void)
{
	int fd = make("gone"), other;
	char *memory = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED), *own, *second;

	own = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	second = map(fd, PROT_READ, MAP_SHARED);
	unlink("gone");
	strcpy(own, "own");
	strcpy(memory + PAGE, "all");
	/* A file of the same name is another one. */
	other = open("gone", O_CREAT | O_EXCL | O_WRONLY, 0600);
	GOOD(write(other, "other", 5) == 5);
	close(other);
	READY();
	GOOD(strcmp(own, "own") == 0 && strcmp(memory + PAGE, "all") == 0);
	GOOD(filled(memory, PAGE, 20));
	strcpy(memory + 2 * PAGE, "new");
	GOOD(strcmp(second + 2 * PAGE, "new") == 0 && strcmp(own + 2 * PAGE, "new") == 0);
	GOOD(pwrite(fd, "fd", 3, 4 * PAGE) == 3 && strcmp(second + 4 * PAGE, "fd") == 0);
	GOOD(file_has("gone", 0, "other"));
}

/* Its directory is deleted too. */
static void folder_deleted(void)
{
	char *memory;
	int fd;

	GOOD(mkdir("folder", 0700) == 0 && mkdir("folder/inner", 0700) == 0);
	fd = make("folder/inner/file");
	memory = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	unlink("folder/inner/file");
	rmdir("folder/inner");
	rmdir("folder");
	strcpy(memory, "text");
	READY();
	GOOD(strcmp(memory, "text") == 0);
	GOOD(pwrite(fd, "more", 4, PAGE) == 4 && memcmp(memory + PAGE, "more", 4) == 0);
}

static void shared_anonymous(void)
{
	char *memory =
		mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *part;
	pid_t child;

	fill(memory, MIB, 21);
	child = fork();
	if (child == 0) {
		munmap(memory + 2 * MIB, MIB);
		strcpy(memory + 3 * MIB + PAGE, "unmapped");
		for (int i = 0; i < 60000 && strcmp(memory + MIB, "after") != 0; i++)
			usleep(2000);
		strcpy(memory + 3 * MIB, "seen");
		for (;;)
			pause();
	}
	for (int i = 0; i < 60000 && strcmp(memory + 3 * MIB + PAGE, "unmapped") != 0; i++)
		usleep(2000);
	part = mremap(memory, 0, MIB, MREMAP_MAYMOVE); /* the same memory twice */
	GOOD(part != MAP_FAILED);
	READY();
	GOOD(filled(memory, MIB, 21) && filled(part, MIB, 21) && zero(memory + 2 * MIB, MIB));
	strcpy(part + PAGE, "twice");
	GOOD(strcmp(memory + PAGE, "twice") == 0);
	strcpy(memory + MIB, "after");
	for (int i = 0; i < 60000 && strcmp(memory + 3 * MIB, "seen") != 0; i++)
		usleep(2000);
	GOOD(strcmp(memory + 3 * MIB, "seen") == 0);
	GOOD(kill(child, 0) == 0);
}

static void memfd(void)
{
	int fd = memfd_create("a name", MFD_ALLOW_SEALING), seals;
	char *memory, *own;

	GOOD(ftruncate(fd, SIZE) == 0);
	memory = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	fill(memory, 8 * PAGE, 22);
	own = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	strcpy(own + PAGE, "own");
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	close(fd);
	fd = memfd_create("closed", MFD_ALLOW_SEALING);
	GOOD(pwrite(fd, "sealed", 7, 3 * PAGE) == 7);
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL);
	READY();
	GOOD(filled(memory, 8 * PAGE, 22) && zero(memory + 8 * PAGE, PAGE));
	GOOD(strcmp(own + PAGE, "own") == 0);
	strcpy(memory + 9 * PAGE, "new");
	GOOD(strcmp(own + 9 * PAGE, "new") == 0);
	seals = fcntl(fd, F_GET_SEALS);
	GOOD(seals == (F_SEAL_WRITE | F_SEAL_SEAL));
	GOOD(write(fd, "x", 1) < 0 && errno == EPERM);
}

static void device_zero(void)
{
	int fd = open("/dev/zero", O_RDWR);
	char *memory = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	close(fd);
	fill(memory, 4 * PAGE, 23);
	READY();
	GOOD(filled(memory, 4 * PAGE, 23) && zero(memory + 4 * PAGE, SIZE - 4 * PAGE));
}

static void newline(void)
{
	int fd = make("a\nname (deleted)");
	char *memory = map(fd, PROT_READ, MAP_PRIVATE);

	close(fd);
	READY();
	GOOD(filled(memory, SIZE, 20));
}

const struct kind file_kinds[] = {
	{"file_private", file_private},
	{"file_shared", file_shared},
	{"file_read_only", file_read_only},
	{"file_deleted", file_deleted},
	{"folder_deleted", folder_deleted},
	{"shared_anonymous", shared_anonymous},
	{"memfd", memfd},
	{"device_zero", device_zero},
	{"newline", newline},
	{NULL, NULL},
};
