/* The context switch for aarch64 (AAPCS64): as switch_x86_64.S, whose reasons for paired calls and returns hold here too.
 *
 * Saved are x19-x30, sp, and the lower halves of v8-v15, which is all of the vector registers that a callee must keep (of the SVE registers
 * too, for a function of the base standard). x18 is the platform's; FPCR belongs to the worker thread (see switch_state.h).
 *
 *     sp ->  x19 x20 ... x29 x30 | d8 ... d15 |      160 bytes: filch__switch_prepare() makes the same
 *
 * Branch protection: the entry points are marked for BTI, and what is left by ret needs no landing pad, which the callers of filch__switch()
 * have none of. Return addresses that callers signed (PAC) stay valid, because a stack goes on at the stack pointer that it was left with.
 * Guarded control stacks are not supported, and not marked.
 */
#define FRAME 160

	.text

/* void filch__switch(void **save_sp, void *to_sp) */
	.globl	filch__switch
	.hidden	filch__switch
	.type	filch__switch, %function
	.p2align 4
filch__switch:
	.cfi_startproc
	hint	#34 /* bti c */
	sub	sp, sp, #FRAME
	.cfi_adjust_cfa_offset FRAME
	stp	x19, x20, [sp, #0]
	.cfi_rel_offset x19, 0
	.cfi_rel_offset x20, 8
	stp	x21, x22, [sp, #16]
	.cfi_rel_offset x21, 16
	.cfi_rel_offset x22, 24
	stp	x23, x24, [sp, #32]
	.cfi_rel_offset x23, 32
	.cfi_rel_offset x24, 40
	stp	x25, x26, [sp, #48]
	.cfi_rel_offset x25, 48
	.cfi_rel_offset x26, 56
	stp	x27, x28, [sp, #64]
	.cfi_rel_offset x27, 64
	.cfi_rel_offset x28, 72
	stp	x29, x30, [sp, #80]
	.cfi_rel_offset x29, 80
	.cfi_rel_offset x30, 88
	stp	d8, d9, [sp, #96]
	.cfi_rel_offset d8, 96
	.cfi_rel_offset d9, 104
	stp	d10, d11, [sp, #112]
	.cfi_rel_offset d10, 112
	.cfi_rel_offset d11, 120
	stp	d12, d13, [sp, #128]
	.cfi_rel_offset d12, 128
	.cfi_rel_offset d13, 136
	stp	d14, d15, [sp, #144]
	.cfi_rel_offset d14, 144
	.cfi_rel_offset d15, 152
	mov	x9, sp
	str	x9, [x0]
	mov	sp, x1
.Lgo_on:
	ldp	d14, d15, [sp, #144]
	ldp	d12, d13, [sp, #128]
	ldp	d10, d11, [sp, #112]
	ldp	d8, d9, [sp, #96]
	ldp	x29, x30, [sp, #80]
	ldp	x27, x28, [sp, #64]
	ldp	x25, x26, [sp, #48]
	ldp	x23, x24, [sp, #32]
	ldp	x21, x22, [sp, #16]
	ldp	x19, x20, [sp, #0]
	/* What was reloaded is the caller's, and is still in memory too: either place is right until here. */
	add	sp, sp, #FRAME
	.cfi_adjust_cfa_offset -FRAME
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore x29
	.cfi_restore x30
	.cfi_restore d8
	.cfi_restore d9
	.cfi_restore d10
	.cfi_restore d11
	.cfi_restore d12
	.cfi_restore d13
	.cfi_restore d14
	.cfi_restore d15
	adr	x9, filch__switch_entry
	cmp	x30, x9
	b.eq	filch__switch_entry
	ret
	.cfi_endproc
	.size	filch__switch, .-filch__switch

/* Where a new stack begins. Unwinders and frame-pointer walkers end here: they look up the instruction before a return address, which the
 * entry is until the first run. */
	.globl	filch__switch_entry
	.hidden	filch__switch_entry
	.type	filch__switch_entry, %function
	.p2align 4
	.cfi_startproc
	.cfi_undefined x30
	nop
filch__switch_entry:
	hint	#34 /* bti c */
	mov	x29, xzr
	mov	x30, xzr
	bl	filch__task_main
	mov	sp, x0
	b	.Lgo_on
	.cfi_endproc
	.size	filch__switch_entry, .-filch__switch_entry

	.section .note.GNU-stack,"",%progbits

/* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI; not PAC, not GCS. */
	.section .note.gnu.property,"a",%note
	.p2align 3
	.word	4
	.word	16
	.word	5
	.asciz	"GNU"
	.word	0xc0000000
	.word	4
	.word	1
	.word	0
