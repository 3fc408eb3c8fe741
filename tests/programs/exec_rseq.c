/* SPDX-License-Identifier: MIT */
/*
 * A thread spins inside a restartable sequence nearly all the time. At its end the kernel must
 * still know of the sequence: else it has gone on where it should have been sent to the abort
 * address.
 */
#include "common.h"

#include <linux/rseq.h>
#include <sys/rseq.h>

static volatile uint32_t go;
static volatile unsigned long aborts;

static bool sequence(void)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	uint64_t announced, known;

	__asm__ volatile goto("jmp 9f\n\t"
			      ".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n"
			      "8:\t.long 0, 0\n\t.quad 1f, 2f - 1f, 4f\n\t.popsection\n"
			      ".byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n"
			      "4:\tjmp %l[aborted]\n"
			      "9:\tlea 8b(%%rip), %%rax\n\tmov %%rax, %c0(%1)\n"
			      "1:\tpause\n\tcmpl $0, (%2)\n\tje 1b\n\t"
			      "mov %c0(%1), %%rcx\n"
			      "2:\tmov %%rax, (%3)\n\tmov %%rcx, (%4)\n\tmovq $0, %c0(%1)\n"
			      :
			      : "i"(__builtin_offsetof(struct rseq, rseq_cs)), "r"(area), "r"(&go),
			      "r"(&announced), "r"(&known)
			      : "rax", "rcx", "memory", "cc"
			      : aborted);
	say("sequence %s", announced == known ? "kept" : "LOST");
	return true;
aborted:
	aborts++;
	return false;
}

static void *run(void *arg)
{
	while (!sequence())
		;
	return NULL;
}

int main(void)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, run, NULL) == 0);
	say("ready");
	wait_go();
	say("aborts %d", aborts > 0);
	go = 1;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	say("end");
}
