/* See run_queue.h: the picture, the invariants, who may do what. */
#include "runtime/sched/run_queue.h"

#include "runtime/base/assert.h"

#ifdef FILCH_MODEL
#include "tests/model/model_task.h"
#else
#include "runtime/task/task.h"
#endif

/* Tasks in a chunk of the list; all but one fit into a ring. */
#ifndef FILCH__CHUNK
#define FILCH__CHUNK (FILCH__RING_SLOTS / 8)
#endif

#define COLUMNS FILCH__CHUNK_COLUMNS

void filch__run_queue_init(struct filch__run_queue *queue)
{
    filch_atomic_init(&queue->head, 0);
    filch_atomic_init(&queue->tail, 0);
    for (unsigned i = 0; i < FILCH__RING_SLOTS; i++)
        filch_atomic_init(&queue->slot[i], NULL);
    filch_spinlock_init(&queue->lock);
    queue->first_chunk = queue->last_chunk = NULL;
    queue->last_count = 0;
    filch_atomic_init(&queue->listed, 0);
}

static void chunk_begin_locked(struct filch__run_queue *queue, struct filch__task *task)
{
    task->chunk.next = NULL;
    if (queue->last_chunk)
        queue->last_chunk->chunk.next = task;
    else
        queue->first_chunk = task;
    queue->last_chunk = task;
    queue->last_count = 0;
}

static void chunk_add_locked(struct filch__run_queue *queue, struct filch__task *task)
{
    uint64_t at = queue->last_count++;

    if (at >= COLUMNS)
        queue->last[at % COLUMNS]->next = task;
    else if (at > 0)
        queue->last[at - 1]->chunk.column = task;
    queue->last[at % COLUMNS] = task;
}

void filch__run_queue_push_list(struct filch__run_queue *queue, struct filch__task *task)
{
    task->next = NULL;
    filch_spinlock_lock(&queue->lock);
    if (!queue->last_chunk || queue->last_count == FILCH__CHUNK)
        chunk_begin_locked(queue, task);
    chunk_add_locked(queue, task);
    filch_store_relaxed(&queue->listed, filch_load_relaxed(&queue->listed) + 1);
    filch_spinlock_unlock(&queue->lock);
}

/* Takes the oldest chunk. Return: its first task; NULL: none. *ret_n: its tasks. */
static struct filch__task *list_take(struct filch__run_queue *queue, uint64_t *ret_n)
{
    struct filch__task *chunk;
    uint64_t n = 0;

    filch_spinlock_lock(&queue->lock);
    chunk = queue->first_chunk;
    if (chunk && chunk == queue->last_chunk) {
        n = queue->last_count;
        queue->first_chunk = queue->last_chunk = NULL;
    } else if (chunk) {
        n = FILCH__CHUNK;
        queue->first_chunk = chunk->chunk.next;
    }
    filch_store_relaxed(&queue->listed, filch_load_relaxed(&queue->listed) - n);
    filch_spinlock_unlock(&queue->lock);
    *ret_n = n;
    return chunk;
}

/* Through a chunk that was taken, in order. */
struct walk {
    struct filch__task *at[COLUMNS];
    unsigned column;
};

static void walk_begin(struct walk *walk, struct filch__task *chunk, uint64_t n)
{
    walk->column = 0;
    walk->at[0] = chunk;
    for (unsigned i = 1; i < COLUMNS && i < n; i++)
        walk->at[i] = walk->at[i - 1]->chunk.column;
}

/* The next task, which is not touched any more: once it is in a ring it may run. */
static struct filch__task *walk_next(struct walk *walk)
{
    struct filch__task *task = walk->at[walk->column];
    struct filch__task *below = task->next;

    __builtin_prefetch(below);
    walk->at[walk->column] = below;
    walk->column = (walk->column + 1) % COLUMNS;
    return task;
}

/* Fills the caller's own empty ring with a chunk, but for its first task, which is returned. */
static struct filch__task *ring_fill(struct filch__run_queue *queue, struct filch__task *chunk,
                                     uint64_t n)
{
    uint64_t tail = filch_load_relaxed(&queue->tail);
    struct walk walk;

    walk_begin(&walk, chunk, n);
    (void)walk_next(&walk);
    for (uint64_t i = 1; i < n; i++)
        filch_store_relaxed(filch__run_queue_slot(queue, tail++), walk_next(&walk));
    filch_store_release(&queue->tail, tail); /* [ring-publish] */
    return chunk;
}

struct filch__task *filch__run_queue_refill(struct filch__run_queue *queue)
{
    uint64_t n;
    struct filch__task *chunk = list_take(queue, &n);

    return chunk ? ring_fill(queue, chunk, n) : NULL;
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
    return task ? ring_fill(thief, task, n) : NULL;
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
    struct walk walk;
    unsigned moved = 0;
    uint64_t n;

    while (moved < max && (task = ring_take(queue))) {
        filch__run_queue_push(own, task);
        moved++;
    }
    if (moved || !filch_load_relaxed(&queue->listed))
        return moved;
    task = list_take(queue, &n);
    if (!task)
        return 0;
    walk_begin(&walk, task, n);
    for (; moved < n; moved++)
        filch__run_queue_push(own, walk_next(&walk));
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
