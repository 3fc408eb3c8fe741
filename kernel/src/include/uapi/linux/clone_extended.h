/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_CLONE_EXTENDED_H
#define _UAPI_LINUX_CLONE_EXTENDED_H

#include <linux/types.h>

/**
 * struct clone_tid_info - where clone_extended() stores thread ids
 * @parent_tid: in the parent, for CLONE_PARENT_SETTID; takes the pidfd of
 *              CLONE_PIDFD instead when that flag is given
 * @child_tid:  in the child, for CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID
 */
struct clone_tid_info {
	void __user *parent_tid;
	void __user *child_tid;
};

/**
 * struct pid_set - the pids that the child of clone_extended() is to have
 * @num_pids: number of entries in @pids; 0 chooses nothing
 * @pids:     one pid for each pid namespace, from the outermost one named to
 *            the youngest. 0 leaves that level to the kernel.
 *
 * Fewer pids than the child has levels are aligned to the youngest level.
 */
struct pid_set {
	int num_pids;
	__kernel_pid_t __user *pids;
};

#endif /* _UAPI_LINUX_CLONE_EXTENDED_H */
