/* What the scenarios have in common: see scenarios.h. */
#include "tests/fault/scenarios.h"

#include <stdlib.h>

#include "tests/fault/wrap.h"

/* The first one; scenarios go on. */
static _Atomic int first_error;

int scenario_error(void)
{
    return first_error;
}

bool ok(int r)
{
    int none = 0;

    if (r < 0)
        __atomic_compare_exchange_n((int *)&first_error, &none, r, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    return r >= 0;
}

filch_time scenario_limit(void)
{
    return filch_after(fault_is_armed() ? FILCH_SECOND : 20 * FILCH_SECOND);
}

int nothing(void *arg)
{
    (void)arg;
    return 0;
}

int life(const struct scenario *scenario)
{
    const char *workers = getenv("FILCH_TEST_WORKERS");
    filch_runtime_opts opts = {.workers = workers ? (unsigned)strtoul(workers, NULL, 10) : 2};
    filch_runtime *rt;

    if (!ok(filch_runtime_start(&opts, &rt)))
        return 0;
    fault_mark_start();
    ok(filch_runtime_block_on(rt, scenario->fn, NULL, NULL, FILCH_NEVER));
    return filch_runtime_shutdown(rt, filch_after(20 * FILCH_SECOND));
}
