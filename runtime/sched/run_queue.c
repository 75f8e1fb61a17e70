/* See run_queue.h: the picture, the invariants, who may do what. */
#include "runtime/sched/run_queue.h"

#include "runtime/base/assert.h"

#ifdef FILCH_MODEL
#include "tests/model/model_task.h"
#else
#include "runtime/task/task.h"
#endif

/* Tasks in a chunk of the list; at most half a ring. */
#define CHUNK (FILCH__RING_SLOTS >= 64 ? FILCH__RING_SLOTS / 8 : FILCH__RING_SLOTS / 2)

void filch__run_queue_init(struct filch__run_queue *queue)
{
    filch_atomic_init(&queue->head, 0);
    filch_atomic_init(&queue->tail, 0);
    for (unsigned i = 0; i < FILCH__RING_SLOTS; i++)
        filch_atomic_init(&queue->slot[i], NULL);
    filch_spinlock_init(&queue->lock);
    queue->first_chunk = queue->last_chunk = queue->last = NULL;
    queue->last_count = 0;
    filch_atomic_init(&queue->listed, 0);
}

static void chunk_begin_locked(struct filch__run_queue *queue, struct filch__task *task)
{
    task->chunk.next = NULL;
    if (queue->last_chunk) {
        queue->last_chunk->chunk.next = task;
        queue->last_chunk->chunk.count = queue->last_count;
    } else {
        queue->first_chunk = task;
    }
    queue->last_chunk = task;
    queue->last_count = 0;
}

void filch__run_queue_push_list(struct filch__run_queue *queue, struct filch__task *task)
{
    task->next = NULL;
    filch_spinlock_lock(&queue->lock);
    if (!queue->last_chunk || queue->last_count == CHUNK)
        chunk_begin_locked(queue, task);
    else
        queue->last->next = task;
    queue->last = task;
    queue->last_count++;
    filch_store_relaxed(&queue->listed, filch_load_relaxed(&queue->listed) + 1);
    filch_spinlock_unlock(&queue->lock);
}

/* Takes the oldest chunk. Return: a chain; its length in *ret_n. */
static struct filch__task *list_take(struct filch__run_queue *queue, uint64_t *ret_n)
{
    struct filch__task *chunk;
    uint64_t n = 0;

    filch_spinlock_lock(&queue->lock);
    chunk = queue->first_chunk;
    if (chunk && chunk == queue->last_chunk) {
        n = queue->last_count;
        queue->first_chunk = queue->last_chunk = queue->last = NULL;
    } else if (chunk) {
        n = chunk->chunk.count;
        queue->first_chunk = chunk->chunk.next;
    }
    filch_store_relaxed(&queue->listed, filch_load_relaxed(&queue->listed) - n);
    filch_spinlock_unlock(&queue->lock);
    *ret_n = n;
    return chunk;
}

/* Fills the caller's own empty ring with a chain, but for its first task, which is returned. */
static struct filch__task *ring_fill(struct filch__run_queue *queue, struct filch__task *chain)
{
    uint64_t tail = filch_load_relaxed(&queue->tail);
    struct filch__task *first = chain;
    struct filch__task *next;

    for (chain = chain->next; chain; chain = next) {
        next = chain->next; /* a thief may run it as soon as it is published */
        filch_store_relaxed(filch__run_queue_slot(queue, tail), chain);
        tail++;
    }
    filch_store_release(&queue->tail, tail); /* [ring-publish] */
    return first;
}

struct filch__task *filch__run_queue_refill(struct filch__run_queue *queue)
{
    uint64_t n;
    struct filch__task *chain = list_take(queue, &n);

    return chain ? ring_fill(queue, chain) : NULL;
}

/* Claims half of a ring: all but the oldest, which is returned, are put into the thief's own and
 * not yet published. Return: NULL: none. *ret_n: how many were claimed. */
static struct filch__task *ring_grab(struct filch__run_queue *queue, struct filch__run_queue *thief,
                                     uint64_t *ret_n)
{
    uint64_t to = filch_load_relaxed(&thief->tail);
    uint64_t head = filch_load_acquire(&queue->head);

    for (;;) {
        uint64_t tail = filch_load_acquire(&queue->tail); /* [ring-publish] */
        uint64_t n = tail - head;
        struct filch__task *oldest;

        n -= n / 2;
        if (n == 0 || n > FILCH__RING_SLOTS / 2 + 1) {
            uint64_t again = filch_load_acquire(&queue->head);

            if (n == 0 || again == head)
                return NULL;
            head = again; /* head was older than tail: look again */
            continue;
        }
        oldest = filch_load_relaxed(filch__run_queue_slot(queue, head));
        for (uint64_t i = 1; i < n; i++)
            filch_store_relaxed(filch__run_queue_slot(thief, to + i - 1),
                                filch_load_relaxed(filch__run_queue_slot(queue, head + i)));
        if (filch_cas_weak_acq_rel(&queue->head, &head, head + n)) { /* [ring-claim] */
            *ret_n = n;
            return oldest;
        }
    }
}

struct filch__task *filch__run_queue_steal(struct filch__run_queue *queue,
                                           struct filch__run_queue *thief, unsigned *ret_moved)
{
    uint64_t to = filch_load_relaxed(&thief->tail);
    struct filch__task *task;
    uint64_t n = 0;

    filch_assert_state(filch_load_relaxed(&thief->head) == to);
    task = ring_grab(queue, thief, &n);
    if (task) {
        filch_store_release(&thief->tail, to + n - 1); /* [ring-publish] */
        *ret_moved = (unsigned)n;
        return task;
    }
    if (!filch_load_relaxed(&queue->listed))
        return NULL;
    task = list_take(queue, &n);
    *ret_moved = (unsigned)n;
    return task ? ring_fill(thief, task) : NULL;
}

/* Claims the oldest in the ring. NULL: the ring is empty. */
static struct filch__task *ring_take(struct filch__run_queue *queue)
{
    uint64_t head = filch_load_acquire(&queue->head);

    while (head < filch_load_acquire(&queue->tail)) { /* [ring-publish] */
        struct filch__task *task = filch_load_relaxed(filch__run_queue_slot(queue, head));

        if (filch_cas_weak_acq_rel(&queue->head, &head, head + 1)) /* [ring-claim] */
            return task;
    }
    return NULL;
}

unsigned filch__run_queue_move(struct filch__run_queue *queue, struct filch__run_queue *own,
                               unsigned max)
{
    struct filch__task *task;
    struct filch__task *next;
    unsigned moved = 0;
    uint64_t n;

    while (moved < max && (task = ring_take(queue))) {
        filch__run_queue_push(own, task);
        moved++;
    }
    if (moved || !filch_load_relaxed(&queue->listed))
        return moved;
    for (task = list_take(queue, &n); task; task = next) {
        next = task->next; /* once it is in a queue it may run */
        filch__run_queue_push(own, task);
        moved++;
    }
    return moved;
}

bool filch__run_queue_is_empty(struct filch__run_queue *queue)
{
    return filch__run_queue_length(queue) == 0;
}

uint64_t filch__run_queue_length(struct filch__run_queue *queue)
{
    uint64_t head = filch_load_acquire(&queue->head);
    uint64_t tail = filch_load_acquire(&queue->tail);

    return (tail > head ? tail - head : 0) + filch_load_relaxed(&queue->listed);
}
