// SPDX-License-Identifier: MIT
/* eventfd(2): its count is shown by fdinfo, and whether it is a semaphore since Linux 6.9. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state/open_file.h"

#define HIGHEST 0xfffffffffffffffeU /* that can be written; an overflow shows one more */

static int capture_eventfd(struct capture *capture, struct description *d, OpenFile *ret)
{
	const char *count = fdinfo_field(d->fdinfo, "eventfd-count:");
	const char *semaphore = fdinfo_field(d->fdinfo, "eventfd-semaphore:");

	if (!count || !semaphore)
		return fail(capture->err, EOPNOTSUPP,
			"this kernel does not tell what eventfd %d is like", d->number);
	ret->kind = REPRISE__OPEN_FILE__KIND__EVENTFD;
	ret->count = strtoull(count, NULL, 16);
	ret->semaphore = strtoul(semaphore, NULL, 10) != 0;
	return 0;
}

static int open_eventfd(struct restore *restore, const OpenFile *file)
{
	uint64_t count = file->count > HIGHEST ? HIGHEST : file->count;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | (file->semaphore ? EFD_SEMAPHORE : 0));
	int ret = 0;

	if (fd < 0)
		return fail(restore->err, errno, "cannot make an eventfd");
	if (count && write(fd, &count, sizeof(count)) != sizeof(count))
		ret = fail(restore->err, errno, "cannot set the count of an eventfd");
	if (ret == 0)
		ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

const struct open_kind eventfd_kind = {.capture = capture_eventfd, .open = open_eventfd};
