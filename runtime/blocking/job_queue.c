/* See job_queue.h for the design. */
#include "runtime/blocking/job_queue.h"

#include <errno.h>
#include <string.h>

#include "runtime/base/assert.h"
#include "runtime/task/task.h"

#define CLASS_BITS (((uint64_t)1 << FILCH__JOB_CLASSES_MAX) - 1)

static struct filch__task *job_of(struct filch__list *link)
{
    return filch_container_of(link, struct filch__task, job_link);
}

static uint64_t bit_of(const struct filch_blocking_class *class)
{
    return (uint64_t)1 << class->index;
}

void filch__job_queue_init(struct filch__job_queue *queue, unsigned threads_max)
{
    filch_atomic_init(&queue->word, 0);
    filch_atomic_init(&queue->classes, 0);
    filch_spinlock_init(&queue->lock);
    queue->lookers = 0;
    queue->running = 0;
    queue->committed = 0;
    queue->threads_max = threads_max;
    queue->turn = 0;
    queue->taken = 0;
}

static unsigned reserved_sum(struct filch__job_queue *queue, unsigned classes)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < classes; i++)
        sum += queue->class[i].reserved;
    return sum;
}

static void class_init(struct filch__job_queue *queue, unsigned index, const char *name,
                       unsigned running_max, unsigned reserved, uint32_t queued_max)
{
    struct filch_blocking_class *class = &queue->class[index];

    filch_plain_write(class); /* [job-class] */
    filch_spinlock_init(&class->lock);
    filch__list_init(&class->inbox);
    filch__list_init(&class->list);
    filch_atomic_init(&class->pushed, 0);
    filch_atomic_init(&class->removed, 0);
    class->queued_max = queued_max;
    class->index = index;
    class->running = 0;
    class->running_max = running_max;
    class->reserved = reserved;
    strncpy(class->name, name, sizeof class->name - 1);
    class->name[sizeof class->name - 1] = 0;
    queue->committed += reserved;
}

static int class_add_locked(struct filch__job_queue *queue, const char *name, unsigned running_max,
                            unsigned reserved, uint32_t queued_max)
{
    unsigned index = filch_load_relaxed(&queue->classes);

    if (!running_max || running_max > queue->threads_max)
        running_max = queue->threads_max;
    if (index == FILCH__JOB_CLASSES_MAX || reserved > running_max ||
        reserved_sum(queue, index) + reserved > queue->threads_max)
        return -ENOSPC;
    class_init(queue, index, name, running_max, reserved, queued_max);
    filch_store_release(&queue->classes, index + 1); /* [job-class] */
    return (int)index;
}

int filch__job_class_add(struct filch__job_queue *queue, const char *name, unsigned running_max,
                         unsigned reserved, uint32_t queued_max)
{
    int index;

    filch_spinlock_lock(&queue->lock);
    index = class_add_locked(queue, name, running_max, reserved, queued_max);
    filch_spinlock_unlock(&queue->lock);
    return index;
}

int filch__job_class_get(struct filch__job_queue *queue, const char *name, unsigned running_max,
                         unsigned reserved, uint32_t queued_max)
{
    int index = -ENOSPC;

    filch_spinlock_lock(&queue->lock);
    for (unsigned i = 0; i < filch_load_relaxed(&queue->classes); i++)
        if (strcmp(queue->class[i].name, name) == 0)
            index = (int)i;
    if (index < 0)
        index = class_add_locked(queue, name, running_max, reserved, queued_max);
    filch_spinlock_unlock(&queue->lock);
    return index;
}

uint64_t filch__job_class_queued(const struct filch_blocking_class *class)
{
    /* Removed first: so the difference is never negative. relaxed: a number for people, and for
     * guesses that do no harm when they are old. */
    uint64_t removed = filch_load_relaxed(&class->removed);
    uint64_t pushed = filch_load_relaxed(&class->pushed);

    return pushed > removed ? pushed - removed : 0;
}

uint64_t filch__jobs_queued(struct filch__job_queue *queue)
{
    unsigned classes = filch_load_acquire(&queue->classes); /* [job-class] */
    uint64_t sum = 0;

    for (unsigned i = 0; i < classes; i++) {
        filch_plain_read(&queue->class[i]);
        sum += filch__job_class_queued(&queue->class[i]);
    }
    return sum;
}

int filch__job_push(struct filch__job_queue *queue, unsigned index, struct filch__task *job)
{
    struct filch_blocking_class *class = &queue->class[index];
    uint64_t word;

    job->class_index = (uint8_t)index;
    filch_spinlock_lock(&class->lock);
    if (class->queued_max && filch__job_class_queued(class) >= class->queued_max) {
        filch_spinlock_unlock(&class->lock);
        return -EAGAIN;
    }
    filch_plain_write(&class->inbox);
    filch__list_push_back(&class->inbox, &job->job_link);
    filch_counter_add(&class->pushed, 1);
    word = filch_load_relaxed(&queue->word);
    if (!(word & bit_of(class)))
        word = filch_fetch_or_acq_rel(&queue->word, bit_of(class)); /* [job-looked] */
    filch_spinlock_unlock(&class->lock);
    return word & FILCH__JOBS_LOOKED ? 0 : 1;
}

/* Moves the inbox to the end of the list, in one step. Both locks are held. */
static void move_inbox(struct filch_blocking_class *class)
{
    struct filch__list *first = class->inbox.next;
    struct filch__list *last = class->inbox.prev;

    filch_plain_write(&class->inbox);
    if (filch__list_is_empty(&class->inbox))
        return;
    first->prev = class->list.prev;
    class->list.prev->next = first;
    last->next = &class->list;
    class->list.prev = last;
    filch__list_init(&class->inbox);
}

/* Both locks are held, and a job has just been taken out. [job-bit] */
static void clear_bit_if_empty(struct filch__job_queue *queue, struct filch_blocking_class *class)
{
    if (filch__list_is_empty(&class->list) && filch__list_is_empty(&class->inbox))
        filch_fetch_and_acq_rel(&queue->word, ~bit_of(class));
}

static struct filch__task *pop(struct filch__job_queue *queue, struct filch_blocking_class *class)
{
    struct filch__list *link;

    filch_plain_write(&class->list);
    if (class->list.next == class->list.prev) { /* none or one: what comes after is in the inbox */
        filch_spinlock_lock(&class->lock);
        move_inbox(class);
        link = filch__list_pop_front(&class->list);
        clear_bit_if_empty(queue, class);
        filch_spinlock_unlock(&class->lock);
    } else {
        link = filch__list_pop_front(&class->list);
        __builtin_prefetch(class->list.next, 1);
    }
    filch_assert_state(link);
    filch_counter_add(&class->removed, 1);
    return job_of(link);
}

bool filch__job_withdraw(struct filch__job_queue *queue, struct filch__task *job)
{
    struct filch_blocking_class *class = &queue->class[job->class_index];
    bool found;

    filch_spinlock_lock(&queue->lock);
    filch_spinlock_lock(&class->lock);
    filch_plain_write(&class->list);
    filch_plain_write(&class->inbox);
    found = !filch__list_is_empty(&job->job_link);
    if (found) {
        filch__list_remove(&job->job_link);
        filch_counter_add(&class->removed, 1);
        clear_bit_if_empty(queue, class);
    }
    filch_spinlock_unlock(&class->lock);
    filch_spinlock_unlock(&queue->lock);
    return found;
}

static bool may_run(const struct filch__job_queue *queue, const struct filch_blocking_class *class)
{
    return queue->running < queue->threads_max && class->running < class->running_max &&
           (class->running < class->reserved || queue->committed < queue->threads_max);
}

/* The next class, from the one whose turn it is, that has a bit in @word and may run; NULL: none.
 */
static struct filch_blocking_class *find_class(struct filch__job_queue *queue, uint64_t word)
{
    uint64_t bits = word & CLASS_BITS;
    uint64_t later = bits & ~(((uint64_t)1 << queue->turn) - 1);

    while (bits) {
        int index = __builtin_ctzll(later ? later : bits);
        struct filch_blocking_class *class = &queue->class[index];

        if (may_run(queue, class))
            return class;
        bits &= ~((uint64_t)1 << index);
        later &= bits;
    }
    return NULL;
}

struct filch__task *filch__job_take(struct filch__job_queue *queue)
{
    /* relaxed: a bit that is not seen yet is seen in look_away(). */
    struct filch_blocking_class *class = find_class(queue, filch_load_relaxed(&queue->word));

    if (!class)
        return NULL;
    queue->turn = (class->index + 1) % FILCH__JOB_CLASSES_MAX;
    queue->taken++;
    queue->running++;
    if (class->running++ >= class->reserved)
        queue->committed++;
    return pop(queue, class);
}

void filch__job_end(struct filch__job_queue *queue, unsigned index)
{
    struct filch_blocking_class *class = &queue->class[index];

    queue->running--;
    if (--class->running >= class->reserved)
        queue->committed--;
}

bool filch__job_is_ready(struct filch__job_queue *queue)
{
    return find_class(queue, filch_load_relaxed(&queue->word)) != NULL;
}

void filch__job_look(struct filch__job_queue *queue)
{
    if (queue->lookers++ == 0)
        filch_fetch_or_acq_rel(&queue->word, FILCH__JOBS_LOOKED); /* [job-looked] */
}

bool filch__job_look_away(struct filch__job_queue *queue)
{
    filch_assert_state(queue->lookers);
    if (--queue->lookers)
        return false;
    return find_class(queue, filch_fetch_and_acq_rel(&queue->word, ~FILCH__JOBS_LOOKED)) != NULL;
}
