// SPDX-License-Identifier: GPL-2.0-only
/*
 * clone_extended() - clone(2) with a chosen pid in each pid namespace
 *
 * Container restart needs a task to have the pids it had when it was
 * checkpointed, one in each pid namespace it lives in. See
 * Documentation/userspace-api/clone_extended.rst.
 */
#include <linux/compat.h>
#include <linux/init.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/syscalls.h>
#include <linux/sysctl.h>
#include <linux/uaccess.h>

#include <uapi/linux/clone_extended.h>

/*
 * Flags without an argument here (CLONE_INTO_CGROUP), and CLONE_DETACHED,
 * which clone(2) ignores, are refused like unknown ones.
 */
#define CLONE_EXTENDED_FLAGS					\
	((CLONE_LEGACY_FLAGS & ~(u64)(CSIGNAL | CLONE_DETACHED)) |	\
	 CLONE_CLEAR_SIGHAND)

/* What needs tid_ptrs; clone(2) does not look at its pointers without. */
#define CLONE_EXTENDED_TIDS						\
	(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID |			\
	 CLONE_CHILD_CLEARTID | CLONE_PIDFD)

/* The levels that a task can live in, and one that CLONE_NEWPID asks for. */
#define PID_SET_MAX	(MAX_PID_NS_LEVEL + 2)

/*
 * Read a set into @set_tid, which has room for PID_SET_MAX pids, in the order
 * that alloc_pid() wants: the youngest level first. What can be known to be
 * wrong with a set is found here, before anything is allocated; nobody but
 * current changes its credentials and pid_ns_for_children.
 */
static int get_pid_set(struct kernel_clone_args *args, pid_t *set_tid,
		       const struct pid_set *set)
{
	struct pid_namespace *ns = current->nsproxy->pid_ns_for_children;
	int err, i, n = set->num_pids, size = 0;
	pid_t pids[MAX_PID_NS_LEVEL + 1];

	if (n < 0 || n > ns->level + 1)
		return -EINVAL;
	if (copy_from_user(pids, set->pids, n * sizeof(*pids)))
		return -EFAULT;

	/* The namespace of CLONE_NEWPID is not in the set: the child is its 1. */
	if (args->flags & CLONE_NEWPID)
		set_tid[size++] = 0;
	for (i = n - 1; i >= 0; i--, ns = ns->parent) {
		set_tid[size++] = pids[i];
		if (!pids[i])
			continue;
		err = check_set_tid(ns, pids[i]);
		if (err)
			return err;
		/* The levels outside the outermost choice are left out. */
		args->set_tid_size = size;
	}
	args->set_tid = set_tid;
	args->pid_set = 1;
	return 0;
}

static noinline long clone_with_pids(struct kernel_clone_args *args,
				     const struct pid_set *set)
{
	pid_t set_tid[PID_SET_MAX];
	int err;

	err = get_pid_set(args, set_tid, set);
	if (err)
		return err;

	return kernel_clone(args);
}

static long do_clone_extended(u64 flags, unsigned long stack, unsigned long tls,
			      const struct clone_tid_info *tids,
			      const struct pid_set *set)
{
	struct kernel_clone_args args = {
		.flags		= flags & ~(u64)CSIGNAL,
		.pidfd		= tids->parent_tid,
		.child_tid	= tids->child_tid,
		.parent_tid	= tids->parent_tid,
		.exit_signal	= flags & CSIGNAL,
		.stack		= stack,
		.tls		= tls,
	};

	if (args.flags & ~CLONE_EXTENDED_FLAGS)
		return -EINVAL;
	if (!valid_signal(args.exit_signal))
		return -EINVAL;
	if ((args.flags & CLONE_SIGHAND) && (args.flags & CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if (tls && !(args.flags & CLONE_SETTLS))
		return -EINVAL;

	if (set->num_pids)
		return clone_with_pids(&args, set);

	return kernel_clone(&args);
}

static inline u64 clone_extended_flags(int low, int high)
{
	return (u64)(u32)high << 32 | (u32)low;
}

/**
 * sys_clone_extended - create a task with chosen pids
 * @flags_low:   bits 0-31 of the CLONE_ flags; the low byte is the exit signal
 * @flags_high:  bits 32-63 of the CLONE_ flags
 * @child_stack: the child's stack pointer, NULL to go on with the caller's
 * @unused:      the TLS value with CLONE_SETTLS, else NULL
 * @tid_ptrs:    where to store tids, or NULL
 * @pid_setp:    the pids to choose, or NULL
 *
 * @tid_ptrs is read with a flag that needs it only. Without it and @pid_setp
 * nothing is read from user memory.
 *
 * Return: the child's pid in the caller's pid namespace, 0 in the child,
 *         a negative errno on failure.
 */
SYSCALL_DEFINE6(clone_extended, int, flags_low, int, flags_high,
		void __user *, child_stack, void __user *, unused,
		struct clone_tid_info __user *, tid_ptrs,
		struct pid_set __user *, pid_setp)
{
	u64 flags = clone_extended_flags(flags_low, flags_high);
	struct clone_tid_info tids = {};
	struct pid_set set = {};

	if (tid_ptrs && (flags & CLONE_EXTENDED_TIDS) &&
	    copy_from_user(&tids, tid_ptrs, sizeof(tids)))
		return -EFAULT;
	if (pid_setp && copy_from_user(&set, pid_setp, sizeof(set)))
		return -EFAULT;

	return do_clone_extended(flags, (unsigned long)child_stack,
				 (unsigned long)unused, &tids, &set);
}

#ifdef CONFIG_COMPAT
struct compat_clone_tid_info {
	compat_uptr_t parent_tid;
	compat_uptr_t child_tid;
};

struct compat_pid_set {
	compat_int_t num_pids;
	compat_uptr_t pids;
};

COMPAT_SYSCALL_DEFINE6(clone_extended, int, flags_low, int, flags_high,
		       compat_uptr_t, child_stack, compat_uptr_t, unused,
		       compat_uptr_t, tid_ptrs, compat_uptr_t, pid_setp)
{
	u64 flags = clone_extended_flags(flags_low, flags_high);
	struct compat_clone_tid_info tids32;
	struct compat_pid_set set32;
	struct clone_tid_info tids = {};
	struct pid_set set = {};

	if (tid_ptrs && (flags & CLONE_EXTENDED_TIDS)) {
		if (copy_from_user(&tids32, compat_ptr(tid_ptrs), sizeof(tids32)))
			return -EFAULT;
		tids.parent_tid = compat_ptr(tids32.parent_tid);
		tids.child_tid = compat_ptr(tids32.child_tid);
	}
	if (pid_setp) {
		if (copy_from_user(&set32, compat_ptr(pid_setp), sizeof(set32)))
			return -EFAULT;
		set.num_pids = set32.num_pids;
		set.pids = compat_ptr(set32.pids);
	}

	return do_clone_extended(flags, child_stack, unused, &tids, &set);
}
#endif /* CONFIG_COMPAT */

#ifdef CONFIG_SYSCTL
/*
 * The number, for programs to find: trying one cannot tell this call from
 * another that some later kernel gives the same number.
 */
static int clone_extended_nr __ro_after_init = __NR_clone_extended;

static struct ctl_table clone_extended_table[] = {
	{
		.procname	= "clone_extended",
		.data		= &clone_extended_nr,
		.maxlen		= sizeof(int),
		.mode		= 0444,
		.proc_handler	= proc_dointvec,
	},
};

static int __init clone_extended_sysctl_init(void)
{
	register_sysctl_init("kernel", clone_extended_table);
	return 0;
}
late_initcall(clone_extended_sysctl_init);
#endif /* CONFIG_SYSCTL */
