// SPDX-License-Identifier: GPL-2.0-only
/* Flags, stacks, TLS and tid pointers of clone_extended(), with and without a set. */
#include "ce.h"

#include <sys/auxv.h>
#ifdef CE_I386
#include <asm/ldt.h>
#elif defined(SYS_arch_prctl)
#include <asm/prctl.h>
#endif

static const int depths[] = { 0, 2 };
static int signals;
static alignas(64) char stack[65536];

/* A set that changes nothing and one that does, so that both ways in are tried. */
static struct pid_set *set_for(int turn, int depth)
{
	static pid_t pid;
	static struct pid_set set = { .num_pids = 1, .pids = &pid };

	pid = ce_pid(depth, 1);
	return turn ? &set : NULL;
}

static void unknown(int depth)
{
	int turn, bit;

	for (turn = 0; turn < 2; turn++) {
		struct pid_set *set = set_for(turn, depth);

		for (bit = 1; bit < 32; bit++)
			ce_expect_error(ce_call(SIGCHLD, 1u << bit, NULL, NULL, NULL, set), EINVAL,
					"a high bit");
		ce_expect_error(ce_call(SIGCHLD, -1, NULL, NULL, NULL, set), EINVAL, "high bits");
		ce_expect_error(ce_call(SIGCHLD | 0x00400000, 0, NULL, NULL, NULL, set), EINVAL,
				"CLONE_DETACHED");
		ce_expect_error(ce_call(CLONE_SIGHAND | CLONE_VM | SIGCHLD, CE_CLEAR_SIGHAND_HIGH,
					stack + sizeof(stack) - 64, NULL, NULL, set),
				EINVAL, "CLONE_SIGHAND and CLONE_CLEAR_SIGHAND");
		ce_expect_error(ce_call(65, 0, NULL, NULL, NULL, set), EINVAL, "signal 65");
		ce_expect_error(ce_call(0x80 | SIGCHLD, 0, NULL, NULL, NULL, set), EINVAL,
				"CLONE_NEWTIME");
		ce_expect_error(ce_call(255, 0, NULL, NULL, NULL, set), EINVAL, "signal 255");
		ce_expect_error(ce_call(SIGCHLD, 0, NULL, stack, NULL, set), EINVAL, "unused");
		ce_expect_error(ce_call(CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, NULL, NULL, NULL, set),
				EINVAL, "CLONE_NEWNS and CLONE_FS");
	}
}

static void on_signal(int nr)
{
	ce_set(&signals, 1 << (nr - SIGUSR1));
}

static void exit_signal(int depth)
{
	int turn;

	signal(SIGUSR1, on_signal);
	for (turn = 0; turn < 2; turn++) {
		pid_t pid = ce_call(SIGUSR1, 0, NULL, NULL, NULL, set_for(turn, depth));

		if (pid == 0)
			_exit(3);
		ce_expect(ce_wait_status(pid) == 3, "status");
		ce_expect(ce_get(&signals) == 1, "exit signal");
		ce_set(&signals, 0);
		pid = ce_call(0, 0, NULL, NULL, NULL, set_for(turn, depth));
		if (pid == 0)
			_exit(4);
		ce_expect(ce_wait_status(pid) == 4, "status");
		ce_expect(ce_get(&signals) == 0, "no exit signal");
	}
}

static void clear_sighand(int depth)
{
	int turn;

	signal(SIGUSR2, on_signal);
	for (turn = 0; turn < 2; turn++) {
		pid_t pid = ce_call(SIGCHLD, CE_CLEAR_SIGHAND_HIGH, NULL, NULL, NULL,
				    set_for(turn, depth));

		if (pid == 0) {
			struct sigaction old;

			sigaction(SIGUSR2, NULL, &old);
			_exit(old.sa_handler == SIG_DFL ? 5 : 6);
		}
		ce_expect(ce_wait_status(pid) == 5, "handler is there still");
	}
}

static int on_stack(void *arg)
{
	char here;

	*(uintptr_t *)arg = (uintptr_t)&here;
	return 21;
}

/* The stack is a pointer to its top, as in clone(2); memory is shared with CLONE_VM. */
static void own_stack(int depth)
{
	int turn, flags[] = { CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD,
			      CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | SIGCHLD };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		for (turn = 0; turn < 2; turn++) {
			static uintptr_t where;
			void *top = ce_stack(stack, sizeof(stack), on_stack, &where);
			pid_t pid;

			where = 0;
			pid = ce_call(flags[i], 0, top, NULL, NULL, set_for(turn, depth));
			ce_expect(pid > 0, "pid %d", pid);
			ce_expect(ce_wait_status(pid) == 21, "status");
			ce_expect(__atomic_load_n(&where, __ATOMIC_SEQ_CST) - (uintptr_t)stack <
					  sizeof(stack), "stack");
		}
	}
}

static void tids(int depth)
{
	const int all = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
	int turn;
	struct {
		pid_t parent, child, clear;
	} *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (turn = 0; turn < 2; turn++) {
		struct clone_tid_info info = { &at->parent, &at->child };
		pid_t pid;

		ce_set(&at->parent, 0);
		ce_set(&at->child, 0);
		pid = ce_call(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, NULL, NULL,
			      &info, set_for(turn, depth));
		if (pid == 0)
			_exit(ce_get(&at->child) == syscall(SYS_getpid) ? 9 : 10);
		ce_expect(ce_get(&at->parent) == pid, "parent_tid");
		ce_expect(ce_wait_status(pid) == 9, "child_tid in the child");
		ce_expect(ce_get(&at->child) == pid, "child_tid");

		ce_set(&at->clear, 1);
		info.child_tid = &at->clear;
		pid = ce_call(CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, 0,
			      ce_stack(stack, sizeof(stack), on_stack, &info.parent_tid), NULL,
			      &info, set_for(turn, depth));
		ce_expect(ce_wait_status(pid) == 21, "status");
		ce_expect(ce_get(&at->clear) == 0, "cleared");

		info.parent_tid = &at->parent;
		ce_expect_error(ce_call(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, NULL, NULL,
					&info, set_for(turn, depth)),
				EINVAL, "a pidfd and a tid in one place");
		/* Without flags nothing is stored. */
		ce_set(&at->parent, 77);
		ce_set(&at->child, 77);
		info.child_tid = &at->child;
		pid = ce_call(SIGCHLD, 0, NULL, NULL, &info, set_for(turn, depth));
		if (pid == 0)
			_exit(0);
		ce_expect(ce_wait_status(pid) == 0, "status");
		ce_expect(ce_get(&at->parent) == 77, "parent_tid without a flag");
		ce_expect(ce_get(&at->child) == 77, "child_tid without a flag");
		/* Without pointers it is clone(2) with NULL ones. */
		pid = ce_call(all, 0, NULL, NULL, NULL, set_for(turn, depth));
		if (pid == 0)
			_exit(2);
		ce_expect(ce_wait_status(pid) == 2, "no pointers");
		ce_expect_error(ce_call(CLONE_PIDFD | SIGCHLD, 0, NULL, NULL, NULL,
					set_for(turn, depth)),
				EFAULT, "no place for the pidfd");
	}
}

/* The TLS that a child was given, as its processor sees it. */
static uintptr_t tls_now(void)
{
#if defined(__LP64__) && defined(SYS_arch_prctl)
	unsigned long base = 0;

	syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
	return base;
#elif defined(CE_I386)
	unsigned int gs, base;

	asm volatile("mov %%gs, %0" : "=r"(gs));
	asm volatile("mov %%gs:0, %0" : "=r"(base));
	return gs ? base : 0;
#elif defined(__arm__)
	uintptr_t base;

	asm volatile("mrc p15, 0, %0, c13, c0, 3" : "=r"(base)); /* TPIDRURO */
	return base;
#else
	uintptr_t base;

	asm volatile("mrs %0, tpidr_el0" : "=r"(base));
	return base;
#endif
}

static int with_tls(void *arg)
{
	/* On i386 the word there, which points to itself, is read through %gs. */
	return tls_now() == (uintptr_t)arg ? 31 : 32;
}

static void tls(int depth)
{
	static alignas(64) char area[8192];
	char *base = area + 4096;
	void *given = base;
	int turn;

#ifdef CE_I386
	unsigned int gs;
	struct user_desc desc = { .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1 };

	asm volatile("mov %%gs, %0" : "=r"(gs));
	desc.entry_number = gs >> 3;
	desc.base_addr = (unsigned int)base;
	given = &desc;
#endif
	*(void **)base = base;
	for (turn = 0; turn < 2; turn++) {
		pid_t pid = ce_call(CLONE_VM | CLONE_SETTLS | SIGCHLD, 0,
				    ce_stack(stack, sizeof(stack), with_tls, base), given, NULL,
				    set_for(turn, depth));

		ce_expect(pid > 0, "pid %d", pid);
		ce_expect(ce_wait_status(pid) == 31, "TLS");
	}
}

static void parent_flag(int depth)
{
	pid_t middle = fork(), other;

	if (middle == 0) {
		other = ce_call(CLONE_PARENT | SIGCHLD, 0, NULL, NULL, NULL, set_for(1, depth));
		if (other == 0)
			_exit(41);
		_exit(other == ce_pid(depth, 1) ? 42 : 43);
	}
	ce_expect(ce_wait_status(middle) == 42, "the middle one");
	ce_expect(ce_wait_status(ce_pid(depth, 1)) == 41, "its sibling");
}

/* The entry in /proc tells the number and takes none. */
static void published(int depth)
{
	int fd = open("/proc/sys/kernel/clone_extended", O_RDONLY);
	char text[20] = "";

	ce_expect(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "read");
	close(fd);
	ce_expect(atol(text) == ce_nr && strchr(text, '\n'), "number %s", text);
#ifdef __NR_clone_extended
	ce_expect(ce_nr == __NR_clone_extended, "%ld is not the header's number", ce_nr);
#endif
	fd = open("/proc/sys/kernel/clone_extended", O_WRONLY);
	ce_expect(fd < 0 || write(fd, "1", 1) < 0, "it can be written");
}

static const struct ce_case cases[] = {
	{ "unknown flags and arguments", unknown },
	{ "exit signal", exit_signal },
	{ "CLONE_CLEAR_SIGHAND", clear_sighand },
	{ "a stack", own_stack },
	{ "tid pointers", tids },
	{ "CLONE_SETTLS", tls },
	{ "CLONE_PARENT", parent_flag },
	{ "the number in /proc", published },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
