/* SPDX-License-Identifier: MIT */
/* eventfds and memfds, shared with a child. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "rounds.h"

static uint64_t take(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void add(int fd, uint64_t count)
{
	CHECK(write(fd, &count, sizeof(count)) == sizeof(count));
}

int main(void)
{
	int plain = eventfd(7, EFD_NONBLOCK), semaphore = eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC);
	int huge = eventfd(0, 0), wait_here = eventfd(0, 0), answer = eventfd(0, 0);
	int mem = memfd_create("first memfd", MFD_ALLOW_SEALING), second, sealed;
	char *map, path[64], text[32] = "";
	struct stat st;
	pid_t pid;

	add(huge, 0xfffffffffffffffdU);
	CHECK(ftruncate(mem, 100000) == 0 && pwrite(mem, "far", 3, 90000) == 3);
	CHECK(write(mem, "near", 4) == 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	second = open(path, O_RDONLY);
	CHECK(second >= 0);
	map = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	CHECK(map != MAP_FAILED);
	sealed = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK(write(sealed, "locked up", 9) == 9);
	CHECK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
	pid = fork();
	if (pid == 0) {
		add(answer, take(wait_here) * 2);
		map[500] = 'c';
		add(answer, take(wait_here) * 2);
		_exit(0);
	}
	round_of(1);

	CHECK(fcntl(plain, F_GETFL) & O_NONBLOCK && !(fcntl(huge, F_GETFL) & O_NONBLOCK));
	CHECK(fcntl(semaphore, F_GETFD) == FD_CLOEXEC);
	CHECK(take(plain) == 7 && take(plain) == 0);
	CHECK(take(semaphore) == 1);
	CHECK(take(huge) == 0xfffffffffffffffdU);
	add(wait_here, 21);
	CHECK(take(answer) == 42);
	CHECK(fstat(mem, &st) == 0 && st.st_size == 100000);
	CHECK(lseek(mem, 0, SEEK_CUR) == 4 && lseek(second, 0, SEEK_CUR) == 0);
	CHECK((fcntl(second, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(read(second, text, 4) == 4 && !strcmp(text, "near"));
	CHECK(pread(second, text, 3, 90000) == 3 && !memcmp(text, "far", 3));
	CHECK(pwrite(mem, "seen", 4, 1000) == 4 && !memcmp(map + 1000, "seen", 4));
	CHECK(fcntl(sealed, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK));
	CHECK(pread(sealed, text, 9, 0) == 9 && !memcmp(text, "locked up", 9));
	CHECK(pwrite(sealed, "x", 1, 0) < 0 && errno == EPERM);
	add(plain, 9);
	round_of(2);

	CHECK(take(plain) == 9 && take(semaphore) == 1 && take(semaphore) == 1);
	add(wait_here, 1);
	CHECK(take(answer) == 2);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(map[500] == 'c' && !memcmp(map + 1000, "seen", 4));
	CHECK(lseek(second, 0, SEEK_CUR) == 4);
	return finished();
}
