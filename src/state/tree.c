// SPDX-License-Identifier: MIT
/*
 * The tree: pids, pid namespaces, parents, sessions, groups, zombies. Restart has it from the plan;
 * nothing of it is restored here.
 */
#include "state/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/nsfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "state/kinds.h"
#include "state/users.h"

#define NUMBER_SIZE 24

/* ---- pid namespaces ---- */

static int add_namespace(struct capture *capture, uint64_t inode, int parent, int owner)
{
	Snapshot *snapshot = capture->snapshot;
	PidNamespace *ns = MESSAGE_NEW(capture->arena, PidNamespace, pid_namespace);

	if (!ns || MESSAGE_ADD(capture->arena, snapshot, pid_namespaces, ns) < 0)
		return fail(capture->err, ENOMEM, "no memory for pid namespaces");
	ns->inode = inode;
	ns->parent = parent;
	ns->level = parent < 0 ? 0 : snapshot->pid_namespaces[parent]->level + 1;
	ns->user_namespace = owner;
	return (int)snapshot->n_pid_namespaces - 1;
}

static int known_namespace(const Snapshot *snapshot, uint64_t inode)
{
	/* A process is often in the namespace of the one before. */
	for (size_t i = snapshot->n_pid_namespaces; i-- > 0;)
		if (snapshot->pid_namespaces[i]->inode == inode)
			return (int)i;
	return -1;
}

/* The index of a namespace, with all above it, up to the controller's. Consumes fd. */
static int namespace_of_fd(struct capture *capture, int fd)
{
	_cleanup_close_ int own = fd;
	struct stat st;
	int index, parent, owner;

	if (fstat(fd, &st) < 0)
		return fail(capture->err, errno, "cannot read a pid namespace");
	index = known_namespace(capture->snapshot, st.st_ino);
	if (index >= 0)
		return index;
	fd = ioctl(own, NS_GET_PARENT);
	if (fd < 0)
		return fail(capture->err, errno, "a pid namespace that is not below this one");
	parent = namespace_of_fd(capture, fd);
	owner = parent < 0 ? -1 : users_take_owner(capture, own);
	if (parent < 0 || owner < -1)
		return parent < 0 ? parent : owner;
	return add_namespace(capture, st.st_ino, parent, owner);
}

static int namespace_of(struct capture *capture, struct live_process *process)
{
	uint64_t inode;
	int fd, index;

	if (process->threads[0].status.nr_levels == 1)
		return 0;
	inode = live_namespace(process, LIVE_PID);
	index = inode ? known_namespace(capture->snapshot, inode) : -1;
	if (index >= 0)
		return index;
	fd = proc_open(process->pid, "ns/pid", O_RDONLY);
	if (fd < 0)
		return fail(capture->err, fd, "cannot read its pid namespace");
	return namespace_of_fd(capture, fd);
}

/* unshare(CLONE_NEWPID) or setns: the next child of that thread goes elsewhere. */
static int children_namespace_of(
	struct capture *capture, struct live_process *process, pid_t tid, int own)
{
	uint64_t inode = tid == live_tid(process)
				 ? live_namespace(process, LIVE_PID_FOR_CHILDREN)
				 : proc_inode(tid, live_links[LIVE_PID_FOR_CHILDREN]);
	int index, fd, owner;

	/* Nobody is in it yet: then the link leads nowhere. */
	if (!inode && errno != ENOENT)
		return fail(capture->err, errno, "pid namespace for children");
	if (!inode) {
		owner = users_take(capture, process);
		return owner < -1 ? owner : add_namespace(capture, 0, own, owner);
	}
	index = known_namespace(capture->snapshot, inode);
	if (index >= 0)
		return index;
	fd = proc_open(tid, live_links[LIVE_PID_FOR_CHILDREN], O_RDONLY);
	if (fd < 0)
		return fail(capture->err, fd, "pid namespace for children");
	return namespace_of_fd(capture, fd);
}

int tree_begin(struct capture *capture)
{
	uint64_t inode = proc_inode(getpid(), "ns/pid");
	int r;

	if (!inode)
		return fail(capture->err, errno, "cannot read the own pid namespace");
	r = add_namespace(capture, inode, -1, -1);
	return r < 0 ? r : 0;
}

/* ---- processes ---- */

static int fill_levels(
	struct capture *capture, const pid_t *from, int count, size_t *ret_count, int32_t **ret)
{
	*ret = arena_copy(capture->arena, from, (size_t)count * sizeof(*from));
	*ret_count = (size_t)count;
	return *ret ? 0 : fail(capture->err, ENOMEM, "no memory for pids");
}

static int fill_thread(struct capture *capture, struct live_process *live,
	const struct live_thread *from, Process *process)
{
	int own = (int)process->pid_namespace, children;
	Thread *thread = MESSAGE_NEW(capture->arena, Thread, thread);

	if (!thread || MESSAGE_ADD(capture->arena, process, threads, thread) < 0)
		return fail(capture->err, ENOMEM, "no memory for a thread");
	thread->dead = from->dead;
	thread->name = arena_printf(capture->arena, "%.15s", from->status.name);
	if (!thread->name)
		return fail(capture->err, ENOMEM, "no memory for a name");
	if (!live->zombie && !from->dead && from->tid != live_tid(live)) {
		children = children_namespace_of(capture, live, from->tid, own);
		if (children < 0)
			return children;
		thread->children_namespace = children == own ? 0 : (uint32_t)children + 1;
	}
	return fill_levels(
		capture, from->status.pids, from->status.nr_levels, &thread->n_pids, &thread->pids);
}

static int fill_process(struct capture *capture, struct live_process *from, Process *ret)
{
	const struct task_status *status = &from->threads[0].status;
	int r, ns;

	ret->mount_namespace = ret->uts_namespace = ret->ipc_namespace = ret->user_namespace = -1;
	ret->state = from->zombie    ? REPRISE__PROCESS__STATE__ZOMBIE
		     : from->stopped ? REPRISE__PROCESS__STATE__STOPPED
				     : REPRISE__PROCESS__STATE__RUNNING;
	ret->parent = from->parent ? (int32_t)from->parent->index : -1;
	ret->exit_signal = status->exit_signal > 0 ? (uint32_t)status->exit_signal : 0;
	ret->exit_status = from->threads[0].dead ? status->exit_code & 0xffff : 0;
	ret->stop_signal = from->stopped ? (uint32_t)from->stop_signal : 0;
	ns = namespace_of(capture, from);
	if (ns < 0)
		return ns;
	ret->pid_namespace = (uint32_t)ns;
	ret->children_namespace = ns;
	if (!from->zombie) {
		int children = children_namespace_of(capture, from, live_tid(from), ns);

		if (children < 0)
			return children;
		ret->children_namespace = children;
	}
	r = fill_levels(capture, status->sids, status->nr_levels, &ret->n_session, &ret->session);
	if (!r)
		r = fill_levels(
			capture, status->pgids, status->nr_levels, &ret->n_group, &ret->group);
	for (size_t i = 0; i < from->nr_threads && !r; i++)
		r = fill_thread(capture, from, &from->threads[i], ret);
	return r;
}

int tree_take(struct capture *capture, struct live_process *from, Process **ret)
{
	char name[256];
	int r;

	*ret = MESSAGE_NEW(capture->arena, Process, process);
	if (!*ret || MESSAGE_ADD(capture->arena, capture->snapshot, processes, *ret) < 0)
		return fail(capture->err, ENOMEM, "no memory for a process");
	r = fill_process(capture, from, *ret);
	if (r < 0)
		error_task(capture->err, "%s (%s)",
			live_name(&from->threads[0], name, sizeof(name)),
			from->threads[0].status.name);
	return r;
}

/* ---- the kind: what is asked inside, and what is refused ---- */

struct tree_asked {
	uint64_t subreaper, last_pid, pid_max;
	bool is_init;
};

/* What clone(2) can share between processes, and a restart does not. */
struct shared {
	int type; /* of kcmp(2) */
	const char *what, *flag;
};

static int compare_shared(const void *a, const void *b, void *shared)
{
	const struct live_process *x = *(struct live_process *const *)a;
	const struct live_process *y = *(struct live_process *const *)b;
	const int type = ((const struct shared *)shared)->type;
	long r = syscall(SYS_kcmp, live_tid(x), live_tid(y), type, 0, 0);

	return r == 1 ? -1 : r == 2 ? 1 : 0;
}

static bool share(const struct live_process *a, const struct live_process *b, int type)
{
	return syscall(SYS_kcmp, live_tid(a), live_tid(b), type, 0, 0) == 0;
}

/* A vfork child shares it until it execs: then its parent waits for it, or has just stopped to. */
static bool share_for_good(const struct live_process *a, const struct live_process *b)
{
	for (int i = 0; i < 200; i++) {
		if (!share(a, b, KCMP_VM) || tree_waits_for_vfork(a) || tree_waits_for_vfork(b))
			return false;
		usleep(1000);
	}
	return true;
}

static void refuse_sharing(struct capture *capture, struct live_process **order, size_t count,
	const struct shared *shared)
{
	qsort_r(order, count, sizeof(*order), compare_shared, (void *)shared);
	for (size_t i = 1; i < count; i++) {
		const struct live_process *a = order[i - 1], *b = order[i];

		if (!share(a, b, shared->type))
			continue;
		if (shared->type == KCMP_VM && !share_for_good(a, b))
			continue;
		/* Of a parent and its child that is said where each is looked at. */
		if (shared->type != KCMP_VM && (a->parent == b || b->parent == a))
			continue;
		refuse(capture->refusals, b, "it shares its %s with process %d (%s)", shared->what,
			a->pid, shared->flag);
	}
}

int tree_survey_sharing(struct capture *capture)
{
	static const struct shared kinds[] = {
		{KCMP_VM, "memory", "CLONE_VM"},
		{KCMP_FS, "working directory", "CLONE_FS"},
		{KCMP_FILES, "table of descriptors", "CLONE_FILES"},
	};
	struct live_tree *tree = capture->tree;
	_cleanup_free_ struct live_process **order = calloc(tree->count + 1, sizeof(*order));
	size_t count = 0;

	if (!order)
		return fail(capture->err, ENOMEM, "no memory to compare processes");
	for (size_t i = 0; i < tree->count; i++)
		if (!tree->processes[i]->zombie)
			order[count++] = tree->processes[i];
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		refuse_sharing(capture, order, count, &kinds[i]);
	return 0;
}

static int tree_survey(struct capture *capture, struct live_process *process)
{
	/* All that are frozen have been compared before, but for those that came since. */
	if (!process->zombie && process->parent && !process->parent->zombie &&
		process->threads[0].seized && share(process->parent, process, KCMP_VM))
		refuse(capture->refusals, process,
			"it shares its memory with process %d (CLONE_VM)", process->parent->pid);
	return 0;
}

/* The number that the next open in this thread gives: all threads stand still. -errno. */
static int lowest_free(pid_t tid)
{
	char path[64], link[8];

	for (int number = 0;; number++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, number);
		if (readlink(path, link, sizeof(link)) < 0)
			return errno == ENOENT ? number : -errno;
	}
}

/*
 * These files speak of the reader's namespace, so the reader has to be inside. Open, read and close
 * are one batch, which runs to its end even without the controller; where nothing can be opened the
 * other two find a descriptor that is not there.
 */
static uint64_t ask_number(struct calls *calls, const char *path, int fd)
{
	uint64_t text = calls_space(calls, NUMBER_SIZE);

	calls_may(calls, SYS_openat, (uint64_t)AT_FDCWD, calls_text(calls, path),
		O_RDONLY | O_CLOEXEC, 0, 0, 0);
	calls_may(calls, SYS_read, (uint64_t)fd, text, NUMBER_SIZE - 1, 0, 0, 0);
	calls_may(calls, SYS_close, (uint64_t)fd, 0, 0, 0, 0, 0);
	return text;
}

static int tree_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct tree_asked *asked = arena_alloc(capture->arena, sizeof(*asked));

	if (!asked)
		return fail(capture->err, ENOMEM, "no memory to ask a process");
	process->notes[NOTE_TREE] = asked;
	asked->subreaper = calls_space(calls, sizeof(int));
	calls_must(calls, "child subreaper", SYS_prctl, PR_GET_CHILD_SUBREAPER, asked->subreaper, 0,
		0, 0, 0);
	asked->is_init = live_is_init(process);
	if (asked->is_init) {
		int fd = lowest_free(calls->hand->tid);

		if (fd < 0)
			return fail(capture->err, fd, "descriptors");
		asked->last_pid = ask_number(calls, "/proc/sys/kernel/ns_last_pid", fd);
		asked->pid_max = ask_number(calls, "/proc/sys/kernel/pid_max", fd);
	}
	return 0;
}

/* 0: not to be had, or nothing has been chosen by the kernel yet (-1). */
static int number_in(const struct calls *calls, uint64_t text)
{
	int number = atoi(calls_view(calls, text));

	return number > 0 ? number : 0;
}

static int own_pid_max(void)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/pid_max", O_RDONLY | O_CLOEXEC);
	char text[NUMBER_SIZE] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? atoi(text) : 0;
}

static int tree_take_inside(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct tree_asked *asked = process->notes[NOTE_TREE];
	PidNamespace *ns = capture->snapshot->pid_namespaces[ret->pid_namespace];

	ret->subreaper = *(const int *)calls_view(calls, asked->subreaper) != 0;
	if (asked->is_init) {
		ns->last_pid = number_in(calls, asked->last_pid);
		ns->pid_max = number_in(calls, asked->pid_max);
		/* Before Linux 6.14 there is one for all. */
		if (ns->pid_max == own_pid_max())
			ns->pid_max = 0;
	}
	return calls->hand->lost ? fail(capture->err, ESRCH, "the task died") : 0;
}

const struct state_kind tree_kind = {
	.name = "tree",
	.survey = tree_survey,
	.ask = tree_ask,
	.take = tree_take_inside,
};
