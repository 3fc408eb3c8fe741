/* SPDX-License-Identifier: MIT */
#include "killed.h"

#include <sys/rseq.h>

/* So that a loaded machine is not kept from all else. */
static void rest(void)
{
	struct timespec nap = {0, 500000};

	CHECK(nanosleep(&nap, NULL) == 0);
}

static const uint64_t pattern[12] = {0x1111, 0x2222222222222222, 0x3333, 0x4444444444444444, 0x5555,
	0x6666666666666666, 0x7777, 0x8888888888888888, 0x9999, 0xaaaaaaaaaaaaaaaa, 0xbbbb,
	0xcccccccccccccccc};

/* Every general register but rsp and the two that hold counter and table, and the flags: carry and
 * direction are set, overflow is not. */
static bool general_hold(void)
{
	uint64_t good = 1;
	const uint64_t *table = pattern;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n push %%rbp\n mov %1, %%rbp\n"
			 "mov (%%rbp), %%rax\n mov 8(%%rbp), %%rbx\n mov 16(%%rbp), %%rdx\n"
			 "mov 24(%%rbp), %%rsi\n mov 32(%%rbp), %%r8\n mov 40(%%rbp), %%r9\n"
			 "mov 48(%%rbp), %%r10\n mov 56(%%rbp), %%r11\n mov 64(%%rbp), %%r12\n"
			 "mov 72(%%rbp), %%r13\n mov 80(%%rbp), %%r14\n mov 88(%%rbp), %%r15\n"
			 "mov $200000, %%ecx\n std\n stc\n"
			 "1: lea -1(%%rcx), %%rcx\n jrcxz 2f\n jmp 1b\n"
			 "2: jnc 8f\n pushf\n testq $0x400, (%%rsp)\n lea 8(%%rsp), %%rsp\n jz 8f\n"
			 "cmp (%%rbp), %%rax\n jne 8f\n cmp 8(%%rbp), %%rbx\n jne 8f\n"
			 "cmp 16(%%rbp), %%rdx\n jne 8f\n cmp 24(%%rbp), %%rsi\n jne 8f\n"
			 "cmp 32(%%rbp), %%r8\n jne 8f\n cmp 40(%%rbp), %%r9\n jne 8f\n"
			 "cmp 48(%%rbp), %%r10\n jne 8f\n cmp 56(%%rbp), %%r11\n jne 8f\n"
			 "cmp 64(%%rbp), %%r12\n jne 8f\n cmp 72(%%rbp), %%r13\n jne 8f\n"
			 "cmp 80(%%rbp), %%r14\n jne 8f\n cmp 88(%%rbp), %%r15\n jne 8f\n"
			 "jmp 9f\n"
			 "8: xor %%edi, %%edi\n"
			 "9: cld\n pop %%rbp\n lea 128(%%rsp), %%rsp\n"
			 : "+D"(good), "+c"(table)
			 :
			 : "rax", "rbx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
			 "r14", "r15", "cc", "memory");
	return good;
}

void *work_general(void *arg)
{
	struct worker *worker = arg;

	for (;; rest(), worker->turns++)
		CHECK(general_hold());
}

/* All sixteen vector registers, and what x87 and SSE round with. */
static bool vectors_hold(void)
{
	_Alignas(16) unsigned char in[16][16], out[16][16];
	unsigned control = 0x7f80, control_after, normal = 0x1f80; /* round towards zero */
	unsigned short x87 = 0x0f7f, x87_after;

	for (int i = 0; i < 16; i++)
		memset(in[i], 0x10 + i, 16);
	__asm__ volatile("fldcw %4\n ldmxcsr %2\n"
			 "movdqa (%6), %%xmm0\n movdqa 16(%6), %%xmm1\n movdqa 32(%6), %%xmm2\n"
			 "movdqa 48(%6), %%xmm3\n movdqa 64(%6), %%xmm4\n movdqa 80(%6), %%xmm5\n"
			 "movdqa 96(%6), %%xmm6\n movdqa 112(%6), %%xmm7\n"
			 "movdqa 128(%6), %%xmm8\n movdqa 144(%6), %%xmm9\n"
			 "movdqa 160(%6), %%xmm10\n movdqa 176(%6), %%xmm11\n"
			 "movdqa 192(%6), %%xmm12\n movdqa 208(%6), %%xmm13\n"
			 "movdqa 224(%6), %%xmm14\n movdqa 240(%6), %%xmm15\n"
			 "mov $200000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
			 "movdqa %%xmm0, (%7)\n movdqa %%xmm1, 16(%7)\n movdqa %%xmm2, 32(%7)\n"
			 "movdqa %%xmm3, 48(%7)\n movdqa %%xmm4, 64(%7)\n movdqa %%xmm5, 80(%7)\n"
			 "movdqa %%xmm6, 96(%7)\n movdqa %%xmm7, 112(%7)\n"
			 "movdqa %%xmm8, 128(%7)\n movdqa %%xmm9, 144(%7)\n"
			 "movdqa %%xmm10, 160(%7)\n movdqa %%xmm11, 176(%7)\n"
			 "movdqa %%xmm12, 192(%7)\n movdqa %%xmm13, 208(%7)\n"
			 "movdqa %%xmm14, 224(%7)\n movdqa %%xmm15, 240(%7)\n"
			 "stmxcsr %0\n fnstcw %1\n ldmxcsr %3\n fninit\n"
			 : "=m"(control_after), "=m"(x87_after)
			 : "m"(control), "m"(normal), "m"(x87), "m"(in), "r"(in), "r"(out)
			 : "rcx", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			 "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			 "xmm14", "xmm15");
	return memcmp(in, out, sizeof(in)) == 0 && control_after == control && x87_after == x87;
}

void *work_vectors(void *arg)
{
	struct worker *worker = arg;

	for (;; rest(), worker->turns++)
		CHECK(vectors_hold());
}

/* ---- restartable sequences ---- */

#define MAX_CPUS 1024
#define ROUND 2000

static volatile uint64_t counters[MAX_CPUS];

/*
 * Adds one to this processor's counter, slowly and without a lock: only whoever is stopped in
 * between and is not sent to the abort address loses a count.
 */
static void add_one(void)
{
	struct rseq *rseq = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	__asm__ volatile(".pushsection __rseq_cs, \"aw\"\n .balign 32\n"
			 "3: .long 0, 0\n .quad 1f, 2f - 1f, 4f\n .popsection\n"
			 "5: lea 3b(%%rip), %%rax\n mov %%rax, 8(%0)\n"
			 "1: mov 4(%0), %%ecx\n mov (%1, %%rcx, 8), %%rax\n"
			 "mov $100, %%edx\n 6: dec %%edx\n jnz 6b\n"
			 "inc %%rax\n mov %%rax, (%1, %%rcx, 8)\n"
			 "2:\n"
			 ".pushsection __rseq_failure, \"ax\"\n"
			 ".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n"
			 "4: jmp 5b\n .popsection\n"
			 :
			 : "r"(rseq), "r"(counters)
			 : "rax", "rcx", "rdx", "cc", "memory");
}

void *work_rseq(void *arg)
{
	struct worker *worker = arg;
	pthread_barrier_t *barrier = &worker->common->barrier;

	CHECK(__rseq_size > 0);
	for (unsigned long round = 1;; round++, worker->turns++) {
		uint64_t sum = 0;

		for (int i = 0; i < ROUND; i++)
			add_one();
		pthread_barrier_wait(barrier);
		for (int i = 0; i < MAX_CPUS; i++)
			sum += counters[i];
		CHECK(sum == round * 2 * ROUND);
		rest();
		pthread_barrier_wait(barrier);
	}
}
