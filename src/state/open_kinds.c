// SPDX-License-Identifier: MIT
/* Tells the kinds of open files apart, and has the words for what cannot be captured. */
#include "state/open_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

/* How /proc shows what has no path, and what a person calls it. */
static const struct {
	const char *link, *what;
} nameless[] = {
	{"socket:", "a socket"},
	{"anon_inode:[eventpoll]", "an epoll instance"},
	{"anon_inode:[signalfd]", "a signalfd"},
	{"anon_inode:[timerfd]", "a timerfd"},
	{"anon_inode:inotify", "an inotify instance"},
	{"anon_inode:[fanotify]", "a fanotify group"},
	{"anon_inode:[userfaultfd]", "a userfaultfd"},
	{"anon_inode:[pidfd]", "a pidfd"},
	{"pidfd:", "a pidfd"},
	{"anon_inode:bpf", "a BPF object"},
	{"anon_inode:[perf_event]", "a perf event"},
	{"anon_inode:[io_uring]", "an io_uring"},
	{"anon_inode:seccomp notify", "a seccomp listener"},
	{"anon_inode:kvm", "a KVM object"},
	{"anon_inode:[landlock", "a landlock ruleset"},
	{"anon_inode:[fscontext]", "a file system being configured"},
	{"anon_inode:[memfd_secret]", "a memfd_secret"},
	{"mnt:", "a namespace"},
	{"pid:", "a namespace"},
	{"user:", "a namespace"},
	{"uts:", "a namespace"},
	{"ipc:", "a namespace"},
	{"net:", "a namespace"},
	{"time:", "a namespace"},
	{"cgroup:", "a namespace"},
};

static const char *name_of_nameless(const char *link)
{
	for (size_t i = 0; i < sizeof(nameless) / sizeof(nameless[0]); i++)
		if (!strncmp(link, nameless[i].link, strlen(nameless[i].link)))
			return nameless[i].what;
	return "of a kind that is not supported";
}

static bool is_plain_device(dev_t device)
{
	/* null, zero, full, random, urandom: they keep nothing between two calls. */
	static const unsigned char minors[] = {3, 5, 7, 8, 9};

	return major(device) == 1 && minor(device) < 10 &&
	       memchr(minors, (int)minor(device), sizeof(minors));
}

static bool is_terminal(dev_t device)
{
	unsigned number = major(device);

	/* tty and serial lines; /dev/tty and /dev/ptmx; pseudo-terminals. */
	return number == 4 || number == 5 || (number >= 136 && number <= 143);
}

static const struct open_kind *device_of(const struct description *d, const char **ret_why)
{
	if (is_plain_device(d->st.st_rdev))
		return &device_kind;
	*ret_why = is_terminal(d->st.st_rdev)
			   ? "a terminal, which is not supported: start the program with its input "
			     "and output redirected to files or /dev/null"
			   : "a device that is not supported";
	return NULL;
}

static const struct open_kind *file_of(const struct description *d, const char **ret_why)
{
	switch (d->st.st_mode & S_IFMT) {
	case S_IFREG:
		return &regular_kind;
	case S_IFDIR:
		return &directory_kind;
	case S_IFIFO:
		return &fifo_kind;
	case S_IFCHR:
		return device_of(d, ret_why);
	case S_IFBLK:
		*ret_why = "a block device, which is not supported";
		return NULL;
	default:
		*ret_why = "of a kind that is not supported";
		return NULL;
	}
}

/* A number of the caller's own /proc means a task under a pid that it does not get back. In a /proc
 * of the container's own it does. */
static bool is_of_foreign_task(const struct description *d)
{
	struct stat proc;

	return !strncmp(d->link, "/proc/", 6) && d->link[6] >= '0' && d->link[6] <= '9' &&
	       stat("/proc", &proc) == 0 && proc.st_dev == d->st.st_dev;
}

const struct open_kind *open_kind_of(const struct description *d, const char **ret_why)
{
	if (d->link[0] != '/') {
		if (!strncmp(d->link, "pipe:", 5) && !(d->flags & O_PATH))
			return &pipe_kind;
		if (!strcmp(d->link, "anon_inode:[eventfd]") && !(d->flags & O_PATH))
			return &eventfd_kind;
		*ret_why = name_of_nameless(d->link);
		return NULL;
	}
	if (is_of_foreign_task(d)) {
		*ret_why =
			"about one task in a /proc outside the container, which is not supported";
		return NULL;
	}
	if (d->flags & O_PATH) {
		if (strncmp(d->link, "/memfd:", 7) != 0)
			return &path_kind;
		*ret_why = "an O_PATH descriptor of a memfd, which is not supported";
		return NULL;
	}
	if (strstr(d->fdinfo, " LEASE ") || strstr(d->fdinfo, " DELEG ")) {
		*ret_why = "a file with a lease, which is not supported";
		return NULL;
	}
	if (S_ISREG(d->st.st_mode) && d->st.st_nlink == 0 && !strncmp(d->link, "/memfd:", 7))
		return &memfd_kind;
	return file_of(d, ret_why);
}
