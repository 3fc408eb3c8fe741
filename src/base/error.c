/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int note(struct reprise_error *err, int code, const char *thing, va_list args)
{
	if (code < 0)
		code = -code;
	if (err) {
		err->code = code ? code : EINVAL;
		err->has_word = code != 0;
		vsnprintf(err->thing, sizeof(err->thing), thing, args);
	}
	return code ? -code : -EINVAL;
}

int error_note(struct reprise_error *err, int code, const char *thing, ...)
{
	va_list args;
	int ret;

	if (err && err->code)
		return code ? -(code < 0 ? -code : code) : -EINVAL;
	va_start(args, thing);
	ret = note(err, code, thing, args);
	va_end(args);
	return ret;
}

int error_note_over(struct reprise_error *err, int code, const char *thing, ...)
{
	va_list args;
	int ret;

	error_clear(err);
	va_start(args, thing);
	ret = note(err, code, thing, args);
	va_end(args);
	return ret;
}

void error_phase(struct reprise_error *err, const char *phase)
{
	if (err && !err->phase[0])
		snprintf(err->phase, sizeof(err->phase), "%s", phase);
}

void error_task(struct reprise_error *err, const char *task, ...)
{
	va_list args;

	if (!err || err->task[0])
		return;
	va_start(args, task);
	vsnprintf(err->task, sizeof(err->task), task, args);
	va_end(args);
}

void error_clear(struct reprise_error *err)
{
	if (err)
		memset(err, 0, sizeof(*err));
}

void reprise_error_line(const struct reprise_error *err, char *line, size_t size)
{
	snprintf(line, size, "%s%s%s%s%s%s%s", err->phase, err->phase[0] ? ": " : "", err->task,
		err->task[0] ? ": " : "", err->thing, err->has_word ? ": " : "",
		err->has_word ? strerror(err->code) : "");
}
