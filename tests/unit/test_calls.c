/* SPDX-License-Identifier: MIT */
#include <check.h>
#undef fail /* of check, long deprecated */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "task/arch/arch.h"
#include "task/calls.h"
#include "task/ptrace.h"

/* A forked child that is traced and stopped, with the room and the interpreter mapped in it. */
struct fixture {
	struct hand hand;
	struct reprise_error err;
	struct calls calls;
};

static void map_interpreter(struct hand *hand)
{
	size_t size;
	const void *code = arch_interpreter(&size);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(page, MAP_FAILED);
	memcpy(page, code, size);
	ck_assert_int_eq(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
	hand->code = (uint64_t)page;
}

static void start(struct fixture *f, bool shared, size_t room_size)
{
	int status;
	void *room = mmap(NULL, room_size, PROT_READ | PROT_WRITE,
		(shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);

	memset(f, 0, sizeof(*f));
	ck_assert_ptr_ne(room, MAP_FAILED);
	map_interpreter(&f->hand);
	f->hand.room = (uint64_t)room;
	f->hand.room_size = room_size;
	f->hand.local = room;
	f->hand.shared = shared;
	f->hand.end_signal = SIGURG;
	f->hand.tid = fork();
	if (f->hand.tid == 0)
		for (;;)
			pause();
	f->hand.own_tgid = f->hand.own_tid = f->hand.tid;
	ck_assert_int_eq(trace_seize(f->hand.tid, PTRACE_O_EXITKILL), 0);
	ck_assert_int_eq(trace_interrupt(f->hand.tid), 0);
	ck_assert_int_eq(trace_wait(f->hand.tid, 60, &status), 0);
	ck_assert_int_eq(hand_ready(&f->hand, &f->err), 0);
}

static void stop(struct fixture *f)
{
	int status;

	kill(f->hand.tid, SIGKILL);
	while (waitpid(f->hand.tid, &status, __WALL) == f->hand.tid && WIFSTOPPED(status))
		;
}

static void run_a_batch(bool shared)
{
	struct fixture f;
	size_t pid, bad;
	uint64_t space;

	start(&f, shared, CALLS_ROOM);
	ck_assert_int_eq(calls_begin(&f.calls, &f.hand, true, &f.err), 0);
	for (int round = 0; round < 3; round++) {
		pid = calls_must(&f.calls, "getpid", SYS_getpid, 0, 0, 0, 0, 0, 0);
		bad = calls_may(&f.calls, SYS_close, 12345, 0, 0, 0, 0, 0);
		space = calls_space(&f.calls, 100);
		calls_must(&f.calls, "getcwd", SYS_getcwd, space, 100, 0, 0, 0, 0);
		ck_assert_int_eq(calls_run(&f.calls), 0);
		ck_assert_int_eq(calls_result(&f.calls, pid), f.hand.tid);
		ck_assert_int_eq(calls_result(&f.calls, bad), -EBADF);
		ck_assert_int_eq(*(char *)calls_view(&f.calls, space), '/');
	}
	calls_end(&f.calls);
	ck_assert_int_eq(calls_one(&f.hand, &f.err, SYS_getppid, 0, 0, 0, 0, 0, 0), getpid());
	ck_assert_int_eq(calls_one(&f.hand, &f.err, SYS_close, 12345, 0, 0, 0, 0, 0), -EBADF);
	ck_assert_int_eq(f.err.code, 0);
	stop(&f);
}

START_TEST(shared_room)
{
	run_a_batch(true);
}
END_TEST

START_TEST(carried_room)
{
	run_a_batch(false);
}
END_TEST

START_TEST(a_failure_ends_the_batch)
{
	struct fixture f;
	size_t after;

	start(&f, true, CALLS_ROOM);
	calls_begin(&f.calls, &f.hand, true, &f.err);
	calls_must(&f.calls, "cannot close it", SYS_close, 12345, 0, 0, 0, 0, 0);
	after = calls_may(&f.calls, SYS_getpid, 0, 0, 0, 0, 0, 0);
	ck_assert_int_eq(calls_run(&f.calls), -EBADF);
	ck_assert_str_eq(f.err.thing, "cannot close it");
	ck_assert_int_ne(calls_result(&f.calls, after), f.hand.tid);
	/* It sticks. */
	calls_may(&f.calls, SYS_getpid, 0, 0, 0, 0, 0, 0);
	ck_assert_int_eq(calls_run(&f.calls), -EBADF);
	calls_end(&f.calls);
	stop(&f);
}
END_TEST

START_TEST(more_than_a_room_holds)
{
	struct fixture f;
	char path[] = "/tmp/reprise-test-calls-XXXXXX", text[40], got[40];
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	start(&f, true, CALLS_ROOM);
	calls_begin(&f.calls, &f.hand, false, &f.err);
	for (int i = 0; i < 30000; i++) {
		uint64_t data;

		memset(text, 'a' + i % 26, sizeof(text));
		data = calls_data(&f.calls, text, sizeof(text));
		calls_must(&f.calls, "write", SYS_pwrite64, fd, data, sizeof(text),
			(uint64_t)i * sizeof(text), 0, 0);
	}
	ck_assert_int_eq(calls_run(&f.calls), 0);
	for (int i = 0; i < 30000; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		ck_assert_int_eq(pread(fd, got, sizeof(got), i * (off_t)sizeof(text)), sizeof(got));
		ck_assert_mem_eq(text, got, sizeof(text));
	}
	calls_end(&f.calls);
	close(fd);
	stop(&f);
}
END_TEST

START_TEST(what_does_not_fit_is_said)
{
	struct fixture f;

	start(&f, false, 64 * 1024);
	calls_begin(&f.calls, &f.hand, true, &f.err);
	for (int i = 0; i < 511; i++)
		calls_must(&f.calls, "getpid", SYS_getpid, 0, 0, 0, 0, 0, 0);
	ck_assert_int_eq(f.calls.failed, 0);
	calls_must(&f.calls, "getpid", SYS_getpid, 0, 0, 0, 0, 0, 0);
	ck_assert_int_eq(calls_run(&f.calls), -ENOBUFS);
	calls_end(&f.calls);
	stop(&f);
}
END_TEST

START_TEST(signals_do_not_disturb)
{
	struct fixture f;
	size_t last = 0;

	start(&f, true, CALLS_ROOM);
	calls_begin(&f.calls, &f.hand, true, &f.err);
	for (int i = 0; i < 100; i++) {
		kill(f.hand.tid, SIGTERM);
		kill(f.hand.tid, SIGURG);
		syscall(SYS_tgkill, f.hand.tid, f.hand.tid, SIGURG);
		if (i % 10 == 0)
			kill(f.hand.tid, SIGSTOP);
		for (int k = 0; k < 100; k++)
			last = calls_must(&f.calls, "getpid", SYS_getpid, 0, 0, 0, 0, 0, 0);
		ck_assert_int_eq(calls_run(&f.calls), 0);
		ck_assert_int_eq(calls_result(&f.calls, last), f.hand.tid);
	}
	ck_assert_uint_gt(f.hand.foreign_ends, 0);
	calls_end(&f.calls);
	stop(&f);
}
END_TEST

START_TEST(a_death_is_said)
{
	struct fixture f;

	start(&f, true, CALLS_ROOM);
	calls_begin(&f.calls, &f.hand, true, &f.err);
	calls_must(&f.calls, "exit", SYS_exit_group, 3, 0, 0, 0, 0, 0);
	ck_assert_int_eq(calls_run(&f.calls), -ESRCH);
	ck_assert(f.hand.lost);
	calls_end(&f.calls);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("calls");
	Suite *suite = suite_create("calls");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, shared_room);
	tcase_add_test(tests, carried_room);
	tcase_add_test(tests, a_failure_ends_the_batch);
	tcase_add_test(tests, more_than_a_room_holds);
	tcase_add_test(tests, what_does_not_fit_is_said);
	tcase_add_test(tests, signals_do_not_disturb);
	tcase_add_test(tests, a_death_is_said);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
