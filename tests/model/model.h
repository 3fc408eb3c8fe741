/* SPDX-License-Identifier: MIT */
/*
 * Linux's rules for processes, as a model: what clone, setsid, setpgid, unshare, setns, prctl, exit
 * and wait do to the table of tasks. Each call returns 0 (or an index) or the errno that Linux
 * gives. Task 0 is the nursery: it lives in namespace 0, leads session and group 0, takes
 * orphans in, and never ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define M_TASKS 2048
#define M_NSS 512
#define M_LEVELS 34
#define M_NUMBERS 2048

enum m_state {
	M_RUN,
	M_ZOMBIE,
	M_GONE,
};

struct m_ns {
	int parent;
	int level;
	int init;		 /* task; -1: empty */
	bool dead;		 /* its init has ended */
	int next;		 /* where the search for a free number begins */
	uint16_t who[M_NUMBERS]; /* index of the pid + 1 which has the number, 0: free */
};

struct m_pid {
	int ns;
	int refs;   /* how often it is used as a pid, session or group */
	int groups; /* by how many processes as their group */
	int numbers[M_LEVELS];
};

struct m_task {
	enum m_state state;
	int pid; /* each task's pid has the same index as the task */
	int leader;
	int parent;
	int session;
	int group;
	int ns;
	int children_ns;
	int exit_signal;
	int status;
	bool subreaper;
	bool session_leader;
};

struct model {
	int n_nss, n_tasks;
	int most_levels;
	struct m_ns nss[M_NSS];
	struct m_pid pids[M_TASKS];
	struct m_task tasks[M_TASKS];
};

#define M_CLONE_THREAD 1
#define M_CLONE_PARENT 2
#define M_CLONE_NEWPID 4

void model_init(struct model *m);
/* numbers: one per level, outermost first, of which the last is 1 with NEWPID; 0: any; NULL: all
 * any. */
int model_clone(struct model *m, int actor, int flags, int exit_signal, const int *numbers);
int model_setsid(struct model *m, int actor);
int model_setpgid(struct model *m, int actor, int task, int group);
int model_unshare(struct model *m, int actor);
int model_setns(struct model *m, int actor, int ns);
int model_subreaper(struct model *m, int actor, bool on);
int model_exit(struct model *m, int task, int status);	     /* the one task */
int model_exit_group(struct model *m, int task, int status); /* the whole process */
int model_wait(struct model *m, int actor, int child);

bool model_ns_within(const struct model *m, int ns, int outer);
bool model_sees(const struct model *m, int ns, int pid); /* has the pid a number there? */
bool model_is_held_up(const struct model *m, int task);	 /* an init that cannot end yet */
bool model_is_init(const struct model *m, int task);
bool model_has_threads(const struct model *m, int leader); /* any living task in the process? */
int model_ns_at(const struct model *m, int ns, int level);
