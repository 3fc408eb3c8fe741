/* SPDX-License-Identifier: MIT */
/*
 * For kernels before 5.5: ns_last_pid makes the kernel's next choice of a pid a known one. Each
 * level with a chosen pid has its last pid written by a process that lives there, the child is
 * cloned, and looks at its own pids before it returns to anybody: with a wrong one it ends, and
 * all is tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call/last_pid.h"
#include "call/proc.h"
#include "call/ways.h"

enum { TRIES = 32 };

static void block_signals(uint64_t *ret_before)
{
	uint64_t all = ~0ULL;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, ret_before, sizeof(all));
}

static void restore_signals(const uint64_t *before)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof(*before));
}

/* Takes back what ce_last_pid_prepare() set up in the parent. */
static int end(struct ce_frame *frame, int r)
{
	close(frame->last_pid.verdict[0]);
	close(frame->last_pid.verdict[1]);
	restore_signals(&frame->last_pid.mask);
	return r;
}

/* Of clone3() the call needs no more than the flags, and they may be there without set_tid. */
static int attempt(struct ce_frame *frame)
{
	int r = ce_write_last_pids(frame);

	if (r < 0)
		return end(frame, r);
	ce_set_plain(frame);
	return CE_GO;
}

/*
 * A child that returns on the stack of its waiting parent leaves nothing of this frame for the
 * parent to go on with; a sibling is not ours to reap when it is wrong.
 */
static bool supported(const struct ce_frame *frame)
{
	uint64_t flags = frame->request.flags;

	if (flags & CLONE_PARENT)
		return false;
	return !(flags & CLONE_VM) || frame->request.child_stack || frame->calls;
}

int ce_last_pid_prepare(struct ce_frame *frame)
{
	const struct ce_request *request = &frame->request;
	int r;

	if (ce_outer_zeros(request->pids, request->num_pids) < request->num_pids &&
		!supported(frame))
		return -EOPNOTSUPP;
	block_signals(&frame->last_pid.mask);
	r = ce_find_levels(frame);
	if (r < 0 || ce_outer_zeros(request->pids, request->num_pids) == request->num_pids) {
		restore_signals(&frame->last_pid.mask);
		return r < 0 ? r : ce_plain_prepare(frame);
	}
	if (pipe2(frame->last_pid.verdict, O_CLOEXEC) < 0) {
		r = -errno;
		restore_signals(&frame->last_pid.mask);
		return r;
	}
	frame->way = CE_WAY_LAST_PID;
	frame->gate = frame;
	frame->last_pid.tries = 0;
	return attempt(frame);
}

/* The child's own look at its pids: 0, EAGAIN for a wrong one, EOPNOTSUPP if it cannot tell. */
static int judge(const struct ce_frame *frame)
{
	const struct ce_request *request = &frame->request;
	int pids[CE_LEVELS];
	int n = ce_proc_pids(pids);

	if (n && (request->flags & CLONE_NEWPID))
		n--;
	for (int i = 0; i < request->num_pids; i++) {
		pid_t want = request->pids[request->num_pids - 1 - i];

		if (!want)
			continue;
		/* Before 4.1 there is no NSpid, but the youngest level can be asked for. */
		if (n == 0 && i == 0 && !(request->flags & CLONE_NEWPID)) {
			if (syscall(SYS_gettid) != want)
				return EAGAIN;
			continue;
		}
		if (i >= n)
			return EOPNOTSUPP;
		if (pids[n - 1 - i] != want)
			return EAGAIN;
	}
	return 0;
}

/* After the verdict the frame may be gone, for it is the parent's: nothing is read from it then. */
static int in_child(const struct ce_frame *frame)
{
	int verdict = judge(frame);
	bool own_files = !(frame->request.flags & CLONE_FILES);
	int in = frame->last_pid.verdict[0];
	int out = frame->last_pid.verdict[1];
	uint64_t mask = frame->last_pid.mask;

	if (verdict)
		syscall(SYS_set_tid_address, NULL);
	while (write(out, &verdict, sizeof(verdict)) < 0 && errno == EINTR)
		;
	if (verdict)
		syscall(SYS_exit, 1);
	if (own_files) {
		close(in);
		close(out);
	}
	restore_signals(&mask);
	return 0;
}

static bool is_gone(const struct ce_frame *frame, pid_t child)
{
	if (frame->request.flags & CLONE_THREAD)
		return syscall(SYS_tgkill, getpid(), child, 0) < 0 && errno == ESRCH;
	return kill(child, 0) < 0 && errno == ESRCH;
}

/* Waits for a child that was told off, or was killed before it could judge. */
static void reap(struct ce_frame *frame, pid_t child)
{
	int *pidfd = frame->request.parent_tid;

	if (frame->request.flags & CLONE_THREAD) {
		while (!is_gone(frame, child))
			sched_yield();
	} else {
		while (wait4(child, NULL, __WALL, NULL) < 0 && errno == EINTR)
			;
	}
	if (frame->request.flags & CLONE_PIDFD)
		close(*pidfd);
}

/* What the child found; it may be killed before it says so, and be a zombie then. */
static int verdict_of(struct ce_frame *frame, pid_t child)
{
	struct pollfd in = {.fd = frame->last_pid.verdict[0], .events = POLLIN};
	siginfo_t info;
	int verdict;

	for (;;) {
		int n = poll(&in, 1, 100);

		if (n > 0 && read(in.fd, &verdict, sizeof(verdict)) == sizeof(verdict))
			return verdict;
		if (n > 0)
			return ECHILD;
		info.si_pid = 0;
		if (is_gone(frame, child))
			return ECHILD;
		if (!(frame->request.flags & CLONE_THREAD) &&
			waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
				0 &&
			info.si_pid == child && poll(&in, 1, 0) == 0)
			return ECHILD;
	}
}

int ce_last_pid_result(struct ce_frame *frame, long result)
{
	int verdict;

	if (result == 0)
		return in_child(frame);
	if (result < 0)
		return end(frame, ce_plain_result(frame, (int)-result));
	verdict = verdict_of(frame, (pid_t)result);
	/* One that was killed from outside had its pid or not: nobody can tell now, and it is gone.
	 */
	if (verdict == 0)
		return end(frame, (int)result);
	reap(frame, (pid_t)result);
	if (verdict == EAGAIN && ++frame->last_pid.tries < TRIES)
		return attempt(frame);
	return end(frame, verdict == EAGAIN ? -EBUSY : -verdict);
}
