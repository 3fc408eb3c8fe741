/* SPDX-License-Identifier: MIT */
/*
 * clone_extended(): clone(2) with 64 bits of flags and with the pid of the child chosen in every
 * pid namespace it lives in. See clone_extended(2) and libclone_extended(3).
 *
 * All functions here but clone_extended_use() are async-signal-safe and thread-safe, allocate
 * nothing and take no lock.
 */
#ifndef CLONE_EXTENDED_H
#define CLONE_EXTENDED_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct clone_tid_info {
	void *parent_tid; /* parent_tid_ptr parameter */
	void *child_tid;  /* child_tid_ptr parameter */
};

/*
 * The pids of the child, from the outermost pid namespace named to the youngest; fewer pids than
 * namespaces are aligned to the youngest. 0 leaves the choice to the kernel.
 */
struct pid_set {
	int num_pids;
	pid_t *pids;
};

/* What flags_high can say today: bit 32. */
#define CLONE_EXTENDED_HIGH_CLEAR_SIGHAND 1

/*
 * Creates a child as clone(2) does. flags_low: the low half of the flags and, in its low byte, the
 * exit signal. flags_high: bits 32 to 63. child_stack: the stack pointer with which the child
 * returns from this call, NULL for the caller's. unused: the TLS with CLONE_SETTLS, else NULL.
 * tid_ptrs and pid_setp may be NULL.
 *
 * Returns the child's pid in the caller's pid namespace, 0 in the child, -1 with errno:
 *	EBUSY	a chosen pid is taken
 *	EINVAL	an unknown flag, more pids than namespaces, a pid that is negative or too high
 *	EFAULT	the set cannot be read
 *	EPERM	a pid is chosen where the caller may not: CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN is
 *		needed in the user namespace that owns the pid namespace
 *	EOPNOTSUPP  the backend in use cannot do it
 *	ENOSYS	no backend can choose pids here
 * or what clone(2) says. On an error no child exists.
 */
int clone_extended(int flags_low, int flags_high, void *child_stack, void *unused,
	struct clone_tid_info *tid_ptrs, struct pid_set *pid_setp);

/* The same for a child that runs fn(arg) and ends with what it returns, as glibc's clone() does. */
int clone_extended_call(int (*fn)(void *arg), void *arg, int flags_low, int flags_high,
	void *child_stack, void *unused, struct clone_tid_info *tid_ptrs, struct pid_set *pid_setp);

enum {
	CLONE_EXTENDED_AUTO = 0,     /* the best that the kernel has */
	CLONE_EXTENDED_NATIVE = 1,   /* the system call of that name */
	CLONE_EXTENDED_CLONE3 = 2,   /* clone3(2) with set_tid, Linux 5.5 */
	CLONE_EXTENDED_LAST_PID = 3, /* /proc/sys/kernel/ns_last_pid, Linux 3.3 */
};

/* The backend that the next call uses; *why, if why is not NULL, is set to a constant sentence. */
int clone_extended_backend(const char **why);

/*
 * Forces a backend for the whole process, as CLONE_EXTENDED_BACKEND=native|clone3|last_pid in the
 * environment does; CLONE_EXTENDED_AUTO ends that. 0, or -1 with errno: EINVAL no such backend,
 * ENOSYS the kernel has not got it.
 */
int clone_extended_use(int backend);

#ifdef __cplusplus
}
#endif
#endif
