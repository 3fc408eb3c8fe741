/* SPDX-License-Identifier: MIT */
/* Regular files, directories, devices and O_PATH, in two processes that share some of them. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "rounds.h"

#define ENTRIES 40

static int seen[ENTRIES];

static int make(const char *path, const char *text, int flags)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0644);

	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static off_t at(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static void read_entries(DIR *dir, int count)
{
	const struct dirent *entry;

	while (count-- > 0 && (entry = readdir(dir)))
		if (entry->d_name[0] == 'e')
			seen[atoi(entry->d_name + 1)]++;
}

static void check_reading(int fd, const char *expected)
{
	char text[64] = "";

	CHECK(read(fd, text, strlen(expected)) == (ssize_t)strlen(expected));
	CHECK(strcmp(text, expected) == 0);
}

int main(void)
{
	int plain, dup_of, other, append, writing, direct, high, path, gone, gone_reading, dir_fd;
	int null, zero, full, random_fd, urandom, link_path;
	char text[64];
	struct stat st;
	DIR *dir;

	plain = make("plain", "0123456789abcdefghij", 0);
	CHECK(lseek(plain, 4, SEEK_SET) == 4);
	dup_of = dup(plain);
	other = open("plain", O_RDONLY | O_CLOEXEC);
	CHECK(lseek(other, 10, SEEK_SET) == 10);
	append = make("append", "start-", O_APPEND | O_NONBLOCK);
	writing = open("writing", O_WRONLY | O_CREAT | O_SYNC | O_NOATIME, 0600);
	CHECK(write(writing, "xyz", 3) == 3);
	direct = open("plain", O_RDONLY | O_NOFOLLOW);
	high = fcntl(other, F_DUPFD_CLOEXEC, 700);
	CHECK(high == 700);
	gone = make("gone", "content of a file without a name", 0);
	gone_reading = open("gone", O_RDONLY);
	CHECK(unlink("gone") == 0);
	CHECK(lseek(gone, 11, SEEK_SET) == 11);
	CHECK(mkdir("dir", 0755) == 0);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(text, sizeof(text), "dir/e%d", i);
		close(open(text, O_WRONLY | O_CREAT, 0644));
	}
	dir_fd = open("dir", O_RDONLY | O_DIRECTORY);
	dir = opendir("dir");
	CHECK(symlink("plain", "link") == 0);
	path = open("dir", O_PATH);
	link_path = open("link", O_PATH | O_NOFOLLOW);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	zero = open("/dev/zero", O_RDONLY);
	full = open("/dev/full", O_WRONLY | O_NONBLOCK);
	random_fd = open("/dev/random", O_RDONLY);
	urandom = open("/dev/urandom", O_RDONLY);
	if (fork() == 0) {
		/* The child reads between the rounds: what it shares moves for the parent too. */
		wait_for("child-1");
		check_reading(plain, "456");
		check_reading(other, "abc");
		CHECK(write(append, "child-", 6) == 6);
		close(open("child-1-done", O_WRONLY | O_CREAT, 0644));
		wait_for("child-2");
		check_reading(dup_of, "78");
		_exit(5);
	}
	round_of(1);

	CHECK(at(plain) == 4 && at(dup_of) == 4 && at(other) == 10 && at(direct) == 0);
	close(open("child-1", O_WRONLY | O_CREAT, 0644));
	wait_for("child-1-done");
	CHECK(at(plain) == 7 && at(dup_of) == 7 && at(other) == 13 && at(high) == 13);
	CHECK(fcntl(plain, F_GETFD) == 0 && fcntl(other, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(high, F_GETFD) == FD_CLOEXEC && fcntl(null, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(append, F_GETFL) & O_APPEND && fcntl(append, F_GETFL) & O_NONBLOCK);
	CHECK((fcntl(writing, F_GETFL) & O_ACCMODE) == O_WRONLY);
	CHECK((fcntl(writing, F_GETFL) & O_SYNC) == O_SYNC && fcntl(writing, F_GETFL) & O_NOATIME);
	CHECK(write(writing, "z", 1) == 1 && at(writing) == 4);
	CHECK(write(append, "end", 3) == 3);
	CHECK(pread(append, text, 15, 0) == 15 && !memcmp(text, "start-child-end", 15));
	CHECK(fstat(gone, &st) == 0 && st.st_nlink == 0);
	CHECK(access("gone", F_OK) < 0);
	check_reading(gone, "a file");
	check_reading(gone_reading, "content");
	CHECK(pwrite(gone, "CONTENT", 7, 0) == 7);
	CHECK(pread(gone_reading, text, 10, 0) == 10 && !memcmp(text, "CONTENT of", 10));
	CHECK(read(null, text, 1) == 0 && write(null, text, 1) == 1);
	CHECK(read(zero, text, 4) == 4 && !memcmp(text, "\0\0\0\0", 4));
	CHECK(write(full, text, 1) == -1 && errno == ENOSPC);
	CHECK(fcntl(full, F_GETFL) & O_NONBLOCK);
	CHECK(read(random_fd, text, 4) == 4 && read(urandom, text, 4) == 4);
	CHECK(fstat(path, &st) == 0 && S_ISDIR(st.st_mode));
	CHECK(fcntl(path, F_GETFL) & O_PATH && fchdir(path) == 0 && access("e1", F_OK) == 0);
	CHECK(chdir("..") == 0);
	CHECK(fstat(link_path, &st) == 0 && S_ISLNK(st.st_mode));
	CHECK(readlinkat(link_path, "", text, sizeof(text)) == 5 && !memcmp(text, "plain", 5));
	CHECK(fstat(dir_fd, &st) == 0 && S_ISDIR(st.st_mode));
	CHECK(openat(dir_fd, "e2", O_RDONLY) >= 0);
	read_entries(dir, 10);
	round_of(2);

	close(open("child-2", O_WRONLY | O_CREAT, 0644));
	CHECK(wait(&(int){0}) > 0);
	CHECK(at(plain) == 9);
	read_entries(dir, ENTRIES + 2);
	for (int i = 0; i < ENTRIES; i++)
		CHECK(seen[i] == 1);
	check_reading(gone_reading, " of");
	CHECK(pread(gone_reading, text, 10, 0) == 10 && !memcmp(text, "CONTENT of", 10));
	return finished();
}
