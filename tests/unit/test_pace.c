/* Description: how often a computation made of forks looks at the clock: in trees of several
 * shapes, on a clock of the test's own, looks are neither far apart nor many. */
#include <criterion/criterion.h>

#include <filch/base.h>

#include "runtime/fork/pace.h"
#include "tests/runner/check.h"

TestSuite(pace, .timeout = 60);

#define PLACES 200
#define NEVER_MARKED 0

/* A fork stack whose entries are times: when they were marked. */
static struct {
    struct filch__pace pace;
    struct filch__fork *entry[PLACES];
    filch_time marked[PLACES];
    filch_time now, looked, most; /* the longest time between two looks */
    uint64_t looks;
} sim;

static void begin(void)
{
    memset(&sim, 0, sizeof sim);
    sim.now = sim.looked = FILCH_SECOND;
    filch__pace_start(&sim.pace, sim.entry);
}

static void look(void)
{
    if (sim.now - sim.looked > sim.most)
        sim.most = sim.now - sim.looked;
    sim.looked = sim.now;
    sim.looks++;
}

static void work(filch_time ns)
{
    sim.now += ns;
}

static void fork_at(unsigned top)
{
    T_CHECK(top < PLACES);
    sim.marked[top] = NEVER_MARKED;
    if (!filch__pace_is_due(&sim.pace, &sim.entry[top]))
        return;
    filch__pace_fork(&sim.pace, &sim.entry[top]);
    sim.marked[top] = sim.now;
    look();
}

static void join_at(unsigned top)
{
    if (sim.marked[top] == NEVER_MARKED)
        return;
    filch__pace_join(&sim.pace, &sim.entry[top], sim.marked[top], sim.now);
    if (top > 0 && sim.marked[top - 1] == NEVER_MARKED)
        sim.marked[top - 1] = sim.now;
    look();
}

/* Two parts, of n - 1 and n - 2. */
static void fib(unsigned n, unsigned top)
{
    work(3);
    if (n < 2)
        return;
    fork_at(top);
    fib(n - 2, top + 1);
    join_at(top);
    fib(n - 1, top);
}

/* @wide equal parts. */
static void tree(unsigned depth, unsigned wide, unsigned top, filch_time leaf)
{
    if (depth == 0) {
        work(leaf);
        return;
    }
    for (unsigned i = 0; i + 1 < wide; i++)
        fork_at(top + i);
    tree(depth - 1, wide, top + wide - 1, leaf);
    for (unsigned i = wide - 1; i-- > 0;) {
        join_at(top + i);
        tree(depth - 1, wide, top + i, leaf);
    }
}

/* A tenth of all, and the rest. */
static void lopsided(filch_time ns, unsigned top)
{
    if (ns < 20) {
        work(ns);
        return;
    }
    fork_at(top);
    lopsided(ns / 10, top + 1);
    join_at(top);
    lopsided(ns - ns / 10, top);
}

/* Looks of 25 ns each were at most @percent of the time, and at most @most apart. */
static void check(double percent, filch_time most)
{
    double all = (double)(sim.now - FILCH_SECOND);

    T_CHECK(25.0 * (double)sim.looks < percent / 100 * all);
    T_CHECK(sim.most <= most);
}

Test(pace, a_tree_whose_parts_are_not_equal)
{
    begin();
    fib(32, 0);
    check(4, 100 * FILCH_MICROSECOND);
}

Test(pace, equal_parts_of_all_sizes)
{
    for (unsigned wide = 2; wide <= 10; wide += 4)
        for (filch_time leaf = 3; leaf < 100 * FILCH_MICROSECOND; leaf *= 10) {
            begin();
            tree(wide == 2 ? 14 : 5, wide, 0, leaf);
            /* What does not fork does not look. */
            check(12, 60 * FILCH_MICROSECOND + 2 * leaf);
        }
}

Test(pace, a_tenth_and_the_rest)
{
    begin();
    lopsided(20 * FILCH_MILLISECOND, 0);
    check(8, 100 * FILCH_MICROSECOND);
}

Test(pace, forks_look_no_more_once_nobody_is_to_look)
{
    struct filch__fork *entry[2];
    struct filch__pace pace = {.at = NULL};

    T_CHECK(!filch__pace_is_due(&pace, &entry[1]));
    filch__pace_start(&pace, &entry[0]);
    T_CHECK(filch__pace_is_due(&pace, &entry[0]));
    filch__pace_fork(&pace, &entry[0]);
    T_CHECK(!filch__pace_is_due(&pace, &entry[0])); /* those above follow it */
    T_CHECK(filch__pace_is_due(&pace, &entry[1]));
    filch__pace_join(&pace, &entry[0], 1, 1 + FILCH__PACE_SOON_NS);
    filch__pace_fork(&pace, &entry[0]);
    T_CHECK(!filch__pace_is_due(&pace, &entry[1])); /* this one alone */
}
