/* See timers.h. Due timers are taken out of the wheel and their tasks woken under the lock, since a
 * wake only pushes into the caller's queue. A wake that comes late is harmless (task/state.h).
 *
 * Whoever has slept looks whether its timer has fired, while the next thousands still do, under the
 * lock: so that is told by `home`, too, without the lock [timer-fired]. */
#include "runtime/time/timers.h"

#include "runtime/task/block.h"
#include "runtime/task/relay.h"
#include "runtime/task/task.h"

#define DISTANCE_SHIFT 6
#define COARSEST_SHIFT 20
#define LOOK_AHEAD 4 /* timers; each that fires touches a task that has slept for long */
/* In the key of a timer that is no waker's: a generation has 16 bits. */
#define OF_BLOCK ((uint64_t)1 << 61)
/* 146 years after boot. The kernel adds the present time to a span, in 63 bits. */
#define FARTHEST ((filch_time)1 << 62)

void filch__timers_init(struct filch__timers *timers, filch_time now)
{
    filch_spinlock_init(&timers->lock);
    filch_atomic_init(&timers->next, FILCH_NEVER);
    filch__wheel_init(&timers->wheel, now);
}

void filch__timer_init(struct filch__timer *timer)
{
    filch__list_init(&timer->link);
    filch_atomic_init(&timer->home, NULL);
}

/* Up, to a multiple of the largest power of two that is at most 1/64 of the distance, within
 * bounds.
 */
static filch_time round_up(filch_time when, filch_time now)
{
    filch_time distance = when > now ? when - now : 0;
    filch_time grain;

    if (when > FARTHEST)
        return FARTHEST;
    /* The bits below the finest and at the coarsest grain put the result within bounds. */
    grain = distance >> DISTANCE_SHIFT | (filch_time)1 << FILCH__WHEEL_TICK_SHIFT;
    grain = grain >> COARSEST_SHIFT ? (filch_time)1 << COARSEST_SHIFT
                                    : (filch_time)1 << (63 - __builtin_clzll(grain));
    return (when + grain - 1) & ~(grain - 1);
}

void filch__timer_arm_waker(struct filch__timers *timers, struct filch__timer *timer,
                            filch_time when, filch_time now, const filch_waker *waker)
{
    filch_time next;

    when = round_up(when, now);
    filch_store_relaxed(&timer->home, timers); /* its owner's alone until it is in */
    timer->target = waker->target;
    timer->key = waker->key;
    filch_spinlock_lock(&timers->lock);
    filch__wheel_insert(&timers->wheel, timer, when);
    next = filch_load_relaxed(&timers->next);
    if (when < next)
        filch_store_relaxed(&timers->next, when);
    filch_spinlock_unlock(&timers->lock);
}

void filch__timer_arm(struct filch__timers *timers, struct filch__timer *timer, filch_time when,
                      filch_time now, struct filch__task *task)
{
    filch_waker waker = {.target = task, .key = filch__task_generation(task)};

    filch__timer_arm_waker(timers, timer, when, now, &waker);
}

void filch__timer_arm_block(struct filch__timers *timers, struct filch__timer *timer,
                            filch_time when, filch_time now, struct filch__task *task)
{
    filch_waker waker = {.target = task, .key = filch__task_generation(task) | OF_BLOCK};

    filch__timer_arm_waker(timers, timer, when, now, &waker);
}

bool filch__timer_disarm(struct filch__timer *timer)
{
    struct filch__timers *timers = filch_load_acquire(&timer->home); /* [timer-fired] */
    bool armed;

    if (!timers)
        return false;
    filch_spinlock_lock(&timers->lock);
    armed = !filch__list_is_empty(&timer->link);
    if (armed) {
        filch__wheel_remove(&timers->wheel, timer);
        filch_store_relaxed(&timer->home, NULL); /* its owner's alone again */
    }
    filch_spinlock_unlock(&timers->lock);
    return armed;
}

/* [timer-fired] Release as we have done with the timer -> acquire in disarm(): its owner frees it,
 * or arms it again, without the lock. */
static void note_fired(struct filch__timer *timer)
{
    filch_store_release(&timer->home, NULL); /* [timer-fired] */
}

/* A task's block is never unmapped, so the timer may go before the wake. A relay and the blocks of
 * a task belong to the timer's owner, who waits for us by the lock as long as `home` is there. */
static void fire(struct filch__timer *timer)
{
    filch_waker waker = {.target = timer->target, .key = timer->key};

    if (waker.key & FILCH__WAKER_KINDS) {
        filch_waker_wake_by_ref(&waker);
        note_fired(timer);
    } else if (waker.key & OF_BLOCK) {
        filch__block_fire(timer, waker.key & ~OF_BLOCK);
        note_fired(timer);
    } else {
        note_fired(timer);
        filch__task_wake_back(waker.target, waker.key);
    }
}

/* Walks some steps ahead of who fires, and brings near whom the timers there will wake. */
static struct filch__list *look_ahead(struct filch__list *expired, struct filch__list *link)
{
    if (link == expired)
        return link;
    __builtin_prefetch(filch_container_of(link, struct filch__timer, link)->target, 1);
    return link->next;
}

unsigned filch__timers_run(struct filch__timers *timers, filch_time now)
{
    struct filch__list expired;
    struct filch__list *link, *ahead;
    unsigned n = 0;

    if (now < filch_load_relaxed(&timers->next))
        return 0;
    filch__list_init(&expired);
    filch_spinlock_lock(&timers->lock);
    filch__wheel_advance(&timers->wheel, now, &expired);
    ahead = expired.next;
    for (unsigned i = 0; i < LOOK_AHEAD; i++)
        ahead = look_ahead(&expired, ahead);
    for (; (link = filch__list_pop_front(&expired)); n++) {
        ahead = look_ahead(&expired, ahead);
        fire(filch_container_of(link, struct filch__timer, link));
    }
    filch_store_relaxed(&timers->next, filch__wheel_next(&timers->wheel));
    filch_spinlock_unlock(&timers->lock);
    return n;
}
