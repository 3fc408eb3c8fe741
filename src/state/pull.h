/* SPDX-License-Identifier: MIT */
/*
 * Handing descriptors to a stub: every stub holds a pidfd of the controller at
 * restore->controller_fd and pulls with pidfd_getfd(2) what the controller has open (Linux 5.6).
 * The kernel gives the lowest free number. A stub's table is known exactly: before the kind
 * "descriptors" nothing is open but controller_fd, after it what the image has open too. So that
 * number is known beforehand, and one batch can pull, use and close.
 */
#pragma once

#include "state/state.h"

/*
 * Adds a call that pulls the controller's descriptor fd; returns the number that it will have (with
 * close-on-exec) for the calls that follow. They must close it, with pull_done, before the next
 * pull of any kind.
 */
int pull_temporary(struct restore *restore, struct calls *calls, int fd, const char *what);
void pull_done(struct restore *restore, struct calls *calls, int number);

/*
 * Adds calls that make the controller's descriptor fd the task's descriptor number, to stay. Any
 * free number, but the lowest free one only when it is closed again before the next pull.
 */
void pull_to(struct restore *restore, struct calls *calls, int fd, int number, bool close_on_exec,
	const char *what);

/* Adds a call that pulls fd to a number that calls_result(index) tells: for use in a later batch.
 */
size_t pull(struct restore *restore, struct calls *calls, int fd, const char *what);

/* The lowest free number of a stub, and what it is from now on: for the kind "descriptors". */
int pull_lowest(const struct restore *restore, const struct stub *stub);
void pull_set_lowest(struct stub *stub, int number);
