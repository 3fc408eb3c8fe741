/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define PAGE 4096ul
#define MIB (1ul << 20)

struct kind {
	const char *name;
	void (*run)(void);
};
extern const struct kind private_kinds[], file_kinds[], special_kinds[];

/* Says "ready" and waits to be told to go on. */
#define READY() (puts("ready"), fflush(stdout), wait_until_told())
void wait_until_told(void);

#define GOOD(condition) ((condition) ? (void)0 : say_bad(__FILE__, __LINE__, #condition))
void say_bad(const char *file, int line, const char *what);

void fill(void *memory, size_t size, unsigned seed);
int filled(const void *memory, size_t size, unsigned seed);
int zero(const void *memory, size_t size);
