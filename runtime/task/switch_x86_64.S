/* The context switch for x86-64 (System V ABI): saves what a callee must save on the old stack, and goes on on the new one.
 *
 * Calls and returns stay paired, because the processor predicts a return by the calls before it. Tasks mostly wait in the same place, so the
 * callers of the task that is left are those of the task that goes on: leaving by ret keeps the predictor in step with all of them (measured,
 * two tasks that yield: 23 ns; with pop and jmp, which leaves one call too many behind at each switch, 30 ns). For the same reason a new stack
 * is entered by jmp, and left for good by a return from filch__task_main().
 *
 * MXCSR and the x87 control word are not switched: the floating-point environment belongs to the worker thread (see switch_state.h).
 *
 * All suspended stacks look alike, so the unwind information below holds at every instruction, before and after the stack pointer changes.
 *
 * CET: indirect branch tracking is fine, and marked: the one indirect branch here is a ret, which it does not check. Shadow stacks are not: a
 * ret to another stack's caller does not match what the shadow stack of the thread has on top. The missing mark makes the loader leave them
 * off for the whole process.
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
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r15, 0
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
.Lgo_on:
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	leaq	filch__switch_entry(%rip), %rcx
	cmpq	%rcx, (%rsp)
	je	.Lnew_stack
	ret
	.cfi_endproc
	.size	filch__switch, .-filch__switch

/* Where a new stack begins. Unwinders and frame-pointer walkers end here: they look up the byte before a return address, which the entry is
 * until the first run, so what removes it belongs to the same region. */
	.globl	filch__switch_entry
	.hidden	filch__switch_entry
	.type	filch__switch_entry, @function
	.p2align 4
	.cfi_startproc
	.cfi_undefined %rip
.Lnew_stack:
	addq	$8, %rsp
filch__switch_entry:
	endbr64
	xorl	%ebp, %ebp
	call	filch__task_main
	movq	%rax, %rsp
	jmp	.Lgo_on
	.cfi_endproc
	.size	filch__switch_entry, .-filch__switch_entry

	.section .note.GNU-stack,"",@progbits

/* GNU_PROPERTY_X86_FEATURE_1_AND: IBT, not SHSTK. */
	.section .note.gnu.property,"a",@note
	.p2align 3
	.long	4
	.long	16
	.long	5
	.asciz	"GNU"
	.long	0xc0000002
	.long	4
	.long	1
	.long	0
