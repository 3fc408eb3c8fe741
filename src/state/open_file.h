/* SPDX-License-Identifier: MIT */
/*
 * Open file descriptions: what open(2) makes, and what descriptors of one or several tasks share.
 * descriptions.c finds them in the tree, descriptors.c hands them to the tasks of a restart, and a
 * file fd_KIND.c each captures and opens one kind of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "state/state.h"

struct open_kind;

/* A description of the live tree, as the first descriptor of it that was found shows it. */
struct description {
	struct live_process *process;
	pid_t tid; /* a thread that holds it: of a leader that has exited nothing is left in /proc
		    */
	int number;
	struct stat st;
	char *link;   /* what /proc/PID/fd/N leads to */
	char *fdinfo; /* text of /proc/PID/fdinfo/N */
	uint64_t pos;
	unsigned flags;		      /* O_*, without O_CLOEXEC */
	uint64_t id;		      /* tells objects apart that share an inode: of an eventfd */
	const struct open_kind *kind; /* NULL: refused */
	uint32_t index;		      /* in snapshot->open_files, when it is taken */
	OpenFile *message;
	struct description *next; /* in the order in which they were found */
	/* descriptions.c */
	struct description *bucket, *less, *more;
};

struct descriptor {
	int number;
	struct description *description;
};

/* The descriptors of a live process, by number; none of a zombie. */
struct descriptor_table {
	struct descriptor *items;
	size_t count;
	size_t first_call; /* of the calls that ask for close-on-exec: one for each item */
	bool asked;
};
const struct descriptor_table *descriptor_table(const struct live_process *process);

/* The first of all descriptions of the tree, when the survey is complete. */
struct description *descriptions(struct capture *capture);

/* Finds the descriptions of process, and refuses what cannot be captured. */
int descriptions_survey(struct capture *capture, struct live_process *process);

/* Refuses pipes, FIFOs and eventfds that a process outside the tree holds too. */
int outside_survey(struct capture *capture);

/* Which kind it is; NULL, with *ret_why in words, when it cannot be captured. */
const struct open_kind *open_kind_of(const struct description *description, const char **ret_why);

/* A descriptor of the controller's own for the same description; -errno with an error. */
int description_grab(struct capture *capture, const struct description *description);

/* A field of fdinfo, "eventfd-count:"; NULL when it is not there. */
const char *fdinfo_field(const char *fdinfo, const char *name);

/* One kind of open file: what it is and how it comes back. */
struct open_kind {
	/* Fills in what the message says beyond kind, flags and offset. */
	int (*capture)(struct capture *capture, struct description *description, OpenFile *ret);
	/* Before the first task: what is missing here. May be NULL. */
	int (*check)(struct restore *restore, const OpenFile *file);
	/* Makes it: a descriptor of the controller, or -errno with an error. */
	int (*open)(struct restore *restore, const OpenFile *file);
};
extern const struct open_kind regular_kind, directory_kind, device_kind, pipe_kind, fifo_kind,
	eventfd_kind, memfd_kind, path_kind;

/* The message of a description in snapshot->open_files, filled when first asked for. */
int description_message(struct capture *capture, struct description *description, OpenFile **ret);

/* The controller's descriptor of a description of the image, made when first asked for; -errno with
 * an error. It stays with the table. */
int open_file_get(struct restore *restore, uint32_t index);
int open_files_check(struct restore *restore);
int open_files_prepare(struct restore *restore);
void open_files_close(struct restore *restore);
void open_files_end(struct restore *restore);

/* Opens again what fd leads to: a description of its own. flags as in the image. -errno. */
int open_again(struct restore *restore, int fd, unsigned flags);

/* Gives a description the flags of the image that open(2) did not (O_APPEND, O_NONBLOCK, …). */
int open_set_flags(struct restore *restore, int fd, unsigned flags);

/* owners.c: who gets the signals of a description. */
int owner_capture(struct capture *capture, int fd, OpenFile *ret);
/* Makes a thread the owner of what it, its process or its group owned. */
int owners_restore_thread(struct restore *restore, struct stub *stub, struct calls *calls);

/* What a pipe and a FIFO have in common: pipe_content.c. */

/* Notes the pipe of a description: ret->pipe. Its content is taken when all are known. */
int pipe_refer(struct capture *capture, struct description *description, OpenFile *ret);
int pipes_take_content(struct capture *capture);

/* Gives a new pipe its capacity and content; fd can be written to. Leaves it with O_NONBLOCK. */
int pipe_fill(struct restore *restore, const Pipe *pipe, int fd);
int pipe_check(struct restore *restore, const OpenFile *file);

/* The ends that the controller has of a pipe or FIFO of the image, for as long as it opens them. */
struct pipe_ends {
	bool made;
	bool used[2]; /* an end has become a description of the image */
	int fds[2];
};
struct pipe_ends *pipe_ends(struct restore *restore, const OpenFile *file);
void pipes_end(struct restore *restore);

/* Fills in ret->file for a description that has a path, and says so when it has none. */
int refer_to_file(struct capture *capture, struct description *description, OpenFile *ret);
