/* SPDX-License-Identifier: MIT */
/* See call/frame.h. The kernel keeps every register but x0, so nothing has to be set aside. */
#include "call/frame.h"

#define AT(word) [sp, 8 * (word)]
#define SAVED [sp, CE_FRAME]	/* frame pointer and return address */

	.text
	.globl	clone_extended
	.type	clone_extended, %function
	.p2align 4
clone_extended:
	.cfi_startproc
	hint	#34		/* bti c */
	sub	sp, sp, CE_UNWIND
	.cfi_adjust_cfa_offset CE_UNWIND
	str	x29, [sp, CE_FRAME]
	str	x30, [sp, CE_FRAME + 8]
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	str	xzr, AT(CE_FN)
	str	xzr, AT(CE_PARAM)
	str	xzr, AT(CE_GATE)
	b	.Lprepare
	.cfi_endproc
	.size	clone_extended, . - clone_extended

	.globl	clone_extended_call
	.type	clone_extended_call, %function
	.p2align 4
clone_extended_call:
	.cfi_startproc
	hint	#34		/* bti c */
	sub	sp, sp, CE_UNWIND
	.cfi_adjust_cfa_offset CE_UNWIND
	str	x29, [sp, CE_FRAME]
	str	x30, [sp, CE_FRAME + 8]
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	str	x0, AT(CE_FN)
	str	x1, AT(CE_PARAM)
	mov	x9, 1
	str	x9, AT(CE_GATE)
	mov	w0, w2
	mov	w1, w3
	mov	x2, x4
	mov	x3, x5
	mov	x4, x6
	mov	x5, x7
.Lprepare:
	mov	x6, sp
	bl	ce_prepare
.Lagain:
	cmn	w0, -CE_GO
	b.ne	.Lfinished
	ldr	x30, [sp, CE_FRAME + 8]
	ldr	x9, AT(CE_FN)
	ldr	x10, AT(CE_PARAM)
	ldr	x11, AT(CE_GATE)
	ldr	x8, AT(CE_NR)
	ldr	x0, AT(CE_ARG + 0)
	ldr	x1, AT(CE_ARG + 1)
	ldr	x2, AT(CE_ARG + 2)
	ldr	x3, AT(CE_ARG + 3)
	ldr	x4, AT(CE_ARG + 4)
	ldr	x5, AT(CE_ARG + 5)
	svc	0
	tbnz	x0, 63, .Lfailed
	cbnz	x11, .Lgate
.Llanded:
	cbnz	w0, 1f
	cbnz	x9, .Lrun
1:	add	sp, sp, CE_UNWIND
	.cfi_adjust_cfa_offset -CE_UNWIND
	ret
	.cfi_adjust_cfa_offset CE_UNWIND

.Lfailed:
	mov	x1, x0
	mov	x0, sp
	bl	ce_result
	b	.Lagain

	/* The child may be on a stack of its own here. */
.Lgate:
	mov	x12, sp
	and	x13, x12, -16
	mov	sp, x13
	stp	x9, x10, [sp, -32]!
	stp	x12, x30, [sp, 16]
	mov	x1, x0
	mov	x0, x11
	bl	ce_result
	ldp	x12, x30, [sp, 16]
	ldp	x9, x10, [sp], 32
	mov	sp, x12
	cmn	w0, -CE_GO
	b.eq	.Lagain
	tbz	w0, 31, .Llanded

.Lfinished:
	ldr	x30, [sp, CE_FRAME + 8]
	add	sp, sp, CE_UNWIND
	.cfi_adjust_cfa_offset -CE_UNWIND
	ret
	.cfi_adjust_cfa_offset CE_UNWIND

.Lrun:
	.cfi_undefined x30
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x10
	blr	x9
	mov	x8, 93		/* exit */
	svc	0
	brk	1
	.cfi_endproc
	.size	clone_extended_call, . - clone_extended_call

	.section .note.GNU-stack, "", %progbits
