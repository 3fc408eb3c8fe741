/* SPDX-License-Identifier: MIT */
/*
 * The nursery: a child of the controller, emptied of all that was the controller's, from which
 * every task of a restart is made. Its memory holds the hands' room and the vdso, its descriptor
 * table one pidfd of the controller.
 */
#include "rebuild/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "state/clocks.h"
#include "state/namespaces.h"
#include "state/users.h"
#include "task/proc.h"
#include "task/ptrace.h"

#define CODE_SIZE 4096
#define MAX_USERS 33	/* the kernel has 32 user namespaces below the initial one */
#define PART_SIZE 65536 /* code and records: one fault maps all of it in a new task */
#define ROOM_SIZE (ROOM_PARTS * PART_SIZE)

static int make_room(struct rebuild *rebuild)
{
	struct restore *restore = &rebuild->restore;
	_cleanup_close_ int fd = memfd_create("reprise", MFD_CLOEXEC);
	const void *code;
	size_t size;
	int ret;

	if (fd < 0 || ftruncate(fd, ROOM_SIZE) < 0)
		return fail(rebuild->err, errno, "no memory to drive tasks with");
	ret = layout_choose(restore->snapshot, ROOM_SIZE, &restore->room);
	if (ret < 0)
		return fail(rebuild->err, ret, "no address is free in all tasks");
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	if (mmap((void *)restore->room, ROOM_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED)
		return fail(rebuild->err, errno, "no room to drive tasks with");
	restore->room_size = ROOM_SIZE;
	code = arch_interpreter(&size);
	if (size > CODE_SIZE - 16)
		return fail(rebuild->err, E2BIG, "the interpreter");
	/* Behind the interpreter stands nothing that could run: every stub dies with its tracer. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	memcpy((void *)restore->room, code, size);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	memset((void *)(restore->room + CODE_SIZE), 0, ROOM_SIZE - CODE_SIZE);
	return 0;
}

static uint32_t *ready_flag(uint64_t room)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (uint32_t *)(room + ROOM_SIZE - sizeof(uint32_t));
}

/*
 * Only system calls from here on: the caller may have other threads. A controller that ends before
 * the first of them sends no signal for its death; its pidfd tells of that at any time.
 */
static _Noreturn void wait_to_be_taken(uint64_t room, int pidfd)
{
	struct pollfd controller = {.fd = pidfd, .events = POLLIN};

	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	syscall(SYS_mprotect, room, ROOM_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	__atomic_store_n(ready_flag(room), 1, __ATOMIC_RELEASE);
	while (syscall(SYS_ppoll, &controller, 1, NULL, NULL, 0) != 1)
		;
	for (;;)
		syscall(SYS_exit_group, 1);
}

/* The code stands in front of the first part, and would do so in front of the others. */
void room_part(const struct rebuild *rebuild, size_t part, struct hand *hand)
{
	hand->room = rebuild->restore.room + part * PART_SIZE + CODE_SIZE;
	hand->room_size = PART_SIZE - CODE_SIZE;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	hand->local = (void *)hand->room;
}

static int take(struct rebuild *rebuild, struct stub *stub)
{
	const struct restore *restore = &rebuild->restore;
	unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
				PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD;
	struct user_regs_struct *start = arena_alloc(rebuild->arena, sizeof(*start));
	int status, ret = start ? trace_seize(stub->tid, options) : -ENOMEM;

	if (ret < 0)
		return fail(rebuild->err, ret, "cannot trace the first task");
	for (int i = 0; i < 60000 && !__atomic_load_n(ready_flag(restore->room), __ATOMIC_ACQUIRE);
		i++)
		nanosleep(&(struct timespec){.tv_nsec = i < 100 ? 10000 : 1000000}, NULL);
	ret = trace_interrupt(stub->tid);
	if (ret == 0)
		ret = trace_wait(stub->tid, 60, &status);
	if (ret == 0 && !WIFSTOPPED(status))
		ret = -ECHILD;
	if (ret == 0)
		ret = trace_get_registers(stub->tid, start);
	if (ret < 0)
		return fail(rebuild->err, ret, "the first task is lost");
	stub->hand = (struct hand){.tid = stub->tid,
		.end_signal = SIGURG,
		.code = restore->room,
		.shared = true,
		.ends_by_fault = true,
		.start = start};
	room_part(rebuild, 0, &stub->hand);
	stub->hand.own_tid = stub->hand.own_tgid = stub->tid;
	return hand_ready(&stub->hand, rebuild->err);
}

static void clean_signals(struct calls *calls)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} action = {0};

	for (int signal = 1; signal <= 64; signal++) {
		if (signal == SIGKILL || signal == SIGSTOP)
			continue;
		calls_must(calls, "cannot reset a signal", SYS_rt_sigaction, (uint64_t)signal,
			calls_data(calls, &action, sizeof(action)), 0, 8, 0, 0);
	}
}

static void clean_thread(struct calls *calls)
{
	stack_t none = {.ss_flags = SS_DISABLE};

	calls_may(calls, SYS_sigaltstack, calls_data(calls, &none, sizeof(none)), 0, 0, 0, 0, 0);
	calls_may(calls, SYS_set_robust_list, 0, 24, 0, 0, 0, 0);
	calls_may(calls, SYS_set_tid_address, 0, 0, 0, 0, 0, 0);
	if (__rseq_size)
		calls_may(calls, SYS_rseq,
			(uint64_t)__builtin_thread_pointer() + (uint64_t)__rseq_offset,
			__rseq_size < 32 ? 32 : __rseq_size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG, 0, 0);
	calls_may(calls, SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0, 0);
	calls_may(calls, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
}

static void clean_descriptors(struct rebuild *rebuild, struct calls *calls, int pidfd)
{
	uint64_t number = (uint64_t)rebuild->restore.controller_fd;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		calls_may(calls, SYS_prlimit64, 0, RLIMIT_NOFILE,
			calls_data(calls, &limit, sizeof(limit)), 0, 0, 0);
	}
	if ((uint64_t)pidfd != number)
		calls_must(calls, "cannot keep a descriptor of the controller", SYS_dup3,
			(uint64_t)pidfd, number, O_CLOEXEC, 0, 0, 0);
	calls_must(calls, "cannot close descriptors", SYS_close_range, 0, number - 1, 0, 0, 0, 0);
	calls_must(calls, "cannot close descriptors", SYS_close_range, number + 1, ~0U, 0, 0, 0, 0);
}

static int clean_memory(struct rebuild *rebuild, struct stub *stub, struct calls *calls)
{
	const struct restore *restore = &rebuild->restore;
	uint64_t start, end;
	char *text, *line, *save = NULL;
	int ret = proc_read(rebuild->arena, stub->tid, "maps", &text, NULL, rebuild->err);

	for (line = ret < 0 ? NULL : strtok_r(text, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		if (strstr(line, "[vdso]") || strstr(line, "[vvar") || strstr(line, "[vsyscall]"))
			continue;
		if (start < restore->room + restore->room_size && end > restore->room)
			continue;
		calls_must(calls, "cannot leave the controller's memory", SYS_munmap, start,
			end - start, 0, 0, 0, 0);
	}
	return ret;
}

static int clean(struct rebuild *rebuild, struct stub *stub, int pidfd)
{
	struct calls calls;
	int ret = calls_begin(&calls, &stub->hand, false, rebuild->err);

	if (ret < 0)
		return ret;
	clean_signals(&calls);
	clean_thread(&calls);
	clean_descriptors(rebuild, &calls, pidfd);
	ret = clean_memory(rebuild, stub, &calls);
	if (ret == 0)
		ret = calls_run(&calls);
	calls_end(&calls);
	return ret;
}

/* A time namespace comes after the user namespace that it needs capabilities in. */
static int open_namespaces(struct rebuild *rebuild, struct stub *stub)
{
	const Snapshot *snapshot = rebuild->restore.snapshot;
	int32_t users[MAX_USERS];
	struct calls calls;
	int count = 0, ret = 0;

	for (int32_t user = users_of_nursery(snapshot); user >= 0 && count < MAX_USERS;
		user = snapshot->user_namespaces[user]->parent)
		users[count++] = user;
	while (count-- > 0 && ret == 0) {
		ret = users_enter(&rebuild->restore, stub, users[count]);
		stub->spaces.user = users[count];
	}
	if (ret < 0 || rebuild->restore.host_clocks)
		return ret;
	ret = calls_begin(&calls, &stub->hand, false, rebuild->err);
	if (ret < 0)
		return ret;
	calls_must(
		&calls, "cannot open a time namespace", SYS_unshare, CLONE_NEWTIME, 0, 0, 0, 0, 0);
	ret = calls_run(&calls);
	calls_end(&calls);
	if (ret == 0)
		ret = clocks_write_offsets(rebuild->restore.snapshot, stub->tid, rebuild->err);
	return ret;
}

static int enter_target(struct rebuild *rebuild, struct stub *stub)
{
	_cleanup_close_ int fd = -1;

	if (!rebuild->target_pidns)
		return 0;
	fd = proc_open(rebuild->target_pidns, "ns/pid", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(rebuild->err, fd, "cannot open the pid namespace of %d",
			rebuild->target_pidns);
	return enter_namespace(&rebuild->restore, stub, fd, CLONE_NEWPID,
		"cannot enter the pid namespace that was asked for");
}

int nursery_start(struct rebuild *rebuild)
{
	_cleanup_close_ int pidfd = -1;
	struct stub *stub = stub_new(rebuild);
	long child;
	int ret;

	if (!stub)
		return fail(rebuild->err, ENOMEM, "no memory");
	rebuild->restore.controller_fd = layout_descriptor(rebuild->restore.snapshot);
	ret = make_room(rebuild);
	if (ret < 0)
		return ret;
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (pidfd < 0)
		return fail(rebuild->err, errno, "cannot open a pidfd");
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		wait_to_be_taken(rebuild->restore.room, pidfd);
	if (child < 0)
		return fail(rebuild->err, errno, "cannot create the first task");
	stub->tid = (pid_t)child;
	stub->leader = stub;
	stub->spaces = (struct stub_spaces){-1, -1, -1, -1};
	rebuild->nursery = stub;
	ret = take(rebuild, stub);
	if (ret == 0)
		ret = clean(rebuild, stub, pidfd);
	if (ret == 0)
		ret = open_namespaces(rebuild, stub);
	return ret == 0 ? enter_target(rebuild, stub) : ret;
}

int nursery_leave(struct rebuild *rebuild)
{
	struct stub *stub = rebuild->nursery;

	if (!stub || stub->gone)
		return 0;
	stub_kill(stub);
	return stub_wait_end(stub, rebuild->err);
}

void nursery_end(struct rebuild *rebuild)
{
	nursery_leave(rebuild);
	if (rebuild->restore.room_size)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
		munmap((void *)rebuild->restore.room, rebuild->restore.room_size);
	rebuild->restore.room_size = 0;
}
