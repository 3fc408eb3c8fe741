/* SPDX-License-Identifier: MIT */
/*
 * Batches of system calls run in a task. An interpreter in the task walks an array of records
 * {number, six arguments, result, flags}; a thousand records cost one stop. Whoever can run calls
 * is a "hand": a stub of a restart, or a borrowed thread of a checkpointed program (borrow.h).
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/error.h"

/* Room for records and their data: the same size in every hand. */
#define CALLS_ROOM (1024 * 1024)
/* Where the room of a hand starts with records; data follows behind them. */
#define CALLS_MAX_RECORDS 8192

/* As the interpreter reads it (arch/x86_64.S). */
struct call_record {
	int64_t number; /* -1: the end */
	uint64_t args[6];
	int64_t result; /* as the kernel returns it: -errno on failure */
	uint64_t must;	/* not 0: a failure ends the batch */
};

struct hand {
	pid_t tid;	/* as the controller numbers it; traced, stopped */
	pid_t own_tgid; /* as the task's own namespace numbers them: for the signal at the end */
	pid_t own_tid;
	int end_signal;	    /* sent to itself at the end: ignored where nobody traces */
	uint64_t code;	    /* address of the interpreter in the task */
	uint64_t stack;	    /* stack pointer while calls run; 0: any */
	uint64_t room;	    /* address of the room in the task */
	size_t room_size;   /* CALLS_ROOM, or less */
	void *local;	    /* the controller's side of the room */
	bool shared;	    /* local is the same memory; else it is carried over */
	bool lost;	    /* the task has died */
	bool ends_by_fault; /* SIGSEGV is neither blocked nor ignored: calls_finish_last may be used
			     */
	/* What calls start from, where nothing of the thread's own is to be kept; NULL: its own. */
	const struct user_regs_struct *start;
	unsigned foreign_ends; /* end signals of others that came while calls ran, dropped */
};

/*
 * A hand that is stopped is made ready: everything but its end signal is blocked. Once before its
 * first calls, and no record may block the end signal; a task's own mask is set by ptrace when it
 * is let go. Disposition of the end signal does not matter while there is a tracer.
 */
int hand_ready(struct hand *hand, struct reprise_error *err);

/* What the controller knows of a record. */
struct call_note {
	const char *what;      /* for errors; NULL: it may fail */
	const char *otherwise; /* NULL: any result is good */
	int64_t expected;
};

/* A batch under construction. Errors stick: they come out of calls_run(). */
struct calls {
	struct hand *hand;
	struct reprise_error *err;
	size_t count;		 /* records */
	size_t data_used;	 /* bytes of data, from the end of the records' room */
	int failed;		 /* sticky -errno */
	bool keep;		 /* results are wanted: never flush by itself, -ENOBUFS when full */
	bool runs;		 /* started, not finished yet */
	bool ran;		 /* what is here has been run: the next addition starts anew */
	bool data_open;		 /* data was added since the last record */
	struct call_note *notes; /* one for each record */
};

/* Starts a batch; with keep false it is run by itself whenever it is full. Release with calls_end.
 */
int calls_begin(struct calls *calls, struct hand *hand, bool keep, struct reprise_error *err);
void calls_end(struct calls *calls);

/* Adds a record that must succeed / may fail; what names the thing for errors and must stay valid
 * until calls_run (a literal, or arena text). Returns its index in the batch. */
size_t calls_must(struct calls *calls, const char *what, long number, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uint64_t e, uint64_t f);
size_t calls_may(struct calls *calls, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
	uint64_t e, uint64_t f);

/* Copies data into the room / sets size zeroed bytes of it aside: their address in the task. Valid
 * until the batch has run. Data comes before the record it is for; a record's data of up to
 * CALLS_DATA_STEP bytes needs no calls_reserve. */
#define CALLS_DATA_STEP (8 * 1024)
uint64_t calls_data(struct calls *calls, const void *data, size_t size);
uint64_t calls_text(struct calls *calls, const char *text);
uint64_t calls_space(struct calls *calls, size_t size);

/* Makes sure that records and bytes fit together into one batch: runs what is there when not. */
int calls_reserve(struct calls *calls, size_t records, size_t bytes);

/* A record that has succeeded must have given this result: else the batch fails with otherwise. */
void calls_expect(struct calls *calls, size_t index, int64_t result, const char *otherwise);

/* Runs what was added. On the failure of a record that must succeed: its error. Afterwards results
 * and data can be read, until the next record is added; which starts the next batch. */
int calls_run(struct calls *calls);
/* The same in two halves, between which the thread runs alone. */
int calls_start(struct calls *calls);
int calls_finish(struct calls *calls);
/* The second half where the last record unmaps the room, the interpreter with it: the thread is
 * left where it faults then, at a stop in which the kernel still looks at signals and at
 * interrupted calls. Only for a hand that ends_by_fault, whose room is shared. */
int calls_finish_last(struct calls *calls);
int64_t calls_result(const struct calls *calls, size_t index);
/* The controller's view of an address that calls_data or calls_space gave. */
void *calls_view(const struct calls *calls, uint64_t address);

/* One call and its result; -errno of the call comes back as such, without an error noted. */
int64_t calls_one(struct hand *hand, struct reprise_error *err, long number, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int calls_one_start(struct hand *hand, struct reprise_error *err, long number, uint64_t a,
	uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t calls_one_finish(struct hand *hand, struct reprise_error *err);
