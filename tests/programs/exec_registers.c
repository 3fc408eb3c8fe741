/* SPDX-License-Identifier: MIT */
/*
 * A thread keeps patterns in general, x87 and vector registers while it spins on a word of memory;
 * the first thread sets the word when there is a file "go". Then the registers are looked at.
 */
#include "common.h"

#include <immintrin.h>

static volatile uint32_t go;
static __thread uint64_t own_variable = 1;

static bool check(const char *what, const void *a, const void *b, size_t size)
{
	bool same = !memcmp(a, b, size);

	say("%s %s", what, same ? "kept" : "LOST");
	return same;
}

static void general(void)
{
	uint64_t in[8], out[8];

	for (int i = 0; i < 8; i++)
		in[i] = 0x0123456789abcdefull * (uint64_t)(i + 3);
	__asm__ volatile("push %%rbp\n\t"
			 "mov %1, %%rax\n\t"
			 "mov 0(%%rax), %%r8\n\tmov 8(%%rax), %%r9\n\tmov 16(%%rax), %%r10\n\t"
			 "mov 24(%%rax), %%r11\n\tmov 32(%%rax), %%r12\n\tmov 40(%%rax), %%r13\n\t"
			 "mov 48(%%rax), %%r14\n\tmov 56(%%rax), %%r15\n\t"
			 "std\n\tstc\n"
			 "1:\tpause\n\tmov (%2), %%ebx\n\tlea (%%rbx), %%rbx\n\t"
			 "inc %%ebx\n\tdec %%ebx\n\tjz 1b\n\t"
			 "jc 2f\n\txor %%r8, %%r8\n"
			 "2:\tpushf\n\tpop %%rbx\n\tcld\n\ttest $0x400, %%ebx\n\tjnz 3f\n\t"
			 "xor %%r9, %%r9\n"
			 "3:\tmov %0, %%rax\n\t"
			 "mov %%r8, 0(%%rax)\n\tmov %%r9, 8(%%rax)\n\tmov %%r10, 16(%%rax)\n\t"
			 "mov %%r11, 24(%%rax)\n\tmov %%r12, 32(%%rax)\n\tmov %%r13, 40(%%rax)\n\t"
			 "mov %%r14, 48(%%rax)\n\tmov %%r15, 56(%%rax)\n\t"
			 "pop %%rbp"
			 :
			 : "d"(out), "S"(in), "D"(&go)
			 : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			 "r15", "memory", "cc");
	check("general registers and flags", in, out, sizeof(in));
}

static void x87(void)
{
	double out[4];
	uint16_t control = 0x0f7f, control_out, before;
	static const double in[4] = {4, 3, 2, 1};

	__asm__ volatile("fnstcw %0" : "=m"(before));
	__asm__ volatile(
		"fninit\n\tfldcw %3\n\tfldl 24(%0)\n\tfldl 16(%0)\n\tfldl 8(%0)\n\tfldl (%0)\n"
		"1:\tpause\n\tcmpl $0, (%4)\n\tje 1b\n\t"
		"fstpl (%1)\n\tfstpl 8(%1)\n\tfstpl 16(%1)\n\tfstpl 24(%1)\n\tfnstcw %2\n\tfninit"
		:
		: "r"(in), "r"(out), "m"(control_out), "m"(control), "r"(&go)
		: "memory");
	__asm__ volatile("fldcw %0" : : "m"(before));
	check("x87 registers", in, out, sizeof(in));
	check("x87 control word", &control, &control_out, sizeof(control));
}

static void sse_control(void)
{
	uint32_t control = 0x7f80, out, before = _mm_getcsr(); /* round to zero */

	__asm__ volatile("ldmxcsr %1\n"
			 "1:\tpause\n\tcmpl $0, (%2)\n\tje 1b\n\tstmxcsr %0"
			 : "=m"(out)
			 : "m"(control), "r"(&go)
			 : "memory");
	_mm_setcsr(before);
	check("MXCSR", &control, &out, sizeof(out));
}

#define EACH(f) \
	f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define LOAD(n) "vmovdqu 32*" #n "(%0), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqu %%ymm" #n ", 32*" #n "(%1)\n\t"
#define LOAD_SSE(n) "movdqu 32*" #n "(%0), %%xmm" #n "\n\t"
#define STORE_SSE(n) "movdqu %%xmm" #n ", 32*" #n "(%1)\n\t"
#define LOAD_512(n) "vmovdqu64 64*" #n "(%0), %%zmm" #n "\n\t"
#define STORE_512(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%1)\n\t"

#define SPIN "1:\tpause\n\tcmpl $0, (%2)\n\tje 1b\n\t"
#define XMM                                                                                      \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static void vectors(void)
{
	static unsigned char in[1024], out[1024];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 37 + i / 251);
	memset(out, 0, sizeof(out));
	if (__builtin_cpu_supports("avx512f")) {
		__asm__ volatile(EACH(LOAD_512) SPIN EACH(STORE_512) "vzeroupper"
				 :
				 : "r"(in), "r"(out), "r"(&go)
				 : "memory", XMM);
	} else if (__builtin_cpu_supports("avx")) {
		__asm__ volatile(EACH(LOAD) SPIN EACH(STORE) "vzeroupper"
				 :
				 : "r"(in), "r"(out), "r"(&go)
				 : "memory", XMM);
		memcpy(out + 512, in + 512, 512);
	} else {
		__asm__ volatile(EACH(LOAD_SSE) SPIN EACH(STORE_SSE)
				 :
				 : "r"(in), "r"(out), "r"(&go)
				 : "memory", XMM);
		for (int i = 0; i < 32; i++)
			memcpy(out + i * 32 + (i < 16 ? 16 : 0), in + i * 32 + (i < 16 ? 16 : 0),
				i < 16 ? 16 : 32);
	}
	check("vector registers", in, out, sizeof(in));
}

static void *run(void *arg)
{
	void (*one)(void) = (void (*)(void))(uintptr_t)arg;

	own_variable = (uint64_t)(uintptr_t)arg;
	one();
	say("thread's own variable %s", own_variable == (uint64_t)(uintptr_t)arg ? "kept" : "LOST");
	return NULL;
}

int main(void)
{
	void (*const all[])(void) = {general, x87, sse_control, vectors};
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)all[i]) == 0);
	say("ready");
	wait_go();
	go = 1;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	say("main's own variable %s", own_variable == 1 ? "kept" : "LOST");
	say("end");
}
