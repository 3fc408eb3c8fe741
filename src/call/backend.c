/* SPDX-License-Identifier: MIT */
#include "call/backend.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <clone_extended.h>

#include "call/proc.h"
#include "call/rules.h"

#define PUBLIC __attribute__((visibility("default")))
#define NUMBER_FILE "/proc/sys/kernel/clone_extended"

/*
 * Written once, when the library is loaded, and constant from then on: what it says holds for all
 * descendants as well, those in deeper namespaces and those that share this memory included.
 */
static struct {
	long native;
	int levels;
	bool from_environment;
} known;

/* The only thing that can change later: a word that clone_extended_use() sets. */
static _Atomic int forced;

static const char *const names[] = {"auto", "native", "clone3", "last_pid"};

__attribute__((constructor)) static void look(void)
{
	const char *name = secure_getenv("CLONE_EXTENDED_BACKEND");
	int levels[CE_LEVELS];
	long number;

	if (ce_proc_number(NUMBER_FILE, &number) == 0 && number > 0)
		known.native = number;
	known.levels = ce_proc_pids(levels);
	for (int i = 1; name && i < (int)(sizeof(names) / sizeof(names[0])); i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		known.from_environment = true;
		atomic_store_explicit(&forced, i, memory_order_relaxed);
	}
}

long ce_native_number(void)
{
	return known.native;
}

int ce_forced(void)
{
	return atomic_load_explicit(&forced, memory_order_relaxed);
}

bool ce_levels_known(int n)
{
	return n <= 1 || n <= known.levels;
}

/*
 * A set_tid of more entries than there can be levels is EINVAL since 5.5; before, set_tid lies
 * beyond the end of the structure and is E2BIG. A filter says ENOSYS or EPERM.
 */
bool ce_clone3_works(void)
{
	struct clone_args args = {.set_tid = (uintptr_t)&args, .set_tid_size = CE_SET_TID + 1};

	return syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER1) < 0 && errno == EINVAL;
}

static const char *why(int backend, bool is_forced)
{
	if (is_forced)
		return known.from_environment ? "forced (CLONE_EXTENDED_BACKEND, or the program)"
					      : "forced by the program";
	if (backend == CLONE_EXTENDED_NATIVE)
		return "the kernel publishes the call in " NUMBER_FILE;
	if (backend == CLONE_EXTENDED_CLONE3)
		return "the kernel has no clone_extended() but clone3() with set_tid";
	return "the kernel, or a filter, has neither clone_extended() nor clone3() with set_tid";
}

PUBLIC int clone_extended_backend(const char **ret_why)
{
	int saved = errno;
	int backend = ce_forced();
	bool is_forced = backend != CLONE_EXTENDED_AUTO;

	if (!is_forced && known.native)
		backend = CLONE_EXTENDED_NATIVE;
	else if (!is_forced)
		backend = ce_clone3_works() ? CLONE_EXTENDED_CLONE3 : CLONE_EXTENDED_LAST_PID;
	if (ret_why)
		*ret_why = why(backend, is_forced);
	errno = saved;
	return backend;
}

PUBLIC int clone_extended_use(int backend)
{
	if (backend < CLONE_EXTENDED_AUTO || backend > CLONE_EXTENDED_LAST_PID) {
		errno = EINVAL;
		return -1;
	}
	if ((backend == CLONE_EXTENDED_NATIVE && !known.native) ||
		(backend == CLONE_EXTENDED_CLONE3 && !ce_clone3_works()) ||
		(backend == CLONE_EXTENDED_LAST_PID &&
			access("/proc/sys/kernel/ns_last_pid", F_OK) < 0)) {
		errno = ENOSYS;
		return -1;
	}
	atomic_store_explicit(&forced, backend, memory_order_relaxed);
	return 0;
}
