/* The run queue of one worker: first in, first out, at any depth; anybody may steal half.
 *
 * Two parts. A ring of 4,096 slots (measured: 1,000 tasks that yield cost 20-35 ns a switch, 42
 * with 256 slots) that one thread fills and all empty, after the run queue of Go's scheduler:
 * consumers claim with a CAS on `head`. Behind it a linked list under a small lock, used while the
 * ring is full: as long as it holds anything, pushes go to its end, and the ring is refilled from
 * its front, so order is kept at any depth (Tokio's ring spills half of itself to a global queue
 * instead, and its tail latency falls off a cliff there). The list is made of chunks of up to 512
 * tasks, and a refill or a steal takes a chunk: the lock is held for a few instructions, not while
 * somebody walks through tasks that another core has in its cache.
 *
 * Each step of such a walk is a cache miss. So the tasks of a chunk stand in eight columns, and a
 * task's `next` is the one eight places behind it: eight misses are under way at a time. The first
 * row hangs together by `chunk.column` (5 to 9 % of the timers benchmarks, measured):
 *
 *     0 -> 1 -> 2 ... 7      chunk.column
 *     |    |    |     |
 *     8    9    10 .. 15     next
 *     |    |    |     |
 *
 *                  pop (owner)  steal (others)         push (owner)
 *     ring head -> [ oldest ............................ newest ] <- ring tail
 *                        ^ refill half       list: [ chunk | chunk | ... ] <- push while not empty
 *
 *     may run concurrently   push  pop  steal  is_empty
 *     push                    -     -     x       x        - same thread
 *     pop                     -     -     x       x        x any number
 *     steal                   x     x     x       x
 *
 * Indices are 64 bits wide and never wrap, so a CAS on `head` that succeeds proves that the slots
 * read before it were not overwritten. Push and pop are lock-free while the ring suffices; steal is
 * lock-free on the ring.
 */
#ifndef FILCH_SCHED_RUN_QUEUE_H
#define FILCH_SCHED_RUN_QUEUE_H

#include <stdalign.h>
#include <stddef.h>

#include "runtime/base/atomic.h"
#include "runtime/base/spinlock.h"

#ifndef FILCH__RING_SLOTS /* models shrink it */
#define FILCH__RING_SLOTS 4096
#endif

#ifndef FILCH__CHUNK_COLUMNS
#define FILCH__CHUNK_COLUMNS 8
#endif

struct filch__task;

struct filch__run_queue {
    /* Oldest task. CAS by everybody who takes. [ring-claim] acq_rel in pop() and steal() -> acquire
     * in push(): a slot is filled again only after its reader is done. */
    alignas(FILCH_CACHELINE) filch_atomic_u64 head;
    /* Next free slot. Written by the owner. [ring-publish] release in push() -> acquire in steal():
     * the slot is visible before the index. */
    alignas(FILCH_CACHELINE) filch_atomic_u64 tail;
    /* Written by the owner, read by all; relaxed, see ring-publish and ring-claim. */
    alignas(FILCH_CACHELINE) filch_atomic_ptr slot[FILCH__RING_SLOTS];

    alignas(FILCH_CACHELINE) filch_spinlock lock; /* guards what follows */
    struct filch__task *first_chunk;              /* its first task; the next chunk is there */
    struct filch__task *last_chunk;
    struct filch__task *last[FILCH__CHUNK_COLUMNS]; /* task of each column of the last chunk */
    uint64_t last_count;                            /* tasks in the last chunk; others are full */
    /* Tasks in the list. Written under the lock; grows only by the owner, so that the owner's 0 is
     * certain. */
    filch_atomic_u64 listed;
};

void filch__run_queue_init(struct filch__run_queue *queue);

/* The rest of push() and pop(), out of line: to the end of the list; from its front. */
void filch__run_queue_push_list(struct filch__run_queue *queue, struct filch__task *task);
struct filch__task *filch__run_queue_refill(struct filch__run_queue *queue);

static inline filch_atomic_ptr *filch__run_queue_slot(struct filch__run_queue *queue,
                                                      uint64_t index)
{
    return &queue->slot[index & (FILCH__RING_SLOTS - 1)];
}

/* Owner. */
static inline void filch__run_queue_push(struct filch__run_queue *queue, struct filch__task *task)
{
    uint64_t tail = filch_load_relaxed(&queue->tail);
    uint64_t head = filch_load_acquire(&queue->head); /* [ring-claim] */

    if (filch_load_relaxed(&queue->listed) || tail - head >= FILCH__RING_SLOTS) {
        filch__run_queue_push_list(queue, task);
        return;
    }
    filch_store_relaxed(filch__run_queue_slot(queue, tail), task);
    filch_store_release(&queue->tail, tail + 1); /* [ring-publish] */
}

/* Owner. Return: the oldest; NULL when there is none. */
static inline struct filch__task *filch__run_queue_pop(struct filch__run_queue *queue)
{
    uint64_t tail = filch_load_relaxed(&queue->tail);
    uint64_t head = filch_load_acquire(&queue->head);

    while (head != tail) {
        struct filch__task *task = filch_load_relaxed(filch__run_queue_slot(queue, head));

        if (filch_cas_weak_acq_rel(&queue->head, &head, head + 1)) /* [ring-claim] */
            return task;
    }
    return filch_load_relaxed(&queue->listed) ? filch__run_queue_refill(queue) : NULL;
}

/* Owner. The @ahead-th task of the ring, still queued; NULL when there is none. It may be stolen at
 * any time: only to be touched ahead of its turn. */
static inline struct filch__task *filch__run_queue_peek(struct filch__run_queue *queue,
                                                        unsigned ahead)
{
    uint64_t index = filch_load_relaxed(&queue->head) + ahead;

    return index < filch_load_relaxed(&queue->tail)
               ? filch_load_relaxed(filch__run_queue_slot(queue, index))
               : NULL;
}

/* Moves half of @queue (at least one, at most half a ring) to @thief, whose owner calls and whose
 * ring is empty. Return: the oldest of them, not queued, and in *ret_moved the number with it; NULL
 * when there was nothing. */
struct filch__task *filch__run_queue_steal(struct filch__run_queue *queue,
                                           struct filch__run_queue *thief, unsigned *ret_moved);

/* The owner of @own, which need not be empty, moves up to @max tasks, or a chunk of those in the
 * list, to its end. Any thread may do that to any @queue at any time. Return: how many. */
unsigned filch__run_queue_move(struct filch__run_queue *queue, struct filch__run_queue *own,
                               unsigned max);

/* Any thread; exact when nobody pushes or takes. */
bool filch__run_queue_is_empty(struct filch__run_queue *queue);
uint64_t filch__run_queue_length(struct filch__run_queue *queue);

#endif
