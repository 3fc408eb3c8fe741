// SPDX-License-Identifier: MIT
/*
 * Interval timers and POSIX timers. They are armed when all else is in place, with the time that
 * was left. The owner of a per-thread CPU clock cannot be seen from outside: it is taken to be the
 * thread that the timer signals.
 */
#include "state/ahead.h"
#include "state/kinds.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77 /* Linux 6.15 */
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

#define NR_INTERVAL 3
/* Without restorable ids a timer gets its id by making and deleting all those before it. */
#define MAX_CLIMB 100000

/* struct sigevent, as the kernel has it. */
struct kernel_sigevent {
	uint64_t value;
	int32_t signal, notify, tid;
	int32_t padding[11];
};
_Static_assert(sizeof(struct kernel_sigevent) == 64, "as SIGEV_MAX_SIZE");

struct timers_asked {
	PosixTimer **posix;
	size_t count;
	uint64_t interval;   /* NR_INTERVAL struct itimerval, in the task */
	uint64_t settings;   /* count struct itimerspec */
	size_t first_result; /* timer_gettime and timer_getoverrun of each */
	uint64_t when;	     /* before all that, CLOCK_MONOTONIC */
};

static uint64_t nanoseconds(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return nanoseconds(&ts);
}

static int parse_notify(const struct live_process *process, const char *text, PosixTimer *timer)
{
	char how[16], whom[8];
	int tid;

	if (sscanf(text, "notify: %15[a-z]/%7[a-z].%d", how, whom, &tid) != 3)
		return -EBADMSG;
	if (!strcmp(how, "none"))
		timer->notify = SIGEV_NONE;
	else if (!strcmp(how, "thread"))
		timer->notify = SIGEV_THREAD;
	else
		timer->notify = SIGEV_SIGNAL;
	if (strcmp(whom, "tid") != 0)
		return 0;
	timer->notify |= SIGEV_THREAD_ID;
	for (size_t i = 0; i < process->nr_threads; i++)
		if (process->threads[i].tid == tid)
			timer->thread = (int32_t)i;
	/* The thread is gone, and with it all signals of the timer. */
	if (timer->thread < 0)
		timer->notify = SIGEV_NONE;
	return 0;
}

static int parse_timers(struct capture *capture, const struct live_process *process, char *text,
	struct timers_asked *asked)
{
	PosixTimer *timer = NULL;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int bad = 0;

		if (!strncmp(line, "ID: ", 4)) {
			timer = MESSAGE_NEW(capture->arena, PosixTimer, posix_timer);
			if (!timer || arena_append(capture->arena, (void ***)&asked->posix,
					      &asked->count, timer))
				return fail(capture->err, ENOMEM, "POSIX timers");
			timer->id = (int32_t)strtol(line + 4, NULL, 10);
			timer->thread = -1;
		} else if (!timer) {
			bad = -EBADMSG;
		} else if (!strncmp(line, "signal: ", 8)) {
			bad = sscanf(line, "signal: %" SCNu32 "/%" SCNx64, &timer->signal,
				      &timer->value) == 2
				      ? 0
				      : -EBADMSG;
		} else if (!strncmp(line, "notify: ", 8)) {
			bad = parse_notify(process, line, timer);
		} else if (!strncmp(line, "ClockID: ", 9)) {
			timer->clock = (int32_t)strtol(line + 9, NULL, 10);
		}
		if (bad)
			return fail(capture->err, bad, "cannot understand /proc/%d/timers: %s",
				process->pid, line);
	}
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const PosixTimer *const *x = a, *const *y = b;

	return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int timers_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct timers_asked *asked = arena_alloc(capture->arena, sizeof(*asked));
	char *text;
	int r;

	if (!asked)
		return fail(capture->err, ENOMEM, "timers");
	process->notes[NOTE_TIMERS] = asked;
	asked->when = now();
	r = ahead_read(capture, process, AHEAD_TIMERS, &text, NULL);
	if (r == 0)
		r = parse_timers(capture, process, text, asked);
	if (r < 0)
		return r;
	if (asked->count)
		qsort(asked->posix, asked->count, sizeof(*asked->posix), by_id);
	asked->interval = calls_space(calls, NR_INTERVAL * sizeof(struct itimerval));
	for (int i = 0; i < NR_INTERVAL; i++)
		calls_must(calls, "interval timer", SYS_getitimer, i,
			asked->interval + i * sizeof(struct itimerval), 0, 0, 0, 0);
	if (asked->count)
		asked->settings = calls_space(calls, asked->count * sizeof(struct itimerspec));
	for (size_t i = 0; i < asked->count; i++) {
		size_t index =
			calls_must(calls, "POSIX timer", SYS_timer_gettime, asked->posix[i]->id,
				asked->settings + i * sizeof(struct itimerspec), 0, 0, 0, 0);

		if (i == 0)
			asked->first_result = index;
		calls_may(calls, SYS_timer_getoverrun, asked->posix[i]->id, 0, 0, 0, 0, 0);
	}
	return 0;
}

/* Whether the signal of a timer is pending for the process; id -1: of the interval timer. */
static bool is_pending(const Signals *signals, int number, int id)
{
	for (size_t i = 0; signals && i < signals->n_pending; i++) {
		siginfo_t info;

		memcpy(&info, signals->pending[i]->info.data, sizeof(info));
		if (id < 0 ? info.si_signo == number && info.si_code == SI_KERNEL
			   : info.si_code == SI_TIMER && info.si_timerid == id)
			return true;
	}
	return false;
}

/* What was still to expire once when it was asked for, and had when the pending signals were looked
 * at, is only pending: it must not expire twice. */
static void forget_expired(const struct timers_asked *asked, const Process *process, Timers *timers)
{
	uint64_t elapsed = now() - asked->when;

	for (size_t i = 0; i < timers->n_interval && i < NR_INTERVAL; i++) {
		IntervalTimer *timer = timers->interval[i];
		static const int numbers[NR_INTERVAL] = {SIGALRM, SIGVTALRM, SIGPROF};

		if (!timer->interval && timer->value * 1000 <= elapsed &&
			is_pending(process->signals, numbers[i], -1))
			timer->value = 0;
	}
	for (size_t i = 0; i < timers->n_posix; i++) {
		PosixTimer *timer = timers->posix[i];

		if (!timer->interval && timer->remaining <= elapsed &&
			is_pending(process->signals, 0, timer->id))
			timer->remaining = 0;
	}
}

static int timers_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct timers_asked *asked = process->notes[NOTE_TIMERS];
	const struct itimerval *interval = calls_view(calls, asked->interval);
	const struct itimerspec *settings =
		asked->count ? calls_view(calls, asked->settings) : NULL;
	Timers *timers = MESSAGE_NEW(capture->arena, Timers, timers);

	if (!timers)
		return fail(capture->err, ENOMEM, "timers");
	ret->timers = timers;
	for (int i = 0; i < NR_INTERVAL; i++) {
		IntervalTimer *timer = MESSAGE_NEW(capture->arena, IntervalTimer, interval_timer);

		if (!timer || MESSAGE_ADD(capture->arena, timers, interval, timer))
			return fail(capture->err, ENOMEM, "timers");
		timer->interval = (uint64_t)interval[i].it_interval.tv_sec * 1000000 +
				  (uint64_t)interval[i].it_interval.tv_usec;
		timer->value = (uint64_t)interval[i].it_value.tv_sec * 1000000 +
			       (uint64_t)interval[i].it_value.tv_usec;
	}
	for (size_t i = 0; i < asked->count; i++) {
		int64_t overrun = calls_result(calls, asked->first_result + 2 * i + 1);

		asked->posix[i]->interval = nanoseconds(&settings[i].it_interval);
		asked->posix[i]->remaining = nanoseconds(&settings[i].it_value);
		asked->posix[i]->overrun = overrun > 0 ? (int32_t)overrun : 0;
	}
	timers->posix = asked->posix;
	timers->n_posix = asked->count;
	forget_expired(asked, ret, timers);
	return 0;
}

static bool ids_are_restorable(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static int timers_check(struct restore *restore)
{
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Timers *timers = restore->snapshot->processes[i]->timers;

		if (!timers || !timers->n_posix || ids_are_restorable())
			continue;
		if (timers->posix[timers->n_posix - 1]->id > MAX_CLIMB)
			return fail(restore->err, 0,
				"a POSIX timer has the id %d: that needs Linux 6.15 or later",
				timers->posix[timers->n_posix - 1]->id);
	}
	return 0;
}

static pid_t own_tid(const Thread *thread)
{
	return thread->n_pids ? thread->pids[thread->n_pids - 1] : 0;
}

static struct kernel_sigevent event_of(const Process *process, const PosixTimer *timer)
{
	struct kernel_sigevent event = {
		.value = timer->value,
		.signal = (int32_t)timer->signal,
		.notify = (int32_t)timer->notify,
	};

	if (timer->thread >= 0 && (size_t)timer->thread < process->n_threads)
		event.tid = own_tid(process->threads[timer->thread]);
	return event;
}

/* CLOCK_THREAD_CPUTIME_ID, and as the kernel notes it: CPU clock of a thread, pid 0 for itself. */
static bool is_of_thread(clockid_t clock)
{
	return clock == CLOCK_THREAD_CPUTIME_ID || (clock >= -4 && clock <= -2);
}

static bool makes(const struct stub *stub, const PosixTimer *timer)
{
	if (is_of_thread(timer->clock) && timer->thread >= 0 &&
		(size_t)timer->thread < stub->process->n_threads)
		return stub->process->threads[timer->thread] == stub->thread;
	return stub_speaks(stub);
}

static int create_with_id(struct stub *stub, struct calls *calls, const PosixTimer *timer)
{
	struct kernel_sigevent event = event_of(stub->process, timer);
	int32_t id = timer->id;

	if (calls_reserve(calls, 3, sizeof(event) + 64))
		return calls->failed;
	calls_must(calls, "restoring ids of timers", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
		PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0, 0);
	calls_must(calls, "POSIX timer", SYS_timer_create, (uint64_t)(int64_t)timer->clock,
		calls_data(calls, &event, sizeof(event)), calls_data(calls, &id, sizeof(id)), 0, 0,
		0);
	calls_must(calls, "restoring ids of timers", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
		PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0, 0);
	return 0;
}

/* Before Linux 6.15 the ids of a new process count up from 0. */
static int create_by_climbing(struct stub *stub, struct calls *calls, const Timers *timers)
{
	int32_t next = 0;

	for (size_t i = 0; i < timers->n_posix; i++) {
		struct kernel_sigevent event = event_of(stub->process, timers->posix[i]);

		for (;; next++) {
			if (calls_reserve(calls, 2, sizeof(event) + 64))
				return calls->failed;
			calls_must(calls, "POSIX timer", SYS_timer_create,
				(uint64_t)(int64_t)timers->posix[i]->clock,
				calls_data(calls, &event, sizeof(event)), calls_space(calls, 4), 0,
				0, 0);
			if (next >= timers->posix[i]->id)
				break;
			calls_must(calls, "id of a POSIX timer", SYS_timer_delete, next, 0, 0, 0, 0,
				0);
		}
		next++;
	}
	return 0;
}

static int timers_restore_thread(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Timers *timers = stub->process->timers;
	int r = 0;

	if (!timers || !timers->n_posix)
		return 0;
	if (!ids_are_restorable())
		return stub_speaks(stub) ? create_by_climbing(stub, calls, timers) : 0;
	for (size_t i = 0; r == 0 && i < timers->n_posix; i++)
		if (makes(stub, timers->posix[i]))
			r = create_with_id(stub, calls, timers->posix[i]);
	return r;
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

static struct timeval timeval_of(uint64_t us)
{
	return (struct timeval){(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
}

static int timers_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Timers *timers = stub->process->timers;

	if (!timers || !stub_speaks(stub))
		return 0;
	for (size_t i = 0; i < timers->n_interval && i < NR_INTERVAL; i++) {
		const IntervalTimer *timer = timers->interval[i];
		struct itimerval value = {timeval_of(timer->interval),
			/* A periodic one stands still while its signal is pending. */
			timeval_of(timer->value ? timer->value : timer->interval)};

		if (!timer->value && !timer->interval)
			continue;
		if (calls_reserve(calls, 1, sizeof(value)))
			return calls->failed;
		calls_must(calls, "interval timer", SYS_setitimer, i,
			calls_data(calls, &value, sizeof(value)), 0, 0, 0, 0);
	}
	for (size_t i = 0; i < timers->n_posix; i++) {
		struct itimerspec value = {
			timespec_of(timers->posix[i]->interval),
			timespec_of(timers->posix[i]->remaining),
		};

		if (!timers->posix[i]->remaining)
			continue;
		if (calls_reserve(calls, 1, sizeof(value)))
			return calls->failed;
		calls_must(calls, "POSIX timer", SYS_timer_settime, timers->posix[i]->id, 0,
			calls_data(calls, &value, sizeof(value)), 0, 0, 0);
	}
	return 0;
}

const struct state_kind timers_kind = {
	.name = "timers",
	.ask = timers_ask,
	.take = timers_take,
	.check = timers_check,
	.restore_thread = timers_restore_thread,
	.finish = timers_finish,
};
