// SPDX-License-Identifier: MIT
/* What every message has in common, and the order of the rules. */
#include <limits.h>
#include <string.h>

#include "image/image.h"
#include "image/validate.h"

#define MAX_TEXT 65536
#define MAX_BYTES (1u << 20)

#ifdef __x86_64__
#define MACHINE "x86_64"
#else
#error "an image's machine: add this processor's name as uname(2) gives it"
#endif

bool is_path(const char *path)
{
	return path[0] == '/' && strlen(path) < PATH_MAX;
}

int check_runs(const struct rules *rules, const Pages *pages, uint64_t first, uint64_t end,
	uint64_t *ret_total)
{
	uint64_t next = first;
	uint64_t total = 0;

	*ret_total = 0;
	if (!pages)
		return 0;
	REQUIRE(rules, pages->n_first == pages->n_count, "runs of pages: %zu starts, %zu lengths",
		pages->n_first, pages->n_count);
	for (size_t i = 0; i < pages->n_first; i++) {
		REQUIRE(rules, pages->first[i] >= next && pages->first[i] < end,
			"run %zu of pages is out of order or outside", i);
		REQUIRE(rules, pages->count[i] > 0 && pages->count[i] <= end - pages->first[i],
			"run %zu of pages has an impossible length", i);
		next = pages->first[i] + pages->count[i];
		total += pages->count[i];
	}
	*ret_total = total;
	return 0;
}

int check_page_runs(const struct rules *rules, const Pages *pages, uint64_t first, uint64_t end)
{
	uint64_t total;
	int r = check_runs(rules, pages, first, end, &total);

	if (r < 0 || !pages)
		return r;
	REQUIRE(rules,
		pages->offset % IMAGE_PAGE == 0 && pages->offset <= rules->pages_size &&
			total <= (rules->pages_size - pages->offset) / IMAGE_PAGE,
		"pages are outside the page file");
	return 0;
}

int check_pending(const struct rules *rules, PendingSignal *const *pending, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number;

		REQUIRE(rules, pending[i]->info.len == 128, "pending signal %zu: wrong size", i);
		memcpy(&number, pending[i]->info.data, sizeof(number));
		REQUIRE(rules, is_signal(number), "pending signal %zu: number %d", i, number);
	}
	return 0;
}

static bool enum_has(const ProtobufCEnumDescriptor *type, int value)
{
	return protobuf_c_enum_descriptor_get_value(type, value) != NULL;
}

static int check_message(const struct rules *rules, const ProtobufCMessage *message, int depth);

static int check_value(const struct rules *rules, const ProtobufCFieldDescriptor *field,
	const void *value, int depth)
{
	const char *text;
	const ProtobufCMessage *message;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		text = *(char *const *)value;
		REQUIRE(rules, !text || strnlen(text, MAX_TEXT) < MAX_TEXT, "%s is too long",
			field->name);
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		REQUIRE(rules, ((const ProtobufCBinaryData *)value)->len <= MAX_BYTES,
			"%s is too long", field->name);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		REQUIRE(rules, enum_has(field->descriptor, *(const int *)value),
			"%s has the unknown value %d", field->name, *(const int *)value);
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		message = *(ProtobufCMessage *const *)value;
		return message ? check_message(rules, message, depth + 1) : 0;
	default:
		return 0;
	}
}

static size_t size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default: /* enumerations; no other repeated type is looked at */
		return sizeof(int);
	}
}

static bool is_looked_at(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_STRING || type == PROTOBUF_C_TYPE_BYTES ||
	       type == PROTOBUF_C_TYPE_ENUM || type == PROTOBUF_C_TYPE_MESSAGE;
}

/* Fields nobody knows would be state that is lost in silence. */
static int check_message(const struct rules *rules, const ProtobufCMessage *message, int depth)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	REQUIRE(rules, message->n_unknown_fields == 0,
		"%s has a field that this program does not know", type->short_name);
	REQUIRE(rules, depth < 16, "%s is nested too deeply", type->short_name);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const char *value = (const char *)message + field->offset;
		size_t count = 1;

		if (!is_looked_at(field->type))
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			count = *(const size_t *)((const char *)message + field->quantifier_offset);
			value = *(const char *const *)value;
		}
		for (size_t j = 0; j < count; j++) {
			int r = check_value(rules, field, value + j * size_of(field->type), depth);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int check_head(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	REQUIRE(rules, snapshot->format == IMAGE_FORMAT,
		"the snapshot has format %u; this program reads format %u", snapshot->format,
		IMAGE_FORMAT);
	REQUIRE(rules, strcmp(snapshot->machine, MACHINE) == 0,
		"the image is of a machine of the kind \"%.32s\"; this one is %s",
		snapshot->machine, MACHINE);
	REQUIRE(rules, snapshot->page_size == IMAGE_PAGE, "the image has pages of %u bytes",
		snapshot->page_size);
	REQUIRE(rules, snapshot->xstate_size <= 65536,
		"the extended registers have an impossible size");
	REQUIRE(rules, snapshot->ipc_namespaces <= snapshot->n_processes,
		"there are more ipc namespaces than processes");
	REQUIRE(rules, snapshot->n_processes > 0, "the image has no process");
	REQUIRE(rules, snapshot->clocks, "the image has no clocks");
	REQUIRE(rules, snapshot->n_pid_namespaces > 0, "the image has no pid namespace");
	return 0;
}

static int check_processes(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];
		int r = check_tree(rules, i);

		if (r == 0)
			r = check_process(rules, process);
		if (r == 0)
			r = check_descriptors(rules, process);
		if (r < 0) {
			error_task(rules->err, "process %zu of the image", i);
			return r;
		}
	}
	return check_pids_differ(rules);
}

int snapshot_validate(const Snapshot *snapshot, uint64_t pages_size, struct reprise_error *err)
{
	struct rules rules = {.snapshot = snapshot, .pages_size = pages_size, .err = err};
	int (*const all[])(const struct rules *) = {check_head, check_pid_namespaces,
		check_namespaces, check_files, check_pipes, check_shared_memory, check_open_files,
		check_processes};
	int r = check_message(&rules, &snapshot->base, 0);

	for (size_t i = 0; r == 0 && i < sizeof(all) / sizeof(all[0]); i++)
		r = all[i](&rules);
	return r;
}
