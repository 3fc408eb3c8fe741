// SPDX-License-Identifier: MIT
#include "base/parent.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

void end_with_parent(int parent)
{
	struct pollfd end = {.fd = parent, .events = POLLIN};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&end, 1, 0) != 0)
		_exit(1);
}
