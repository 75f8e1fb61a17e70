/* Description: the timer wheel against an array: never early, at most a tick late, in order, at
 * every boundary of its levels; and how the timers round. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "runtime/task/task.h"
#include "runtime/time/timers.h"
#include "runtime/time/wheel.h"

#define TICK ((filch_time)1 << FILCH__WHEEL_TICK_SHIFT)
#define TIMERS 200
#define SEEDS 200
#define STEPS 400

TestSuite(wheel, .timeout = 60);

static struct filch__wheel wheel;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void timer_init(struct filch__timer *timer)
{
    filch__list_init(&timer->link);
}

static bool is_armed(const struct filch__timer *timer)
{
    return !filch__list_is_empty(&timer->link);
}

/* Advances and drops what expired. Return: how many. */
static unsigned advance(filch_time now)
{
    struct filch__list expired;
    unsigned n = 0;

    filch__list_init(&expired);
    filch__wheel_advance(&wheel, now, &expired);
    while (filch__list_pop_front(&expired))
        n++;
    cr_assert(filch__wheel_is_valid(&wheel));
    return n;
}

/* Times that are near, on a boundary of a level, overdue, far, or beyond the horizon. */
static filch_time random_when(uint64_t *seed, filch_time now)
{
    uint64_t r = random_next(seed);
    unsigned bits = (unsigned)(random_next(seed) % 60);
    filch_time span = random_next(seed) >> (63 - bits);

    switch (r % 8) {
    case 0:
        return now > span ? now - span : 0;
    case 1:
        return now;
    case 2:
        return (now >> bits << bits) + ((filch_time)1 << bits);
    case 3:
        return now + random_next(seed) % (3 * TICK);
    default:
        return now + span;
    }
}

struct model {
    uint64_t seed;
    filch_time now;
    struct filch__timer timer[TIMERS];
    bool armed[TIMERS];
};

/* What the wheel gave must be due and in order of ticks; what it kept must not be overdue by a
 * tick. */
static void model_advance(struct model *model, uint64_t seed)
{
    struct filch__list expired;
    struct filch__list *link;
    uint64_t tick_before = 0;

    filch__list_init(&expired);
    filch__wheel_advance(&wheel, model->now, &expired);
    while ((link = filch__list_pop_front(&expired))) {
        struct filch__timer *timer = filch_container_of(link, struct filch__timer, link);
        uint64_t tick = (timer->when + TICK - 1) / TICK;

        /* An overdue one counts as of the tick at which it was put. */
        if (tick < (uintptr_t)timer->target)
            tick = (uintptr_t)timer->target;
        cr_assert(model->armed[timer - model->timer], "seed %lu: not armed", seed);
        cr_assert(timer->when <= model->now, "seed %lu: early", seed);
        cr_assert(tick >= tick_before, "seed %lu: out of order", seed);
        tick_before = tick;
        model->armed[timer - model->timer] = false;
    }
    for (unsigned i = 0; i < TIMERS; i++)
        cr_assert(!model->armed[i] || model->timer[i].when + TICK > model->now, "seed %lu: late",
                  seed);
}

/* Not later than the earliest, except that a timer's tick is rounded up. */
static void model_check_next(const struct model *model, uint64_t seed)
{
    filch_time next = filch__wheel_next(&wheel);
    bool any = false;

    for (unsigned i = 0; i < TIMERS; i++) {
        if (!model->armed[i])
            continue;
        any = true;
        cr_assert(next < model->timer[i].when + TICK, "seed %lu: next is late", seed);
    }
    cr_assert(any == (next != FILCH_NEVER), "seed %lu: next and empty", seed);
}

static void model_step(struct model *model, uint64_t seed)
{
    unsigned i = (unsigned)(random_next(&model->seed) % TIMERS);
    struct filch__timer *timer = &model->timer[i];
    filch_time next;

    switch (random_next(&model->seed) % 8) {
    case 0:
        model->now += random_next(&model->seed) >> (4 + random_next(&model->seed) % 60);
        break;
    case 1:
        model->now += random_next(&model->seed) % (2 * TICK);
        break;
    case 2:
        next = filch__wheel_next(&wheel);
        if (next != FILCH_NEVER && next > model->now)
            model->now = next;
        break;
    default:
        if (model->armed[i])
            filch__wheel_remove(&wheel, timer);
        else
            filch__wheel_insert(&wheel, timer, random_when(&model->seed, model->now));
        model->armed[i] = !model->armed[i];
        timer->target = (void *)(uintptr_t)wheel.tick; /* when it was put */
        cr_assert_eq(model->armed[i], is_armed(timer));
        return;
    }
    if (model->now > (filch_time)1 << 62) /* keep clear of the end of time */
        model->now = (filch_time)1 << 62;
    model_advance(model, seed);
}

Test(wheel, random_operations_agree_with_an_array)
{
    static struct model model;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        model.seed = seed * 0x9e3779b97f4a7c15u;
        model.now = random_next(&model.seed) >> (2 + seed % 60);
        filch__wheel_init(&wheel, model.now);
        for (unsigned i = 0; i < TIMERS; i++) {
            timer_init(&model.timer[i]);
            model.armed[i] = false;
        }
        for (unsigned step = 0; step < STEPS; step++) {
            model_step(&model, seed);
            cr_assert(filch__wheel_is_valid(&wheel), "seed %lu", seed);
            model_check_next(&model, seed);
        }
    }
}

/* Each distance around the width of each level, from starts around each boundary, one tick after
 * the other near the end. */
Test(wheel, fires_exactly_at_its_tick_across_all_boundaries)
{
    for (unsigned from = 0; from <= 40; from++)
        for (int before = -1; before <= 1; before++)
            for (unsigned bits = 0; bits <= 38; bits++)
                for (int d = -1; d <= 1; d++) {
                    uint64_t start = ((uint64_t)1 << from) + (uint64_t)(int64_t)before;
                    uint64_t due = start + ((uint64_t)1 << bits) + (uint64_t)(int64_t)d;
                    struct filch__timer timer;

                    if (due == start)
                        continue;
                    timer_init(&timer);
                    filch__wheel_init(&wheel, start * TICK);
                    filch__wheel_insert(&wheel, &timer, due * TICK - 1);
                    cr_assert(filch__wheel_next(&wheel) <= due * TICK);
                    cr_assert_eq(advance(due * TICK - 1), 0, "start %lu due %lu", start, due);
                    cr_assert_eq(advance(due * TICK), 1, "start %lu due %lu", start, due);
                }
}

Test(wheel, following_next_always_arrives)
{
    struct filch__timer timer;
    filch_time start = 12345 * FILCH_SECOND;
    filch_time when = start + ((filch_time)3 << 58); /* several horizons away */
    unsigned steps = 0;
    unsigned fired = 0;

    timer_init(&timer);
    filch__wheel_init(&wheel, start);
    filch__wheel_insert(&wheel, &timer, when);
    while (!fired) {
        filch_time next = filch__wheel_next(&wheel);

        cr_assert(next < when + TICK);
        cr_assert_lt(++steps, 100u);
        fired = advance(next);
        cr_assert(!fired || next >= when);
    }
}

Test(wheel, overdue_timers_fire_at_the_next_advance_even_at_the_same_time)
{
    struct filch__timer past, present, zero, later;
    filch_time now = 1000 * TICK;

    timer_init(&past);
    timer_init(&present);
    timer_init(&zero);
    timer_init(&later);
    filch__wheel_init(&wheel, now);
    filch__wheel_insert(&wheel, &past, now - 500 * TICK);
    filch__wheel_insert(&wheel, &present, now);
    filch__wheel_insert(&wheel, &zero, 0);
    filch__wheel_insert(&wheel, &later, now + 1);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_eq(filch__wheel_next(&wheel), FILCH_NOW);
    cr_assert_eq(advance(now), 3);
    cr_assert_eq(filch__wheel_next(&wheel), now + TICK);
    cr_assert_eq(advance(now + TICK - 1), 0);
    cr_assert_eq(advance(now + TICK), 1);
    cr_assert_eq(filch__wheel_next(&wheel), FILCH_NEVER);
}

Test(wheel, removing_one_leaves_the_others_of_its_slot)
{
    struct filch__timer timer[3];
    filch_time when = 5000 * TICK;

    filch__wheel_init(&wheel, 0);
    for (int i = 0; i < 3; i++) {
        timer_init(&timer[i]);
        filch__wheel_insert(&wheel, &timer[i], when);
    }
    filch__wheel_remove(&wheel, &timer[1]);
    cr_assert(!is_armed(&timer[1]) && filch__wheel_is_valid(&wheel));
    filch__wheel_remove(&wheel, &timer[0]);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_neq(filch__wheel_next(&wheel), FILCH_NEVER);
    cr_assert_eq(advance(when), 1);
    filch__wheel_insert(&wheel, &timer[0], when + 100 * TICK);
    filch__wheel_remove(&wheel, &timer[0]);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_eq(filch__wheel_next(&wheel), FILCH_NEVER);
}

Test(wheel, an_expired_timer_can_be_taken_out_of_the_list_of_the_expired)
{
    struct filch__list expired;
    struct filch__timer a, b;

    filch__list_init(&expired);
    timer_init(&a);
    timer_init(&b);
    filch__wheel_init(&wheel, 0);
    filch__wheel_insert(&wheel, &a, TICK);
    filch__wheel_insert(&wheel, &b, TICK);
    filch__wheel_advance(&wheel, TICK, &expired);
    filch__wheel_remove(&wheel, &a);
    filch__wheel_remove(&wheel, &b);
    cr_assert(filch__list_is_empty(&expired) && filch__wheel_is_valid(&wheel));
}

Test(wheel, time_that_goes_back_does_no_harm)
{
    struct filch__timer timer;

    timer_init(&timer);
    filch__wheel_init(&wheel, 100 * TICK);
    filch__wheel_insert(&wheel, &timer, 150 * TICK);
    cr_assert_eq(advance(50 * TICK), 0);
    cr_assert_eq(advance(149 * TICK), 0);
    cr_assert_eq(advance(150 * TICK), 1);
}

#define MANY 1000000

Test(wheel, a_million_timers_of_one_tick_fire_once_each)
{
    const filch_time when = 5000 * TICK; /* comes down through two levels */
    struct filch__timer *timer = calloc(MANY, sizeof *timer);

    cr_assert_not_null(timer);
    filch__wheel_init(&wheel, 0);
    for (unsigned i = 0; i < MANY; i++) {
        timer_init(&timer[i]);
        filch__wheel_insert(&wheel, &timer[i], when);
    }
    cr_assert_eq(advance(when - TICK), 0);
    cr_assert_eq(advance(when), MANY);
    for (unsigned i = 0; i < MANY; i++)
        cr_assert(!is_armed(&timer[i]));
    cr_assert_eq(filch__wheel_next(&wheel), FILCH_NEVER);
    free(timer);
}

/* As an interval does it in the middle of the expired: it waits for the next advance. */
Test(wheel, a_timer_that_is_armed_again_as_it_fires_fires_once_each_time)
{
    struct filch__list expired;
    struct filch__timer timer;

    timer_init(&timer);
    filch__wheel_init(&wheel, 0);
    filch__wheel_insert(&wheel, &timer, TICK);
    for (unsigned i = 1; i <= 200; i++) {
        filch__list_init(&expired);
        filch__wheel_advance(&wheel, i * TICK, &expired);
        cr_assert_not_null(filch__list_pop_front(&expired));
        cr_assert(filch__list_is_empty(&expired));
        filch__wheel_insert(&wheel, &timer, i * TICK + i % 2); /* overdue, or just about */
        cr_assert(filch__wheel_is_valid(&wheel));
    }
    filch__wheel_remove(&wheel, &timer);
}

Test(wheel, never_is_never)
{
    struct filch__timer timer;

    timer_init(&timer);
    filch__wheel_init(&wheel, 0);
    filch__wheel_insert(&wheel, &timer, FILCH_NEVER);
    cr_assert_eq(advance(FILCH_NEVER / 2), 0);
    cr_assert_eq(advance(FILCH_NEVER - TICK), 0);
    filch__wheel_remove(&wheel, &timer);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_eq(filch__wheel_next(&wheel), FILCH_NEVER);
}

/* Never early; late by 1/64 of the distance at most, but a tick is allowed, and 2^20 ns the limit.
 */
Test(wheel, timers_round_up_in_proportion_to_their_distance)
{
    static struct filch__timers timers;
    static struct filch__task task;
    uint64_t seed = 0x9e3779b97f4a7c15u;
    struct filch__timer timer;

    filch__timers_init(&timers, 0);
    filch__timer_init(&timer);
    for (unsigned i = 0; i < 200000; i++) {
        filch_time now = random_next(&seed) >> (3 + random_next(&seed) % 60);
        filch_time distance = random_next(&seed) >> (3 + random_next(&seed) % 60);
        filch_time when = i % 16 ? now + distance : now - now % (distance + 1);
        filch_time allowed = when > now ? (when - now) / 64 : 0;

        if (allowed < TICK)
            allowed = TICK;
        if (allowed > (filch_time)1 << 20)
            allowed = (filch_time)1 << 20;
        filch__timer_arm(&timers, &timer, when, now, &task);
        cr_assert(timer.when >= when && timer.when - when < allowed, "%u: %lu in %lu", i, when,
                  timer.when);
        cr_assert(filch_load_relaxed(&timers.next) <= timer.when);
        cr_assert(filch__timer_disarm(&timer));
    }
    /* The end of time is nearer, so that sums with it do not overflow. */
    filch__timer_arm(&timers, &timer, FILCH_NEVER, 0, &task);
    cr_assert_eq(timer.when, (filch_time)1 << 62);
    cr_assert(filch__timer_disarm(&timer) && !filch__timer_disarm(&timer));
}

/* Whose slot, as far as its low bits tell, could be taken as a whole when it comes up. */
Test(wheel, one_beyond_the_horizon_does_not_fire_with_its_first_slot)
{
    const filch_time horizon = TICK << 42;
    struct filch__timer timer;

    filch__wheel_init(&wheel, TICK);
    filch__wheel_insert(&wheel, &timer, 2 * horizon);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_eq(advance(horizon), 0);
    cr_assert_eq(advance(2 * horizon - TICK), 0);
    cr_assert(filch__wheel_is_valid(&wheel));
    cr_assert_eq(advance(2 * horizon), 1);
}

/* Who wakes up looks while the wheel fires the next ones, under its lock. */
Test(wheel, one_that_has_fired_is_known_without_the_lock)
{
    static struct filch__timers timers;
    static struct filch__task task;
    struct filch__timer timer[2];

    filch_atomic_init(&task.state, FILCH_TASK_DONE); /* the wake finds nobody */
    filch__timers_init(&timers, 0);
    for (unsigned i = 0; i < 2; i++) {
        filch__timer_init(&timer[i]);
        filch__timer_arm(&timers, &timer[i], (i + 1) * FILCH_SECOND, 0, &task);
    }
    cr_assert_eq(filch__timers_run(&timers, FILCH_SECOND + FILCH_SECOND / 2), 1);
    filch_spinlock_lock(&timers.lock);
    cr_assert(!filch__timer_disarm(&timer[0]));
    filch_spinlock_unlock(&timers.lock);
    cr_assert(filch__timer_disarm(&timer[1]));
    cr_assert(!filch__timer_disarm(&timer[1]));
}
