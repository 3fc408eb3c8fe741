/* SPDX-License-Identifier: MIT */
/* Many descriptors, high numbers, files without a name, and a leader that has exited. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "rounds.h"

#define MANY 1500
#define HIGHEST 9000

static int many[MANY], nameless, gone_dir, gone_fifo, high, unlinked[2], status_file;

static void set_up(void)
{
	struct rlimit limit = {10000, 20000};
	char text[32];

	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	nameless = open(".", O_TMPFILE | O_RDWR, 0640);
	CHECK(nameless >= 0 && write(nameless, "never had a name", 16) == 16);
	CHECK(mkdir("gone-dir", 0700) == 0);
	gone_dir = open("gone-dir", O_RDONLY | O_DIRECTORY);
	CHECK(rmdir("gone-dir") == 0);
	CHECK(mkfifo("gone-fifo", 0600) == 0);
	gone_fifo = open("gone-fifo", O_RDWR);
	CHECK(write(gone_fifo, "still there", 11) == 11);
	CHECK(unlink("gone-fifo") == 0);
	CHECK(pipe(unlinked) == 0 && write(unlinked[1], "p", 1) == 1);
	status_file = open("/proc/self/status", O_RDONLY);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "many-%d", i % 10);
		many[i] = open(text, O_RDWR | O_CREAT | (i % 2 ? O_CLOEXEC : 0), 0600);
		CHECK(many[i] >= 0 && lseek(many[i], i, SEEK_SET) == i);
	}
	high = fcntl(nameless, F_DUPFD, HIGHEST);
	CHECK(high == HIGHEST);
	/* From now on no such number could be had any more. */
	limit.rlim_cur = limit.rlim_max = 64;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void check_all(const char *name)
{
	struct rlimit limit;
	char text[64] = "";
	struct stat st;
	int wrong = 0;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
	for (int i = 0; i < MANY; i++) {
		wrong += lseek(many[i], 0, SEEK_CUR) != i;
		wrong += fcntl(many[i], F_GETFD) != (i % 2 ? FD_CLOEXEC : 0);
	}
	CHECK(wrong == 0);
	CHECK(fstat(nameless, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
	CHECK(pread(high, text, 16, 0) == 16 && !strcmp(text, "never had a name"));
	CHECK(lseek(high, 0, SEEK_CUR) == 16 && (fcntl(nameless, F_GETFL) & O_ACCMODE) == O_RDWR);
	CHECK(fstat(gone_dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink == 0);
	CHECK(fstat(gone_fifo, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_nlink == 0);
	CHECK(read(gone_fifo, text, 11) == 11 && !memcmp(text, "still there", 11));
	CHECK(write(gone_fifo, "still there", 11) == 11);
	CHECK(read(unlinked[0], text, 1) == 1 && write(unlinked[1], "p", 1) == 1);
	memset(text, 0, sizeof(text));
	CHECK(pread(status_file, text, sizeof(text) - 1, 0) > 20 && strstr(text, name));
}

static void *other(void *arg)
{
	for (int i = 1; i <= 2; i++) {
		round_of(i);
		check_all("fd_corners");
	}
	finished();
	return arg;
}

int main(void)
{
	pthread_t id;

	set_up();
	pthread_create(&id, NULL, other, NULL);
	/* The leader alone ends, and its part of /proc is empty from then on. */
	wait_for("leave");
	if (!getenv("WHOLE"))
		syscall(SYS_exit, 0);
	for (;;)
		pause();
}
