/* SPDX-License-Identifier: MIT */
/* File locks of three kinds: of a process, of a description, and flock(2). A child looks at them.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "rounds.h"

static struct flock range(short type, off_t start, off_t length)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

/* What stands in the way of a write lock on a byte: the type, and whose it is. */
static int in_the_way(int fd, off_t byte, pid_t *ret_pid)
{
	struct flock lock = range(F_WRLCK, byte, 1);

	CHECK(fcntl(fd, F_GETLK, &lock) == 0);
	*ret_pid = lock.l_pid;
	return lock.l_type;
}

/* In a process of its own, with descriptors of its own. */
static void look(pid_t owner, pid_t other_owner)
{
	int process = open("process", O_RDWR), description = open("description", O_RDWR);
	int whole = open("whole", O_RDONLY), shared = open("shared", O_RDONLY);
	struct flock lock;
	pid_t pid = 0;

	CHECK(in_the_way(process, 12, &pid) == F_WRLCK && pid == owner);
	CHECK(in_the_way(process, 9, &pid) == F_UNLCK && in_the_way(process, 20, &pid) == F_UNLCK);
	CHECK(in_the_way(process, 105, &pid) == F_RDLCK && pid == owner);
	CHECK(in_the_way(process, 1000000, &pid) == F_WRLCK && pid == other_owner);
	CHECK(in_the_way(description, 5, &pid) == F_WRLCK && pid == -1);
	CHECK(in_the_way(description, 60, &pid) == F_RDLCK && pid == -1);
	lock = range(F_RDLCK, 60, 1);
	CHECK(fcntl(description, F_OFD_SETLK, &lock) == 0);
	CHECK(flock(whole, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK(flock(shared, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK(flock(shared, LOCK_SH | LOCK_NB) == 0);
	_exit(0);
}

static void look_from_child(pid_t other)
{
	pid_t self = getpid(), pid = fork();
	int status = -1;

	if (pid == 0)
		look(self, other);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
	int process = open("process", O_RDWR | O_CREAT, 0644);
	int description = open("description", O_RDWR | O_CREAT, 0644);
	int whole = open("whole", O_RDWR | O_CREAT, 0644);
	int shared = open("shared", O_RDWR | O_CREAT, 0644);
	struct flock lock = range(F_WRLCK, 10, 10);
	pid_t other;

	CHECK(fcntl(process, F_SETLK, &lock) == 0);
	lock = range(F_RDLCK, 100, 50);
	CHECK(fcntl(process, F_SETLK, &lock) == 0);
	lock = range(F_WRLCK, 0, 50);
	CHECK(fcntl(description, F_OFD_SETLK, &lock) == 0);
	lock = range(F_RDLCK, 50, 0);
	CHECK(fcntl(description, F_OFD_SETLK, &lock) == 0);
	CHECK(flock(whole, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0);
	other = fork();
	if (other == 0) {
		/* By the description that the parent has too. */
		lock = range(F_WRLCK, 1000000, 0);
		CHECK(fcntl(process, F_SETLK, &lock) == 0);
		close(open("other-ready", O_WRONLY | O_CREAT, 0644));
		wait_for("other-end");
		_exit(0);
	}
	wait_for("other-ready");
	look_from_child(other);
	round_of(1);
	look_from_child(other);
	round_of(2);
	look_from_child(other);
	/* An unlock by a dup of the description is one for all of it. */
	CHECK(flock(dup(whole), LOCK_UN) == 0);
	CHECK(flock(open("whole", O_RDONLY), LOCK_EX | LOCK_NB) == 0);
	close(open("other-end", O_WRONLY | O_CREAT, 0644));
	CHECK(waitpid(other, NULL, 0) == other);
	return finished();
}
