// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes a tree of tasks in nested pid namespaces through reprise's checkpoint and restart, and
 * compares the pids inside of before and after: reprise_tree REPRISE DEPTH.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 64
#define IMAGE "/tmp/image"

struct row {
	char pids[256]; /* inside: without the first, which is the kernel's choice */
};

/* Each namespace: its init, and a child that leads a session. */
static void live(int depth)
{
	for (int inside = 1; inside; depth--) {
		if (fork() == 0) {
			setsid();
			break;
		}
		if (depth == 1)
			break;
		if (unshare(CLONE_NEWPID))
			_exit(1);
		inside = fork() == 0;
	}
	for (;;)
		pause();
}

/* The root of the tree is no child of this process, whose own children are to live where it does.
 */
static pid_t start_tree(int depth)
{
	pid_t root = -1;
	int fds[2], null;

	if (pipe(fds))
		return -1;
	if (fork() == 0) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		root = fork();
		if (root == 0) {
			setsid();
			null = open("/dev/null", O_RDWR);
			for (int fd = 0; fd < 3; fd++)
				dup2(null, fd);
			close(null);
			close(fds[0]);
			close(fds[1]);
			live(depth);
		}
		_exit(write(fds[1], &root, sizeof(root)) != sizeof(root));
	}
	wait(NULL);
	if (read(fds[0], &root, sizeof(root)) != sizeof(root))
		root = -1;
	close(fds[0]);
	close(fds[1]);
	return root;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->pids, ((const struct row *)b)->pids);
}

/* The pids inside of every task that is in a pid namespace below this one, in order. */
static int survey(struct row *rows)
{
	char path[300], line[256];
	struct dirent *one;
	int n = 0;
	DIR *proc = opendir("/proc");

	while (proc && n < ROWS && (one = readdir(proc))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/status", one->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f)) {
			char *inside = strncmp(line, "NSpid:\t", 7) ? NULL : strchr(line + 7, '\t');

			if (inside)
				snprintf(rows[n++].pids, sizeof(rows[0].pids), "%s", inside);
		}
		if (f)
			fclose(f);
	}
	if (proc)
		closedir(proc);
	qsort(rows, (size_t)n, sizeof(rows[0]), by_text);
	return n;
}

/* Runs reprise with these arguments; its exit status. */
static int reprise(char *const *arguments)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv(arguments[0], arguments);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void result(int number, int good, const char *what)
{
	printf("%sok %d reprise: %s\n", good ? "" : "not ", number, what);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct row before[ROWS], after[ROWS];
	int depth = argc > 2 ? atoi(argv[2]) : 3;
	int want = 2 * depth, n = 0, same, status;
	char number[16];
	pid_t root;

	if (argc < 2)
		return 2;
	root = start_tree(depth);
	for (int i = 0; i < 6000 && n != want; i++, usleep(10000))
		n = survey(before);
	result(1, n == want, "the tree is there");
	snprintf(number, sizeof(number), "%d", root);
	status = reprise((char *[]){argv[1], "checkpoint", "--stop", number, IMAGE, NULL});
	result(2, status == 0, "checkpoint");
	for (int i = 0; i < 6000 && survey(after); i++)
		usleep(10000);
	result(3, survey(after) == 0, "the tree is gone");
	status = reprise((char *[]){argv[1], "restart", "-d", IMAGE, NULL});
	result(4, status == 0, "restart");
	n = survey(after);
	same = n == want;
	for (int i = 0; same && i < n; i++)
		same = strcmp(before[i].pids, after[i].pids) == 0;
	for (int i = 0; !same && i < n; i++)
		printf("# after: %s", after[i].pids);
	result(5, same, "every task has its pids back");
	return status || !same;
}
