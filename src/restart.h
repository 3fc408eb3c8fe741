/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <reprise.h>

#include "image/image.h"

/* Whether this image can be restarted here, as far as can be seen without making a task. */
int restart_check(const struct image *image, struct reprise_error *err);

/* Prints the steps that a restart would take; does nothing else. */
int restart_plan(const char *dir, bool outer_pids, bool json, FILE *out, struct reprise_error *err);
