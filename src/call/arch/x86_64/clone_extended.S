/* SPDX-License-Identifier: MIT */
/* See call/frame.h. The kernel keeps the vector registers for parent and child alike. */
#include "call/frame.h"

#define BASE 16		       /* of the frame: below it is the seventh argument of ce_prepare() */
#define DROP (CE_UNWIND - 8)   /* all but the return address */
#define AT(word) (BASE + 8 * (word))(%rsp)

	.text
	.globl	clone_extended
	.type	clone_extended, @function
	.p2align 4
clone_extended:
	.cfi_startproc
	endbr64
	subq	$DROP, %rsp
	.cfi_adjust_cfa_offset DROP
	movq	$0, AT(CE_FN)
	movq	$0, AT(CE_PARAM)
	movq	$0, AT(CE_GATE)
	jmp	.Lprepare
	.cfi_endproc
	.size	clone_extended, . - clone_extended

	.globl	clone_extended_call
	.type	clone_extended_call, @function
	.p2align 4
clone_extended_call:
	.cfi_startproc
	endbr64
	subq	$DROP, %rsp
	.cfi_adjust_cfa_offset DROP
	movq	%rdi, AT(CE_FN)
	movq	%rsi, AT(CE_PARAM)
	movq	$1, AT(CE_GATE)
	movl	%edx, %edi
	movl	%ecx, %esi
	movq	%r8, %rdx
	movq	%r9, %rcx
	movq	DROP + 8(%rsp), %r8
	movq	DROP + 16(%rsp), %r9
.Lprepare:
	leaq	BASE(%rsp), %rax
	movq	%rax, (%rsp)
	call	ce_prepare
.Lagain:
	cmpl	$CE_GO, %eax
	jne	.Lfinished
	movq	DROP(%rsp), %xmm0
	movq	AT(CE_FN), %xmm1
	movq	AT(CE_PARAM), %xmm2
	movq	AT(CE_GATE), %xmm3
	movq	AT(CE_NR), %rax
	movq	AT(CE_ARG + 0), %rdi
	movq	AT(CE_ARG + 1), %rsi
	movq	AT(CE_ARG + 2), %rdx
	movq	AT(CE_ARG + 3), %r10
	movq	AT(CE_ARG + 4), %r8
	movq	AT(CE_ARG + 5), %r9
	syscall
	testq	%rax, %rax
	js	.Lfailed
	movq	%xmm3, %rdi
	testq	%rdi, %rdi
	jnz	.Lgate
.Llanded:
	testl	%eax, %eax
	jnz	1f
	movq	%xmm1, %rdx
	testq	%rdx, %rdx
	jnz	.Lrun
1:	movq	%xmm0, %rcx
	addq	$CE_UNWIND, %rsp
	.cfi_adjust_cfa_offset -CE_UNWIND
	.cfi_register rip, rcx
	jmp	*%rcx
	.cfi_adjust_cfa_offset CE_UNWIND
	.cfi_restore rip

.Lfailed:
	leaq	BASE(%rsp), %rdi
	movq	%rax, %rsi
	call	ce_result
	jmp	.Lagain

	/* The child may be on a stack of its own here, of any alignment. */
.Lgate:
	movq	%rax, %rsi
	movq	%rsp, %rdx
	andq	$-16, %rsp
	subq	$32, %rsp
	movq	%rdx, (%rsp)
	movq	%xmm0, 8(%rsp)
	movq	%xmm1, 16(%rsp)
	movq	%xmm2, 24(%rsp)
	call	ce_result
	movq	8(%rsp), %xmm0
	movq	16(%rsp), %xmm1
	movq	24(%rsp), %xmm2
	movq	(%rsp), %rsp
	cmpl	$CE_GO, %eax
	je	.Lagain
	testl	%eax, %eax
	jns	.Llanded

.Lfinished:
	addq	$DROP, %rsp
	.cfi_adjust_cfa_offset -DROP
	ret
	.cfi_adjust_cfa_offset DROP

.Lrun:
	.cfi_undefined rip
	xorl	%ebp, %ebp
	andq	$-16, %rsp
	movq	%xmm2, %rdi
	call	*%rdx
	movl	%eax, %edi
	movl	$60, %eax	/* exit */
	syscall
	hlt
	.cfi_endproc
	.size	clone_extended_call, . - clone_extended_call

	.section .note.GNU-stack, "", @progbits
