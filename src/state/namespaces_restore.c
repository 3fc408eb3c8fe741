// SPDX-License-Identifier: MIT
/* Mount, uts and ipc namespaces at a restart: the first stub in one makes it, the others enter it.
 */
#include "state/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/mounts.h"
#include "state/users.h"
#include "task/proc.h"

static const int space_flags[N_SPACES] = {CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC};

/* Namespaces that have been made, as descriptors. */
struct made {
	int *fds[N_SPACES];
	size_t count[N_SPACES];
	int own[N_SPACES];
};

static const char made_key;

static struct made *made_of(struct restore *restore)
{
	const Snapshot *snapshot = restore->snapshot;
	struct made *made =
		kind_table_get(restore->arena, &restore->tables, &made_key, sizeof(*made));

	if (!made || made->fds[0])
		return made;
	made->count[SPACE_MOUNT] = snapshot->n_mount_namespaces;
	made->count[SPACE_UTS] = snapshot->n_uts_namespaces;
	made->count[SPACE_IPC] = snapshot->ipc_namespaces;
	for (int i = 0; i < N_SPACES; i++) {
		made->fds[i] = arena_alloc(restore->arena, (made->count[i] + 1) * sizeof(int));
		if (!made->fds[i])
			return NULL;
		for (size_t j = 0; j < made->count[i]; j++)
			made->fds[i][j] = -1;
		made->own[i] =
			proc_open(getpid(), live_links[space_links[i]], O_RDONLY | O_CLOEXEC);
	}
	return made;
}

void namespaces_end(struct restore *restore)
{
	struct made *made = made_of(restore);

	users_end(restore);
	for (int i = 0; made && i < N_SPACES; i++) {
		for (size_t j = 0; j < made->count[i]; j++)
			close_ptr(&made->fds[i][j]);
		close_ptr(&made->own[i]);
		made->fds[i] = NULL;
	}
}

int enter_namespace(struct restore *restore, struct stub *stub, int fd, int flags, const char *what)
{
	struct calls calls;
	int ret = calls_begin(&calls, &stub->hand, false, restore->err);

	if (ret < 0)
		return ret;
	/* A stub's table is empty but for the controller's pidfd: the lowest number is 0. */
	calls_must(&calls, what, SYS_pidfd_getfd, (uint64_t)restore->controller_fd, (uint64_t)fd, 0,
		0, 0, 0);
	calls_must(&calls, what, SYS_setns, 0, (uint64_t)flags, 0, 0, 0, 0);
	calls_must(&calls, what, SYS_close, 0, 0, 0, 0, 0, 0);
	ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

static int32_t made_from(const Snapshot *snapshot, int kind, int32_t index)
{
	if (kind == SPACE_MOUNT)
		return snapshot->mount_namespaces[index]->made_from;
	return kind == SPACE_UTS ? snapshot->uts_namespaces[index]->made_from : -1;
}

static int unshare_in(struct restore *restore, struct stub *stub, int kind, int32_t index)
{
	const Snapshot *snapshot = restore->snapshot;
	struct calls calls;
	int ret = calls_begin(&calls, &stub->hand, false, restore->err);

	if (ret < 0)
		return ret;
	calls_must(&calls, "cannot open a namespace", SYS_unshare, (uint64_t)space_flags[kind], 0,
		0, 0, 0, 0);
	if (kind == SPACE_UTS) {
		const UtsNamespace *uts = snapshot->uts_namespaces[index];

		calls_must(&calls, "cannot set the host name", SYS_sethostname,
			calls_text(&calls, uts->nodename), strlen(uts->nodename), 0, 0, 0, 0);
		calls_must(&calls, "cannot set the domain name", SYS_setdomainname,
			calls_text(&calls, uts->domainname), strlen(uts->domainname), 0, 0, 0, 0);
	}
	ret = calls_run(&calls);
	calls_end(&calls);
	if (ret == 0 && kind == SPACE_MOUNT)
		ret = mounts_make(restore, stub, snapshot->mount_namespaces[index]);
	return ret;
}

/* Into one that is there already, or into a new one made from the one it is based on. */
static int enter_kind(struct restore *restore, struct made *made, struct stub *stub, int kind,
	int32_t now, int32_t wanted)
{
	int32_t base;
	int ret = 0;

	if (now == wanted)
		return 0;
	if (wanted < 0 || made->fds[kind][wanted] >= 0)
		return enter_namespace(restore, stub,
			wanted < 0 ? made->own[kind] : made->fds[kind][wanted], space_flags[kind],
			"cannot enter a namespace");
	base = made_from(restore->snapshot, kind, wanted);
	if (now != base && kind != SPACE_IPC)
		ret = enter_kind(restore, made, stub, kind, now, base);
	if (ret == 0)
		ret = unshare_in(restore, stub, kind, wanted);
	if (ret < 0)
		return ret;
	made->fds[kind][wanted] =
		proc_open(stub->tid, live_links[space_links[kind]], O_RDONLY | O_CLOEXEC);
	return made->fds[kind][wanted] < 0 ? made->fds[kind][wanted] : 0;
}

static int32_t owner_in(const Snapshot *snapshot, int kind, int32_t index)
{
	if (index < 0)
		return -1;
	if (kind == SPACE_MOUNT)
		return snapshot->mount_namespaces[index]->user_namespace;
	if (kind == SPACE_UTS)
		return (int32_t)snapshot->uts_namespaces[index]->owner - 1;
	return (size_t)index < snapshot->n_ipc_owners ? (int32_t)snapshot->ipc_owners[index] - 1
						      : -1;
}

struct entering {
	struct restore *restore;
	struct made *made;
	struct stub *stub;
	int32_t now[N_SPACES], to[N_SPACES];
};

/* Those that the user namespace owns that the stub is in. mount last: what is mounted may depend on
 * the others (mqueue on ipc). */
static int enter_owned(struct entering *entering, int32_t user)
{
	const Snapshot *snapshot = entering->restore->snapshot;
	int ret = 0;

	for (int i = N_SPACES; i-- > 0 && ret == 0;) {
		if (owner_in(snapshot, i, entering->to[i]) != user)
			continue;
		ret = enter_kind(entering->restore, entering->made, entering->stub, i,
			entering->now[i], entering->to[i]);
		entering->now[i] = entering->to[i];
	}
	return ret;
}

/* Down to a user namespace, and on the way into what is owned there: once further in, nobody has
 * the right to any more. */
static int enter_user(struct entering *entering, int32_t from, int32_t user)
{
	int ret;

	if (user == from)
		return enter_owned(entering, user);
	if (user < 0)
		return fail(entering->restore->err, EOPNOTSUPP,
			"its user namespace is not below that of who makes it");
	ret = enter_user(
		entering, from, entering->restore->snapshot->user_namespaces[user]->parent);
	if (ret == 0)
		ret = users_enter(entering->restore, entering->stub, user);
	return ret == 0 ? enter_owned(entering, user) : ret;
}

int namespaces_enter(struct restore *restore, struct stub *stub, const struct stub_spaces *from)
{
	const Process *process = stub->process;
	struct entering entering = {.restore = restore,
		.made = made_of(restore),
		.stub = stub,
		.now = {from->mount, from->uts, from->ipc}};
	const int32_t to[N_SPACES] = {
		process->mount_namespace, process->uts_namespace, process->ipc_namespace};
	int ret = 0;

	if (!entering.made)
		return fail(restore->err, ENOMEM, "no memory");
	stub->spaces = *from;
	if (process->state == REPRISE__PROCESS__STATE__ZOMBIE)
		return 0;
	memcpy(entering.to, to, sizeof(to));
	/* The first stop of a new task is only waited for where there is something to do. */
	if (memcmp(entering.now, to, sizeof(to)) != 0 || process->user_namespace != from->user)
		ret = stub_ready(stub, restore->err);
	if (ret == 0)
		ret = enter_user(&entering, from->user, process->user_namespace);
	if (ret == 0 && memcmp(entering.now, to, sizeof(to)) != 0)
		ret = fail(restore->err, EOPNOTSUPP,
			"one of its namespaces belongs to a user namespace that it does not come "
			"from");
	stub->spaces = (struct stub_spaces){to[0], to[1], to[2], process->user_namespace};
	return ret < 0 ? fail(restore->err, ret, "cannot be brought into its namespaces") : 0;
}
