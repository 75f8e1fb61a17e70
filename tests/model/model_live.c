/* Description: looking at a task from outside (runtime/sched/live.c) while its block goes from one
 * runtime to another: each runtime's look finds its own task or none. What the look copies in
 * between races on purpose, and is not looked at here. */
#include "runtime/sched/live.c"

#include "tests/model/explore.h"

static struct filch_runtime before, after;
static struct filch__task task;
static struct filch_runtime *looked_for;
static bool belongs_to_after;

struct filch__pool filch__task_pool;

void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg)
{
    (void)pool;
    fn(&task, arg);
}

const char *filch__wait_name(enum filch__wait reason)
{
    (void)reason;
    return "";
}

static void reset(void)
{
    memset(&task, 0, sizeof task);
    task.kind = FILCH_KIND_STACKFUL;
    filch_atomic_init(&task.state, 0);
    filch_atomic_init(&task.rt, &before);
    filch_atomic_init(&before.seats, 0);
    filch_atomic_init(&after.seats, 0);
    belongs_to_after = false;
}

/* Its task has ended. */
static void reset_first(void)
{
    reset();
    looked_for = &before;
    filch_atomic_init(&task.state, FILCH_TASK_DONE);
}

static void reset_second(void)
{
    reset();
    looked_for = &after;
}

/* spawn.c. */
static void is_another(void)
{
    filch_store_release(&task.rt, &after);
    filch__state_spawn(&task.state, false);
    belongs_to_after = true; /* one step with the store */
}

/* end.c. */
static void ends_and_is_another(void)
{
    xp_assert(filch__state_finish(&task.state) == FILCH_FINISH_RELEASE);
    filch__state_release(&task.state);
    is_another();
}

static void found(void *arg, const filch_live *live)
{
    (void)arg;
    xp_assert(live->kind == FILCH_LIVE_TASK);
    xp_assert(looked_for == &after && belongs_to_after);
}

static void looks(void)
{
    xp_assert(filch_runtime_visit(looked_for, found, NULL) <= 1);
}

static void nothing(void)
{
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a look at what has gone", 2, {is_another, looks}, reset_first, nothing, -1, false},
        {"a look at what comes", 2, {ends_and_is_another, looks}, reset_second, nothing, -1, false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__live_look load_acquire -> relaxed",
         "the second look at the word: it must come after what was copied, for which an acquire is "
         "nothing; loads of x86 stay in order, and live.c says what happens elsewhere"},
        {"filch__runtime_seats load_acquire -> relaxed", "no worker comes: see model_seat"},
        {"filch__state_finish load_acquire -> relaxed", "see model_state"},
        {"filch__state_release store_release -> relaxed", "see model_state"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
