/* SPDX-License-Identifier: MIT */
#include <check.h>
#undef fail /* of check, long deprecated */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "task/borrow.h"
#include "task/proc.h"
#include "task/tree.h"

#define PATIENCE 60 /* seconds */

/* What program and test both see. */
struct shared {
	atomic_ulong turns[4]; /* of each thread */
	atomic_int wrong;      /* something that must not happen */
	atomic_int ready;
};

struct fixture {
	struct arena *arena;
	struct live_tree *tree;
	struct borrowed borrowed;
	struct reprise_error err;
	struct shared *shared;
	pid_t program;
};

/* ---- programs ---- */

/* Registers that must not change, whenever the thread is stopped. */
static void *count(void *arg)
{
	atomic_ulong *turns = arg;
	struct shared *shared = (struct shared *)((uintptr_t)arg & ~(uintptr_t)4095);

	shared->ready++;
	for (;;) {
		unsigned long sum = 0;

		__asm__ volatile("mov $0x1111, %%rbx\n mov $0x2222, %%r12\n mov $0x3333, %%r13\n"
				 "mov $0x4444, %%r14\n mov $0x5555, %%r15\n mov $0x6666, %%r11\n"
				 "mov $0x7777, %%rdi\n mov $10000, %%rcx\n"
				 "1: dec %%rcx\n jnz 1b\n"
				 "mov %%rbx, %0\n add %%r12, %0\n add %%r13, %0\n add %%r14, %0\n"
				 "add %%r15, %0\n add %%r11, %0\n add %%rdi, %0\n"
				 : "=&r"(sum)
				 :
				 : "rbx", "r11", "r12", "r13", "r14", "r15", "rdi", "rcx", "cc");
		if (sum != 0x1111 + 0x2222 + 0x3333 + 0x4444 + 0x5555 + 0x6666 + 0x7777)
			shared->wrong = 1;
		(*turns)++;
	}
	return NULL;
}

static void *sleep_on(void *arg)
{
	atomic_ulong *turns = arg;
	struct shared *shared = (struct shared *)((uintptr_t)arg & ~(uintptr_t)4095);
	struct timespec nap = {0, 20 * 1000 * 1000};

	shared->ready++;
	for (;;) {
		if (nanosleep(&nap, NULL) < 0)
			shared->wrong = errno;
		(*turns)++;
	}
	return NULL;
}

static void program(struct shared *shared)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, sleep_on, &shared->turns[1]);
	pthread_create(&thread, NULL, count, &shared->turns[2]);
	sleep_on(&shared->turns[0]);
}

/* ---- the frame ---- */

static void wait_for(struct shared *shared, unsigned turns)
{
	unsigned long before[3];

	for (int i = 0; i < 3; i++)
		before[i] = shared->turns[i];
	for (int i = 0; i < 3; i++) {
		for (int tries = 0; shared->turns[i] < before[i] + turns; tries++) {
			ck_assert_int_lt(tries, PATIENCE * 1000);
			usleep(1000);
		}
	}
	ck_assert_int_eq(shared->wrong, 0);
}

static void start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->borrowed = BORROWED_NONE;
	f->arena = arena_new();
	f->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(f->shared, MAP_FAILED);
	f->program = fork();
	if (f->program == 0) {
		program(f->shared);
		_exit(1);
	}
	wait_for(f->shared, 1);
}

static void stop(struct fixture *f)
{
	wait_for(f->shared, 3);
	borrow_end(&f->borrowed);
	arena_free(f->arena);
	kill(f->program, SIGKILL);
	waitpid(f->program, NULL, 0);
}

static char *maps_of(struct fixture *f)
{
	char *maps = NULL;

	ck_assert_int_eq(proc_read(f->arena, f->program, "maps", &maps, NULL, &f->err), 0);
	return maps;
}

static void freeze(struct fixture *f)
{
	ck_assert_msg(tree_freeze(f->arena, f->program, NULL, NULL, &f->tree, &f->err) == 0, "%s",
		f->err.thing);
	ck_assert_uint_eq(f->tree->count, 1);
	ck_assert_uint_eq(f->tree->nr_threads, 3);
}

/* Runs calls in every thread. stage: where to stop, for a controller that is to die there. */
static void use_all(struct fixture *f, int stage)
{
	struct live_process *process = f->tree->processes[0];
	struct calls calls;

	ck_assert_msg(borrow_start(process, &f->borrowed, &f->err) == 0, "%s", f->err.thing);
	ck_assert_msg(borrow_ready(&f->borrowed, &f->err) == 0, "%s", f->err.thing);
	if (stage == 1)
		return;
	for (size_t i = 0; i < process->nr_threads; i++) {
		size_t tid, pid;

		ck_assert_int_eq(borrow_thread(&f->borrowed, &process->threads[i], &f->err), 0);
		ck_assert_int_eq(calls_begin(&calls, &f->borrowed.hand, true, &f->err), 0);
		tid = calls_must(&calls, "gettid", SYS_gettid, 0, 0, 0, 0, 0, 0);
		pid = calls_must(&calls, "getpid", SYS_getpid, 0, 0, 0, 0, 0, 0);
		ck_assert_msg(calls_run(&calls) == 0, "%s", f->err.thing);
		ck_assert_int_eq(calls_result(&calls, tid), process->threads[i].tid);
		ck_assert_int_eq(calls_result(&calls, pid), process->pid);
		calls_end(&calls);
		if (stage == 2 + (int)i)
			return;
	}
	ck_assert_msg(borrow_return(&f->borrowed, &f->err) == 0, "%s", f->err.thing);
}

/* ---- tests ---- */

START_TEST(a_program_goes_on)
{
	struct fixture f;
	char *maps;

	start(&f);
	maps = maps_of(&f);
	for (int i = 0; i < 20; i++) {
		freeze(&f);
		use_all(&f, 0);
		tree_release(f.tree);
		f.tree = NULL;
		wait_for(f.shared, 1);
	}
	ck_assert_str_eq(maps_of(&f), maps);
	stop(&f);
}
END_TEST

/* The scratch memory is unmapped by the thread itself, once it runs again. */
static void wait_for_maps(struct fixture *f, const char *maps)
{
	for (int tries = 0; strcmp(maps_of(f), maps) != 0; tries++) {
		ck_assert_int_lt(tries, PATIENCE * 100);
		usleep(10000);
	}
}

START_TEST(a_controller_dies)
{
	struct fixture f;
	char *maps;

	start(&f);
	maps = maps_of(&f);
	for (int i = 0; i < 25; i++) {
		int status;
		pid_t controller = fork();

		if (controller == 0) {
			freeze(&f);
			use_all(&f, i % 5);
			if (i >= 20)
				tree_release(f.tree);
			_exit(42);
		}
		ck_assert_int_eq(waitpid(controller, &status, 0), controller);
		ck_assert_int_eq(status, 42 << 8);
		wait_for(f.shared, 1);
		wait_for_maps(&f, maps);
	}
	/* What was left behind the vdso is in nobody's way. */
	freeze(&f);
	use_all(&f, 0);
	tree_release(f.tree);
	ck_assert_str_eq(maps_of(&f), maps);
	stop(&f);
}
END_TEST

START_TEST(a_stopped_program_stays_stopped)
{
	struct fixture f;
	struct task_status status;
	char task[32];

	start(&f);
	snprintf(task, sizeof(task), "%d", f.program);
	kill(f.program, SIGSTOP);
	ck_assert_int_eq(waitpid(f.program, NULL, WUNTRACED), f.program);
	freeze(&f);
	ck_assert(f.tree->processes[0]->stopped);
	ck_assert_int_eq(f.tree->processes[0]->stop_signal, SIGSTOP);
	use_all(&f, 0);
	tree_release(f.tree);
	for (int tries = 0;; tries++) {
		ck_assert_int_lt(tries, PATIENCE * 1000);
		ck_assert_int_eq(proc_status(f.arena, task, false, &status, &f.err), 0);
		if (status.state == 'T')
			break;
		usleep(1000);
	}
	kill(f.program, SIGCONT);
	stop(&f);
}
END_TEST

/* Stopped by a signal, its threads stay on the way home until it is continued. */
START_TEST(a_second_controller_finds_it_on_the_way)
{
	struct fixture f;
	char *maps;

	start(&f);
	maps = maps_of(&f);
	for (int i = 1; i < 5; i++) {
		pid_t controller;

		kill(f.program, SIGSTOP);
		ck_assert_int_eq(waitpid(f.program, NULL, WUNTRACED), f.program);
		controller = fork();
		if (controller == 0) {
			freeze(&f);
			use_all(&f, i);
			_exit(42);
		}
		ck_assert_int_eq(waitpid(controller, NULL, 0), controller);
		freeze(&f);
		use_all(&f, 0);
		tree_release(f.tree);
		f.tree = NULL;
		ck_assert_str_eq(maps_of(&f), maps);
		kill(f.program, SIGCONT);
		wait_for(f.shared, 2);
	}
	stop(&f);
}
END_TEST

START_TEST(killed_while_frozen)
{
	struct fixture f;
	struct live_process *process;

	start(&f);
	freeze(&f);
	process = f.tree->processes[0];
	ck_assert_int_eq(borrow_start(process, &f.borrowed, &f.err), 0);
	ck_assert_int_eq(borrow_ready(&f.borrowed, &f.err), 0);
	kill(f.program, SIGKILL);
	ck_assert_int_lt(calls_one(&f.borrowed.hand, &f.err, SYS_getpid, 0, 0, 0, 0, 0, 0), 0);
	ck_assert(f.borrowed.hand.lost);
	borrow_return(&f.borrowed, &f.err);
	ck_assert_int_eq(tree_kill(f.tree, NULL), 0);
	borrow_end(&f.borrowed);
	arena_free(f.arena);
	/* Tracer and parent are one here: it has been taken already. */
	ck_assert_int_eq(waitpid(f.program, NULL, 0), -1);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("borrow");
	Suite *suite = suite_create("borrow");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_set_timeout(tests, 240);
	tcase_add_test(tests, a_program_goes_on);
	tcase_add_test(tests, a_controller_dies);
	tcase_add_test(tests, a_stopped_program_stays_stopped);
	tcase_add_test(tests, a_second_controller_finds_it_on_the_way);
	tcase_add_test(tests, killed_while_frozen);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
