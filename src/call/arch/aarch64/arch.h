/* SPDX-License-Identifier: MIT */
#pragma once

#define CE_UNWIND (CE_FRAME + 16)

/* The order of the last three arguments of clone(2). */
#define CE_CLONE_ORDER(parent_tid, child_tid, tls) parent_tid, tls, child_tid
