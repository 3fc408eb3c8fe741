// SPDX-License-Identifier: MIT
#include "state/pull.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "state/kinds.h"

static struct stub *stub_of(const struct calls *calls)
{
	return (struct stub *)((char *)calls->hand - offsetof(struct stub, hand));
}

/* The note of the leader is the lowest free number + 1, once it is not the first. */
int pull_lowest(const struct restore *restore, const struct stub *stub)
{
	const struct stub *leader = stub->leader ? stub->leader : stub;
	intptr_t note = (intptr_t)leader->notes[NOTE_DESCRIPTORS];

	return note ? (int)(note - 1) : restore->controller_fd == 0;
}

void pull_set_lowest(struct stub *stub, int number)
{
	struct stub *leader = stub->leader ? stub->leader : stub;

	leader->notes[NOTE_DESCRIPTORS] = (void *)((intptr_t)number + 1);
}

size_t pull(struct restore *restore, struct calls *calls, int fd, const char *what)
{
	return calls_must(calls, what, SYS_pidfd_getfd, (uint64_t)restore->controller_fd,
		(uint64_t)fd, 0, 0, 0, 0);
}

int pull_temporary(struct restore *restore, struct calls *calls, int fd, const char *what)
{
	pull(restore, calls, fd, what);
	return pull_lowest(restore, stub_of(calls));
}

void pull_done(struct restore *restore, struct calls *calls, int number)
{
	calls_must(calls, "closing a descriptor", SYS_close, (uint64_t)number, 0, 0, 0, 0, 0);
}

void pull_to(struct restore *restore, struct calls *calls, int fd, int number, bool close_on_exec,
	const char *what)
{
	int lowest = pull_temporary(restore, calls, fd, what);

	if (lowest != number) {
		calls_must(calls, what, SYS_dup3, (uint64_t)lowest, (uint64_t)number,
			close_on_exec ? O_CLOEXEC : 0, 0, 0, 0);
		pull_done(restore, calls, lowest);
		return;
	}
	/* Set in any case: it fails when the number is not what it has to be. */
	calls_must(calls, what, SYS_fcntl, (uint64_t)number, F_SETFD,
		close_on_exec ? FD_CLOEXEC : 0, 0, 0, 0);
}
