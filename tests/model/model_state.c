/* Description: the life of a task (runtime/task/state.h): parking against wakes, finishing against
 * join, detach, cancel and late wakers. */
#include <errno.h>

#include "tests/model/explore.h"

#include "runtime/task/state.h"

struct filch__waiter {
    filch_atomic_u32 woken;
};

static filch_atomic_u64 state;
static struct filch__waiter waiter;
static struct filch__waiter *joiner;
static int message; /* what a waker hands over */
static int result;
/* Tasks in the run queue. [queue] release in enqueue() -> acquire in pick(), as the real queues do.
 */
static filch_atomic_u32 queue;
static int released;
static bool body_ran;
static filch_spinlock queue_lock;

static void enqueue(void)
{
    xp_assert(xp_peek(&queue.location) == 0);
    filch_store_release(&queue, 1); /* [queue] */
}

static bool is_queued(void *arg)
{
    (void)arg;
    return xp_peek(&queue.location) != 0;
}

static void release(void)
{
    filch_plain_write(&joiner); /* the block's next user does */
    filch_plain_write(&released);
    xp_assert(!released);
    released = 1;
    filch__state_release(&state);
}

static void reset(void)
{
    filch_atomic_init(&state, FILCH_TASK_DONE);
    filch_atomic_init(&waiter.woken, 0);
    filch_spinlock_init(&queue_lock);
    joiner = NULL;
    message = result = released = 0;
    filch_atomic_init(&queue, 0);
    body_ran = false;
}

static void spawn_word(bool with_handle)
{
    filch_atomic_init(&state, with_handle ? FILCH_TASK_HANDLE : 0);
    filch_atomic_init(&queue, 1);
}

static void reset_with_handle(void)
{
    reset();
    spawn_word(true);
}

static void reset_detached(void)
{
    reset();
    spawn_word(false);
}

static void pick(void)
{
    xp_block_until(is_queued, NULL);
    xp_assert(filch_exchange_acquire(&queue, 0) == 1); /* [queue] */
    filch__state_pick(&state);
}

/* Suspends until woken, as filch__park_shielded() and the worker do. */
static void park(void)
{
    if (filch__state_take_wake(&state))
        return;
    if (filch__state_park(&state) == FILCH_PARK_REQUEUE)
        enqueue();
    pick();
}

static void finish(void)
{
    filch_plain_write(&result);
    result = 7;
    switch (filch__state_finish(&state)) {
    case FILCH_FINISH_RELEASE:
        release();
        break;
    case FILCH_FINISH_KEEP:
        break;
    case FILCH_FINISH_WAKE_JOINER:
        filch_plain_read(&joiner);
        filch_store_release(&joiner->woken, 1);
        break;
    }
}

/* Waits for the message: a flag that the waker sets, and a wake. */
static filch_atomic_u32 sent;

static void reset_message(void)
{
    reset_detached();
    filch_atomic_init(&sent, 0);
}

static void task_waits_for_message(void)
{
    pick();
    while (!filch_load_relaxed(&sent))
        park();
    finish();
}

static void task_yields_then_waits(void)
{
    pick();
    enqueue();
    pick();
    while (!filch_load_relaxed(&sent))
        park();
    filch_plain_read(&message);
    finish();
}

/* `sent` is relaxed on purpose: only the task's word may carry what the waker wrote. */
static void waker(void)
{
    filch_store_relaxed(&sent, 1);
    if (filch__state_wake(&state, 0) == FILCH_WAKE_QUEUE)
        enqueue();
}

static void late_waker(void)
{
    if (filch__state_wake(&state, 0) == FILCH_WAKE_QUEUE)
        enqueue();
}

/* Two workers: the first leaves the task, the second goes on with it and finds what it left. */
static int frame;

static void task_parks_for_another_worker(void)
{
    pick();
    body_ran = true;
    filch_plain_write(&frame);
    frame = 1;
    if (filch__state_park(&state) == FILCH_PARK_REQUEUE)
        enqueue();
}

static bool body_has_begun(void *arg)
{
    (void)arg;
    return body_ran;
}

static void task_parks_once_for_message(void)
{
    pick();
    body_ran = true;
    park();
    filch_plain_read(&message);
    xp_assert(message == 1);
    finish();
}

/* A wake before the body began would be absorbed by its being queued. */
static void waker_with_message(void)
{
    xp_block_until(body_has_begun, NULL);
    filch_plain_write(&message);
    message = 1;
    if (filch__state_wake(&state, 0) == FILCH_WAKE_QUEUE)
        enqueue();
}

static void only_wakes(void)
{
    xp_block_until(body_has_begun, NULL);
    if (filch__state_wake(&state, 0) == FILCH_WAKE_QUEUE)
        enqueue();
}

static void second_worker(void)
{
    xp_block_until(body_has_begun, NULL);
    pick();
    filch_plain_read(&frame);
    xp_assert(frame == 1);
    finish();
}

static void was_released(void)
{
    xp_assert(released == 1);
}

static void task_just_ends(void)
{
    pick();
    finish();
}

static bool was_woken(void *arg)
{
    (void)arg;
    return xp_peek(&waiter.woken.location) != 0;
}

static void wait_for_woken(void)
{
    while (!filch_load_acquire(&waiter.woken))
        xp_block_until(was_woken, NULL);
}

static void take_result(void)
{
    filch_plain_read(&result);
    xp_assert(result == 7);
    release();
}

static void join(void)
{
    switch (filch__state_join_begin(&state, 0, &joiner, &waiter)) {
    case FILCH_JOIN_STALE:
    case FILCH_JOIN_BUSY:
        xp_fail("the handle is ours");
        break;
    case FILCH_JOIN_WAIT:
        wait_for_woken();
        break;
    case FILCH_JOIN_DONE:
        break;
    }
    take_result();
}

/* Gives up at once, then detaches, unless it was too late for that. */
static void join_and_abandon(void)
{
    switch (filch__state_join_begin(&state, 0, &joiner, &waiter)) {
    case FILCH_JOIN_STALE:
    case FILCH_JOIN_BUSY:
        xp_fail("the handle is ours");
        return;
    case FILCH_JOIN_DONE:
        take_result();
        return;
    case FILCH_JOIN_WAIT:
        break;
    }
    if (!filch__state_join_abandon(&state)) {
        wait_for_woken();
        take_result();
        return;
    }
    if (filch__state_detach(&state, 0) == FILCH_DETACH_RELEASE)
        take_result();
}

static filch_atomic_u32 begun; /* a join; who looks from then on finds it busy until it is over */

static void reset_join(void)
{
    reset_with_handle();
    filch_atomic_init(&begun, 0);
}

/* Gives up at once, and leaves the task to whoever looks at it. */
static void join_and_undo(void)
{
    bool waits = filch__state_join_begin(&state, 0, &joiner, &waiter) == FILCH_JOIN_WAIT;

    filch_store_release(&begun, 1);
    if (!waits || filch__state_join_abandon(&state))
        return;
    wait_for_woken();
    filch__state_join_undo(&state);
}

static bool join_has_begun(void *arg)
{
    (void)arg;
    return xp_peek(&begun.location) != 0;
}

static bool is_done_and_not_joined(void *arg)
{
    (void)arg;
    return (xp_peek(&state.location) & (FILCH_TASK_DONE | FILCH_TASK_JOINING)) == FILCH_TASK_DONE;
}

static void looks_until_it_is_over(void)
{
    while (!filch_load_acquire(&begun))
        xp_block_until(join_has_begun, NULL);
    for (;;) {
        switch (filch__state_join_look(&state, 0)) {
        case FILCH_JOIN_STALE:
            xp_fail("the handle is ours");
            return;
        case FILCH_JOIN_BUSY:
        case FILCH_JOIN_WAIT:
            xp_block_until(is_done_and_not_joined, NULL);
            break;
        case FILCH_JOIN_DONE:
            take_result();
            return;
        }
    }
}

static void detach(void)
{
    if (filch__state_detach(&state, 0) == FILCH_DETACH_RELEASE)
        take_result();
}

static void cancel(void)
{
    if (filch__state_cancel(&state, 0, -ECANCELED) == FILCH_CANCEL_QUEUE)
        enqueue();
}

/* Parks until cancelled. */
static void task_waits_for_cancel(void)
{
    pick();
    while (!(filch_load_relaxed(&state) & FILCH_TASK_CANCEL))
        park();
    finish();
}

/* ---- blocks: deadlines and shields, see task/block.c ---- */

/* 1: the time of the outer block has passed. Its timer fires after that. */
static filch_atomic_u32 passed;

/* Level 1: a deadline. */
static struct filch__standing stand_by_deadline(void)
{
    bool over = filch_load_relaxed(&passed);

    return (struct filch__standing){.overdue = over, .seen = over};
}

/* Level 1: a shield. */
static struct filch__standing stand_by_shield(void)
{
    return (struct filch__standing){.shield = filch_load_relaxed(&passed) ? 0 : 1};
}

/* As task/block.c does. */
static void settle(struct filch__standing (*stand)(void))
{
    struct filch__standing standing = stand(), later;

    for (;;) {
        filch__state_set_blocks(&state, &standing);
        later = stand();
        if (later.shield == standing.shield && later.overdue == standing.overdue)
            return;
        standing = later;
    }
}

static void reset_blocks(void)
{
    reset_detached();
    filch_atomic_init(&passed, 0);
}

/* The inner of two deadlines has passed, and its block ends. */
static void reset_overdue(void)
{
    reset_blocks();
    filch_atomic_init(&state, FILCH_TASK_OVERDUE | FILCH_TASK_CANCEL);
}

static void outer_deadline_passes(void)
{
    filch_store_relaxed(&passed, 1);
    if (filch__state_overdue(&state, 0, 1) == FILCH_WAKE_QUEUE)
        enqueue();
}

static void inner_block_ends(void)
{
    pick();
    settle(stand_by_deadline);
    while (!(filch_load_relaxed(&state) & FILCH_TASK_CANCEL))
        park();
    finish();
}

static void shields_then_waits_for_cancel(void)
{
    struct filch__standing shielded = {.shield = 1}, bare = {.shield = 0};

    pick();
    filch__state_set_blocks(&state, &shielded);
    xp_assert(!(filch_load_relaxed(&state) & FILCH_TASK_CANCEL));
    filch__state_set_blocks(&state, &bare);
    while (!(filch_load_relaxed(&state) & FILCH_TASK_CANCEL))
        park();
    finish();
}

static void shield_passes(void)
{
    struct filch__standing bare = {.shield = 0};

    filch_store_relaxed(&passed, 1);
    if (filch__state_unshield(&state, 0, 1, &bare) == FILCH_WAKE_QUEUE)
        enqueue();
}

/* It never ends its shield by itself. */
static void waits_shielded_for_cancel(void)
{
    pick();
    settle(stand_by_shield);
    while (!(filch_load_relaxed(&state) & FILCH_TASK_CANCEL))
        park();
    finish();
}

/* Within a shield that ends an inner one, which has hidden the outer one's end. */
static void reset_inner_shield(void)
{
    reset_blocks();
    filch_atomic_init(&state, (uint64_t)2 << FILCH_TASK_SHIELD_SHIFT);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a wake is never lost",
         3,
         {task_waits_for_message, waker, late_waker},
         reset_message,
         was_released,
         4,
         false},
        {"a wake carries what was written",
         2,
         {task_parks_once_for_message, waker_with_message},
         reset_message,
         was_released,
         -1,
         false},
        {"yield keeps a wake",
         3,
         {task_yields_then_waits, waker, late_waker},
         reset_message,
         was_released,
         4,
         false},
        {"a task goes on on another worker",
         3,
         {task_parks_for_another_worker, only_wakes, second_worker},
         reset_detached,
         was_released,
         4,
         false},
        {"finish against join",
         3,
         {task_just_ends, join, late_waker},
         reset_with_handle,
         was_released,
         4,
         false},
        {"finish against a join that gives up",
         3,
         {task_just_ends, join_and_abandon, late_waker},
         reset_with_handle,
         was_released,
         4,
         false},
        {"a join that gives up too late leaves the end to another",
         3,
         {task_just_ends, join_and_undo, looks_until_it_is_over},
         reset_join,
         was_released,
         3,
         false},
        {"finish against detach and cancel",
         3,
         {task_just_ends, detach, cancel},
         reset_with_handle,
         was_released,
         4,
         false},
        {"an outer deadline passes while an inner block ends",
         3,
         {inner_block_ends, outer_deadline_passes, late_waker},
         reset_overdue,
         was_released,
         3,
         false},
        {"a cancel against the begin and end of a shield",
         3,
         {shields_then_waits_for_cancel, cancel, late_waker},
         reset_blocks,
         was_released,
         3,
         false},
        {"a shield's time passes, and a cancel",
         3,
         {waits_shielded_for_cancel, shield_passes, cancel},
         reset_blocks,
         was_released,
         3,
         false},
        {"an outer shield's time passes while an inner one ends",
         3,
         {waits_shielded_for_cancel, shield_passes, cancel},
         reset_inner_shield,
         was_released,
         3,
         false},
        {"cancel wakes",
         3,
         {task_waits_for_cancel, cancel, late_waker},
         reset_detached,
         was_released,
         4,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__state_release store_release -> relaxed",
         "the block goes through the pool's lock to its next user, which publishes it again"},
        {"filch__state_park cas_weak_acq_rel -> release",
         "a wake that is taken here is acquired by the pick that follows, through the same word"},
        {"filch__state_pick load_acquire -> relaxed",
         "the queue carries what the waker wrote; kept, as ThreadSanitizer cannot see into the "
         "inject queue of the library"},
        {"filch__state_take_wake fetch_and_acq_rel -> acquire", "the runner hands nothing over"},
        {"filch__state_wake cas_weak_acq_rel -> release",
         "the waker only passes the task on; who picks it acquires what park released"},
        {"filch__state_cancel cas_weak_acq_rel -> acquire", "hands nothing over but its own bit"},
        {"filch__state_cancel cas_weak_acq_rel -> release",
         "only passes the task on; who picks it acquires"},
        {"filch__state_overdue cas_weak_acq_rel -> release",
         "only passes the task on; who picks it acquires"},
        {"filch__state_unshield cas_weak_acq_rel -> release",
         "only passes the task on; who picks it acquires"},
        {"filch__state_set_blocks cas_weak_acq_rel -> acquire",
         "the runner hands nothing over; a timer only reads what it set in the word"},
        {"filch__state_detach cas_weak_acq_rel -> acquire",
         "the waiter that the owner once left there is released by join_begin, whose chain goes "
         "on"},
        {"filch__state_join_abandon cas_weak_acq_rel -> acquire",
         "clears a bit that its own thread set; finish is ordered by its own RMW"},
        {"filch__state_join_undo fetch_and_acq_rel -> release",
         "the wake has brought what it could take over"},
        {"filch__state_join_abandon cas_weak_acq_rel -> release",
         "reads nothing that finish wrote: false sends the caller to the acquiring wait"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
