// SPDX-License-Identifier: MIT
/* Stubs on their way into user namespaces. */
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/id_map.h"
#include "state/privileges.h"
#include "state/pull.h"
#include "state/users_twins.h"
#include "task/proc.h"

static uint32_t first_id(const char *text)
{
	struct id_map map;
	uint32_t id = 0;

	if (id_map_parse(text, &map) < 0 || !map.count)
		return 0;
	id = map.extents[0].first;
	for (size_t i = 1; i < map.count; i++)
		if (map.extents[i].first < id)
			id = map.extents[i].first;
	return id;
}

/* The effective user of a stub, in the ids of the user namespace it is in. */
static uint32_t user_of_stub(const Snapshot *snapshot, int32_t user)
{
	return user < 0 ? geteuid() : first_id(snapshot->user_namespaces[user]->uid_map);
}

static int make(struct restore *restore, struct twins *twins, int32_t user)
{
	const UserNamespace *space = restore->snapshot->user_namespaces[user];
	const struct twin_order order = {
		.parent_fd = space->parent < 0 ? -1 : twins->list[space->parent].ns_fd,
		.enter_fd = -1,
		.owner = space->owner_uid,
	};
	struct twin *twin = &twins->list[user];
	int ret = twin_start(twins, user, &order);

	if (ret == 0)
		ret = twin_wait(twins, user);
	if (ret < 0)
		return fail(restore->err, ret,
			"a user namespace of user %u cannot be made by this program",
			space->owner_uid);
	twin->ns_fd = proc_open(twin->pid, "ns/user", O_RDONLY | O_CLOEXEC);
	if (twin->ns_fd < 0)
		return fail(restore->err, twin->ns_fd, "cannot open a new user namespace");
	return twins_write_maps(restore, twins, user, twin->pid);
}

static const Process *init_of(const Snapshot *snapshot, size_t space)
{
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];
		const Thread *leader = process->threads[0];

		if (process->pid_namespace == space && leader->pids[leader->n_pids - 1] == 1)
			return process;
	}
	return NULL;
}

/* A pid namespace has to be made from the user namespace that owns it, or together with that. */
static int check_owner(struct restore *restore, size_t index)
{
	const Snapshot *snapshot = restore->snapshot;
	const PidNamespace *space = snapshot->pid_namespaces[index];
	const Process *init = init_of(snapshot, index);
	int32_t from = users_of_nursery(snapshot);

	if (!init || init->state == REPRISE__PROCESS__STATE__ZOMBIE)
		return 0;
	if (init->parent >= 0)
		from = snapshot->processes[init->parent]->user_namespace;
	if (from == space->user_namespace)
		return 0;
	for (size_t i = 1; i < index && space->user_namespace >= 0; i++)
		if (snapshot->pid_namespaces[i]->user_namespace == space->user_namespace)
			from = -2; /* that one has been made, or will be */
	if (init->user_namespace == space->user_namespace && space->user_namespace >= 0 &&
		snapshot->user_namespaces[space->user_namespace]->parent == from)
		return 0;
	return fail(restore->err, EOPNOTSUPP,
		"a pid namespace belongs to a user namespace that its first task and that one's "
		"parent do not come from");
}

/* What is made in the controller's own user namespace takes its capabilities there. */
static int check_rights(struct restore *restore)
{
	const Snapshot *snapshot = restore->snapshot;
	bool admin = have_capability(CAP_SYS_ADMIN), spaces = false;

	for (size_t i = 1; i < snapshot->n_pid_namespaces; i++)
		spaces |= snapshot->pid_namespaces[i]->user_namespace < 0;
	for (size_t i = 0; i < snapshot->n_mount_namespaces; i++)
		spaces |= snapshot->mount_namespaces[i]->user_namespace < 0;
	for (size_t i = 0; i < snapshot->n_uts_namespaces; i++)
		spaces |= !snapshot->uts_namespaces[i]->owner;
	spaces |= snapshot->ipc_namespaces > snapshot->n_ipc_owners;
	for (size_t i = 0; i < snapshot->n_ipc_owners; i++)
		spaces |= !snapshot->ipc_owners[i];
	if (admin)
		return 0;
	if (spaces)
		return fail(restore->err, EPERM,
			"namespaces outside of a user namespace of the tree take CAP_SYS_ADMIN");
	if (users_of_nursery(snapshot) >= 0)
		return 0;
	if (!have_capability(CAP_CHECKPOINT_RESTORE))
		return fail(restore->err, EPERM,
			"choosing pids outside of a user namespace of the tree takes "
			"CAP_CHECKPOINT_RESTORE");
	if (!restore->host_clocks)
		return fail(restore->err, EPERM,
			"clocks that go on (a time namespace) take CAP_SYS_ADMIN; --host-clocks "
			"leaves them as the host has them");
	return 0;
}

int users_check(struct restore *restore)
{
	const Snapshot *snapshot = restore->snapshot;
	struct twins *twins = twins_of(restore);
	int ret = 0;

	if (!twins)
		return fail(restore->err, ENOMEM, "no memory for user namespaces");
	ret = check_rights(restore);
	for (size_t i = 0; i < twins->count && ret == 0; i++)
		if (!twins->list[i].pid)
			ret = make(restore, twins, (int32_t)i);
	for (size_t i = 1; twins->count && i < snapshot->n_pid_namespaces && ret == 0; i++)
		ret = check_owner(restore, i);
	return ret;
}

int32_t users_of_nursery(const Snapshot *snapshot)
{
	size_t space = snapshot->processes[0]->pid_namespace;

	if (!space)
		return -1;
	while (snapshot->pid_namespaces[space]->parent > 0)
		space = (size_t)snapshot->pid_namespaces[space]->parent;
	return snapshot->pid_namespaces[space]->user_namespace;
}

bool users_cover(const Snapshot *snapshot, int32_t user, int32_t owner)
{
	while (owner >= 0 && owner != user)
		owner = snapshot->user_namespaces[owner]->parent;
	return owner == user;
}

/* ---- stubs ---- */

/* In its user namespace a stub is the first user there is: whose files it makes are known there. */
static void become_first(struct calls *calls, const UserNamespace *space)
{
	uint32_t uid = first_id(space->uid_map), gid = first_id(space->gid_map);

	calls_must(calls, "group ids", SYS_setresgid, gid, gid, gid, 0, 0, 0);
	calls_must(calls, "user ids", SYS_setresuid, uid, uid, uid, 0, 0, 0);
	calls_must(calls, "dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
}

/* It may be denied here as well: then the groups are what they are. */
static bool may_set_groups(void)
{
	_cleanup_close_ int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);
	char word[8] = "";

	return have_capability(CAP_SETGID) &&
	       (fd < 0 || read(fd, word, sizeof(word) - 1) < 4 || strncmp(word, "deny", 4) != 0);
}

/* Groups cannot be chosen inside where that is denied: they come from outside. */
static void bring_groups(struct calls *calls, const UserNamespace *space)
{
	if (space->setgroups_denied && space->parent < 0 && may_set_groups())
		calls_must(calls, "groups", SYS_setgroups, space->n_groups,
			calls_data(calls, space->groups, space->n_groups * sizeof(uint32_t)), 0, 0,
			0, 0);
}

/* The working directory may be one that only those outside can enter: it is taken along. Where it
 * is not there yet, place.c finds it later. */
static void go_to_place(struct restore *restore, struct calls *calls, const struct stub *stub)
{
	const Place *place = stub->process ? stub->process->place : NULL;
	const File *cwd = place && place->root < 0 ? restore->snapshot->files[place->cwd] : NULL;

	if (cwd && !cwd->deleted)
		calls_may(calls, SYS_chdir, calls_text(calls, cwd->path), 0, 0, 0, 0, 0);
}

int users_enter(struct restore *restore, struct stub *stub, int32_t user)
{
	static const char what[] = "cannot enter its user namespace";
	const UserNamespace *space = restore->snapshot->user_namespaces[user];
	struct twins *twins = twins_of(restore);
	struct calls calls;
	uint64_t ns, twin;
	size_t ns_call, twin_call;
	int ret;

	if (!twins || twins->list[user].ns_fd < 0)
		return fail(restore->err, ENOENT, what);
	ret = calls_begin(&calls, &stub->hand, false, restore->err);
	if (ret < 0)
		return ret;
	go_to_place(restore, &calls, stub);
	bring_groups(&calls, space);
	ns_call = pull(restore, &calls, twins->list[user].ns_fd, what);
	twin_call = pull(restore, &calls, twins->list[user].pidfd, what);
	ret = calls_run(&calls);
	ns = (uint64_t)calls_result(&calls, ns_call);
	twin = (uint64_t)calls_result(&calls, twin_call);
	if (ret == 0) {
		calls_must(&calls, what, SYS_setns, ns, CLONE_NEWUSER, 0, 0, 0, 0);
		calls_must(&calls, what, SYS_dup3, twin, (uint64_t)restore->controller_fd,
			O_CLOEXEC, 0, 0, 0);
		calls_must(&calls, what, SYS_close, ns, 0, 0, 0, 0, 0);
		calls_must(&calls, what, SYS_close, twin, 0, 0, 0, 0, 0);
		become_first(&calls, space);
		ret = calls_run(&calls);
	}
	calls_end(&calls);
	return ret;
}

/* The effective user for a moment, without a change of capabilities. */
static void change_user(struct calls *calls, uint32_t to, bool back)
{
	if (!back)
		calls_must(calls, "securebits", SYS_prctl, PR_SET_SECUREBITS,
			SECBIT_NO_SETUID_FIXUP, 0, 0, 0, 0);
	calls_must(calls, "user ids", SYS_setresuid, USER_UNCHANGED, to, USER_UNCHANGED, 0, 0, 0);
	if (back)
		calls_must(calls, "securebits", SYS_prctl, PR_SET_SECUREBITS, 0, 0, 0, 0, 0);
	calls_must(calls, "dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
}

int users_birth_begin(struct restore *restore, struct stub *actor, const struct stub *child,
	int32_t user, struct users_birth *ret)
{
	static const char what[] = "cannot hand over a descriptor";
	const UserNamespace *space = restore->snapshot->user_namespaces[user];
	const struct twin_order order = {.parent_fd = -1, .enter_fd = -2, .owner = USER_UNCHANGED};
	struct twins *twins = twins_of(restore);
	struct calls calls;
	size_t call;
	int result;

	if (!twins)
		return fail(restore->err, ENOMEM, "no memory for user namespaces");
	*ret = (struct users_birth){.user = user,
		.other_owner =
			space->owner_uid != user_of_stub(restore->snapshot, actor->spaces.user)};
	/* The one that showed that it can be made has done its work. */
	twin_end(&twins->list[user]);
	result = twin_start(twins, user, &order);
	if (result < 0)
		return fail(restore->err, result, "a helper");
	result = calls_begin(&calls, &actor->hand, false, restore->err);
	if (result < 0)
		return result;
	go_to_place(restore, &calls, child);
	bring_groups(&calls, space);
	if (ret->other_owner)
		change_user(&calls, space->owner_uid, false);
	call = pull(restore, &calls, twins->list[user].pidfd, what);
	result = calls_run(&calls);
	ret->number = (int)calls_result(&calls, call);
	calls_end(&calls);
	return result;
}

/* The actor's own, which are those of this program as long as it has no state. */
static void bring_back_groups(struct calls *calls, const UserNamespace *space)
{
	gid_t groups[256];
	int count = getgroups(ARRAY_SIZE(groups), groups);

	if (space->setgroups_denied && space->parent < 0 && may_set_groups() && count >= 0)
		calls_must(calls, "groups", SYS_setgroups, (uint64_t)count,
			calls_data(calls, groups, (size_t)count * sizeof(*groups)), 0, 0, 0, 0);
}

static int in_actor_again(
	struct restore *restore, struct stub *actor, const struct users_birth *birth)
{
	struct calls calls;
	int ret = calls_begin(&calls, &actor->hand, false, restore->err);

	if (ret < 0)
		return ret;
	if (birth->other_owner)
		change_user(&calls, user_of_stub(restore->snapshot, actor->spaces.user), true);
	bring_back_groups(&calls, restore->snapshot->user_namespaces[birth->user]);
	go_to_place(restore, &calls, actor);
	calls_must(&calls, "a descriptor", SYS_close, (uint64_t)birth->number, 0, 0, 0, 0, 0);
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

static int in_child(struct restore *restore, struct stub *child, const struct users_birth *birth)
{
	struct calls calls;
	int ret = calls_begin(&calls, &child->hand, false, restore->err);

	if (ret < 0)
		return ret;
	calls_must(&calls, "a descriptor", SYS_dup3, (uint64_t)birth->number,
		(uint64_t)restore->controller_fd, O_CLOEXEC, 0, 0, 0);
	calls_must(&calls, "a descriptor", SYS_close, (uint64_t)birth->number, 0, 0, 0, 0, 0);
	become_first(&calls, restore->snapshot->user_namespaces[birth->user]);
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

int users_birth_end(struct restore *restore, struct stub *actor, struct stub *child,
	const struct users_birth *birth)
{
	struct twins *twins = twins_of(restore);
	struct twin *twin = &twins->list[birth->user];
	int ret;

	twin->ns_fd = proc_open(child->tid, "ns/user", O_RDONLY | O_CLOEXEC);
	if (twin->ns_fd < 0)
		return fail(restore->err, twin->ns_fd, "cannot open a new user namespace");
	__atomic_store_n(&twins->orders[birth->user].enter_fd, twin->ns_fd, __ATOMIC_RELEASE);
	ret = twin_wait(twins, birth->user);
	if (ret < 0)
		return fail(restore->err, ret, "cannot enter a new user namespace");
	ret = twins_write_maps(restore, twins, birth->user, child->tid);
	if (ret == 0)
		ret = in_actor_again(restore, actor, birth);
	if (ret == 0)
		ret = stub_ready(child, restore->err);
	return ret == 0 ? in_child(restore, child, birth) : ret;
}
