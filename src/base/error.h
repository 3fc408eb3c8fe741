/* SPDX-License-Identifier: MIT */
/*
 * An error says where: the phase, the task (its pids), the thing, and the system's word. It is
 * filled once, where the failure is found; callers on the way up add what they know.
 */
#pragma once

#include <reprise.h>

/* Notes a failure and returns -code. code is an errno value (positive or negative); 0 means that
 * the system has no word for it and returns -EINVAL. The first failure noted is kept. */
#define fail(err, code, ...) error_below_zero(error_note(err, code, __VA_ARGS__))

/* The same, and forgets what was noted before. */
#define fail_over(err, code, ...) error_below_zero(error_note_over(err, code, __VA_ARGS__))

int error_note(struct reprise_error *err, int code, const char *thing, ...)
	__attribute__((format(printf, 3, 4)));
int error_note_over(struct reprise_error *err, int code, const char *thing, ...)
	__attribute__((format(printf, 3, 4)));

/* Lets compilers and analyzers know that a failure's callers see a failure. */
static inline int error_below_zero(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}

/* Context, added while unwinding: kept only where it is not known yet. */
void error_phase(struct reprise_error *err, const char *phase);
void error_task(struct reprise_error *err, const char *task, ...)
	__attribute__((format(printf, 2, 3)));

void error_clear(struct reprise_error *err);
