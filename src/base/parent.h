/* SPDX-License-Identifier: MIT */
#pragma once

/* Called in a child: from now on it ends when its parent does, of which parent is a pidfd. No
 * signal comes where the parent ended before it was asked for; the pidfd tells of that. */
void end_with_parent(int parent);
