/* Waking the owner of a lane out of its sleep in the kernel: a word, so that a burst of wakes costs
 * one write to the eventfd, which a read in the ring waits for.
 *
 *     waker                                    owner                              [lane-unpark]
 *     1 publish work                           1 the eventfd was read: it is 0 again
 *     2 word: 1, and what was it?              2 word: 0
 *     3 it was 0: write to the eventfd         3 look at the work, and sleep only if there is none
 *
 * Both exchange the word. A waker that finds 1 writes nothing: the owner is still before its 2,
 * takes the waker's exchange over there, and sees its work at 3. One that comes later finds 0. */
#ifndef FILCH_IO_UNPARK_H
#define FILCH_IO_UNPARK_H

#include "runtime/base/atomic.h"

/* After publishing work. Return: is the caller to write to the eventfd? */
static inline bool filch__unpark_begin(filch_atomic_u32 *unparked)
{
    return !filch_exchange_acq_rel(unparked, 1); /* [lane-unpark] */
}

/* The owner, after the eventfd was read and before it looks at its work. */
static inline void filch__unpark_end(filch_atomic_u32 *unparked)
{
    (void)filch_exchange_acquire(unparked, 0); /* [lane-unpark] */
}

#endif
