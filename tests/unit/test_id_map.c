// SPDX-License-Identifier: MIT
/* Maps of ids: parsed, looked up, and told in the ids of the parent namespace. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "image/id_map.h"

static struct id_map map_of(const char *text)
{
	struct id_map map;

	ck_assert_int_eq(id_map_parse(text, &map), 0);
	return map;
}

START_TEST(parses_what_the_kernel_shows)
{
	struct id_map map =
		map_of("         0     100000      65536\n     65536       1000          1\n");
	char text[100];
	uint32_t inside = 0;

	ck_assert_uint_eq(map.count, 2);
	ck_assert(id_map_inside(&map, 100007, &inside));
	ck_assert_uint_eq(inside, 7);
	ck_assert(id_map_inside(&map, 1000, &inside));
	ck_assert_uint_eq(inside, 65536);
	ck_assert(!id_map_inside(&map, 165536, &inside));
	ck_assert(id_map_print(&map, text, sizeof(text)));
	ck_assert_str_eq(text, "0 100000 65536\n65536 1000 1\n");
	ck_assert(!id_map_print(&map, text, 20));
	ck_assert_uint_eq(map_of("0 0 4294967295").count, 1);
	ck_assert_uint_eq(map_of("").count, 0);
}
END_TEST

START_TEST(refuses_other_text)
{
	static const char *const wrong[] = {"0", "0 1", "0 1 0", "a 1 1", "0 1 x", "0 -1 1",
		"0 4294967296 1", "4294967295 0 1", "1 0 4294967295", "0 1 2 3 4"};
	struct id_map map;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(id_map_parse(wrong[i], &map) == -EINVAL, "%s", wrong[i]);
}
END_TEST

START_TEST(tells_the_ids_of_the_parent)
{
	struct id_map parent = map_of("0 100000 10\n10 300000 10\n"), own, told;

	own = map_of("0 100005 5\n");
	ck_assert_int_eq(id_map_in_parent(&own, &parent, &told), 0);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_uint_eq(told.extents[0].lower, 5);
	/* Two pieces of the parent's that follow one another inside, and not outside. */
	parent = map_of("0 100000 10\n20 100010 10\n");
	own = map_of("0 100005 10\n");
	ck_assert_int_eq(id_map_in_parent(&own, &parent, &told), 0);
	ck_assert_uint_eq(told.count, 2);
	ck_assert_uint_eq(told.extents[1].first, 5);
	ck_assert_uint_eq(told.extents[1].lower, 20);
	ck_assert_uint_eq(told.extents[1].count, 5);
	own = map_of("0 100015 10\n");
	ck_assert_int_eq(id_map_in_parent(&own, &parent, &told), -ERANGE);
}
END_TEST

UNIT_MAIN("id map", parses_what_the_kernel_shows, refuses_other_text, tells_the_ids_of_the_parent)
