/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void boot(void)
{
	pid_t pid;
	int status = 0;

	if (getpid() != 1 || getppid() != 0 || access("/proc/1", F_OK) == 0)
		return;
	mkdir("/proc", 0555);
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		perror("mount /proc");
	pid = fork();
	if (pid == 0)
		return;
	for (pid_t done = 0; done != pid;)
		done = wait(&status);
	printf("status %#x\n", (unsigned)status);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	exit(1);
}
