/* See timers.h. Due timers are taken out of the wheel and their tasks woken under the lock: a wake
 * only pushes into the caller's queue, and so nobody ever sees a timer between the two. A wake that
 * comes late is harmless (task/state.h). */
#include "runtime/time/timers.h"

#include "runtime/task/block.h"
#include "runtime/task/task.h"

#define DISTANCE_SHIFT 6
#define COARSEST_SHIFT 20
/* In a timer's generation, which has 16 bits. */
#define OF_BLOCK ((uint64_t)1 << 63)
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
    timer->home = NULL;
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

static void arm(struct filch__timers *timers, struct filch__timer *timer, filch_time when,
                filch_time now, struct filch__task *task, uint64_t flag)
{
    filch_time next;

    when = round_up(when, now);
    timer->home = timers;
    timer->task = task;
    timer->generation = filch__task_generation(task) | flag;
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
    arm(timers, timer, when, now, task, 0);
}

void filch__timer_arm_block(struct filch__timers *timers, struct filch__timer *timer,
                            filch_time when, filch_time now, struct filch__task *task)
{
    arm(timers, timer, when, now, task, OF_BLOCK);
}

bool filch__timer_disarm(struct filch__timer *timer)
{
    struct filch__timers *timers = timer->home;
    bool armed;

    if (!timers)
        return false;
    filch_spinlock_lock(&timers->lock);
    armed = !filch__list_is_empty(&timer->link);
    if (armed)
        filch__wheel_remove(&timers->wheel, timer);
    filch_spinlock_unlock(&timers->lock);
    return armed;
}

unsigned filch__timers_run(struct filch__timers *timers, filch_time now)
{
    struct filch__list expired;
    struct filch__list *link;
    unsigned n = 0;

    if (now < filch_load_relaxed(&timers->next))
        return 0;
    filch__list_init(&expired);
    filch_spinlock_lock(&timers->lock);
    filch__wheel_advance(&timers->wheel, now, &expired);
    for (; (link = filch__list_pop_front(&expired)); n++) {
        struct filch__timer *timer = filch_container_of(link, struct filch__timer, link);

        if (timer->generation & OF_BLOCK)
            filch__block_fire(timer, timer->generation & ~OF_BLOCK);
        else
            filch__task_wake_back(timer->task, timer->generation);
    }
    filch_store_relaxed(&timers->next, filch__wheel_next(&timers->wheel));
    filch_spinlock_unlock(&timers->lock);
    return n;
}
