/* SPDX-License-Identifier: MIT */
/* call-translate: the rules as a pure translation, compared with what is written here. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "call/rules.h"

#define PIDS(...) (const pid_t[]){__VA_ARGS__}, sizeof((const pid_t[]){__VA_ARGS__}) / sizeof(pid_t)
#define NONE NULL, 0

static const struct one {
	const char *what;
	uint64_t flags;
	int levels;
	const pid_t *pids;
	int num_pids;
	int result;
	const pid_t *set_tid;
	int set_tid_size;
	uint64_t open;
} table[] = {
	{"no set", SIGCHLD, 3, NONE, 0, NONE, 0},
	{"reversed", SIGCHLD, 3, PIDS(5, 77, 99), 0, PIDS(99, 77, 5), 0},
	{"zeros outside", SIGCHLD, 3, PIDS(0, 77, 99), 0, PIDS(99, 77), 0},
	{"fewer", SIGCHLD, 3, PIDS(99), 0, PIDS(99), 0},
	{"only zeros", SIGCHLD, 3, PIDS(0, 0, 0), 0, NONE, 0},
	{"zero inside", SIGCHLD, 3, PIDS(77, 0), 0, PIDS(0, 77), 1},
	{"zeros inside", SIGCHLD, 4, PIDS(0, 77, 0, 0), 0, PIDS(0, 0, 77), 3},
	{"zero between", SIGCHLD, 3, PIDS(5, 0, 9), 0, PIDS(9, 0, 5), 2},
	{"new namespace", SIGCHLD | CLONE_NEWPID, 2, PIDS(7, 9), 0, PIDS(1, 9, 7), 0},
	{"new namespace, zero inside", SIGCHLD | CLONE_NEWPID, 2, PIDS(7, 0), 0, PIDS(1, 0, 7), 2},
	{"new namespace, no pid", SIGCHLD | CLONE_NEWPID, 2, PIDS(0, 0), 0, NONE, 0},
	{"too many", SIGCHLD, 2, PIDS(0, 0, 9), -EINVAL, NONE, 0},
	{"too many zeros", SIGCHLD, 2, PIDS(0, 0, 0), -EINVAL, NONE, 0},
	{"levels unknown", SIGCHLD, 0, PIDS(0, 0, 9), 0, PIDS(9), 0},
	{"negative", SIGCHLD, 2, PIDS(-1, 9), -EINVAL, NONE, 0},
	{"fewer than none", SIGCHLD, 2, NULL, -1, -EINVAL, NONE, 0},
	{"more than there can be", SIGCHLD, 0, NULL, CE_LEVELS + 1, -EINVAL, NONE, 0},
	{"unknown high bit", SIGCHLD | 1ULL << 40, 2, NONE, -EINVAL, NONE, 0},
	{"CLONE_INTO_CGROUP", SIGCHLD | 1ULL << 33, 2, NONE, -EINVAL, NONE, 0},
	{"CLONE_DETACHED", SIGCHLD | 0x00400000, 2, NONE, -EINVAL, NONE, 0},
	{"exit signal", 65, 2, NONE, -EINVAL, NONE, 0},
};

static bool fits(const struct one *one)
{
	struct ce_request request = {
		.flags = one->flags, .pids = one->pids, .num_pids = one->num_pids};
	struct ce_clone out;
	struct ce_clone untouched;
	int size = one->set_tid_size;

	memset(&out, 0x5a, sizeof(out));
	untouched = out;
	if (ce_translate(&request, one->levels, &out) != one->result)
		return false;
	if (one->result)
		return memcmp(&out, &untouched, sizeof(out)) == 0;
	return out.args.flags == (one->flags & ~0xffULL) && out.args.exit_signal == SIGCHLD &&
	       out.args.set_tid_size == (unsigned)size && out.open == one->open &&
	       out.args.set_tid == (size ? (uintptr_t)out.set_tid : 0) &&
	       (size == 0 || memcmp(out.set_tid, one->set_tid, sizeof(pid_t) * (size_t)size) == 0);
}

static bool pointers_fit(void)
{
	char stack[64];
	int place = 0;
	struct ce_request request = {.flags = SIGCHLD | CLONE_THREAD | CLONE_PIDFD | CLONE_SETTLS,
		.child_stack = stack + sizeof(stack),
		.tls = &request,
		.parent_tid = &place,
		.child_tid = &stack};
	struct ce_clone out;

	if (ce_translate(&request, 1, &out) != 0)
		return false;
	return out.args.stack + out.args.stack_size == (uintptr_t)(stack + sizeof(stack)) &&
	       out.args.stack_size > 0 && out.args.exit_signal == 0 &&
	       out.args.tls == (uintptr_t)&request && out.args.pidfd == (uintptr_t)&place &&
	       out.args.parent_tid == (uintptr_t)&place && out.args.child_tid == (uintptr_t)&stack;
}

static bool strict_about_tls(void)
{
	struct ce_request request = {.flags = SIGCHLD, .tls = &request};
	struct ce_clone out;

	return ce_translate(&request, 1, &out) == -EINVAL;
}

int main(void)
{
	int failed = 0;
	int n = (int)(sizeof(table) / sizeof(table[0]));

	for (int i = 0; i < n; i++) {
		if (fits(&table[i]))
			continue;
		failed++;
		printf("FAIL %s\n", table[i].what);
	}
	if (!pointers_fit() && ++failed)
		printf("FAIL pointers\n");
	if (!strict_about_tls() && ++failed)
		printf("FAIL a TLS without its flag\n");
	if ((ce_errno(EEXIST) != EBUSY || ce_errno(EINVAL) != EINVAL) && ++failed)
		printf("FAIL errno\n");
	printf("%d passed, %d failed, 0 skipped\n", n + 3 - failed, failed);
	return failed != 0;
}
