/* The context switch for x86-64 (System V ABI): saves what a callee must save on the old stack, and goes on on the new one.
 *
 * Returns by pop and jmp, not ret: the return-stack predictor is out of step after a switch, and a mispredicted ret costs 6 ns.
 * MXCSR and the x87 control word are not switched: the floating-point environment belongs to the worker thread.
 */
	.text

/* void filch__switch(void **save_sp, void *to_sp) */
	.globl	filch__switch
	.hidden	filch__switch
	.type	filch__switch, @function
	.p2align 4
filch__switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	popq	%rcx
	notrack jmp	*%rcx
	.cfi_endproc
	.size	filch__switch, .-filch__switch

/* Where a new stack begins. Unwinders and frame-pointer walkers end here. */
	.globl	filch__switch_entry
	.hidden	filch__switch_entry
	.type	filch__switch_entry, @function
	.p2align 4
filch__switch_entry:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	xorl	%ebp, %ebp
	call	filch__task_main
	ud2
	.cfi_endproc
	.size	filch__switch_entry, .-filch__switch_entry

	.section .note.GNU-stack,"",@progbits
