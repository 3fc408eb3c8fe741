/* SPDX-License-Identifier: MIT */
/*
 * A chain of nested pid namespaces with tasks that hold pids, a caller somewhere in it, and what
 * the rules say of a call made there. Pids are compared from outside, by what /proc says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <clone_extended.h>

enum { LEVELS = 33, SET_TID = 32, TASKS = 64 };

enum privilege { AS_ROOT, AS_USERNS_ROOT, AS_NOBODY, AS_RESTORER, PRIVILEGES };
enum state { FREE, BY_TASK, BY_ZOMBIE, BY_SESSION, BY_GROUP, STATES };

extern const char *const privilege_names[PRIVILEGES];
extern const char *const state_names[STATES];

struct world {
	/* What is asked for. */
	int depth;    /* the level of the namespace in which children will live */
	bool outside; /* the caller lives at level 0 and has called setns(2) */
	enum privilege privilege;
	int backend;
	bool automatic; /* the library has chosen it itself */
	void *job;	/* the caller's, in shared memory */

	/* What was built. */
	int owner;		     /* levels from here on are owned by the user namespace */
	int32_t pid_max[LEVELS];     /* each namespace has its own since 6.14 */
	pid_t held[STATES][LEVELS];  /* what holds a pid, at every level */
	_Atomic int tasks;	     /* that the world consists of, */
	pid_t others[TASKS][LEVELS]; /* and their pids at the levels where they live */
	int32_t last_pid;	     /* of the initial namespace, kept up to date */
	pid_t maker;		     /* who runs this, */
	pid_t top;		     /* and its child, the first task of the world */
	pid_t init;		     /* the deepest first task, as level 0 numbers it */
	int failures;		     /* errors in building */
	int passed, failed, skipped; /* what the callers counted */
	int done;
};

/* One call. The set is num pids from the outermost to the youngest. */
struct call {
	int low, high;
	int num;
	pid_t pids[LEVELS + 3];
	bool fresh; /* unshare(CLONE_NEWPID) came before: the youngest level has no task */
};

/* What came out: errno, or the child's pids at all levels from 0 on. */
struct outcome {
	int error;
	int levels;
	pid_t returned;
	pid_t pids[LEVELS + 1];
};

/* A set of errno values that the rules allow, as bits; 0 is success. */
typedef uint64_t errors;
#define ERROR(e) (1ULL << ((e) == EOPNOTSUPP ? 63 : (e)))

/*
 * Builds the world, runs body in a new process at the caller's place, and takes all down again.
 * 0, or -1 if it could not be built (said on stdout). What body counted stands in *w.
 */
int world_run(struct world *w, void (*body)(struct world *w));

/* Makes the call with a child that waits, notes its pids, ends it. */
void make_call(const struct call *call, struct outcome *ret);

/* A pid that nobody has at that level, and that the kernel is not about to choose. */
pid_t free_pid(const struct world *w, int level);

/* The number of levels that a set of this world can name. */
int levels_of(const struct world *w, const struct call *call);

/* The rules: what may come out of the call. */
errors predict(const struct world *w, const struct call *call);

/* Whether the outcome is what the rules say; else what is wrong, in text. */
bool agrees(const struct world *w, const struct call *call, const struct outcome *got, char *text,
	size_t size);

/* Whether a task of this world, or what one left, has the pid. */
bool is_taken(const struct world *w, int level, pid_t pid);

/* The pids of a process that the caller's namespace numbers so: how many levels, 0 on failure. */
int pids_of(pid_t pid, pid_t ret[LEVELS + 1]);

void describe(const struct call *call, char *text, size_t size);
