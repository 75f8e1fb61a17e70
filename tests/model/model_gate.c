/* Description: the gate of a runtime (runtime/sched/gate.h): when shutdown has seen it empty, every
 * spawn that was let in is visible, and no other comes. */
#include "runtime/sched/gate.h"

#include "tests/model/explore.h"

#define SPAWNERS 2

static filch_atomic_u32 callers, shut;
static int spawned[SPAWNERS]; /* plain: the gate alone publishes it */
static int seen;              /* by shutdown; -1: it never saw the gate empty */

static void reset(void)
{
    filch_atomic_init(&callers, 0);
    filch_atomic_init(&shut, 0);
    for (int i = 0; i < SPAWNERS; i++)
        spawned[i] = 0;
    seen = -1;
}

static void spawner(void)
{
    int self = xp_thread();

    if (!filch__gate_enter(&callers, &shut))
        return;
    filch_plain_write(&spawned[self]);
    spawned[self] = 1;
    filch__gate_leave(&callers);
}

static void shutdown(void)
{
    filch__gate_shut(&shut, 1);
    if (!filch__gate_is_empty(&callers))
        return;
    seen = 0;
    for (int i = 0; i < SPAWNERS; i++) {
        filch_plain_read(&spawned[i]);
        seen += spawned[i];
    }
}

static void check(void)
{
    xp_assert(seen < 0 || seen == spawned[0] + spawned[1]);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two spawners, shutdown", 3, {spawner, spawner, shutdown}, reset, check, -1, false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__gate_leave fetch_sub_acq_rel -> release",
         "release suffices; the vocabulary has no such sub"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses, 1);
}
