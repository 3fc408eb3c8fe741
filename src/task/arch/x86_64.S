/* SPDX-License-Identifier: MIT */
/*
 * The interpreter of struct call_record (task/calls.h). Data here; it runs in other tasks.
 *
 * rbx: the next record. r12, r13, r14: own thread group, own tid, and the signal for the end. rbx,
 * rbp, rsp and r12-r15 survive system calls. No instruction traps, and the stack is not used.
 */
	.section .rodata
	.balign 16
	.hidden interpreter
	.globl interpreter
	.hidden interpreter_single
	.globl interpreter_single
	.hidden interpreter_end
	.globl interpreter_end
	.hidden interpreter_size
	.globl interpreter_size
interpreter:
	mov	(%rbx), %rax
	cmp	$-1, %rax
	je	end
	mov	8(%rbx), %rdi
	mov	16(%rbx), %rsi
	mov	24(%rbx), %rdx
	mov	32(%rbx), %r10
	mov	40(%rbx), %r8
	mov	48(%rbx), %r9
	syscall
	mov	%rax, 56(%rbx)
	cmpb	$0, 64(%rbx)
	je	next
	cmp	$-4095, %rax
	jae	end
next:
	add	$72, %rbx
	jmp	interpreter

	/* One call, its arguments in registers already. */
single:
	syscall
	mov	%rax, %r15

	/* With a tracer this signal is a stop; without one it is ignored. */
end:
	mov	%r12, %rdi
	mov	%r13, %rsi
	mov	%r14, %rdx
	mov	$234, %eax		/* tgkill */
	syscall

	/* The way home goes here. Who has none waits for its end. */
after:
	mov	$34, %eax		/* pause */
	syscall
	jmp	after
size:
	.balign 8
interpreter_single:
	.quad	single - interpreter
interpreter_end:
	.quad	after - interpreter
interpreter_size:
	.quad	size - interpreter

	.section .note.GNU-stack, "", @progbits
