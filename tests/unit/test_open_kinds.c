// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "state/open_file.h"

static const struct open_kind *kind_of(char *link, mode_t type, dev_t rdev, const char **ret_why)
{
	struct description d = {.link = link, .fdinfo = (char[]){""}};

	d.st.st_mode = type;
	d.st.st_rdev = rdev;
	d.st.st_nlink = 1;
	*ret_why = NULL;
	return open_kind_of(&d, ret_why);
}

START_TEST(what_comes_back)
{
	static const struct {
		const char *link;
		mode_t type;
		unsigned major, minor;
		const struct open_kind *kind;
	} known[] = {
		{"/etc/passwd", S_IFREG, 0, 0, &regular_kind},
		{"/tmp/x (deleted)", S_IFREG, 0, 0, &regular_kind},
		{"/memfd:not one", S_IFREG, 0, 0, &regular_kind},
		{"/etc", S_IFDIR, 0, 0, &directory_kind},
		{"/tmp/fifo", S_IFIFO, 0, 0, &fifo_kind},
		{"pipe:[7]", S_IFIFO, 0, 0, &pipe_kind},
		{"anon_inode:[eventfd]", 0, 0, 0, &eventfd_kind},
		{"/dev/null", S_IFCHR, 1, 3, &device_kind},
		{"/dev/zero", S_IFCHR, 1, 5, &device_kind},
		{"/dev/full", S_IFCHR, 1, 7, &device_kind},
		{"/dev/random", S_IFCHR, 1, 8, &device_kind},
		{"/dev/urandom", S_IFCHR, 1, 9, &device_kind},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		char link[64];
		const char *why;

		snprintf(link, sizeof(link), "%s", known[i].link);
		ck_assert_msg(kind_of(link, known[i].type, makedev(known[i].major, known[i].minor),
				      &why) == known[i].kind,
			"%s", link);
		ck_assert_ptr_null(why);
	}
}
END_TEST

START_TEST(what_is_refused_has_a_name)
{
	static const struct {
		const char *link;
		mode_t type;
		unsigned major, minor;
		const char *word;
	} refused[] = {
		{"socket:[12]", S_IFSOCK, 0, 0, "a socket"},
		{"anon_inode:[eventpoll]", 0, 0, 0, "an epoll instance"},
		{"anon_inode:[signalfd]", 0, 0, 0, "a signalfd"},
		{"anon_inode:[timerfd]", 0, 0, 0, "a timerfd"},
		{"anon_inode:inotify", 0, 0, 0, "an inotify instance"},
		{"anon_inode:[userfaultfd]", 0, 0, 0, "a userfaultfd"},
		{"anon_inode:[pidfd]", 0, 0, 0, "a pidfd"},
		{"anon_inode:bpf-map", 0, 0, 0, "a BPF object"},
		{"anon_inode:[perf_event]", 0, 0, 0, "a perf event"},
		{"anon_inode:[io_uring]", 0, 0, 0, "an io_uring"},
		{"anon_inode:[what Linux may bring]", 0, 0, 0, "of a kind"},
		{"net:[4026531840]", S_IFREG, 0, 0, "a namespace"},
		{"/dev/pts/0", S_IFCHR, 136, 0, "a terminal"},
		{"/dev/tty", S_IFCHR, 5, 0, "a terminal"},
		{"/dev/tty1", S_IFCHR, 4, 1, "a terminal"},
		{"/dev/mem", S_IFCHR, 1, 1, "a device"},
		{"/dev/loop0", S_IFBLK, 7, 0, "a block device"},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		char link[64];
		const char *why;

		snprintf(link, sizeof(link), "%s", refused[i].link);
		ck_assert_msg(!kind_of(link, refused[i].type,
				      makedev(refused[i].major, refused[i].minor), &why),
			"%s", link);
		ck_assert_msg(why && !strncmp(why, refused[i].word, strlen(refused[i].word)),
			"%s: %s", link, why);
	}
}
END_TEST

START_TEST(leases_and_o_path)
{
	char path[] = "/dev/pts/0",
	     lease[] = "pos:\t0\nlock:\t1: LEASE  ACTIVE    READ 1 fe:00:1 0 EOF\n";
	struct description d = {.link = path, .fdinfo = (char[]){""}, .flags = O_PATH};
	const char *why = NULL;

	d.st.st_mode = S_IFCHR;
	d.st.st_nlink = 1;
	ck_assert_ptr_eq(open_kind_of(&d, &why), &path_kind);
	d.flags = 0;
	d.st.st_mode = S_IFREG;
	d.fdinfo = lease;
	ck_assert_ptr_null(open_kind_of(&d, &why));
	ck_assert(strstr(why, "lease"));
}
END_TEST

START_TEST(fields_of_fdinfo)
{
	const char *text = "pos:\t12\nflags:\t0100002\neventfd-count:                7\n";

	ck_assert_int_eq(strtol(fdinfo_field(text, "pos:"), NULL, 10), 12);
	ck_assert_int_eq(strtol(fdinfo_field(text, "flags:"), NULL, 8), 0100002);
	ck_assert_int_eq(strtol(fdinfo_field(text, "eventfd-count:"), NULL, 16), 7);
	ck_assert_ptr_null(fdinfo_field(text, "eventfd-id:"));
}
END_TEST

UNIT_MAIN("open_kinds", what_comes_back, what_is_refused_has_a_name, leases_and_o_path,
	fields_of_fdinfo)
