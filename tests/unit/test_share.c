/* Description: the arithmetic of weighted shares: who goes first, what a stretch costs, where a
 * group begins that comes back, over the wrap of virtual time too. */
#include <criterion/criterion.h>

#include "runtime/sched/share.h"
#include "tests/runner/check.h"

TestSuite(share, .timeout = 60);

Test(share, a_heavier_group_pays_less_for_the_same_time)
{
    T_CHECK(filch__share_of(3000, 1) == 3 * filch__share_of(3000, 3));
    T_CHECK(filch__share_of(1000, FILCH__SHARE_WEIGHT_MAX) == FILCH__SHARE_ONE);
    T_CHECK(filch__share_of(0, 7) == 0);
}

Test(share, the_least_virtual_time_goes_first)
{
    uint64_t at[32] = {[0] = 30, [3] = 10, [5] = 20, [31] = 10};

    T_CHECK(filch__share_least(at, 1u << 0 | 1u << 5) == 5);
    T_CHECK(filch__share_least(at, 1u << 0 | 1u << 3 | 1u << 5 | 1u << 31) == 3);
    T_CHECK(filch__share_least(at, 1u << 5 | 1u << 31) == 31);
    T_CHECK(filch__share_least(at, 1u << 0) == 0);
}

Test(share, virtual_time_wraps_around)
{
    uint64_t at[2] = {UINT64_MAX - 10, 10};

    T_CHECK(filch__share_is_before(at[0], at[1]));
    T_CHECK(!filch__share_is_before(at[1], at[0]));
    T_CHECK(filch__share_least(at, 3) == 0);
    T_CHECK(filch__share_enter(UINT64_MAX - 10, 10, 5) == 5);
    T_CHECK(filch__share_enter(UINT64_MAX - 10, 10, 100) == UINT64_MAX - 10);
}

Test(share, who_comes_back_is_paid_for_a_credit_only)
{
    T_CHECK(filch__share_enter(100, 1000, 50) == 950);
    T_CHECK(filch__share_enter(960, 1000, 50) == 960);
    T_CHECK(filch__share_enter(2000, 1000, 50) == 2000);
}

Test(share, a_stretch_costs_what_was_spent_on_the_CPU)
{
    T_CHECK(filch__share_used(1000, 5000, 0) == 1000); /* the clock was last read before it */
    T_CHECK(filch__share_used(1000, 300, 0) == 300);   /* off the CPU for most of it */
    T_CHECK(filch__share_used(1000, 5000, 4500) ==
            500); /* what was charged meanwhile is not twice */
    T_CHECK(filch__share_used(1000, 5000, 6000) == 0);
}

/* Groups that always have something to run, quanta of uneven length, by the rule alone. */
Test(share, those_that_always_run_share_by_their_weights)
{
    enum { GROUPS = 4, STEPS = 200000 };
    static const uint32_t weight[GROUPS] = {1, 3, 10, 1000};
    uint64_t at[GROUPS] = {0}, used[GROUPS] = {0}, all = 0, weights = 0;
    uint32_t random = 1;

    for (int i = 0; i < STEPS; i++) {
        unsigned who = filch__share_least(at, (1u << GROUPS) - 1);
        uint64_t ns;

        random = random * 1664525 + 1013904223;
        ns = 1000 + (random >> 16) % 200000;
        at[who] += filch__share_of(ns, weight[who]);
        used[who] += ns;
        all += ns;
    }
    for (unsigned i = 0; i < GROUPS; i++)
        weights += weight[i];
    for (unsigned i = 0; i < GROUPS; i++) {
        uint64_t due = all * weight[i] / weights;

        T_CHECK(used[i] + 400000 > due && used[i] < due + 400000); /* two quanta */
    }
}
