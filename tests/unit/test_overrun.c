/* Description: when a worker counts as slow or late, with clocks and CPU times made up: tasks that
 * run long and tasks whose thread has lost its CPU are told apart; who serves I/O is helped soon
 * where a CPU is idle, and late where none is. */
#include <criterion/criterion.h>

#include "runtime/base/proc.h"
#include "runtime/sched/overrun.h"
#include "tests/runner/run.h"

TestSuite(overrun, .timeout = 60);

#define LONG_NS (30 * FILCH_MICROSECOND)

static struct filch__use used;
static int asked;

static struct filch__use made_up(void)
{
    asked++;
    return used;
}

/* Looks @times times at tasks of @us each, 32 a look, which used @cpu_us each. */
static bool look(struct filch__slices *slices, int times, unsigned us, unsigned cpu_us,
                 bool preempted)
{
    static const unsigned ticks = 32;
    bool slow = false;

    for (int i = 0; i < times; i++) {
        used.cpu_ns += ticks * cpu_us * FILCH_MICROSECOND;
        used.preempted += preempted;
        slow = filch__slices_note(slices, slices->tick + ticks,
                                  slices->since + ticks * us * FILCH_MICROSECOND, LONG_NS, made_up);
    }
    return slow;
}

Test(overrun, tasks_that_run_for_long_make_a_worker_slow_and_short_ones_end_that)
{
    struct filch__slices slices = {0};

    T_CHECK(!look(&slices, 2, 100, 100, false));
    T_CHECK(look(&slices, 4, 100, 100, false));
    T_CHECK(!look(&slices, 6, 5, 5, false));
}

Test(overrun, short_tasks_ask_the_kernel_nothing)
{
    struct filch__slices slices = {0};

    asked = 0;
    T_CHECK(!look(&slices, 100, 5, 5, true));
    T_IS(asked, 0);
}

Test(overrun, a_look_without_tasks_says_nothing)
{
    struct filch__slices slices = {0};

    T_CHECK(look(&slices, 6, 100, 100, false));
    for (int i = 0; i < 100; i++)
        T_CHECK(filch__slices_note(&slices, slices.tick, slices.since + FILCH_SECOND, LONG_NS,
                                   made_up));
}

Test(overrun, a_thread_that_lost_its_cpu_is_not_slow)
{
    struct filch__slices slices = {0};

    T_CHECK(!look(&slices, 100, 100, 5, true));
}

Test(overrun, a_thread_that_lost_its_cpu_and_used_much_is_slow_all_the_same)
{
    struct filch__slices slices = {0};

    T_CHECK(look(&slices, 6, 100, 50, true));
}

Test(overrun, tasks_that_block_are_slow)
{
    struct filch__slices slices = {0};

    T_CHECK(look(&slices, 6, 1000, 1, false));
}

/* How many times it is late until it calls. */
static int looks(struct filch__lateness *lateness, filch_time pause, bool crowded)
{
    filch_time now = lateness->noted_at;

    for (int i = 1; i <= 1000; i++)
        if (filch__lateness_note(lateness, now += pause, crowded))
            return i;
    return 0;
}

Test(overrun, help_comes_soon_where_a_cpu_is_idle_and_late_where_none_is)
{
    struct filch__lateness lateness = {.noted_at = FILCH_SECOND};

    T_IS(looks(&lateness, 2 * FILCH_MILLISECOND, false), 16);
    T_IS(looks(&lateness, 2 * FILCH_MILLISECOND, false), 1);
    T_IS(looks(&lateness, 2 * FILCH_MILLISECOND, true), 16);
    T_IS(looks(&lateness, 2 * FILCH_MILLISECOND, true), 16);
    T_IS(looks(&lateness, 2 * FILCH_MILLISECOND, false), 16);
}

Test(overrun, one_look_that_finds_no_cpu_idle_begins_the_count_anew)
{
    struct filch__lateness lateness = {.noted_at = FILCH_SECOND};
    filch_time now = FILCH_SECOND;

    for (int i = 0; i < 15; i++)
        T_CHECK(!filch__lateness_note(&lateness, ++now, false));
    T_CHECK(!filch__lateness_note(&lateness, ++now, true));
    T_IS(looks(&lateness, 1, false), 16);
}

Test(overrun, looks_are_rarer_after_one_that_found_no_cpu_idle)
{
    struct filch__lateness lateness = {0};
    filch_time now = FILCH_SECOND;
    filch_time eager = filch__lateness_patience(&lateness, now), rest;

    T_CHECK(!filch__lateness_note(&lateness, now, false));
    T_IS(filch__lateness_patience(&lateness, now), eager);
    T_CHECK(!filch__lateness_note(&lateness, now, true));
    rest = filch__lateness_patience(&lateness, now);
    T_CHECK(rest > eager);
    T_IS(filch__lateness_patience(&lateness, now + rest), eager);
}

Test(overrun, what_was_late_long_ago_does_not_count)
{
    struct filch__lateness lateness = {.noted_at = FILCH_SECOND};

    T_IS(looks(&lateness, FILCH_SECOND, false), 0);
    T_IS(looks(&lateness, FILCH_SECOND, true), 0);
}

/* A look after 64 ticks of @us each, @yields of which ended in one. */
static bool look_at_yields(struct filch__yielders *yielders, unsigned us, unsigned yields,
                           bool queued)
{
    static filch_time now = FILCH_SECOND;

    now += 64 * us * FILCH_MICROSECOND;
    yielders->yields += yields;
    return filch__yielders_note(yielders, yielders->tick + 64, now, queued);
}

Test(overrun, tasks_that_yield_all_the_time_call_for_help)
{
    struct filch__yielders yielders = {0};

    (void)look_at_yields(&yielders, 1, 0, true); /* a first look has no past */
    T_CHECK(!look_at_yields(&yielders, 1, 64, true));
    T_CHECK(!look_at_yields(&yielders, 1, 64, true));
    T_CHECK(!look_at_yields(&yielders, 1, 64, true)); /* 192 us so far */
    T_CHECK(look_at_yields(&yielders, 1, 64, true));
    T_CHECK(!look_at_yields(&yielders, 1, 64, true)); /* not at once again */
    T_CHECK(look_at_yields(&yielders, 5, 33, true));
}

Test(overrun, one_task_that_yields_and_many_that_wait_call_nobody)
{
    struct filch__yielders yielders = {0};

    (void)look_at_yields(&yielders, 1, 0, true);
    for (int i = 0; i < 100; i++) {
        T_CHECK(!look_at_yields(&yielders, 5, 64, false)); /* nobody waits behind it */
        T_CHECK(!look_at_yields(&yielders, 5, 32, true));  /* half of what ran has parked */
    }
}

Test(overrun, a_look_without_ticks_leaves_the_count_of_yields)
{
    struct filch__yielders yielders = {0};

    (void)look_at_yields(&yielders, 1, 0, true);
    (void)look_at_yields(&yielders, 1, 64, true);
    T_CHECK(!filch__yielders_note(&yielders, yielders.tick, FILCH_NEVER, false));
    T_CHECK(yielders.many);
}

Test(overrun, the_text_of_the_load_says_how_many_threads_want_to_run)
{
    T_IS(filch__proc_running_in("0.20 0.18 0.12 1/80 11206\n"), 1);
    T_IS(filch__proc_running_in("19.70 8.18 5.12 17/800 11206\n"), 17);
    T_IS(filch__proc_running_in(""), -1);
    T_IS(filch__proc_running_in("1.0 2.0"), -1);
}

Test(overrun, the_machine_says_how_many_threads_want_to_run)
{
    T_CHECK(filch__cpus_are_busy(1)); /* we do */
    T_CHECK(!filch__cpus_are_busy(1u << 30));
}
