/* SPDX-License-Identifier: MIT */
#include <check.h>
#undef fail /* of check, long deprecated */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/proc.h"
#include "task/tree.h"
#include "task/vdso.h"

static struct arena *arena;
static struct reprise_error err;

static void setup(void)
{
	arena = arena_new();
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	arena_free(arena);
}

static struct task_status status_of(pid_t pid)
{
	struct task_status status;
	char task[32];

	snprintf(task, sizeof(task), "%d", pid);
	ck_assert_msg(proc_status(arena, task, true, &status, &err) == 0, "%s", err.thing);
	return status;
}

/* A child that tells when it has done what it is to do. */
static pid_t start(void (*prepare)(void))
{
	int ends[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		prepare();
		if (write(ends[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void strange_name(void)
{
	prctl(PR_SET_NAME, "a)\n\\ (b:\tc");
}

START_TEST(names_of_all_kinds)
{
	pid_t pid = start(strange_name);
	struct task_status status = status_of(pid);

	ck_assert_str_eq(status.name, "a)\n\\ (b:\tc");
	ck_assert_int_eq(status.ppid, getpid());
	ck_assert_int_eq(status.tgid, pid);
	ck_assert_int_eq(status.threads, 1);
	ck_assert_int_eq(status.exit_signal, SIGCHLD);
	ck_assert_uint_ne(status.start_stack, 0);
	ck_assert(status.has_memory);
	end(pid);
}
END_TEST

static void many_groups(void)
{
	gid_t groups[3000];

	for (gid_t i = 0; i < 3000; i++)
		groups[i] = 100000 + i;
	if (setgroups(3000, groups) < 0)
		_exit(1);
}

START_TEST(a_long_status)
{
	pid_t pid = start(many_groups);
	struct task_status status = status_of(pid);

	ck_assert_uint_eq(status.nr_groups, 3000);
	ck_assert_uint_eq(status.groups[0], 100000);
	ck_assert_uint_eq(status.groups[2999], 102999);
	end(pid);
}
END_TEST

static void some_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGRTMAX);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGUSR1, SIG_IGN);
	umask(027);
	raise(SIGHUP);
}

START_TEST(signals_and_umask)
{
	pid_t pid = start(some_signals);
	struct task_status status = status_of(pid);

	ck_assert_uint_eq(status.blocked & 1, 1);
	ck_assert_uint_eq(status.blocked >> 63, 1);
	ck_assert_uint_eq((status.pending | status.shared_pending) & 1, 1);
	ck_assert_uint_ne(status.ignored & 1U << (SIGUSR1 - 1), 0);
	ck_assert_uint_eq(status.umask, 027);
	end(pid);
}
END_TEST

START_TEST(one_that_has_gone)
{
	struct task_status status;
	char task[32];
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	snprintf(task, sizeof(task), "%d", pid);
	ck_assert_int_eq(proc_status(arena, task, true, &status, &err), -ESRCH);
}
END_TEST

START_TEST(a_zombie_with_its_status)
{
	struct task_status status;
	siginfo_t info;
	pid_t pid = fork();

	if (pid == 0)
		_exit(7);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	status = status_of(pid);
	ck_assert_int_eq(status.state, 'Z');
	ck_assert_int_eq(status.exit_code, 7 << 8);
	waitpid(pid, NULL, 0);
}
END_TEST

static void a_family(void)
{
	for (int i = 0; i < 3; i++) {
		if (fork() == 0) {
			if (fork() == 0)
				for (;;)
					pause();
			for (;;)
				pause();
		}
	}
	if (fork() == 0)
		_exit(3);
}

/* Children of children may not have come yet when the first has told. */
static struct live_tree *find_eight(pid_t pid)
{
	struct live_tree *tree;

	for (int tries = 0; tries < 60000; tries++) {
		size_t zombies = 0;

		ck_assert_int_eq(tree_find(arena, pid, &tree, &err), 0);
		for (size_t i = 0; i < tree->count; i++)
			zombies += tree->processes[i]->zombie;
		if (tree->count == 8 && zombies == 1)
			return tree;
		usleep(1000);
	}
	ck_abort_msg("the family is not complete");
	return NULL;
}

START_TEST(a_tree_frozen_and_killed)
{
	pid_t pid = start(a_family);
	struct live_tree *tree = find_eight(pid);

	ck_assert_int_eq(tree->processes[0]->pid, pid);
	for (int i = 0; i < 10; i++) {
		ck_assert_msg(
			tree_freeze(arena, pid, NULL, NULL, &tree, &err) == 0, "%s", err.thing);
		ck_assert_uint_eq(tree->count, 8);
		for (size_t k = 0; k < tree->count; k++) {
			struct live_process *process = tree->processes[k];

			ck_assert_uint_eq(process->index, k);
			ck_assert_ptr_eq(tree_process(tree, process->pid), process);
			ck_assert(k == 0 || (process->parent && process->parent->index < k));
			ck_assert_int_eq(
				status_of(process->pid).state, process->zombie ? 'Z' : 't');
		}
		if (i == 9)
			break;
		tree_release(tree);
	}
	ck_assert_int_eq(tree_kill(tree, &err), 0);
}
END_TEST

static void own_namespace(void)
{
	unshare(CLONE_NEWPID);
	if (fork() == 0) {
		a_family();
		for (;;)
			pause();
	}
}

START_TEST(a_tree_with_a_namespace_in_it)
{
	pid_t pid = start(own_namespace);
	struct live_tree *tree;
	size_t inits = 0;

	for (int tries = 0;; tries++) {
		ck_assert_int_lt(tries, 60000);
		ck_assert_int_eq(tree_find(arena, pid, &tree, &err), 0);
		if (tree->count >= 9)
			break;
		usleep(1000);
	}
	for (size_t i = 0; i < tree->count; i++) {
		const struct task_status *status = &tree->processes[i]->threads[0].status;

		inits += status->nr_levels == 2 && status->pids[1] == 1;
	}
	ck_assert_uint_eq(inits, 1);
	ck_assert_int_eq(tree_freeze(arena, pid, NULL, NULL, &tree, &err), 0);
	ck_assert_int_eq(tree_kill(tree, &err), 0);
}
END_TEST

START_TEST(the_padding_of_the_vdso)
{
	uint64_t address;
	size_t size;

	ck_assert_int_eq(vdso_padding(getpid(), 0, &address, &size), 0);
	ck_assert_uint_eq((address + size) % 4096, 0);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(((const char *)address)[i], 0);
}
END_TEST

START_TEST(nobody_there)
{
	struct live_tree *tree;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(tree_find(arena, pid, &tree, &err), -ESRCH);
	ck_assert_str_ne(err.thing, "");
	error_clear(&err);
	ck_assert_int_eq(tree_freeze(arena, pid, NULL, NULL, &tree, &err), -ESRCH);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("proc");
	Suite *suite = suite_create("proc");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 240);
	tcase_add_test(tests, names_of_all_kinds);
	tcase_add_test(tests, a_long_status);
	tcase_add_test(tests, signals_and_umask);
	tcase_add_test(tests, one_that_has_gone);
	tcase_add_test(tests, a_zombie_with_its_status);
	tcase_add_test(tests, a_tree_frozen_and_killed);
	tcase_add_test(tests, a_tree_with_a_namespace_in_it);
	tcase_add_test(tests, the_padding_of_the_vdso);
	tcase_add_test(tests, nobody_there);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
