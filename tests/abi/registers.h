/* A switch with known values in the registers that a callee must keep. */
#ifndef FILCH_TESTS_ABI_REGISTERS_H
#define FILCH_TESTS_ABI_REGISTERS_H

#include <stdint.h>

#if defined(__x86_64__)
#define REGISTERS 6 /* rbx rbp r12-r15 */
#elif defined(__aarch64__)
#define REGISTERS 19 /* x19-x29, d8-d15 */
#endif

/* Loads them from @slots, calls filch__switch(@save_sp, @to_sp), and stores what is in them after
 * it to @slots. */
void switch_with_registers(void **save_sp, void *to_sp, uint64_t *slots);

#endif
