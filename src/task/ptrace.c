/* SPDX-License-Identifier: MIT */
#include "task/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

static int trace(int request, pid_t tid, unsigned long address, unsigned long data)
{
	return ptrace(request, tid, address, data) < 0 ? -errno : 0;
}

int trace_seize(pid_t tid, unsigned long options)
{
	return trace(PTRACE_SEIZE, tid, 0, options);
}

int trace_interrupt(pid_t tid)
{
	return trace(PTRACE_INTERRUPT, tid, 0, 0);
}

int trace_detach(pid_t tid, int signal)
{
	return trace(PTRACE_DETACH, tid, 0, (unsigned long)signal);
}

int trace_continue(pid_t tid, int signal)
{
	return trace(PTRACE_CONT, tid, 0, (unsigned long)signal);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/*
 * -EAGAIN: nothing yet. A stop is only looked at, not taken: taking it clears the signal that the
 * thread has stopped for, which would be lost if we died before we pass it on.
 */
static int wait_once(pid_t tid, int options, int *ret_status)
{
	siginfo_t info = {0};
	int r;

	do
		r = waitid(
			P_PID, (id_t)tid, &info, WEXITED | WSTOPPED | WNOWAIT | __WALL | options);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECHILD ? -ESRCH : -errno;
	if (info.si_pid == 0)
		return -EAGAIN;
	if (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED) {
		*ret_status = info.si_status << 8 | 0x7f;
		return 0;
	}
	waitpid(tid, ret_status, __WALL | WNOHANG);
	return -ESRCH;
}

int trace_wait(pid_t tid, double seconds, int *ret_status)
{
	double end;
	int ret;

	if (seconds < 0)
		return wait_once(tid, 0, ret_status);
	/* waitpid has no timeout. Sleeping gives way to the thread that is waited for, and comes
	 * back sooner on a loaded machine than one that only yields. */
	end = now() + seconds;
	for (long nap = 10 * 1000;; nap += nap < 1000 * 1000 ? nap / 2 : 0) {
		struct timespec pause = {0, nap};

		ret = wait_once(tid, WNOHANG, ret_status);
		if (ret != -EAGAIN)
			return ret;
		if (now() > end)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

int trace_get_registers(pid_t tid, arch_registers *ret)
{
	struct iovec iov = {ret, sizeof(*ret)};

	return trace(PTRACE_GETREGSET, tid, NT_PRSTATUS, (unsigned long)&iov);
}

int trace_set_registers(pid_t tid, const arch_registers *regs)
{
	struct iovec iov = {(void *)regs, sizeof(*regs)};

	return trace(PTRACE_SETREGSET, tid, NT_PRSTATUS, (unsigned long)&iov);
}

int trace_get_xstate(pid_t tid, void *ret, size_t *size)
{
	struct iovec iov = {ret, *size};
	int r = trace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, (unsigned long)&iov);

	if (!r)
		*size = iov.iov_len;
	return r;
}

int trace_set_xstate(pid_t tid, const void *xstate, size_t size)
{
	struct iovec iov = {(void *)xstate, size};

	return trace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, (unsigned long)&iov);
}

int trace_get_mask(pid_t tid, uint64_t *ret)
{
	return trace(PTRACE_GETSIGMASK, tid, sizeof(*ret), (unsigned long)ret);
}

int trace_set_mask(pid_t tid, uint64_t mask)
{
	return trace(PTRACE_SETSIGMASK, tid, sizeof(mask), (unsigned long)&mask);
}
