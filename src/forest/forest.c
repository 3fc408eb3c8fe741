/* SPDX-License-Identifier: MIT */
#include "forest/forest.h"

bool forest_ns_within(const struct forest *forest, int ns, int outer)
{
	while (ns >= 0 && forest->nss[ns].level > forest->nss[outer].level)
		ns = forest->nss[ns].parent;
	return ns == outer;
}

pid_t forest_number(const struct forest *forest, int pid, int ns)
{
	if (pid < 0 || !forest_ns_within(forest, forest->pids[pid].ns, ns))
		return 0;
	return forest->pids[pid].numbers[forest->nss[ns].level];
}
