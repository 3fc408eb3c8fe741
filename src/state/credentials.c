// SPDX-License-Identifier: MIT
/*
 * User and group ids, capabilities, securebits and no_new_privs. They belong to each thread, and
 * are given back last: all else needs the privileges that go with them.
 */
#include "state/kinds.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/open_file.h"
#include "state/privileges.h"

#define NR_CAPABILITIES 64

struct credentials_asked {
	uint64_t uids, gids, groups;
	size_t nr_groups, fsuid, fsgid, group_count, securebits;
};

/* The ids are asked for inside: those that the thread's own user namespace gives them. */
static int credentials_ask(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls)
{
	struct credentials_asked *asked = arena_alloc(capture->arena, sizeof(*asked));

	if (!asked)
		return fail(capture->err, ENOMEM, "credentials");
	process->notes[NOTE_CREDENTIALS] = asked;
	asked->nr_groups = thread->status.nr_groups;
	asked->uids = calls_space(calls, 3 * sizeof(uint32_t));
	asked->gids = calls_space(calls, 3 * sizeof(uint32_t));
	asked->groups = calls_space(calls, (asked->nr_groups + 1) * sizeof(uint32_t));
	calls_must(calls, "user ids", SYS_getresuid, asked->uids, asked->uids + 4, asked->uids + 8,
		0, 0, 0);
	calls_must(calls, "group ids", SYS_getresgid, asked->gids, asked->gids + 4, asked->gids + 8,
		0, 0, 0);
	/* An id that does not exist changes nothing, and the result is the one that there is. */
	asked->fsuid = calls_must(calls, "user ids", SYS_setfsuid, (uint32_t)-1, 0, 0, 0, 0, 0);
	asked->fsgid = calls_must(calls, "group ids", SYS_setfsgid, (uint32_t)-1, 0, 0, 0, 0, 0);
	asked->group_count = calls_must(
		calls, "groups", SYS_getgroups, asked->nr_groups, asked->groups, 0, 0, 0, 0);
	asked->securebits =
		calls_must(calls, "securebits", SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0, 0);
	return 0;
}

static int take_ids(
	struct arena *arena, const uint32_t *three, uint32_t fs, uint32_t **ret, size_t *ret_count)
{
	*ret = arena_alloc(arena, 4 * sizeof(uint32_t));
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, three, 3 * sizeof(uint32_t));
	(*ret)[3] = fs;
	*ret_count = 4;
	return 0;
}

static int take_groups(struct arena *arena, const uint32_t *groups, size_t count, Credentials *ret)
{
	if (!count)
		return 0;
	ret->groups = arena_copy(arena, groups, count * sizeof(uint32_t));
	ret->n_groups = count;
	return ret->groups ? 0 : -ENOMEM;
}

static void take_capabilities(const struct task_status *status, Credentials *ret)
{
	ret->inheritable = status->cap_inheritable;
	ret->permitted = status->cap_permitted;
	ret->effective = status->cap_effective;
	ret->bounding = status->cap_bounding;
	ret->ambient = status->cap_ambient;
	ret->no_new_privs = status->no_new_privs;
}

static int credentials_take(struct capture *capture, struct live_process *process,
	struct live_thread *thread, struct calls *calls, Thread *ret)
{
	const struct credentials_asked *asked = process->notes[NOTE_CREDENTIALS];
	Credentials *credentials = MESSAGE_NEW(capture->arena, Credentials, credentials);
	int r;

	if (!credentials)
		return fail(capture->err, ENOMEM, "credentials");
	ret->credentials = credentials;
	r = take_ids(capture->arena, calls_view(calls, asked->uids),
		(uint32_t)calls_result(calls, asked->fsuid), &credentials->uids,
		&credentials->n_uids);
	if (r == 0)
		r = take_ids(capture->arena, calls_view(calls, asked->gids),
			(uint32_t)calls_result(calls, asked->fsgid), &credentials->gids,
			&credentials->n_gids);
	if (r == 0)
		r = take_groups(capture->arena, calls_view(calls, asked->groups),
			(size_t)calls_result(calls, asked->group_count), credentials);
	if (r < 0)
		return fail(capture->err, r, "credentials");
	take_capabilities(&thread->status, credentials);
	credentials->securebits = (uint32_t)calls_result(calls, asked->securebits);
	return 0;
}

/* ---- the controller's own, which the stubs have ---- */

bool have_capability(int capability)
{
	const uint64_t initial = 0xeffffffd; /* PROC_USER_INIT_INO */
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	/* What the kernel asks for in the initial user namespace only. */
	if (capability == CAP_SYS_RESOURCE && proc_inode(getpid(), "ns/user") != initial)
		return false;
	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

int own_credentials(struct arena *arena, Credentials **ret, struct reprise_error *err)
{
	Credentials *own = MESSAGE_NEW(arena, Credentials, credentials);
	struct task_status status;
	char task[16];
	int r;

	if (!own)
		return fail(err, ENOMEM, "credentials");
	snprintf(task, sizeof(task), "%d", (int)syscall(SYS_gettid));
	r = proc_status(arena, task, false, &status, err);
	if (r < 0)
		return r;
	r = take_ids(arena, status.uids, status.uids[3], &own->uids, &own->n_uids);
	if (r == 0)
		r = take_ids(arena, status.gids, status.gids[3], &own->gids, &own->n_gids);
	if (r == 0)
		r = take_groups(arena, status.groups, status.nr_groups, own);
	if (r < 0)
		return fail(err, r, "credentials");
	take_capabilities(&status, own);
	own->securebits = (uint32_t)prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	*ret = own;
	return 0;
}

static const Credentials *stub_credentials(struct restore *restore)
{
	static const char key;
	Credentials **own = kind_table_get(restore->arena, &restore->tables, &key, sizeof(*own));

	if (own && !*own && own_credentials(restore->arena, own, restore->err) < 0)
		return NULL;
	return own ? *own : NULL;
}

/* Capabilities in the initial user namespace, or the caller's, can only be given up. */
static int check_thread(struct restore *restore, const Credentials *own, const Credentials *wanted)
{
	uint64_t missing;

	if (!wanted)
		return 0;
	missing = (wanted->permitted & ~own->permitted) |
		  ((wanted->inheritable | wanted->bounding) & ~own->bounding);
	for (int i = 0; i < NR_CAPABILITIES; i++)
		if (missing >> i & 1)
			return fail(restore->err, EPERM,
				"a thread has the capability %d, which this program cannot give",
				i);
	if (own->no_new_privs && !wanted->no_new_privs)
		return fail(restore->err, EPERM, "this program itself runs with no_new_privs");
	return 0;
}

static int credentials_check(struct restore *restore)
{
	const Credentials *own = stub_credentials(restore);

	if (!own)
		return fail(restore->err, ENOMEM, "credentials");
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Process *process = restore->snapshot->processes[i];

		for (size_t j = 0; process->user_namespace < 0 && j < process->n_threads; j++) {
			int r = check_thread(restore, own, process->threads[j]->credentials);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- restart ---- */

static bool same_list(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
	return na == nb && (!na || !memcmp(a, b, na * sizeof(*a)));
}

/* groups: they may be set. Where that is denied they have come from outside. */
static void restore_ids(
	struct calls *calls, const Credentials *wanted, const Credentials *own, bool groups)
{
	const uint32_t *u = wanted->uids, *g = wanted->gids;

	if (groups &&
		(!own || !same_list(wanted->groups, wanted->n_groups, own->groups, own->n_groups)))
		calls_must(calls, "groups", SYS_setgroups, wanted->n_groups,
			calls_data(calls, wanted->groups, wanted->n_groups * sizeof(uint32_t)), 0,
			0, 0, 0);
	if (!own || !same_list(g, 4, own->gids, 4)) {
		calls_must(calls, "group ids", SYS_setresgid, g[0], g[1], g[2], 0, 0, 0);
		calls_must(calls, "group ids", SYS_setfsgid, g[3], 0, 0, 0, 0, 0);
	}
	if (!own || !same_list(u, 4, own->uids, 4)) {
		/* So that no capability goes with the ids: the sets are set as they have to be. */
		calls_must(calls, "securebits", SYS_prctl, PR_SET_SECUREBITS,
			SECBIT_NO_SETUID_FIXUP, 0, 0, 0, 0);
		calls_must(calls, "user ids", SYS_setresuid, u[0], u[1], u[2], 0, 0, 0);
		calls_must(calls, "user ids", SYS_setfsuid, u[3], 0, 0, 0, 0, 0);
	}
}

static void set_capabilities(
	struct calls *calls, uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
			(uint32_t)(inheritable >> 32)},
	};

	calls_must(calls, "capabilities", SYS_capset, calls_data(calls, &header, sizeof(header)),
		calls_data(calls, data, sizeof(data)), 0, 0, 0, 0);
}

/*
 * Inheritable ones first, while the bounding set still allows them; ambient ones are raised before
 * securebits can forbid it; permitted and effective ones go last, since all before needs
 * CAP_SETPCAP.
 */
static void restore_capabilities(struct calls *calls, const Credentials *wanted,
	const Credentials *own, uint64_t all, bool ids_changed)
{
	uint64_t bounding = own ? own->bounding : all;
	bool sets_differ = !own || wanted->inheritable != own->inheritable ||
			   wanted->permitted != own->permitted ||
			   wanted->effective != own->effective;

	if (wanted->inheritable || sets_differ)
		set_capabilities(calls, all, all, wanted->inheritable);
	for (int i = 0; i < NR_CAPABILITIES; i++) {
		if ((bounding & ~wanted->bounding) >> i & 1)
			calls_must(
				calls, "bounding set", SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0, 0);
		if (wanted->ambient >> i & 1)
			calls_must(calls, "ambient capabilities", SYS_prctl, PR_CAP_AMBIENT,
				PR_CAP_AMBIENT_RAISE, i, 0, 0, 0);
	}
	if (ids_changed || !own || wanted->securebits != own->securebits)
		calls_must(calls, "securebits", SYS_prctl, PR_SET_SECUREBITS, wanted->securebits, 0,
			0, 0, 0);
	if (sets_differ)
		set_capabilities(calls, wanted->effective, wanted->permitted, wanted->inheritable);
}

static uint64_t all_capabilities(void)
{
	int last = 0;

	while (last < NR_CAPABILITIES && prctl(PR_CAPBSET_READ, last, 0, 0, 0) >= 0)
		last++;
	return last == NR_CAPABILITIES ? ~0ull : (1ull << last) - 1;
}

static int credentials_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Credentials *wanted = stub->thread->credentials;
	const Credentials *own = stub_credentials(restore);
	int32_t user = stub->process->user_namespace;
	uint64_t all;
	bool uids_differ;

	if (!own)
		return fail(restore->err, ENOMEM, "credentials");
	if (wanted && (wanted->n_uids != 4 || wanted->n_gids != 4))
		return fail(restore->err, EBADMSG, "credentials");
	if (wanted) {
		/* In a user namespace of its own a stub has every capability. */
		all = user >= 0 ? all_capabilities() : own->permitted;
		if (user >= 0)
			own = NULL;
		uids_differ = !own || !same_list(wanted->uids, 4, own->uids, 4);
		if (calls_reserve(calls, 16 + 2 * NR_CAPABILITIES,
			    256 + wanted->n_groups * sizeof(uint32_t)))
			return calls->failed;
		restore_ids(calls, wanted, own,
			user < 0 || !restore->snapshot->user_namespaces[user]->setgroups_denied);
		restore_capabilities(calls, wanted, own, all, uids_differ);
		if (wanted->no_new_privs && !(own && own->no_new_privs))
			calls_must(calls, "no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0,
				0, 0);
	}
	return 0;
}

const struct state_kind credentials_kind = {
	.name = "credentials",
	.ask_thread = credentials_ask,
	.take_thread = credentials_take,
	.check = credentials_check,
	.restore_thread = credentials_restore,
};
