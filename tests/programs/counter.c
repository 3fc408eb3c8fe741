/* SPDX-License-Identifier: MIT */
/* Writes 0, 1, 2 … to standard output, a line each, ten milliseconds apart. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	for (unsigned i = 0;; i++) {
		printf("%u\n", i);
		fflush(stdout);
		usleep(10000);
	}
}
