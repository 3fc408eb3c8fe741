/* SPDX-License-Identifier: MIT */
/* Scope-bound ownership: what a variable holds is given back when the scope ends. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void close_ptr(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void free_ptr(void *ptr)
{
	free(*(void **)ptr);
}

static inline void fclose_ptr(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void closedir_ptr(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define _cleanup_close_ __attribute__((cleanup(close_ptr)))
#define _cleanup_free_ __attribute__((cleanup(free_ptr)))
#define _cleanup_fclose_ __attribute__((cleanup(fclose_ptr)))
#define _cleanup_closedir_ __attribute__((cleanup(closedir_ptr)))

/* Hands over what a cleanup variable owns. */
#define take_fd(fd)                 \
	({                          \
		int *_from = &(fd); \
		int _fd = *_from;   \
		*_from = -1;        \
		_fd;                \
	})
#define take_ptr(ptr)                       \
	({                                  \
		__auto_type _from = &(ptr); \
		__auto_type _ptr = *_from;  \
		*_from = NULL;              \
		_ptr;                       \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
