/* SPDX-License-Identifier: MIT */
/* Keeps sums in vector registers, 32 bytes wide where the processor has them, and checks each
 * round. */
#include <stdio.h>
#include <string.h>

typedef long long wide __attribute__((vector_size(32)));

#define SUMS(name)                                                         \
	static void name(long rounds, wide *ret)                           \
	{                                                                  \
		wide a = {1, 2, 3, 4}, b = {8, 7, 6, 5}, c = {0}, d = {0}; \
                                                                           \
		for (long i = 0; i < rounds; i++) {                        \
			c += a ^ b;                                        \
			d += (c << 1) ^ (a + i);                           \
			a += d;                                            \
			b ^= c + d;                                        \
		}                                                          \
		*ret = a ^ b ^ c ^ d;                                      \
	}

__attribute__((target("avx2"), noinline)) SUMS(sums_avx2) __attribute__((noinline)) SUMS(sums_plain)

	int main(void)
{
	void (*sums)(long, wide *) = __builtin_cpu_supports("avx2") ? sums_avx2 : sums_plain;
	wide first, again;

	sums(2000000, &first);
	for (unsigned i = 0;; i++) {
		sums(2000000, &again);
		if (memcmp(&first, &again, sizeof(first)) != 0) {
			puts("wrong");
			return 1;
		}
		printf("%u\n", i);
		fflush(stdout);
	}
}
