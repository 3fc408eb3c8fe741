/* SPDX-License-Identifier: MIT */
/* Which mount, uts and ipc namespaces processes are in; mounts.c says what is in the first. */
#include "state/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/ipc.h"
#include "state/kinds.h"
#include "state/mounts.h"
#include "task/proc.h"

enum { SPACE_MOUNT, SPACE_UTS, SPACE_IPC, N_SPACES };

static const char *const space_links[N_SPACES] = {"ns/mnt", "ns/uts", "ns/ipc"};

/* Those that a task has to share with the controller. */
enum { N_REFUSED = 3 };
static const struct {
	const char *link, *what;
} refused[N_REFUSED] = {{"ns/net", "network"}, {"ns/cgroup", "cgroup"}, {"ns/user", "user"}};
static const int space_flags[N_SPACES] = {CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC};

/* A namespace of the tree that is not the controller's. */
struct space {
	uint64_t inode;
	pid_t task;	 /* one that is in it */
	pid_t base_task; /* the nearest ancestor that is not; 0: outside the tree */
	int32_t base;
};

struct spaces {
	uint64_t own[N_SPACES];
	uint64_t own_refused[N_REFUSED];
	struct space *found[N_SPACES];
	size_t count[N_SPACES];
	const struct live_tree *tree; /* that found belongs to: each survey has its own */
};

struct spaces_note {
	int32_t index[N_SPACES]; /* -1: the controller's */
	uint64_t uname;		 /* where the task writes it; 0: not asked */
	bool first[N_SPACES];
};

static const char spaces_key;

static struct spaces *spaces_of(struct capture *capture)
{
	struct spaces *spaces =
		kind_table_get(capture->arena, &capture->tables, &spaces_key, sizeof(*spaces));

	if (!spaces || spaces->tree == capture->tree)
		return spaces;
	memset(spaces, 0, sizeof(*spaces));
	spaces->tree = capture->tree;
	for (int i = 0; i < N_SPACES; i++)
		spaces->own[i] = proc_inode(getpid(), space_links[i]);
	for (int i = 0; i < N_REFUSED; i++)
		spaces->own_refused[i] = proc_inode(getpid(), refused[i].link);
	return spaces;
}

static uint64_t inode_of(const struct live_process *process, int kind)
{
	pid_t tid = live_tid(process);

	return tid ? proc_inode(tid, space_links[kind]) : 0;
}

static struct spaces_note *note_of(const struct live_process *process)
{
	return process->notes[NOTE_MOUNTS];
}

/* The nearest ancestor in another namespace is where this one was made from. */
static void find_base(struct spaces *spaces, struct live_process *process, int kind, int32_t index,
	struct space *ret)
{
	ret->base = -1;
	for (struct live_process *up = process->parent; up; up = up->parent) {
		const struct spaces_note *note = note_of(up);

		if (!note || note->index[kind] == index)
			continue;
		ret->base = note->index[kind];
		ret->base_task = ret->base < 0 ? 0 : spaces->found[kind][ret->base].task;
		return;
	}
}

static int find_space(struct capture *capture, struct spaces *spaces, struct live_process *process,
	int kind, struct spaces_note *note)
{
	uint64_t inode = inode_of(process, kind);
	size_t count = spaces->count[kind];
	struct space *space;

	note->index[kind] = -1;
	if (!inode || inode == spaces->own[kind])
		return 0;
	for (size_t i = 0; i < count; i++)
		if (spaces->found[kind][i].inode == inode) {
			note->index[kind] = (int32_t)i;
			return 0;
		}
	if ((count & (count - 1)) == 0) {
		space = arena_alloc(capture->arena, (count ? count * 2 : 1) * sizeof(*space));
		if (!space)
			return -ENOMEM;
		if (count)
			memcpy(space, spaces->found[kind], count * sizeof(*space));
		spaces->found[kind] = space;
	}
	space = &spaces->found[kind][count];
	*space = (struct space){.inode = inode, .task = live_tid(process)};
	note->index[kind] = (int32_t)count;
	note->first[kind] = true;
	spaces->count[kind]++;
	find_base(spaces, process, kind, (int32_t)count, space);
	return 0;
}

static void refuse_others(
	struct capture *capture, const struct spaces *spaces, struct live_process *process)
{
	pid_t tid = live_tid(process);

	for (int i = 0; i < N_REFUSED && tid; i++) {
		uint64_t inode = proc_inode(tid, refused[i].link);

		if (inode && inode != spaces->own_refused[i])
			refuse(capture->refusals, process, "it is in a %s namespace of its own",
				refused[i].what);
	}
}

static int namespaces_survey(struct capture *capture, struct live_process *process)
{
	struct spaces *spaces = spaces_of(capture);
	struct spaces_note *note = arena_alloc(capture->arena, sizeof(*note));
	const struct space *space;
	int ret = 0;

	if (!spaces || !note)
		return fail(capture->err, ENOMEM, "no memory");
	if (process->zombie)
		return 0;
	process->notes[NOTE_MOUNTS] = note;
	for (int i = 0; i < N_SPACES && ret == 0; i++)
		ret = find_space(capture, spaces, process, i, note);
	if (ret < 0)
		return fail(capture->err, ret, "no memory");
	refuse_others(capture, spaces, process);
	if (note->first[SPACE_IPC])
		ret = ipc_survey(capture, process, live_tid(process));
	if (ret == 0 && note->first[SPACE_MOUNT]) {
		space = &spaces->found[SPACE_MOUNT][note->index[SPACE_MOUNT]];
		ret = mounts_survey(capture, process, space->task, space->base_task);
	}
	return ret;
}

static int namespaces_ask(
	struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct spaces_note *note = note_of(process);

	if (!note || !note->first[SPACE_UTS])
		return 0;
	note->uname = calls_space(calls, sizeof(struct utsname));
	calls_must(calls, "cannot read its host name", SYS_uname, note->uname, 0, 0, 0, 0, 0);
	return 0;
}

static int take_uts(struct capture *capture, struct calls *calls, const struct spaces_note *note,
	const struct space *space)
{
	const struct utsname *name = calls_view(calls, note->uname);
	UtsNamespace *uts = MESSAGE_NEW(capture->arena, UtsNamespace, uts_namespace);

	if (!uts)
		return -ENOMEM;
	uts->nodename = arena_printf(capture->arena, "%.64s", name->nodename);
	uts->domainname = arena_printf(capture->arena, "%.64s", name->domainname);
	uts->inode = space->inode;
	uts->made_from = space->base;
	if (!uts->nodename || !uts->domainname)
		return -ENOMEM;
	return MESSAGE_ADD(capture->arena, capture->snapshot, uts_namespaces, uts);
}

static int take_mounts(struct capture *capture, const struct space *space)
{
	MountNamespace *mounts = MESSAGE_NEW(capture->arena, MountNamespace, mount_namespace);
	int ret;

	if (!mounts)
		return -ENOMEM;
	mounts->inode = space->inode;
	mounts->user_namespace = -1;
	ret = mounts_take(capture, space->task, space->base_task, space->base, mounts);
	return ret == 0 ? MESSAGE_ADD(capture->arena, capture->snapshot, mount_namespaces, mounts)
			: ret;
}

static int namespaces_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct spaces_note *note = note_of(process);
	struct spaces *spaces = spaces_of(capture);
	int result = 0;

	ret->mount_namespace = ret->uts_namespace = ret->ipc_namespace = -1;
	ret->user_namespace = -1;
	if (!note || !spaces)
		return 0;
	ret->mount_namespace = note->index[SPACE_MOUNT];
	ret->uts_namespace = note->index[SPACE_UTS];
	ret->ipc_namespace = note->index[SPACE_IPC];
	if (note->first[SPACE_UTS])
		result = take_uts(
			capture, calls, note, &spaces->found[SPACE_UTS][note->index[SPACE_UTS]]);
	if (result == 0 && note->first[SPACE_MOUNT])
		result =
			take_mounts(capture, &spaces->found[SPACE_MOUNT][note->index[SPACE_MOUNT]]);
	if (note->first[SPACE_IPC])
		capture->snapshot->ipc_namespaces++;
	return result < 0 ? fail(capture->err, result, "its namespaces") : 0;
}

/* ---- restart ---- */

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
		made->own[i] = proc_open(getpid(), space_links[i], O_RDONLY | O_CLOEXEC);
	}
	return made;
}

static void namespaces_end(struct restore *restore)
{
	struct made *made = made_of(restore);

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
	made->fds[kind][wanted] = proc_open(stub->tid, space_links[kind], O_RDONLY | O_CLOEXEC);
	return made->fds[kind][wanted] < 0 ? made->fds[kind][wanted] : 0;
}

int namespaces_enter(struct restore *restore, struct stub *stub, struct stub *creator)
{
	const Process *process = stub->process;
	const struct stub_spaces *now = creator ? &creator->spaces : NULL;
	struct made *made = made_of(restore);
	int32_t from[N_SPACES] = {-1, -1, -1};
	const int32_t to[N_SPACES] = {
		process->mount_namespace, process->uts_namespace, process->ipc_namespace};
	int ret = 0;

	if (!made)
		return fail(restore->err, ENOMEM, "no memory");
	if (now) {
		from[SPACE_MOUNT] = now->mount;
		from[SPACE_UTS] = now->uts;
		from[SPACE_IPC] = now->ipc;
	}
	if (process->state == REPRISE__PROCESS__STATE__ZOMBIE) {
		stub->spaces = (struct stub_spaces){from[0], from[1], from[2]};
		return 0;
	}
	/* The first stop of a new task is only waited for where there is something to do. */
	if (memcmp(from, to, sizeof(from)) != 0)
		ret = stub_ready(stub, restore->err);
	/* mount last: what is mounted may depend on the others (mqueue on ipc). */
	for (int i = N_SPACES; i-- > 0 && ret == 0;)
		ret = enter_kind(restore, made, stub, i, from[i], to[i]);
	stub->spaces = (struct stub_spaces){to[0], to[1], to[2]};
	return ret < 0 ? fail(restore->err, ret, "cannot be brought into its namespaces") : 0;
}

const struct state_kind namespaces_kind = {
	.name = "namespaces",
	.survey = namespaces_survey,
	.ask = namespaces_ask,
	.take = namespaces_take,
	.end = namespaces_end,
};
