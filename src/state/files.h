/* SPDX-License-Identifier: MIT */
/*
 * Files that an image refers to by path: executables, libraries, open files, directories. One table
 * for all kinds, each file in it once per mount namespace. Files that are no longer at their path
 * are kept with their content.
 */
#pragma once

#include <stdint.h>

#include "state/state.h"

/*
 * Notes the file that the link /proc/PID/LINK leads to ("exe", "cwd", "root", "fd/3",
 * "map_files/55…-55…"): its index in snapshot->files. What cannot be referred to by a path at a
 * restart (hidden below a mount) is -ESTALE with an error.
 * Files of a file system that has no paths (sockets, pipes, anon_inode, memfd) are -EMEDIUMTYPE
 * without an error. Content of deleted files is taken by the kind "files" when all is taken.
 */
int file_refer(
	struct capture *capture, struct live_process *process, const char *link, int32_t *ret);

/* The tasks may write to it: size, mtime and content may be others at a restart, but not less. */
void file_written(struct capture *capture, int32_t file);

/*
 * Opens a file of the image in its mount namespace: flags are those of open(2), with O_CREAT
 * and the like taken out. A deleted file is made again by the first who opens it and shared by all.
 * The descriptor belongs to the caller; or -errno with an error noted.
 */
int file_open(struct restore *restore, int32_t file, int flags);

/*
 * The same with a descriptor that stays with the table (O_RDONLY, O_RDWR or O_PATH) and is shared
 * by all who ask for it: for mappings and links, which do not look at offsets. Not to be closed.
 */
int file_shared(struct restore *restore, int32_t file, int flags);

/* Before a task exists: whether this program may open a file so. */
int file_check_access(struct restore *restore, int32_t file, int flags);

/* Says all files that are missing or have changed; also called as the check of the kind. */
int file_check(struct restore *restore);
