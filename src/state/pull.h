/* SPDX-License-Identifier: MIT */
/*
 * Handing descriptors to a stub: every stub holds a pidfd of the controller at
 * restore->controller_fd and pulls with pidfd_getfd(2) what the controller has open (Linux 5.6).
 */
#pragma once

#include "state/state.h"

/* Adds calls that make the controller's descriptor fd the task's descriptor number. */
void pull_to(struct restore *restore, struct calls *calls, int fd, int number, bool close_on_exec,
	const char *what);

/* Adds a call that pulls fd to a number that calls_result(index) tells: for use in a later batch. */
size_t pull(struct restore *restore, struct calls *calls, int fd, const char *what);
