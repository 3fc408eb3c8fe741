/* SPDX-License-Identifier: MIT */
/* One trial: what a history leads to is planned, made by the plan in a second model, and compared.
 */
#pragma once

#include "compare.h"

struct trial {
	struct model *then, *now;
	int *made;
	bool choose_outer;
	size_t tasks, ghosts, steps;
	char why[2400];
	char reason[200]; /* without numbers: the same for what fails in the same way */
};

void trial_init(struct trial *t);
void trial_free(struct trial *t);

/* t->then is the end of the history. 0, or -1 and why. */
int trial_check(struct trial *t);
