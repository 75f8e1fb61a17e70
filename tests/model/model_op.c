/* Description: an I/O operation and its cancel (io/op.c, runtime/task/state.h): the frame with op
 * and buffer does not return before the kernel is done with them, and whatever happens the call
 * ends. */
#include "io/op.c"

#include "tests/model/explore.h"

static struct filch__task task;
static struct filch__op op;
static filch_atomic_u32 cancel_asked; /* what the kernel has been told */
/* Tasks in the run queue. [queue] release in enqueue() -> acquire in park, as the real queues do.
 */
static filch_atomic_u32 queue;
static int buffer;
static int result;
static bool gives_up; /* the wait ends by its time */

static bool is_queued(void *arg)
{
    (void)arg;
    return xp_peek(&queue.location) != 0;
}

static void enqueue(void)
{
    xp_assert(xp_peek(&queue.location) == 0);
    filch_store_release(&queue, 1); /* [queue] */
}

void filch__task_wake_back(struct filch__task *t, uint64_t generation)
{
    if (filch__state_wake(&t->state, generation) == FILCH_WAKE_QUEUE)
        enqueue();
}

void filch__park_shielded_until(filch_time until, enum filch__wait reason)
{
    (void)until;
    (void)reason;
    if (filch__state_take_wake(&task.state))
        return;
    if (filch__state_park(&task.state) == FILCH_PARK_REQUEUE)
        enqueue();
    xp_block_until(is_queued, NULL);
    xp_assert(filch_exchange_acquire(&queue, 0) == 1); /* [queue] */
    filch__state_pick(&task.state);
}

int filch__park(filch_time until, enum filch__wait reason)
{
    if (gives_up)
        return -ETIMEDOUT;
    filch__park_shielded_until(until, reason);
    return 0;
}

filch_time filch_now(void)
{
    return 0;
}

filch_time filch_after(filch_time span_ns)
{
    return span_ns;
}

void filch__op_cancel(struct filch__op *which)
{
    (void)which;
    filch_store_release(&cancel_asked, 1);
}

static void reset(void)
{
    filch_atomic_init(&task.state, 0);
    filch_atomic_init(&op.done, 0);
    filch_atomic_init(&queue, 0);
    filch_atomic_init(&cancel_asked, 0);
    op.task = &task;
    op.generation = 0;
    op.res = 0;
    buffer = 0;
    result = 0;
    gives_up = false;
}

static void reset_giving_up(void)
{
    reset();
    gives_up = true;
}

static void waits(void)
{
    result = filch__op_wait(&op, 1);
    filch_plain_write(&buffer); /* the frame is gone: its memory is used for something else */
}

static bool is_asked(void *arg)
{
    (void)arg;
    return xp_peek(&cancel_asked.location) != 0;
}

static void data_arrives(void)
{
    filch_plain_write(&buffer);
    filch__op_finish(&op, 5);
}

static void nothing_arrives(void)
{
    xp_block_until(is_asked, NULL);
    filch__op_finish(&op, -ECANCELED);
}

static void somebody_wakes(void)
{
    filch__task_wake_back(&task, 0);
}

static void got_data(void)
{
    xp_assert(result == 5);
}

static void timed_out(void)
{
    xp_assert(result == -ETIMEDOUT);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"data against a wake for nothing",
         3,
         {waits, data_arrives, somebody_wakes},
         reset,
         got_data,
         4,
         false},
        {"data against a cancel: the data wins",
         3,
         {waits, data_arrives, somebody_wakes},
         reset_giving_up,
         got_data,
         3,
         false},
        {"a cancel ends the wait",
         3,
         {waits, nothing_arrives, somebody_wakes},
         reset_giving_up,
         timed_out,
         3,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__state_pick load_acquire -> relaxed",
         "the op publishes by `done`; what a wake carries is model_state's subject"},
        {"filch__state_park cas_weak_acq_rel -> acquire", "the same"},
        {"filch__state_park cas_weak_acq_rel -> release", "the same"},
        {"filch__state_wake cas_weak_acq_rel -> release", "the same"},
        {"filch__state_take_wake fetch_and_acq_rel -> acquire", "the same"},
        {"filch__op_cancel_and_wait load_acquire -> relaxed",
         "looks again in its outer loop, or in the park"},
        {"filch__op_cancel store_release -> relaxed", "stands for a system call"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
