/* Description: wait groups and gates: counting, closing, misuse, frames that go with the last
 * done(), selects. */
#include <errno.h>
#include <limits.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(waitgroup, .timeout = 120);

static atomic_int complaints;

static void count_complaints(void *arg, int level, const char *message)
{
    (void)arg;
    if (level == FILCH_LOG_ERROR && strstr(message, "more are done than were added"))
        atomic_fetch_add(&complaints, 1);
}

Test(waitgroup, counts_and_can_be_used_again)
{
    filch_waitgroup g = FILCH_WAITGROUP_INIT(0);

    T_OK(filch_waitgroup_wait(&g, FILCH_NOW));
    for (int i = 0; i < 3; i++) {
        T_OK(filch_waitgroup_add(&g, 2));
        T_IS(filch_waitgroup_count(&g), 2);
        T_IS(filch_waitgroup_wait(&g, FILCH_NOW), -ETIMEDOUT);
        T_IS(filch_waitgroup_wait(&g, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
        T_OK(filch_waitgroup_done(&g));
        T_OK(filch_waitgroup_done(&g));
        T_OK(filch_waitgroup_wait(&g, FILCH_NEVER));
    }
    filch_waitgroup_fini(&g);
}

Test(waitgroup, a_negative_count_is_refused_and_said)
{
    filch_waitgroup g = FILCH_WAITGROUP_INIT(0);
    filch_gate gate = FILCH_GATE_INIT;

    filch_log_set(count_complaints, NULL);
    T_IS(filch_waitgroup_done(&g), -EINVAL);
    T_IS(filch_gate_leave(&gate), -EINVAL);
    T_IS(atomic_load(&complaints), 2);
    T_OK(filch_waitgroup_add(&g, 1));
    T_OK(filch_waitgroup_done(&g));
    T_OK(filch_waitgroup_wait(&g, FILCH_NOW));
}

Test(waitgroup, an_overflow_is_refused)
{
    filch_waitgroup g = FILCH_WAITGROUP_INIT(0);

    T_IS(filch_waitgroup_add(&g, UINT64_MAX), -EOVERFLOW);
    T_OK(filch_waitgroup_add(&g, FILCH_WAITGROUP_MAX));
    T_IS(filch_waitgroup_add(&g, 1), -EOVERFLOW);
    T_IS(filch_waitgroup_count(&g) == FILCH_WAITGROUP_MAX, 1);
}

Test(waitgroup, closed_takes_no_more)
{
    filch_waitgroup g;

    T_IS(filch_waitgroup_init(&g, 2), -EINVAL);
    T_OK(filch_waitgroup_init(&g, FILCH_WAITGROUP_UNTIL_CLOSED));
    T_IS(filch_waitgroup_wait(&g, FILCH_NOW), -ETIMEDOUT); /* zero, but open */
    T_OK(filch_waitgroup_add(&g, 1));
    T_OK(filch_waitgroup_close(&g));
    T_OK(filch_waitgroup_close(&g));
    T_IS(filch_waitgroup_add(&g, 1), -EPIPE);
    T_IS(filch_waitgroup_wait(&g, FILCH_NOW), -ETIMEDOUT); /* closed, but one */
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_waitgroup(&g)), -ETIMEDOUT);
    T_OK(filch_waitgroup_done(&g));
    T_OK(filch_waitgroup_wait(&g, FILCH_NEVER));
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_waitgroup(&g)), 0);
    filch_waitgroup_fini(&g);
}

static int is_done(void *arg)
{
    return filch_waitgroup_done(arg);
}

static int selects(void *arg)
{
    filch_case zero = filch_case_waitgroup(arg);

    T_IS(filch_select(&zero, 1, 0, T_LIMIT), 0);
    return zero.result;
}

static int waits(void *arg)
{
    return filch_waitgroup_wait(arg, FILCH_NEVER);
}

static int all_kinds_wait(void *arg)
{
    filch_waitgroup g = FILCH_WAITGROUP_INIT(0);
    filch_task *cancelled;
    int result = 0;
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    T_OK(filch_waitgroup_add(&g, 1));
    for (int i = 0; i < 20; i++)
        T_OK(filch_scope_spawn(&scope, i % 2 ? waits : selects, &g));
    cancelled = spawn(waits, &g);
    let_others_run();
    T_OK(filch_task_cancel(cancelled));
    T_OK(filch_task_join(cancelled, &result, T_LIMIT));
    T_IS(result, -ECANCELED);
    T_OK(filch_waitgroup_done(&g));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    return 0;
}

Test(waitgroup, all_that_wait_go)
{
    T_OK(run_in_runtime(0, all_kinds_wait, NULL));
}

/* The group is in a frame that goes as soon as the wait has returned. */
static int one_round(void *arg)
{
    filch_waitgroup g = FILCH_WAITGROUP_INIT(0);

    T_OK(filch_waitgroup_add(&g, 3));
    for (int i = 0; i < 3; i++)
        T_OK(filch_scope_spawn(arg, is_done, &g));
    T_OK(filch_waitgroup_wait(&g, T_LIMIT));
    memset(&g, 0xee, sizeof g); /* a late done() would hang in the lock, or see nonsense */
    return 0;
}

static int rounds(void *arg)
{
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    for (unsigned long i = test_ops() / 20; i > 0; i--)
        T_OK(one_round(&scope));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(waitgroup, may_go_when_the_wait_has_returned)
{
    T_OK(run_in_runtime(0, rounds, NULL));
    T_OK(run_in_runtime(8, rounds, NULL));
}

/* ---- gates ---- */

struct visit {
    filch_gate gate;
    atomic_int inside;
    atomic_int closed;
    atomic_long visits;
    atomic_ulong seeds;
};

static int visits(void *arg)
{
    struct visit *visit = arg;
    uint64_t seed = atomic_fetch_add(&visit->seeds, 1) * 4099;

    for (;;) {
        int r = filch_gate_enter(&visit->gate);

        if (r < 0) {
            T_IS(r, -EPIPE);
            return 0;
        }
        atomic_fetch_add(&visit->inside, 1);
        T_IS(atomic_load(&visit->closed), 0);
        if (random_below(&seed, 4) == 0)
            filch_task_yield();
        T_IS(atomic_load(&visit->closed), 0);
        atomic_fetch_sub(&visit->inside, 1);
        T_OK(filch_gate_leave(&visit->gate));
        if (atomic_fetch_add(&visit->visits, 1) > (long)test_ops() / 10) {
            r = filch_gate_close(&visit->gate, FILCH_NOW);
            T_CHECK(r == 0 || r == -ETIMEDOUT);
            T_CHECK(filch_gate_is_closed(&visit->gate));
            T_OK(filch_gate_close(&visit->gate, FILCH_NEVER));
            T_IS(atomic_load(&visit->inside), 0);
            atomic_store(&visit->closed, 1);
        }
    }
}

static void many_visit(unsigned workers)
{
    struct visit visit = {.gate = FILCH_GATE_INIT};

    crowd_run(workers, 8, 3, visits, &visit);
    T_IS(filch_gate_enter(&visit.gate), -EPIPE);
    filch_gate_fini(&visit.gate);
}

Test(waitgroup, a_closed_gate_has_nobody_inside)
{
    filch_gate gate;

    filch_gate_init(&gate);
    T_CHECK(!filch_gate_is_closed(&gate));
    T_OK(filch_gate_enter(&gate));
    T_OK(filch_gate_enter(&gate));
    T_IS(filch_gate_close(&gate, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_gate_enter(&gate), -EPIPE);
    T_OK(filch_gate_leave(&gate));
    T_OK(filch_gate_leave(&gate));
    T_OK(filch_gate_close(&gate, FILCH_NEVER));
    many_visit(1);
    many_visit(2);
    many_visit(8);
}
