/* SPDX-License-Identifier: MIT */
/*
 * call-rules [--backend B]... [--depth N]... [--root]: tries every row of the table of rules; as
 * root only, or with every privilege; the backend forced, or "auto": the one that the library
 * takes. call-rules --table: prints the rules for the manual.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "rows.h"

struct totals {
	int passed;
	int failed;
	int skipped;
};

static void all_rules(struct world *w)
{
	if (w->automatic ? clone_extended_backend(NULL) != w->backend
			 : clone_extended_use(w->backend) < 0) {
		count(w, 0, false, "backend %d: %s", w->backend, strerror(errno));
		return;
	}
	for (int i = 0; i < RULES; i++)
		rules[i].rows(w);
}

static void one_world(struct totals *totals, struct world w)
{
	if (world_run(&w, all_rules) < 0) {
		printf("FAIL backend %d, depth %d%s, as %s: the world broke down\n", w.backend,
			w.depth, w.outside ? " from outside" : "", privilege_names[w.privilege]);
		w.failed++;
	}
	printf("backend %d, depth %2d%s, as %s: %d passed, %d failed\n", w.backend, w.depth,
		w.outside ? " from outside" : "", privilege_names[w.privilege], w.passed, w.failed);
	fflush(stdout);
	totals->passed += w.passed;
	totals->failed += w.failed;
}

static void one_backend(
	struct totals *totals, int backend, const int *depths, int n, int privileges, bool outside)
{
	struct world w = {.backend = backend, .automatic = backend == CLONE_EXTENDED_AUTO};

	if (w.automatic)
		w.backend = clone_extended_backend(NULL);
	for (int i = 0; i < n; i++) {
		w.depth = depths[i];
		w.outside = false;
		for (int privilege = 0; privilege < privileges; privilege++) {
			w.privilege = privilege;
			one_world(totals, w);
		}
		w.privilege = AS_ROOT;
		w.outside = true;
		if (depths[i] && outside)
			one_world(totals, w);
	}
}

static int backend_called(const char *name)
{
	static const char *const names[] = {"auto", "native", "clone3", "last_pid"};

	for (int i = 0; i < 4; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	fprintf(stderr, "call-rules: no backend called %s\n", name);
	exit(2);
}

static void print_table(void)
{
	for (int i = 0; i < RULES; i++)
		printf("%d. %s\n", rules[i].number, rules[i].text);
}

int main(int argc, char **argv)
{
	int depths[LEVELS] = {0, 1, 2, 8, 32};
	int backends[3] = {CLONE_EXTENDED_CLONE3, CLONE_EXTENDED_LAST_PID};
	int num_depths = 0;
	int num_backends = 0;
	int privileges = PRIVILEGES;
	bool outside = true;
	struct totals totals = {0};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--table") == 0) {
			print_table();
			return 0;
		}
		if (strcmp(argv[i], "--root") == 0)
			privileges = AS_ROOT + 1;
		else if (strcmp(argv[i], "--inside") == 0)
			outside = false;
		else if (strcmp(argv[i], "--depth") == 0 && i + 1 < argc && num_depths < LEVELS)
			depths[num_depths++] = atoi(argv[++i]);
		else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc && num_backends < 3)
			backends[num_backends++] = backend_called(argv[++i]);
	}
	for (int i = 0; i < (num_backends ? num_backends : 2); i++)
		one_backend(&totals, backends[i], depths, num_depths ? num_depths : 5, privileges,
			outside);
	printf("%d passed, %d failed, %d skipped\n", totals.passed, totals.failed, totals.skipped);
	fflush(stdout);
	return totals.failed || !totals.passed;
}
