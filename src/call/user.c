/* SPDX-License-Identifier: MIT */
#include "call/user.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096UL /* the smallest: what holds for it holds for larger ones */

/*
 * Closer to its end than this the stack of the first thread has no neighbour: the kernel keeps
 * 128 MiB free below it, and it grows without holes.
 */
#define STACK (64UL << 20)

extern void *__libc_stack_end __attribute__((weak)); /* NOLINT: glibc's name */

/* What lies between here and the end of the stack can be read. */
static bool on_stack(uintptr_t from, uintptr_t to)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t end = (here | (PAGE - 1)) + 1;

	if (&__libc_stack_end && here < (uintptr_t)__libc_stack_end &&
		(uintptr_t)__libc_stack_end - here < STACK)
		end = (uintptr_t)__libc_stack_end;
	return from >= here && to <= end;
}

/* So can the data of the program itself. */
static bool in_program(uintptr_t from, uintptr_t to)
{
	const ElfW(Phdr) *header = (const void *)getauxval(AT_PHDR);
	unsigned long count = getauxval(AT_PHNUM);
	uintptr_t base = 0;

	for (unsigned long i = 0; header && i < count; i++)
		if (header[i].p_type == PT_PHDR)
			base = (uintptr_t)header - header[i].p_vaddr;
	for (unsigned long i = 0; header && i < count; i++) {
		uintptr_t start = base + header[i].p_vaddr;

		if (header[i].p_type == PT_LOAD && (header[i].p_flags & PF_R) && from >= start &&
			to <= start + header[i].p_memsz)
			return true;
	}
	return false;
}

/*
 * The cheapest question to the kernel: it reads a new signal mask before it finds that "how" makes
 * no sense. Where a filter answers in its stead, futex(2) reads a word before it compares it, and
 * waits for no time at all if that is the same. Who refuses both leaves it unknown: not readable.
 */
static bool kernel_copies(uintptr_t address)
{
	static const long no_time[2];

	if (syscall(SYS_rt_sigprocmask, -1, address, NULL, 8) < 0 &&
		(errno == EINVAL || errno == EFAULT))
		return errno == EINVAL;
	return syscall(SYS_futex, address, FUTEX_WAIT_PRIVATE, 0, no_time, NULL, 0) < 0 &&
	       (errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR);
}

/*
 * Eight aligned bytes never reach into another page, and what holds for them holds for their page:
 * *known is one that could be read. errno is written only where it must be, for the page in which
 * it lies is a copied one after fork().
 */
static bool kernel_reads(uintptr_t address, uintptr_t *known)
{
	uintptr_t page = address & ~(PAGE - 1);
	int saved;
	bool ok;

	if (page == *known)
		return true;
	saved = errno;
	ok = kernel_copies(address & ~7UL);
	errno = saved;
	if (ok)
		*known = page;
	return ok;
}

static bool readable(uintptr_t from, uintptr_t to, uintptr_t *known)
{
	if (on_stack(from, to) || in_program(from, to))
		return true;
	return kernel_reads(from, known) && kernel_reads(to - 1, known);
}

static int take(void *to, const void *from, size_t size, uintptr_t *known)
{
	uintptr_t start = (uintptr_t)from;

	if (start < PAGE || start + size <= start || !readable(start, start + size, known))
		return -EFAULT;
	memcpy(to, from, size);
	return 0;
}

int ce_take(void *to, const void *from, size_t size)
{
	uintptr_t known = 0;

	return take(to, from, size, &known);
}

int ce_take_set(struct ce_frame *frame, const struct pid_set *user)
{
	struct pid_set set;
	uintptr_t known = 0;
	int r;

	frame->request.num_pids = 0;
	frame->request.pids = frame->pids;
	if (!user)
		return 0;
	r = take(&set, user, sizeof(set), &known);
	if (r < 0)
		return r;
	if (set.num_pids < 0 || set.num_pids > CE_LEVELS)
		return -EINVAL;
	if (set.num_pids == 0)
		return 0;
	r = take(frame->pids, set.pids, sizeof(pid_t) * (size_t)set.num_pids, &known);
	if (r < 0)
		return r;
	frame->request.num_pids = set.num_pids;
	return 0;
}
