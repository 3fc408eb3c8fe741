/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#define RULE(number, name, text) {number, text, rule_##name},
const struct rule rules[] = {
#include "rules.def"
};
#undef RULE

bool count(struct world *w, int rule, bool ok, const char *what, ...)
{
	char text[700];
	va_list args;

	if (ok) {
		w->passed++;
		return true;
	}
	w->failed++;
	va_start(args, what);
	vsnprintf(text, sizeof(text), what, args);
	va_end(args);
	printf("FAIL rule %d, backend %d, depth %d%s, as %s: %s\n", rule, w->backend, w->depth,
		w->outside ? " from outside" : "", privilege_names[w->privilege], text);
	fflush(stdout);
	return false;
}

struct call free_set(const struct world *w, int flags, int num)
{
	struct call call = {.low = flags | SIGCHLD, .num = num};

	for (int i = 0; i < num; i++) {
		int level = w->depth + 1 - num + i;

		call.pids[i] = free_pid(w, level < 0 ? 0 : level);
	}
	return call;
}

/* A stranger may take a pid of the initial namespace between our look and the call. */
static bool met_a_stranger(const struct world *w, struct call *call, const struct outcome *got)
{
	if (got->error != EBUSY || call->num != levels_of(w, call) || !call->pids[0] ||
		(predict(w, call) & ERROR(EBUSY)))
		return false;
	call->pids[0] = free_pid(w, 0);
	return true;
}

void row(struct world *w, int rule, const char *what, struct call *call, errors table)
{
	bool plain = w->privilege == AS_ROOT && w->backend != CLONE_EXTENDED_LAST_PID;
	errors rules_say = predict(w, call);
	struct outcome got;
	char why[300] = "";
	char set[300];
	bool ok;

	for (int tries = 0; tries < 20; tries++) {
		make_call(call, &got);
		if (!met_a_stranger(w, call, &got))
			break;
	}
	ok = agrees(w, call, &got, why, sizeof(why));
	describe(call, set, sizeof(set));
	if (ok && plain && rules_say != table && !(rules_say & ERROR(EOPNOTSUPP))) {
		snprintf(why, sizeof(why),
			"the model predicts otherwise than the table (%#llx, %#llx)",
			(unsigned long long)rules_say, (unsigned long long)table);
		ok = false;
	}
	count(w, rule, ok, "%s: %s: %s", what, set, why);
}
