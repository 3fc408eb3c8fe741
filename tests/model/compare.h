/* SPDX-License-Identifier: MIT */
/* From a model to a forest, from a plan to a model, and whether two models show the same. */
#pragma once

#include "forest/plan.h"
#include "model.h"

/* The forest that the model's tasks are. choose_outer: with the pids of namespace 0. of[] gives the
 * model's task of each of the forest's. */
struct forest *forest_of_model(
	struct arena *arena, const struct model *m, bool choose_outer, int **of);

/* Runs the plan in a fresh model; made[] gives the model's task of each of the plan's. why says
 * which step failed. */
int plan_run(const struct plan *plan, struct model *m, int *made, char *why, size_t size);

/* 0 when b, whose tasks are made[], shows what a shows, whose tasks are of[]; else -1 and why. */
int models_compare(const struct model *a, const int *of, const struct model *b, const int *made,
	size_t n, bool choose_outer, char *why, size_t size);
