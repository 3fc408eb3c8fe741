// SPDX-License-Identifier: MIT
/*
 * born UID-MAP GID-MAP [OWNER]: a child made by one clone() of a new user, pid, mount and uts
 * namespace, which gets its ids from here, the parent, as container tools do it. The child makes
 * one of its own, and both stay. OWNER: the user who makes it.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void stay(const char *name)
{
	prctl(PR_SET_NAME, name);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int go[2], flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD;
	char byte = 0;
	pid_t pid;

	if (argc < 3 || pipe(go) < 0)
		return 2;
	if (argc > 3 && setresuid(-1, atoi(argv[3]), -1) < 0)
		return 3;
	pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
	if (argc > 3 && pid > 0 && setresuid(-1, 0, -1) < 0)
		return 4;
	if (pid < 0) {
		perror("clone");
		return 5;
	}
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1 || setresgid(0, 0, 0) < 0 ||
			setresuid(0, 0, 0) < 0 || sethostname("born", 4) < 0)
			exit(6);
		close(go[0]);
		if (fork() == 0)
			stay("grandchild");
		puts("ready");
		fflush(stdout);
		stay("child");
	}
	put(pid, "gid_map", argv[2]);
	put(pid, "uid_map", argv[1]);
	if (write(go[1], &byte, 1) != 1)
		return 7;
	close(go[0]);
	close(go[1]);
	stay("parent");
}
