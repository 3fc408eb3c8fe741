// SPDX-License-Identifier: MIT
/* Writes the first files of the corpus of fuzz_image into a folder: the sample as a whole image, as
 * a body alone, and each of its parts alone in a snapshot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/sample.h"

static void write_file(const char *folder, const char *name, const void *data, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static void write_body(
	struct arena *arena, const char *folder, const char *name, const Snapshot *snapshot)
{
	size_t size = reprise__snapshot__get_packed_size(snapshot);
	uint8_t *data = arena_alloc(arena, size);

	reprise__snapshot__pack(snapshot, data);
	write_file(folder, name, data, size);
}

int main(int argc, char **argv)
{
	struct arena *arena = arena_new();
	Snapshot *snapshot;
	size_t size;
	void *file;

	if (argc != 2)
		return 2;
	file = sample_file(arena, sample_snapshot(arena), &size);
	write_file(argv[1], "whole", file, size);
	write_body(arena, argv[1], "body", sample_snapshot(arena));
	snapshot = sample_snapshot(arena);
	snapshot->n_processes = 1;
	snapshot->n_open_files = 3;
	write_body(arena, argv[1], "one-process", snapshot);
	snapshot->processes[0]->n_descriptors = snapshot->n_mount_namespaces = 0;
	snapshot->processes[0]->signals->n_actions = 0;
	snapshot->processes[0]->memory->n_areas = 1;
	write_body(arena, argv[1], "small", snapshot);
	arena_free(arena);
	return 0;
}
