// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of the test guest: mounts what tests need, runs the lines of /plan one after the other,
 * each "SECONDS COMMAND ARGUMENT...", and says on the console what became of them:
 *   @@ boot | @@ start LINE | @@ end STATUS SECONDS | @@ done
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 32

static void mount_one(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL))
		printf("@@ trouble: mount %s on %s: %s\n", type, where, strerror(errno));
}

static void mount_all(void)
{
	mount_one("proc", "/proc");
	mount_one("sysfs", "/sys");
	mount_one("tmpfs", "/tmp");
	mount_one("tmpfs", "/run");
	mount_one("devtmpfs", "/dev");
	mkdir("/dev/pts", 0755);
	mount_one("devpts", "/dev/pts");
	mkdir("/dev/shm", 01777);
	mount_one("tmpfs", "/dev/shm");
	mount_one("debugfs", "/sys/kernel/debug");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* The child's status, or -1 when its time is over. */
static int wait_until(pid_t pid, double end)
{
	const struct timespec nap = {.tv_nsec = 5000000};
	int status;

	while (now() < end) {
		pid_t got = waitpid(-1, &status, WNOHANG | __WALL);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got <= 0)
			nanosleep(&nap, NULL);
	}
	return -1;
}

/* Ends all that a test left, so that the next one starts alone. */
static void end_all(void)
{
	double end = now() + 30;

	kill(-1, SIGKILL);
	while (now() < end && (waitpid(-1, NULL, WNOHANG | __WALL) >= 0 || errno != ECHILD))
		usleep(2000);
}

static void print_file(const char *pid, const char *name)
{
	char path[300], text[2000];
	int fd, n;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : (int)read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (n > 0)
		printf("# %s: %.*s\n", path, n, text);
}

static int is_kernel_thread(const char *pid)
{
	char path[300], state;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%*[^)]) %c %d", &state, &parent) != 2)
		parent = 0;
	if (f)
		fclose(f);
	return parent == 2 || strcmp(pid, "2") == 0;
}

/* What every task is doing, for whoever has to find out why a test does not end. */
static void print_tasks(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *one;

	while (proc && (one = readdir(proc))) {
		if (strspn(one->d_name, "0123456789") != strlen(one->d_name) ||
			is_kernel_thread(one->d_name))
			continue;
		print_file(one->d_name, "cmdline");
		print_file(one->d_name, "wchan");
		print_file(one->d_name, "syscall");
		print_file(one->d_name, "stat");
	}
	if (proc)
		closedir(proc);
}

static void run(char *line)
{
	char *words[WORDS + 1] = {0}, *word, *rest = NULL;
	double start = now(), limit = strtod(line, &line);
	int n = 0, status;
	pid_t pid;

	line += strspn(line, " ");
	printf("@@ start %s\n", line);
	for (word = strtok_r(line, " ", &rest); word && n < WORDS;
		word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	pid = fork();
	if (pid == 0) {
		setsid();
		if (chdir("/tmp"))
			_exit(126);
		execv(words[0], words);
		printf("@@ trouble: %s: %s\n", words[0], strerror(errno));
		_exit(127);
	}
	status = wait_until(pid, start + limit);
	if (status < 0) {
		printf("@@ trouble: still running after %g s\n", limit);
		print_tasks();
	}
	end_all();
	printf("@@ end %d %.1f\n", status, now() - start);
}

int main(void)
{
	char line[1000];
	FILE *plan;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("@@ boot\n");
	mount_all();
	setenv("PATH", "/bin:/usr/bin:/t", 1);
	setenv("HOME", "/tmp", 1);
	plan = fopen("/plan", "re");
	if (!plan)
		printf("@@ trouble: no /plan\n");
	while (plan && fgets(line, sizeof(line), plan)) {
		line[strcspn(line, "\n")] = 0;
		if (*line && *line != '#')
			run(line);
	}
	printf("@@ done\n");
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
