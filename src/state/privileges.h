/* SPDX-License-Identifier: MIT */
/* What the controller may do, and a table that belongs to a journey. */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "image/image.h"

/* In the effective set of the calling thread. */
bool have_capability(int capability);

/* The credentials of the calling thread, as the stubs inherit them. */
int own_credentials(struct arena *arena, Credentials **ret, struct reprise_error *err);
