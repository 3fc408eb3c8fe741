/* SPDX-License-Identifier: MIT */
/* The init of an initramfs: runs the command lines of /commands one after the other, and ends. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 32 };

static void run(char *line)
{
	char *words[WORDS + 1] = {NULL};
	int status = -1;
	int n = 0;
	time_t start = time(NULL);
	pid_t pid;

	for (char *word = strtok(line, " \n"); word && n < WORDS; word = strtok(NULL, " \n"))
		words[n++] = word;
	if (!n)
		return;
	printf("guest: runs %s\n", words[0]);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execv(words[0], words);
		perror(words[0]);
		_exit(127);
	}
	for (pid_t done = 0; done != pid;)
		done = wait(&status);
	printf("guest: %s ended with status %#x after %ld s\n", words[0], (unsigned)status,
		(long)(time(NULL) - start));
	fflush(stdout);
}

int main(void)
{
	char line[400];
	FILE *file;

	mkdir("/proc", 0555);
	mkdir("/tmp", 0777);
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		perror("guest: mount /proc");
	file = fopen("/commands", "re");
	while (file && fgets(line, sizeof(line), file))
		run(line);
	if (!file)
		perror("guest: /commands");
	printf("guest: done\n");
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
