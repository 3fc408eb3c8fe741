/* SPDX-License-Identifier: MIT */
/* The snapshot: the messages of image.proto, in an arena, under short names. */
#pragma once

#include "base/arena.h"
#include "image/image.pb-c.h"

typedef Reprise__Snapshot Snapshot;
typedef Reprise__Clocks Clocks;
typedef Reprise__PidNamespace PidNamespace;
typedef Reprise__UserNamespace UserNamespace;
typedef Reprise__UtsNamespace UtsNamespace;
typedef Reprise__MountNamespace MountNamespace;
typedef Reprise__Mount Mount;
typedef Reprise__TmpfsEntry TmpfsEntry;
typedef Reprise__Process Process;
typedef Reprise__Thread Thread;
typedef Reprise__AlternateStack AlternateStack;
typedef Reprise__PendingSignal PendingSignal;
typedef Reprise__Rseq Rseq;
typedef Reprise__Credentials Credentials;
typedef Reprise__Scheduling Scheduling;
typedef Reprise__Memory Memory;
typedef Reprise__Area Area;
typedef Reprise__Pages Pages;
typedef Reprise__SharedMemory SharedMemory;
typedef Reprise__File File;
typedef Reprise__Place Place;
typedef Reprise__Identity Identity;
typedef Reprise__Limits Limits;
typedef Reprise__Signals Signals;
typedef Reprise__SignalAction SignalAction;
typedef Reprise__Timers Timers;
typedef Reprise__IntervalTimer IntervalTimer;
typedef Reprise__PosixTimer PosixTimer;
typedef Reprise__Descriptor Descriptor;
typedef Reprise__OpenFile OpenFile;
typedef Reprise__Owner Owner;
typedef Reprise__FileLock FileLock;
typedef Reprise__Pipe Pipe;

/* A new message in the arena with its defaults, NULL without memory: MESSAGE_NEW(a, Process,
 * process) */
#define MESSAGE_NEW(arena, Type, name)                             \
	({                                                         \
		Type *_message = arena_alloc(arena, sizeof(Type)); \
		if (_message)                                      \
			reprise__##name##__init(_message);         \
		_message;                                          \
	})

/* Appends a message to a repeated field: MESSAGE_ADD(a, snapshot, files, file) is 0 or -ENOMEM. */
#define MESSAGE_ADD(arena, owner, field, item) \
	arena_append(arena, (void ***)&(owner)->field, &(owner)->n_##field, item)
