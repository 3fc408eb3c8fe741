/* SPDX-License-Identifier: MIT */
/* Readers of /proc: one task's files, read whole and parsed without allocation where possible. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

#define MAX_PID_LEVELS 33 /* the initial namespace and 32 below it: MAX_PID_NS_LEVEL */

/* Reads /proc/PID/NAME whole into the arena, with a NUL behind it. *ret_size without the NUL. */
int proc_read(struct arena *arena, pid_t pid, const char *name, char **ret, size_t *ret_size,
	struct reprise_error *err);
int proc_open(pid_t pid, const char *name, int flags);			   /* fd or -errno */
ssize_t proc_link(pid_t pid, const char *name, char *target, size_t size); /* length or -errno */
/* The inode of a namespace, by its link (ns/mnt); 0: none. */
uint64_t proc_inode(pid_t pid, const char *name);

/* What /proc/PID/status and /proc/PID/stat say of one thread. */
struct task_status {
	char name[64];
	char state; /* R S D T t Z X I */
	pid_t tgid, ppid, tracer;
	bool has_memory;    /* not a zombie, not a kernel thread */
	bool kernel_thread; /* since Linux 6.8 */
	uint32_t uids[4], gids[4];
	uint32_t *groups; /* in the arena */
	size_t nr_groups;
	int nr_levels; /* entries of the four below, outermost first, the reader's namespace first
			*/
	pid_t tgids[MAX_PID_LEVELS], pids[MAX_PID_LEVELS];
	pid_t pgids[MAX_PID_LEVELS], sids[MAX_PID_LEVELS];
	uint64_t pending, shared_pending, blocked, ignored, caught;
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
	bool no_new_privs;
	int seccomp;
	uint32_t umask;
	int threads;
	/* of stat */
	int exit_signal, exit_code;
	uint64_t start_time;
	uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
};

/* task is "PID" or "PID/task/TID". The stat fields are read when with_stat. */
int proc_status(struct arena *arena, const char *task, bool with_stat, struct task_status *ret,
	struct reprise_error *err);
