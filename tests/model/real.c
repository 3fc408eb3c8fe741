/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "real-proc.h"

#define STACK (256 << 10)
#define PATIENCE 60 /* seconds; the machine may be busy */

static long futex(atomic_int *word, int op, int value, int seconds)
{
	struct timespec t = {.tv_sec = seconds};

	return syscall(SYS_futex, word, op, value, seconds ? &t : NULL, NULL, 0);
}

static void worker(struct slot *slots, int index);

struct start {
	struct slot *slots;
	int index;
};

static int thread_start(void *arg)
{
	struct start start = *(struct start *)arg;

	worker(start.slots, start.index);
	return 0;
}

static int do_clone(struct slot *slots, const struct order *o)
{
	long pid;

	if (o->flags & CLONE_THREAD) {
		char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		struct start *start = (struct start *)stack;

		if (stack == MAP_FAILED)
			return -errno;
		*start = (struct start){slots, o->a};
		pid = clone(thread_start, stack + STACK,
			CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
				CLONE_SYSVSEM,
			start);
		return pid < 0 ? -errno : (int)pid;
	}
	pid = syscall(SYS_clone, (unsigned long)o->flags | (unsigned long)o->b, 0, 0, 0, 0);
	if (pid == 0) {
		worker(slots, o->a);
		_exit(0);
	}
	return pid < 0 ? -errno : (int)pid;
}

static int do_setns(int pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), r;

	if (fd < 0)
		fd = (int)syscall(SYS_pidfd_open, pid, 0200 /* PIDFD_THREAD */);
	if (fd < 0)
		return -errno;
	r = setns(fd, CLONE_NEWPID) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int obey(struct slot *slots, const struct order *o)
{
	switch (o->call) {
	case CALL_CLONE:
		return do_clone(slots, o);
	case CALL_SETSID:
		return setsid() < 0 ? -errno : 0;
	case CALL_SETPGID:
		return setpgid(o->a, o->b) < 0 ? -errno : 0;
	case CALL_UNSHARE:
		return unshare(CLONE_NEWPID) < 0 ? -errno : 0;
	case CALL_SETNS:
		return do_setns(o->a);
	case CALL_SUBREAPER:
		return prctl(PR_SET_CHILD_SUBREAPER, o->a, 0, 0, 0) < 0 ? -errno : 0;
	case CALL_EXIT:
		return (int)syscall(SYS_exit, o->a);
	case CALL_EXIT_GROUP:
		return (int)syscall(SYS_exit_group, o->a);
	case CALL_WAIT: {
		int pid = wait4(o->a, NULL, WNOHANG | __WALL, NULL);

		return pid < 0 ? -errno : pid == 0 ? -EAGAIN : 0;
	}
	default:
		return -ENOSYS;
	}
}

static void worker(struct slot *slots, int index)
{
	struct slot *s = &slots[index];

	for (int seen = 0;; seen++) {
		while (atomic_load(&s->go) == seen)
			futex(&s->go, FUTEX_WAIT, seen, 0);
		struct order o = s->order; /* a child needs it when the next is there already */
		s->result = obey(slots, &o);
		atomic_store(&s->done, seen + 1);
		futex(&s->done, FUTEX_WAKE, 1, 0);
	}
}

static int order(struct real *real, int index, struct order o)
{
	struct slot *s = &real->slots[index];
	int go;

	if (index == 0)
		return obey(real->slots, &o);
	s->order = o;
	go = atomic_fetch_add(&s->go, 1) + 1;
	futex(&s->go, FUTEX_WAKE, 1, 0);
	if (o.call == CALL_EXIT || o.call == CALL_EXIT_GROUP)
		return 0;
	for (int i = 0; i < PATIENCE && atomic_load(&s->done) != go; i++)
		futex(&s->done, FUTEX_WAIT, go - 1, 1);
	return atomic_load(&s->done) == go ? s->result : -ETIME;
}

struct real *real_new(void)
{
	struct real *real = calloc(1, sizeof(*real));

	real->slots = mmap(NULL, M_TASKS * sizeof(struct slot), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (real->slots == MAP_FAILED) {
		free(real);
		return NULL;
	}
	signal(SIGUSR1, SIG_IGN);
	real->pids[0] = real->numbers[0][0] = 1;
	return real;
}

/* The number of a task as the actor sees it. */
static int number(const struct real *real, const struct model *m, int task, int actor)
{
	return real->numbers[task][m->nss[m->tasks[actor].ns].level];
}

static int do_create(struct real *real, const struct model *m, const struct deed *d)
{
	static const int flags[] = {
		[OP_FORK] = 0,
		[OP_SIBLING] = CLONE_PARENT,
		[OP_THREAD] = CLONE_THREAD,
		[OP_CONTAINER] = CLONE_NEWPID,
		[OP_CONTAINER_SIBLING] = CLONE_NEWPID | CLONE_PARENT,
	};
	int at = d->subject > 0 ? d->subject : M_TASKS - 1, r;

	memset(&real->slots[at], 0, sizeof(real->slots[at]));
	r = order(real, d->actor,
		(struct order){
			.call = CALL_CLONE, .flags = flags[d->kind], .a = at, .b = d->value});
	if (r < 0)
		return r;
	return d->result < 0 ? 0 : real_find_new(real, m, d->subject);
}

static int pick_runner(const struct model *m, int ns)
{
	for (int i = 0; i < m->n_tasks; i++)
		if (m->tasks[i].state == M_RUN && m->tasks[i].ns == ns)
			return i;
	return -1;
}

int real_do(struct real *real, const struct model *m, const struct deed *d)
{
	int pid;

	switch (d->kind) {
	case OP_SETSID:
		return order(real, d->actor, (struct order){.call = CALL_SETSID});
	case OP_OWN_GROUP:
	case OP_JOIN_GROUP:
	case OP_CHILD_GROUP:
		if (!model_sees(m, m->tasks[d->actor].ns, d->group))
			return d->result; /* it has no name for it */
		return order(real, d->actor,
			(struct order){.call = CALL_SETPGID,
				.a = number(real, m, d->subject, d->actor),
				.b = number(real, m, d->group, d->actor)});
	case OP_EXIT:
		return order(real, d->actor, (struct order){.call = CALL_EXIT, .a = d->value >> 8});
	case OP_EXIT_GROUP:
		if (d->value & 0x7f)
			return kill(real->pids[m->tasks[d->actor].leader], d->value & 0x7f);
		return order(real, d->actor,
			(struct order){.call = CALL_EXIT_GROUP, .a = d->value >> 8});
	case OP_WAIT:
		pid = number(real, m, d->subject, d->actor);
		for (int i = 0; i < PATIENCE * 100; i++) {
			int r = order(real, d->actor, (struct order){.call = CALL_WAIT, .a = pid});

			if (r != -EAGAIN || d->result == -EAGAIN)
				return r;
			usleep(10000);
		}
		return -EAGAIN;
	case OP_SUBREAPER:
		return order(real, d->actor, (struct order){.call = CALL_SUBREAPER, .a = d->value});
	case OP_UNSHARE:
		return order(real, d->actor, (struct order){.call = CALL_UNSHARE});
	case OP_SETNS:
	case OP_SETNS_BACK:
		pid = pick_runner(m, d->subject);
		return order(real, d->actor,
			(struct order){.call = CALL_SETNS, .a = number(real, m, pid, d->actor)});
	default:
		return do_create(real, m, d);
	}
}

int real_clear(struct real *real)
{
	/* Whoever waits for zombies of its namespace is let go as its children and this one's are
	 * reaped; all come here in the end. */
	kill(-1, SIGKILL);
	setns_home();
	while (wait4(-1, NULL, __WALL, NULL) > 0 || errno == EINTR)
		continue;
	return errno == ECHILD ? 0 : -errno;
}
