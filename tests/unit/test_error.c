// SPDX-License-Identifier: MIT
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

START_TEST(a_line_has_all_that_is_known)
{
	struct reprise_error err = {0};
	char line[4096];

	ck_assert_int_eq(fail(&err, EBUSY, "cannot stop thread %d", 7), -EBUSY);
	error_task(&err, "%d %d", 11235, 5);
	error_phase(&err, "freeze");
	reprise_error_line(&err, line, sizeof(line));
	ck_assert_str_eq(line, "freeze: 11235 5: cannot stop thread 7: Device or resource busy");
}
END_TEST

START_TEST(codes_of_either_sign)
{
	struct reprise_error err = {0};

	ck_assert_int_eq(fail(&err, -ENOENT, "x"), -ENOENT);
	ck_assert_int_eq(err.code, ENOENT);
	ck_assert(err.has_word);
}
END_TEST

START_TEST(no_word_of_the_system)
{
	struct reprise_error err = {0};
	char line[256];

	ck_assert_int_eq(fail(&err, 0, "descriptor 4 is a socket"), -EINVAL);
	reprise_error_line(&err, line, sizeof(line));
	ck_assert_str_eq(line, "descriptor 4 is a socket");
}
END_TEST

START_TEST(the_first_failure_stays)
{
	struct reprise_error err = {0};

	fail(&err, EPERM, "first");
	error_phase(&err, "inner");
	error_task(&err, "1");
	ck_assert_int_eq(fail(&err, ENOENT, "second"), -ENOENT);
	error_phase(&err, "outer");
	error_task(&err, "2");
	ck_assert_int_eq(err.code, EPERM);
	ck_assert_str_eq(err.thing, "first");
	ck_assert_str_eq(err.phase, "inner");
	ck_assert_str_eq(err.task, "1");
}
END_TEST

START_TEST(fail_over_forgets)
{
	struct reprise_error err = {0};

	fail(&err, EPERM, "first");
	error_phase(&err, "inner");
	ck_assert_int_eq(fail_over(&err, ENOENT, "second"), -ENOENT);
	ck_assert_str_eq(err.thing, "second");
	ck_assert_str_eq(err.phase, "");
}
END_TEST

START_TEST(long_texts_are_cut)
{
	struct reprise_error err = {0};
	char text[10000], line[64];

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fail(&err, EIO, "%s", text);
	error_phase(&err, text);
	error_task(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.thing), sizeof(err.thing) - 1);
	ck_assert_uint_eq(strlen(err.phase), sizeof(err.phase) - 1);
	ck_assert_uint_eq(strlen(err.task), sizeof(err.task) - 1);
	reprise_error_line(&err, line, sizeof(line));
	ck_assert_uint_eq(strlen(line), sizeof(line) - 1);
}
END_TEST

START_TEST(without_an_object)
{
	ck_assert_int_eq(fail(NULL, EIO, "x"), -EIO);
	ck_assert_int_eq(fail_over(NULL, EIO, "x"), -EIO);
	error_phase(NULL, "x");
	error_task(NULL, "x");
	error_clear(NULL);
}
END_TEST

UNIT_MAIN("error", a_line_has_all_that_is_known, codes_of_either_sign, no_word_of_the_system,
	the_first_failure_stays, fail_over_forgets, long_texts_are_cut, without_an_object)
