/* The atomics vocabulary: the only way to touch shared words in filch.
 *
 * Every operation carries its memory order in its name, so that grep finds each release store and
 * each seq_cst access. Orders are those of C11. There is no stand-alone release or acquire fence on
 * purpose: ThreadSanitizer cannot see what a lone fence publishes, so payload is published by
 * release stores and read-modify-writes only.
 *
 * Two builds of the same source:
 *   normal          each operation is one C11 atomic;
 *   -DFILCH_MODEL   each operation is a step of the exhaustive explorer (tests/model/explore.h),
 * which tries every schedule and every value that C11 allows a load to return.
 *
 * Fields are declared with the types below and nothing else:
 *   filch_atomic_u32, filch_atomic_u64   counters, indices, state words
 *   filch_atomic_ptr                     a pointer to anything (void *)
 */
#ifndef FILCH_BASE_ATOMIC_H
#define FILCH_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef FILCH_MODEL
#include "tests/model/explore_atomic.h"
#else

#include <stdatomic.h>

typedef _Atomic(uint32_t) filch_atomic_u32;
typedef _Atomic(uint64_t) filch_atomic_u64;
typedef _Atomic(void *) filch_atomic_ptr;

/* Sets a field before anybody else can see it. */
#define filch_atomic_init(p, v) atomic_init((p), (v))

#define filch_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define filch_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define filch_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)

#define filch_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define filch_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define filch_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)

#define filch_exchange_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define filch_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define filch_exchange_seq_cst(p, v) atomic_exchange_explicit((p), (v), memory_order_seq_cst)

/* On failure *expected is refreshed, with acquire for acquire and acq_rel, relaxed for relaxed and
 * release, seq_cst for seq_cst. Weak may fail spuriously: use it in loops. */
#define filch_cas_weak_relaxed(p, expected, v)                                                     \
    atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_relaxed,              \
                                          memory_order_relaxed)
#define filch_cas_weak_acq_rel(p, expected, v)                                                     \
    atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_acq_rel,              \
                                          memory_order_acquire)
#define filch_cas_weak_seq_cst(p, expected, v)                                                     \
    atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_seq_cst,              \
                                          memory_order_seq_cst)
#define filch_cas_relaxed(p, expected, v)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_relaxed,            \
                                            memory_order_relaxed)
#define filch_cas_acquire(p, expected, v)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acquire,            \
                                            memory_order_acquire)
#define filch_cas_release(p, expected, v)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_release,            \
                                            memory_order_relaxed)
#define filch_cas_acq_rel(p, expected, v)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel,            \
                                            memory_order_acquire)
#define filch_cas_seq_cst(p, expected, v)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_seq_cst,            \
                                            memory_order_seq_cst)

#define filch_fetch_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define filch_fetch_add_release(p, v) atomic_fetch_add_explicit((p), (v), memory_order_release)
#define filch_fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define filch_fetch_add_seq_cst(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define filch_fetch_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define filch_fetch_sub_release(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_release)
#define filch_fetch_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define filch_fetch_sub_seq_cst(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst)
#define filch_fetch_or_acq_rel(p, v) atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define filch_fetch_or_seq_cst(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define filch_fetch_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)
#define filch_fetch_and_seq_cst(p, v) atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)

/* Marks an access to ordinary memory that an atomic protects; the explorer checks it for races. */
#define filch_plain_read(p) ((void)(p))
#define filch_plain_write(p) ((void)(p))

/* Tells the CPU that this is a spin loop. */
static inline void filch_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif /* !FILCH_MODEL */

/* A counter that one thread writes and any thread reads: an increment is a load and a store, no
 * locked instruction. */
#define filch_counter_add(p, n) filch_store_relaxed((p), filch_load_relaxed(p) + (n))

/* Two cache lines: adjacent-line prefetch makes neighbours share. */
#define FILCH_CACHELINE 64

#endif
