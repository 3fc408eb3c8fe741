/* SPDX-License-Identifier: MIT */
#include "rebuild/pipeline.h"

static int land(struct pipeline *pipeline, struct flight *flight)
{
	struct stub *stub = flight->stub;
	int ret;

	if (!stub)
		return 0;
	ret = flight->last ? calls_finish_last(&flight->calls) : calls_finish(&flight->calls);
	calls_end(&flight->calls);
	flight->stub = NULL;
	stub->left_room = ret == 0 && flight->last;
	return stub_named(pipeline->rebuild, stub, ret);
}

static const Process *parent_of(const struct pipeline *pipeline, const struct stub *stub)
{
	int32_t parent = stub->process->parent;

	return parent < 0 ? NULL : pipeline->rebuild->restore.snapshot->processes[parent];
}

static bool stops_under(
	const struct pipeline *pipeline, const struct stub *child, const struct stub *parent)
{
	return child->process->state == REPRISE__PROCESS__STATE__STOPPED &&
	       parent_of(pipeline, child) == parent->process;
}

/* The parent of a stopped task is told of that, and takes the signal in its own batch. */
static bool related(const struct pipeline *pipeline, const struct stub *a, const struct stub *b)
{
	return a->process == b->process || stops_under(pipeline, a, b) ||
	       stops_under(pipeline, b, a);
}

int pipeline_begin(struct pipeline *pipeline, struct stub *stub, struct calls **ret)
{
	struct flight *flight = &pipeline->flights[pipeline->next];
	struct rebuild *rebuild = pipeline->rebuild;
	int r = land(pipeline, flight);

	for (size_t i = 0; i < ROOM_PARTS && r == 0; i++) {
		struct flight *other = &pipeline->flights[i];

		if (other->stub && related(pipeline, other->stub, stub))
			r = land(pipeline, other);
	}
	if (r < 0)
		return r;
	room_part(rebuild, pipeline->next, &stub->hand);
	flight->stub = stub;
	flight->last = false;
	*ret = &flight->calls;
	r = calls_begin(&flight->calls, &stub->hand, false, rebuild->err);
	return stub_named(rebuild, stub, r);
}

int pipeline_start(struct pipeline *pipeline, bool last)
{
	struct flight *flight = &pipeline->flights[pipeline->next];
	int ret;

	flight->last = last;
	ret = calls_start(&flight->calls);
	if (ret < 0)
		return stub_named(pipeline->rebuild, flight->stub, ret);
	pipeline->next = (pipeline->next + 1) % ROOM_PARTS;
	return 0;
}

int pipeline_finish(struct pipeline *pipeline)
{
	int ret = 0;

	for (size_t i = 0; i < ROOM_PARTS && ret == 0; i++)
		ret = land(pipeline, &pipeline->flights[(pipeline->next + i) % ROOM_PARTS]);
	return ret;
}

void pipeline_end(struct pipeline *pipeline)
{
	for (size_t i = 0; i < ROOM_PARTS; i++)
		if (pipeline->flights[i].stub)
			calls_end(&pipeline->flights[i].calls);
}
