/* SPDX-License-Identifier: MIT */
/* Tells a caller's watcher what is being done. */
#pragma once

#include <reprise.h>
#include <time.h>

static inline void watch_phase(
	const struct reprise_watcher *watcher, const char *phase, const struct timespec *start)
{
	struct timespec now;

	if (!watcher || !watcher->phase)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	watcher->phase(watcher->arg, phase,
		(double)(now.tv_sec - start->tv_sec) +
			(double)(now.tv_nsec - start->tv_nsec) / 1e9);
}

static inline void watch_progress(const struct reprise_watcher *watcher, const char *phase,
	unsigned long long done, unsigned long long total)
{
	if (watcher && watcher->progress)
		watcher->progress(watcher->arg, phase, done, total);
}
