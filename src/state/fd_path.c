// SPDX-License-Identifier: MIT
/* O_PATH descriptors: places in the tree of files, of whatever kind is there. */
#include <fcntl.h>

#include "state/files.h"
#include "state/open_file.h"

static int capture_path(struct capture *capture, struct description *d, OpenFile *ret)
{
	ret->kind = REPRISE__OPEN_FILE__KIND__PATH;
	return refer_to_file(capture, d, ret);
}

static int open_path(struct restore *restore, const OpenFile *file)
{
	/* A link is only open itself with O_NOFOLLOW. */
	unsigned keep = file->flags & (unsigned)(O_DIRECTORY | O_NOFOLLOW);
	int fd = file_open(restore, file->file, O_PATH | (int)keep);

	return fd < 0 ? fail(restore->err, fd, "cannot open a path again") : fd;
}

const struct open_kind path_kind = {.capture = capture_path, .open = open_path};
