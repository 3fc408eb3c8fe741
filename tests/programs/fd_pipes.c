/* SPDX-License-Identifier: MIT */
/* Pipes and FIFOs with what is in them, their capacity, packets, ends of several kinds. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "rounds.h"

#define BIG 300000

static char pattern(int i)
{
	return (char)(i * 7 + i / 251);
}

static void put(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void get(int fd, const char *text)
{
	char bytes[256] = "";

	CHECK(read(fd, bytes, strlen(text)) == (ssize_t)strlen(text));
	CHECK(strcmp(bytes, text) == 0);
}

/* A read gives one packet, however much is asked for. */
static void get_packet(int fd, size_t size, char byte)
{
	char bytes[8192];

	CHECK(read(fd, bytes, sizeof(bytes)) == (ssize_t)size);
	CHECK(bytes[0] == byte && bytes[size - 1] == byte);
}

static void put_packet(int fd, size_t size, char byte)
{
	char bytes[4096];

	memset(bytes, byte, sizeof(bytes));
	CHECK(write(fd, bytes, size) == (ssize_t)size);
}

static int in_it(int fd)
{
	int count = -1;

	CHECK(ioctl(fd, FIONREAD, &count) == 0);
	return count;
}

static void fill_big(int fd)
{
	static char bytes[BIG];

	for (int i = 0; i < BIG; i++)
		bytes[i] = pattern(i);
	CHECK(write(fd, bytes, BIG) == BIG);
}

static void drain_big(int fd, int from, int count)
{
	static char bytes[BIG];
	int done = 0, wrong = 0;

	while (done < count) {
		ssize_t len = read(fd, bytes, (size_t)(count - done));

		CHECK(len > 0);
		if (len <= 0)
			return;
		for (ssize_t i = 0; i < len; i++)
			wrong += bytes[i] != pattern(from + done + (int)i);
		done += (int)len;
	}
	CHECK(wrong == 0);
}

int main(void)
{
	int plain[2], big[2], packets[2], closed[2], unread[2], both[2], full[2], child[2], up[2];
	int fifo_read, fifo_write, fifo_both, again, two_way, count;
	char path[64], bytes[4096];
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	CHECK(pipe(plain) == 0 && pipe2(big, O_CLOEXEC) == 0 && pipe2(packets, O_DIRECT) == 0);
	CHECK(pipe(closed) == 0 && pipe(unread) == 0 && pipe2(both, O_NONBLOCK) == 0);
	CHECK(pipe2(full, O_NONBLOCK) == 0 && pipe(child) == 0 && pipe(up) == 0);
	put(plain[1], "what is in the pipe");
	get(plain[0], "what is");
	/* A description of its own of the same end, with other flags. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain[0]);
	again = open(path, O_RDONLY | O_NONBLOCK);
	two_way = open(path, O_RDWR);
	CHECK(again >= 0 && two_way >= 0);
	CHECK(fcntl(big[1], F_SETPIPE_SZ, 1 << 19) == 1 << 19);
	fill_big(big[1]);
	put_packet(packets[1], 100, 'a');
	put_packet(packets[1], 4096, 'b');
	put_packet(packets[1], 1, 'c');
	put(closed[1], "last words");
	close(closed[1]);
	close(unread[0]);
	memset(bytes, 'f', sizeof(bytes));
	while (write(full[1], bytes, sizeof(bytes)) > 0)
		;
	CHECK(mkfifo("fifo", 0600) == 0);
	fifo_read = open("fifo", O_RDONLY | O_NONBLOCK);
	fifo_write = open("fifo", O_WRONLY);
	fifo_both = open("fifo", O_RDWR);
	CHECK(fifo_read >= 0 && fifo_write >= 0 && fifo_both >= 0);
	CHECK(fcntl(fifo_read, F_SETFL, 0) == 0);
	put(fifo_write, "in the fifo");
	pid = fork();
	if (pid == 0) {
		/* Blocked in read(2) when it is frozen. */
		close(child[1]);
		close(plain[1]);
		close(open("child-ready", O_WRONLY | O_CREAT, 0644));
		for (int i = 0; i < 2; i++) {
			ssize_t len = read(child[0], bytes, 100);

			CHECK(write(up[1], bytes, (size_t)len) == len);
		}
		_exit(3);
	}
	close(up[1]);
	wait_for("child-ready");
	round_of(1);

	CHECK(in_it(plain[0]) == 12 && in_it(two_way) == 12);
	CHECK(fcntl(again, F_GETFL) & O_NONBLOCK && !(fcntl(plain[0], F_GETFL) & O_NONBLOCK));
	CHECK((fcntl(two_way, F_GETFL) & O_ACCMODE) == O_RDWR);
	get(again, " in");
	put(two_way, "+more");
	get(plain[0], " the pipe+more");
	CHECK(read(again, bytes, 1) < 0 && errno == EAGAIN);
	CHECK(fcntl(big[1], F_GETPIPE_SZ) == 1 << 19 && in_it(big[0]) == BIG);
	drain_big(big[0], 0, 100001);
	CHECK(fcntl(packets[1], F_GETFL) & O_DIRECT);
	get_packet(packets[0], 100, 'a');
	put_packet(packets[1], 10, 'd');
	get(closed[0], "last");
	put(child[1], "to the child");
	get(up[0], "to the child");
	CHECK(write(unread[1], "x", 1) < 0 && errno == EPIPE);
	CHECK(write(full[1], bytes, 1) < 0 && errno == EAGAIN && in_it(full[0]) == 65536);
	CHECK(read(both[0], bytes, 1) < 0 && errno == EAGAIN);
	get(fifo_read, "in the");
	put(fifo_both, "!");
	put(plain[1], "second");
	round_of(2);

	get(plain[0], "second");
	drain_big(big[0], 100001, BIG - 100001);
	get_packet(packets[0], 4096, 'b');
	get_packet(packets[0], 1, 'c');
	get_packet(packets[0], 10, 'd');
	get(closed[0], " words");
	CHECK(read(closed[0], bytes, 1) == 0);
	get(fifo_read, " fifo!");
	put(child[1], "once more");
	get(up[0], "once more");
	CHECK(waitpid(pid, &count, 0) == pid && WEXITSTATUS(count) == 3);
	CHECK(read(up[0], bytes, 1) == 0);
	return finished();
}
