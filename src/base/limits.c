/* SPDX-License-Identifier: MIT */
#include "base/limits.h"

struct rlimit descriptor_limit_raise(void)
{
	struct rlimit before = {0}, most;

	if (getrlimit(RLIMIT_NOFILE, &before) < 0)
		return (struct rlimit){0};
	most = before;
	most.rlim_cur = most.rlim_max;
	if (most.rlim_cur != before.rlim_cur)
		setrlimit(RLIMIT_NOFILE, &most);
	return before;
}

void descriptor_limit_restore(const struct rlimit *before)
{
	if (before->rlim_max)
		setrlimit(RLIMIT_NOFILE, before);
}
