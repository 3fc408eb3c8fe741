// SPDX-License-Identifier: MIT
/*
 * Resource limits. They are asked for and set from inside: prlimit(2) on a task of another user
 * needs CAP_SYS_RESOURCE.
 */
#include "state/kinds.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "state/privileges.h"

static const char *const limit_names[RLIM_NLIMITS] = {"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA",
	"RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
	"RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};

static int limits_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	uint64_t *address = arena_alloc(capture->arena, sizeof(*address));

	if (!address)
		return fail(capture->err, ENOMEM, "limits");
	process->notes[NOTE_LIMITS] = address;
	*address = calls_space(calls, RLIM_NLIMITS * sizeof(struct rlimit));
	for (int i = 0; i < RLIM_NLIMITS; i++)
		calls_must(calls, limit_names[i], SYS_prlimit64, 0, i, 0,
			*address + i * sizeof(struct rlimit), 0, 0);
	return 0;
}

static int limits_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const uint64_t *address = process->notes[NOTE_LIMITS];
	const struct rlimit *asked = calls_view(calls, *address);
	Limits *limits = MESSAGE_NEW(capture->arena, Limits, limits);

	if (!limits)
		return fail(capture->err, ENOMEM, "limits");
	limits->soft = arena_alloc(capture->arena, RLIM_NLIMITS * sizeof(uint64_t));
	limits->hard = arena_alloc(capture->arena, RLIM_NLIMITS * sizeof(uint64_t));
	if (!limits->soft || !limits->hard)
		return fail(capture->err, ENOMEM, "limits");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		limits->soft[i] = asked[i].rlim_cur;
		limits->hard[i] = asked[i].rlim_max;
	}
	limits->n_soft = limits->n_hard = RLIM_NLIMITS;
	ret->limits = limits;
	return 0;
}

static int limits_check(struct restore *restore)
{
	if (have_capability(CAP_SYS_RESOURCE))
		return 0;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit own;

		if (getrlimit((__rlimit_resource_t)i, &own) < 0)
			continue;
		for (size_t p = 0; p < restore->snapshot->n_processes; p++) {
			const Limits *limits = restore->snapshot->processes[p]->limits;

			if (!limits || (size_t)i >= limits->n_hard ||
				limits->hard[i] <= own.rlim_max)
				continue;
			return fail(restore->err, EPERM,
				"the hard %s of a process is above this program's, which needs "
				"CAP_SYS_RESOURCE to raise it",
				limit_names[i]);
		}
	}
	return 0;
}

/* This program's limits, which its stubs have too: read once. */
struct own_limits {
	bool known;
	struct rlimit limits[RLIM_NLIMITS];
};

static const char own_key;

static const struct own_limits *own_limits(struct restore *restore)
{
	struct own_limits *own =
		kind_table_get(restore->arena, &restore->tables, &own_key, sizeof(*own));

	if (!own || own->known)
		return own;
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &own->limits[i]) < 0)
			return NULL;
	own->known = true;
	return own;
}

static int limits_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Limits *limits = stub->process->limits;
	const struct own_limits *own = own_limits(restore);

	if (!own)
		return fail(restore->err, ENOMEM, "limits");
	for (size_t i = 0; limits && i < limits->n_soft && i < RLIM_NLIMITS; i++) {
		struct rlimit value = {limits->soft[i], limits->hard[i]};

		/* Stubs may have more descriptors than this program. */
		if (i != RLIMIT_NOFILE && own->limits[i].rlim_cur == value.rlim_cur &&
			own->limits[i].rlim_max == value.rlim_max)
			continue;
		if (calls_reserve(calls, 1, sizeof(value)))
			return calls->failed;
		calls_must(calls, limit_names[i], SYS_prlimit64, 0, i,
			calls_data(calls, &value, sizeof(value)), 0, 0, 0);
	}
	return 0;
}

const struct state_kind limits_kind = {
	.name = "limits",
	.ask = limits_ask,
	.take = limits_take,
	.check = limits_check,
	.restore = limits_restore,
};
