/* The worker of the calling thread: a thread-local pointer that is safe to read in code that may go
 * on on another thread.
 *
 * A compiler may compute the address of a thread-local variable once and keep it across a call, and
 * a call that suspends a task may return on another thread. So the address is never seen by the
 * compiler: the variable is read relative to the thread pointer inside of an asm statement, at an
 * offset that is the same in all threads (initial-exec model) and known before main(). Reading it
 * costs two loads; a function that is not inlined would cost a call more, several times per switch.
 */
#ifndef FILCH_SCHED_SELF_H
#define FILCH_SCHED_SELF_H

#include <stddef.h>
#include <stdint.h>

struct filch__worker;

#if defined(FILCH_MODEL)

static inline struct filch__worker *filch__worker_self(void)
{
    return NULL; /* models have threads of their own */
}

#elif defined(__x86_64__) || defined(__aarch64__)

/* From the thread pointer to the variable. Written before main(), then constant. */
extern intptr_t filch__worker_self_offset;

static inline struct filch__worker *filch__worker_self(void)
{
    struct filch__worker *worker;

#if defined(__x86_64__)
    __asm__ volatile("movq %%fs:(%1), %0"
                     : "=r"(worker)
                     : "r"(filch__worker_self_offset)
                     : "memory");
#else
    __asm__ volatile("mrs %0, tpidr_el0\n\tldr %0, [%0, %1]"
                     : "=&r"(worker)
                     : "r"(filch__worker_self_offset)
                     : "memory");
#endif
    return worker;
}

#else

struct filch__worker *filch__worker_self(void); /* not inlined, and not pure */

#endif

#endif
