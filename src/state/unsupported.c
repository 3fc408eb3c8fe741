// SPDX-License-Identifier: MIT
/*
 * What a thread can have that no kind captures and that it would miss: refused before anything is
 * stopped.
 */
#include "state/kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/arch/arch.h"

/* The text behind "NAME:" and blanks, NULL when there is no such line. */
static const char *field(const char *status, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
	}
	return NULL;
}

static bool says(const char *text, const char *what)
{
	size_t length = text ? strcspn(text, "\n") : 0;
	const char *found = text ? strstr(text, what) : NULL;

	return found && found < text + length;
}

/* The init of a pid namespace that ends waits until all others in it have been waited for. It has
 * given its memory back by then, and nothing stops it any more. */
static bool is_ending(struct capture *capture, pid_t tid, const char *status)
{
	char *place;

	return !field(status, "VmSize") &&
	       proc_read(capture->arena, tid, "wchan", &place, NULL, NULL) == 0 &&
	       strcmp(place, "zap_pid_ns_processes") == 0;
}

static void look_at_status(struct capture *capture, struct live_process *process,
	const struct live_thread *thread, const char *status)
{
	const char *tracer = field(status, "TracerPid");
	const char *speculation = field(status, "Speculation_Store_Bypass");
	const char *branches = field(status, "SpeculationIndirectBranch");

	/* A frozen thread has this program as its tracer, and there can only be one. */
	if (!thread->seized && tracer && strtol(tracer, NULL, 10))
		refuse(capture->refusals, process, "thread %d is traced by process %ld",
			thread->tid, strtol(tracer, NULL, 10));
	if (says(field(status, "x86_Thread_features"), "shstk"))
		refuse(capture->refusals, process, "thread %d has a shadow stack", thread->tid);
	if (says(speculation, "thread mitigated") || says(speculation, "thread force mitigated") ||
		says(branches, "conditional disabled") ||
		says(branches, "conditional force disabled"))
		refuse(capture->refusals, process,
			"thread %d has asked the processor not to speculate "
			"(PR_SET_SPECULATION_CTRL)",
			thread->tid);
}

/* ELFCLASS32 in the head of the executable. */
static bool is_32_bit(pid_t pid)
{
	_cleanup_close_ int fd = proc_open(pid, "exe", O_RDONLY | O_CLOEXEC);
	unsigned char head[5];

	return fd >= 0 && pread(fd, head, sizeof(head), 0) == sizeof(head) && head[0] == 0x7f &&
	       head[4] == 1;
}

static int survey_thread(
	struct capture *capture, struct live_process *process, struct live_thread *thread)
{
	char name[48], *status;
	int r;

	if (thread->dead)
		return 0;
	if (thread->status.seccomp)
		refuse(capture->refusals, process, "thread %d has a seccomp filter", thread->tid);
	if (thread->seized) {
		if (arch_is_compat(&thread->registers))
			refuse(capture->refusals, process, "thread %d runs 32-bit code",
				thread->tid);
		return 0;
	}
	snprintf(name, sizeof(name), "task/%d/status", thread->tid);
	r = proc_read(capture->arena, process->pid, name, &status, NULL, NULL);
	if (r == 0 && is_ending(capture, thread->tid, status))
		refuse(capture->refusals, process,
			"it is ending, and waits for others of its pid namespace to be waited for");
	/* A thread that has ended since is none of ours any more. */
	else if (r == 0)
		look_at_status(capture, process, thread, status);
	return r == -ENOMEM ? fail(capture->err, r, "status") : 0;
}

static int unsupported_survey(struct capture *capture, struct live_process *process)
{
	int r = 0;

	if (process->zombie)
		return 0;
	if (!process->threads[0].seized && is_32_bit(process->pid))
		refuse(capture->refusals, process, "it is a 32-bit program");
	for (size_t i = 0; r == 0 && i < process->nr_threads; i++)
		r = survey_thread(capture, process, &process->threads[i]);
	return r;
}

const struct state_kind unsupported_kind = {
	.name = "unsupported",
	.survey = unsupported_survey,
};
