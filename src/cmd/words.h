/* SPDX-License-Identifier: MIT */
/* Words for persons. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "12.3 MiB" */
void size_word(uint64_t bytes, char *text, size_t size);
/* "pipe": an OpenFile's kind */
const char *open_file_word(int kind);
