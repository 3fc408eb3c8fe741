/* SPDX-License-Identifier: MIT */
/*
 * See call/frame.h. A system call of six arguments takes every register that the caller wants
 * back, so what is needed afterwards waits in vector registers: SSE2 is required.
 */
#include "call/frame.h"

#define BASE 32		       /* of the frame: below it are the seven arguments of ce_prepare() */
#define DROP (CE_UNWIND - 4)   /* all but the return address */
#define AT(word) (BASE + 4 * (word))(%esp)

	.macro	argument to, from
	movl	DROP + 4 + 4 * \from(%esp), %eax
	movl	%eax, 4 * \to(%esp)
	.endm

	.text
	.globl	clone_extended
	.type	clone_extended, @function
	.p2align 4
clone_extended:
	.cfi_startproc
	subl	$DROP, %esp
	.cfi_adjust_cfa_offset DROP
	movl	$0, AT(CE_FN)
	movl	$0, AT(CE_PARAM)
	movl	$0, AT(CE_GATE)
	argument 0, 0
	argument 1, 1
	argument 2, 2
	argument 3, 3
	argument 4, 4
	argument 5, 5
	jmp	.Lprepare
	.cfi_endproc
	.size	clone_extended, . - clone_extended

	.globl	clone_extended_call
	.type	clone_extended_call, @function
	.p2align 4
clone_extended_call:
	.cfi_startproc
	subl	$DROP, %esp
	.cfi_adjust_cfa_offset DROP
	movl	DROP + 4(%esp), %eax
	movl	%eax, AT(CE_FN)
	movl	DROP + 8(%esp), %eax
	movl	%eax, AT(CE_PARAM)
	movl	$1, AT(CE_GATE)
	argument 0, 2
	argument 1, 3
	argument 2, 4
	argument 3, 5
	argument 4, 6
	argument 5, 7
.Lprepare:
	leal	BASE(%esp), %eax
	movl	%eax, 24(%esp)
	call	ce_prepare
.Lagain:
	cmpl	$CE_GO, %eax
	jne	.Lfinished
	movd	DROP(%esp), %xmm0
	movd	AT(CE_FN), %xmm1
	movd	AT(CE_PARAM), %xmm2
	movd	AT(CE_GATE), %xmm3
	movd	%ebx, %xmm4
	movd	%esi, %xmm5
	movd	%edi, %xmm6
	movd	%ebp, %xmm7
	movl	AT(CE_NR), %eax
	movl	AT(CE_ARG + 0), %ebx
	movl	AT(CE_ARG + 1), %ecx
	movl	AT(CE_ARG + 2), %edx
	movl	AT(CE_ARG + 3), %esi
	movl	AT(CE_ARG + 4), %edi
	movl	AT(CE_ARG + 5), %ebp
	int	$0x80
	movd	%xmm4, %ebx
	movd	%xmm5, %esi
	movd	%xmm6, %edi
	movd	%xmm7, %ebp
	testl	%eax, %eax
	js	.Lfailed
	movd	%xmm3, %ecx
	testl	%ecx, %ecx
	jnz	.Lgate
.Llanded:
	testl	%eax, %eax
	jnz	1f
	movd	%xmm1, %edx
	testl	%edx, %edx
	jnz	.Lrun
1:	movd	%xmm0, %ecx
	addl	$CE_UNWIND, %esp
	.cfi_adjust_cfa_offset -CE_UNWIND
	jmp	*%ecx
	.cfi_adjust_cfa_offset CE_UNWIND

.Lfailed:
	leal	BASE(%esp), %ecx
	movl	%ecx, (%esp)
	movl	%eax, 4(%esp)
	call	ce_result
	jmp	.Lagain

	/* The child may be on a stack of its own here, of any alignment. */
.Lgate:
	movl	%esp, %edx
	andl	$-16, %esp
	subl	$32, %esp
	movl	%ecx, (%esp)
	movl	%eax, 4(%esp)
	movl	%edx, 8(%esp)
	movd	%xmm0, 12(%esp)
	movd	%xmm1, 16(%esp)
	movd	%xmm2, 20(%esp)
	call	ce_result
	movd	12(%esp), %xmm0
	movd	16(%esp), %xmm1
	movd	20(%esp), %xmm2
	movl	8(%esp), %esp
	cmpl	$CE_GO, %eax
	je	.Lagain
	testl	%eax, %eax
	jns	.Llanded

.Lfinished:
	addl	$DROP, %esp
	.cfi_adjust_cfa_offset -DROP
	ret
	.cfi_adjust_cfa_offset DROP

.Lrun:
	.cfi_undefined eip
	xorl	%ebp, %ebp
	andl	$-16, %esp
	subl	$16, %esp
	movd	%xmm2, (%esp)
	call	*%edx
	movl	%eax, %ebx
	movl	$1, %eax	/* exit */
	int	$0x80
	hlt
	.cfi_endproc
	.size	clone_extended_call, . - clone_extended_call

	.section .note.GNU-stack, "", @progbits
