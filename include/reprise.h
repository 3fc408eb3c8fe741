/* SPDX-License-Identifier: MIT */
/*
 * libreprise: checkpoints a tree of tasks, the containers inside it included, and restarts it with
 * every task under the pid it had in every pid namespace. See libreprise(3).
 *
 * Every call returns 0 or a negative errno value and fills *err, which says where it failed.
 * Nothing is printed. The caller needs CAP_SYS_PTRACE over the tasks, and CAP_SYS_ADMIN and
 * CAP_CHECKPOINT_RESTORE to restart them; `reprise check` lists what a kernel and a set of
 * privileges allow. Linux 5.9 or later.
 */
#ifndef REPRISE_H
#define REPRISE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a call failed. All zero before the first use. */
struct reprise_error {
	int code;	  /* errno value, positive; 0: no failure noted */
	bool has_word;	  /* the system has a word for it: strerror(code) belongs to the line */
	char phase[32];	  /* "freeze", "plan", … */
	char task[128];	  /* its pids, outermost first; empty when it is not about one task */
	char thing[2048]; /* what was tried, on what */
};

/* Writes the error as one line without a newline, phase: task: thing: the system's word. */
void reprise_error_line(const struct reprise_error *err, char *line, size_t size);

/* Called now and then with what is being done; done and total are in units of the phase (tasks, or
 * bytes), total 0 when it is not known. May be NULL. */
struct reprise_watcher {
	void (*phase)(void *arg, const char *phase, double seconds_so_far);
	void (*progress)(
		void *arg, const char *phase, unsigned long long done, unsigned long long total);
	void *arg;
};

struct reprise_checkpoint_options {
	size_t size; /* sizeof(struct reprise_checkpoint_options) */
	bool stop;   /* end the tasks once the image is complete and safe on disk */
	const struct reprise_watcher *watcher;
};

/*
 * Checkpoints the task root and all its descendants into the folder dir, which must not exist and
 * appears whole or not at all. The tasks are frozen for the time of the capture and then go on;
 * whatever happens to the caller, they are not harmed.
 */
int reprise_checkpoint(pid_t root, const char *dir,
	const struct reprise_checkpoint_options *options, struct reprise_error *err);

struct reprise_restart_options {
	size_t size;	  /* sizeof(struct reprise_restart_options) */
	bool detach;	  /* the root is left to the nearest subreaper, not kept as a child */
	bool outer_pids;  /* also the pids in the namespaces outside the container */
	bool host_clocks; /* CLOCK_MONOTONIC and CLOCK_BOOTTIME are the host's: no time namespace */
	bool new_pidns;	  /* a plain tree goes into a pid namespace of its own */
	pid_t into_pidns; /* the tree goes into this task's pid namespace; 0: the caller's */
	unsigned wait_seconds; /* how long to wait for taken pids to become free */
	const struct reprise_watcher *watcher;
};

/*
 * Restarts the image. On success *ret_root is the root task's pid as the caller numbers it; without
 * detach it is the caller's child, and is waited for with waitpid(). On failure nothing is left
 * behind.
 */
int reprise_restart(const char *dir, const struct reprise_restart_options *options, pid_t *ret_root,
	struct reprise_error *err);

/* One thing that checkpoint or restart wants of the kernel, or of the caller's privileges. */
struct reprise_need {
	const char *name;    /* "clone3() with chosen pids" */
	const char *purpose; /* what it is for, or what is not possible without it */
	bool required;	     /* nothing works without it */
	int error;	     /* 0: it is there; else the errno value with which it failed */
};

/*
 * Tries everything that checkpoint and restart want, in short-lived children of its own, and calls
 * found for each. Returns 0 when all that is required is there, else the negative errno value of
 * the first that is missing. err is filled only when the trying itself fails.
 */
int reprise_check(void (*found)(void *arg, const struct reprise_need *need), void *arg,
	struct reprise_error *err);

#ifdef __cplusplus
}
#endif

#endif
