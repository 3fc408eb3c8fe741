// SPDX-License-Identifier: MIT
#include "cmd/words.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "image/snapshot.h"

void size_word(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(text, size, "%" PRIu64 " B", bytes);
		return;
	}
	while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, size, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

const char *open_file_word(int kind)
{
	switch (kind) {
	case REPRISE__OPEN_FILE__KIND__REGULAR:
		return "file";
	case REPRISE__OPEN_FILE__KIND__DIRECTORY:
		return "directory";
	case REPRISE__OPEN_FILE__KIND__DEVICE:
		return "device";
	case REPRISE__OPEN_FILE__KIND__PIPE:
		return "pipe";
	case REPRISE__OPEN_FILE__KIND__FIFO:
		return "fifo";
	case REPRISE__OPEN_FILE__KIND__EVENTFD:
		return "eventfd";
	case REPRISE__OPEN_FILE__KIND__MEMFD:
		return "memfd";
	case REPRISE__OPEN_FILE__KIND__PATH:
		return "path";
	default:
		return "?";
	}
}
