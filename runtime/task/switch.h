/* Switching stacks, with what the sanitizers need to follow. */
#ifndef FILCH_TASK_SWITCH_H
#define FILCH_TASK_SWITCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define FILCH__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FILCH__TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FILCH__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FILCH__ASAN 1
#endif
#endif

#if defined(FILCH__ASAN) || defined(FILCH__TSAN)
#define FILCH__SWITCH_SANITIZED 1
#endif

/* For functions that are entered on a stack and never left. ThreadSanitizer would count their
 * entries until its own stack of calls is full; AddressSanitizer would keep their variables on a
 * fake stack that is destroyed before the last switch. */
#if defined(FILCH__ASAN)
#define FILCH__NEVER_LEFT __attribute__((no_sanitize("address"), noinline))
#elif defined(FILCH__TSAN) && defined(__clang__)
#define FILCH__NEVER_LEFT __attribute__((disable_sanitizer_instrumentation, noinline))
#else
#define FILCH__NEVER_LEFT
#endif

#ifdef FILCH__TSAN
void *__tsan_get_current_fiber(void);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#endif
#ifdef FILCH__ASAN
void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack_save, const void **bottom_old,
                                     size_t *size_old);
#endif

void filch__switch(void **save_sp, void *to_sp);
void filch__switch_entry(void);
/* Runs on a new stack. Return: the stack pointer that the worker goes on with; the stack that it
 * ran on is never used again. */
void *filch__task_main(void);

/* Where a switch goes: the stack's bounds and fiber are for the sanitizers. */
struct filch__switch_target {
    void *sp;
#ifdef FILCH__SWITCH_SANITIZED
    const void *low;
    size_t bytes;
    void *tsan_fiber;
#endif
};

/* Leaves the present stack, keeping its stack pointer in *save_sp, and goes on on @to. @fake_stack
 * keeps ASan's state across. */
static inline void filch__switch_to(void **save_sp, void **fake_stack,
                                    const struct filch__switch_target *to)
{
#ifdef FILCH__ASAN
    __sanitizer_start_switch_fiber(fake_stack, to->low, to->bytes);
#endif
#ifdef FILCH__TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    filch__switch(save_sp, to->sp);
#ifdef FILCH__ASAN
    __sanitizer_finish_switch_fiber(*fake_stack, NULL, NULL);
#else
    (void)fake_stack;
#endif
}

/* Last thing on a stack that is left for good, by a return from filch__task_main(). */
static inline void *filch__switch_leave(const struct filch__switch_target *to)
{
#ifdef FILCH__ASAN
    __sanitizer_start_switch_fiber(NULL, to->low, to->bytes);
#endif
#ifdef FILCH__TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    return to->sp;
}

/* First thing on a new stack. */
static inline void filch__switch_arrived(void)
{
#ifdef FILCH__ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
}

/* Makes a new stack whose first switch enters filch__task_main(). @top is the first byte above.
 * The frame is the one that filch__switch() saves and restores. Return: its stack pointer. */
static inline void *filch__switch_prepare(void *top)
{
    uintptr_t *sp = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15);

#if defined(__x86_64__)
    *--sp = 0; /* keeps the alignment that a call expects */
    *--sp = 0; /* a return address for walkers: none */
    *--sp = (uintptr_t)filch__switch_entry;
    for (int i = 0; i < 6; i++)
        *--sp = 0;
#elif defined(__aarch64__)
    for (int i = 0; i < 20; i++) /* x19-x30, d8-d15 */
        *--sp = 0;
    sp[11] = (uintptr_t)filch__switch_entry; /* x30 */
#else
#error "no context switch for this architecture"
#endif
    return sp;
}

#endif
