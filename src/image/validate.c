// SPDX-License-Identifier: MIT
#include "image/format.h"
#include "image/image.h"

int snapshot_validate(const Snapshot *snapshot, uint64_t pages_size, struct reprise_error *err)
{
	if (snapshot->format != IMAGE_FORMAT)
		return bad_image(err, "the snapshot has format %u; this program reads format %u",
			snapshot->format, IMAGE_FORMAT);
	if (snapshot->n_processes == 0)
		return bad_image(err, "the snapshot has no process");
	return 0;
}
