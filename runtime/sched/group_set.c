/* See group_set.h. */
#include "runtime/sched/group_set.h"

#include "runtime/task/task.h"

#define MOVE_MAX 32

/* A row of tasks, linked by `next`. */
struct row {
    struct filch__task *first, *last;
    uint32_t length;
};

static void note_locked(struct filch__group_set *set, unsigned group, int32_t more)
{
    uint32_t bit = (uint32_t)1 << group;
    uint32_t ready = filch_load_relaxed(&set->ready);
    uint32_t length = filch_load_relaxed(&set->length);

    filch_store_relaxed(&set->ready, set->queue[group].length ? ready | bit : ready & ~bit);
    filch_store_relaxed(&set->length, length + (uint32_t)more); /* [group-ready] */
}

static void append_locked(struct filch__group_set *set, unsigned group, const struct row *row)
{
    struct filch__group_queue *queue = &set->queue[group];

    row->last->next = NULL;
    if (queue->length)
        queue->last->next = row->first;
    else
        queue->first = row->first;
    queue->last = row->last;
    queue->length += row->length;
    note_locked(set, group, (int32_t)row->length);
}

static void prepend_locked(struct filch__group_set *set, unsigned group, struct filch__task *task)
{
    struct filch__group_queue *queue = &set->queue[group];

    task->next = queue->length ? queue->first : NULL;
    if (!queue->length)
        queue->last = task;
    queue->first = task;
    queue->length++;
    note_locked(set, group, 1);
}

/* The @n oldest, of which there are so many. */
static struct row detach_locked(struct filch__group_set *set, unsigned group, uint32_t n)
{
    struct filch__group_queue *queue = &set->queue[group];
    struct row row = {queue->first, queue->first, n};

    for (uint32_t i = 1; i < n; i++)
        row.last = row.last->next;
    queue->first = row.last->next;
    queue->length -= n;
    note_locked(set, group, -(int32_t)n);
    return row;
}

void filch__group_set_push(struct filch__group_set *set, unsigned group, struct filch__task *task,
                           bool front)
{
    struct row row = {task, task, 1};

    filch_spinlock_lock(&set->lock);
    if (front)
        prepend_locked(set, group, task);
    else
        append_locked(set, group, &row);
    filch_spinlock_unlock(&set->lock);
}

static struct row take_half(struct filch__group_set *set, unsigned group, uint32_t most)
{
    struct row row = {0};
    uint32_t length;

    if (!(filch__group_set_ready(set) >> group & 1))
        return row;
    filch_spinlock_lock(&set->lock);
    length = set->queue[group].length;
    if (length) {
        uint32_t half = length - length / 2;

        row = detach_locked(set, group, half < most ? half : most);
    }
    filch_spinlock_unlock(&set->lock);
    return row;
}

struct filch__task *filch__group_set_take(struct filch__group_set *set, unsigned group)
{
    return take_half(set, group, 1).first;
}

unsigned filch__group_set_move(struct filch__group_set *set, unsigned group,
                               struct filch__group_set *own)
{
    struct row row = take_half(set, group, MOVE_MAX);

    if (!row.length)
        return 0;
    filch_spinlock_lock(&own->lock);
    append_locked(own, group, &row);
    filch_spinlock_unlock(&own->lock);
    return row.length;
}
