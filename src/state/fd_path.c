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
	/* The path has no link in it to follow, but for the last part of it that is the file. */
	int flags = O_PATH | O_NOFOLLOW | (int)(file->flags & (unsigned)O_DIRECTORY);
	int fd = file_open(restore, file->file, flags);

	return fd < 0 ? fail(restore->err, fd, "cannot open a path again") : fd;
}

const struct open_kind path_kind = {.capture = capture_path, .open = open_path};
