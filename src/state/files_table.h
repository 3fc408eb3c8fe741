/* SPDX-License-Identifier: MIT */
/* What files.c and its neighbours share about the table of files. */
#pragma once

#include <sys/stat.h>

#include "state/areas.h"
#include "state/files.h"

/* The file of an area, by what smaps says of it alone where that is known already. */
int file_refer_area(struct capture *capture, struct live_process *process,
	const struct live_area *area, int32_t *ret);

/* Whether an area's file can be referred to; *ret_why in words when not. Changes nothing. */
bool file_area_possible(struct capture *capture, struct live_process *process,
	const struct live_area *area, const char **ret_why);

/* "map_files/START-END" */
void area_link(const struct live_area *area, char *link, size_t size);

/* Another way to the file of an area where that link may not be followed; false: there is none. */
bool mapped_way(pid_t tid, const struct live_area *area, char *ret, size_t size);

/* The same of memory without a path: through a descriptor of any process of the tree. */
bool mapped_somewhere(
	const struct live_tree *tree, const struct live_area *area, char *ret, size_t size);

/* The device number of shared anonymous memory and memfds, which have no paths. */
dev_t shared_memory_device(void);

void files_end(struct restore *restore);

/* A path of a mount namespace of the image in words of the caller's, which it is made from; NULL
 * when only the restarted namespace will tell (file systems that the image itself makes). */
const char *path_outside(struct restore *restore, int32_t mount_namespace, const char *path);

/* The build id of an ELF file that has one: its size, 0 when there is none. */
size_t build_id_read(int fd, uint8_t *ret, size_t room);
