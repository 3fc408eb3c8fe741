/* SPDX-License-Identifier: MIT */
/* What every unit test begins and ends with: UNIT_MAIN(name, test, test …) is its main(). */
#pragma once

#include <check.h>
#undef fail /* of libcheck, long deprecated; it is a function of base/error.h */
#include <stdlib.h>

#define UNIT_TIMEOUT 240 /* seconds a test: the machine may be ten times slower */

static inline int unit_run(const char *name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, UNIT_TIMEOUT);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, ...)                                                    \
	int main(void)                                                          \
	{                                                                       \
		const TTest *const tests[] = {__VA_ARGS__};                     \
		return unit_run(name, tests, sizeof(tests) / sizeof(tests[0])); \
	}
