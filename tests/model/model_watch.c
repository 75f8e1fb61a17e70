/* Description: watches (sync/watch.c): a version, a value under RCU, a wave. Readers that wait,
 * give up, or come late against senders, and against their end: no change is missed, no value that
 * was replaced is read without a section, nothing is freed too early or twice. */
#include "tests/model/model_memory.h"

#include "sync/watch.c"
#include "sync/watch_read.c"

#include "tests/model/model_waiter.h"

static filch_watch *watch;
static filch_watch_reader reader[2];
static uint32_t payload[3]; /* of value i; written plainly by who sends it */
static filch_rcu_head *called;
static void (*called_fn)(filch_rcu_head *head);

/* RCU: sections are counted, as the explorer has one thread; a call is made by reset(). */
__thread int filch__rcu_count __attribute__((tls_model("initial-exec")));

/* What a grace period orders: sections and RCU's thread, where there is one. */
static filch_spinlock order;
static bool graces;

static void in_order(void)
{
    if (!graces)
        return;
    filch_spinlock_lock(&order);
    filch_spinlock_unlock(&order);
}

void filch__rcu_refuse(void)
{
    xp_fail("a section that is none");
    abort();
}

int filch_rcu_call(filch_rcu_head *head, void (*fn)(filch_rcu_head *head))
{
    xp_assert(!called);
    in_order();
    called = head;
    called_fn = fn;
    return 0;
}

/* The explorer's grace period looks at the sections itself. */
void filch_rcu_quiescent(void)
{
}

void filch__rcu_awake(void)
{
}

void filch__rcu_sleep(void)
{
}

int filch_rcu_thread_online(void)
{
    return 0;
}

int filch_rcu_thread_offline(void)
{
    return 0;
}

int filch_rcu_thread_register(void)
{
    return 0;
}

int filch_rcu_thread_unregister(void)
{
    return 0;
}

void filch__throw(const char *what)
{
    xp_fail(what);
    abort();
}

/* Futures: their waiters have no wakers here. */
filch_waker filch__future_waiter_listen(struct filch__future_waiter *waiter,
                                        const filch_waker *waker)
{
    (void)waiter;
    return *waker;
}

void filch__future_waiter_init(struct filch__future_waiter *waiter, enum filch__wait reason,
                               const filch_waker *waker)
{
    waiter->waker = *waker;
    filch__waiter_init(&waiter->waiter, reason);
}

void filch__future_waiter_release(struct filch__future_waiter *waiter)
{
    filch__waiter_wait_shielded(&waiter->waiter);
}

void filch_waker_drop(filch_waker waker)
{
    (void)waker;
}

static void reset(void)
{
    int first = 0;

    filch__rcu_count = 0;
    model_memory_reset();
    graces = false;
    filch_spinlock_init(&order);
    called = NULL;
    if (filch_watch_new(sizeof(int), &first, &watch) < 0)
        xp_fail("no memory");
    watch->readers = 2;
    for (int i = 0; i < 2; i++)
        reader[i] = (filch_watch_reader){.watch = watch, .seen = FILCH__WATCH_VERSION};
}

static void reset_with_graces(void)
{
    reset();
    graces = true;
}

static void send(int value)
{
    filch_plain_write(&payload[value]);
    xp_assert(filch_watch_send(watch, &value) == 0);
}

static int see(int who)
{
    int value;

    in_order();
    filch_rcu_read_begin();
    value = *(const int *)filch_watch_borrow(&reader[who]);
    filch_rcu_read_end();
    in_order();
    if (value)
        filch_plain_read(&payload[value]);
    return value;
}

static void sends_1(void)
{
    send(1);
}

static void sends_2(void)
{
    send(2);
}

static void sends_1_and_2(void)
{
    send(1);
    send(2);
}

static void sends_1_and_goes(void)
{
    send(1);
    filch_watch_unref(watch);
}

static void waits_for_one(void)
{
    xp_assert(filch_watch_changed(&reader[0], FILCH_NEVER) == 0);
    xp_assert(see(0) != 0);
}

static void waits_for_two(void)
{
    int value;

    do {
        xp_assert(filch_watch_changed(&reader[0], FILCH_NEVER) == 0);
        value = see(0);
        xp_assert(value != 0);
    } while (value != 2);
}

static void waits_or_gives_up(void)
{
    int r = filch_watch_changed(&reader[1], 1);

    xp_assert(r == 0 || r == -ETIMEDOUT);
    xp_assert(r < 0 || see(1) != 0);
}

static void reads_to_the_end(void)
{
    int last = 0;

    while (filch_watch_changed(&reader[0], FILCH_NEVER) == 0)
        last = see(0);
    xp_assert(last == 1);
    filch_watch_unsubscribe(&reader[0]);
}

/* What is seen does not go back, and two looks of one version give one value. */
static void looks_twice(void)
{
    int first = see(1);
    uint64_t seen = reader[1].seen;
    int second = see(1);

    xp_assert(reader[1].seen >= seen);
    xp_assert(reader[1].seen != seen || first == second);
}

static int adds_one(void *arg, void *value)
{
    (void)arg;
    ++*(int *)value;
    return 1;
}

static void modifies(void)
{
    xp_assert(filch_watch_modify(watch, adds_one, NULL) == 1);
}

static int replaced[3];

static void replace(int value)
{
    filch_plain_write(&payload[value]);
    xp_assert(filch_watch_replace(watch, &value, &replaced[value]) == 0);
    if (replaced[value])
        filch_plain_read(&payload[replaced[value]]);
}

static void replaces_by_1(void)
{
    replace(1);
}

static void replaces_by_2(void)
{
    replace(2);
}

/* A future that is polled, polled again, and dropped. */
static void future_is_dropped(void)
{
    struct filch__future_waiter waiter;
    filch_waker nobody = {0};
    uint32_t phase = FILCH__WAVE_NEW;
    int r = -EAGAIN;

    for (int polls = 0; polls < 2 && r == -EAGAIN; polls++)
        if (filch__wave_poll(&watch->lock, &waiter, &phase, FILCH_WAIT_WATCH, &nobody))
            (void)filch__watch_enlist(&reader[1], &waiter.waiter, NULL, &r);
    if (r == 0)
        xp_assert(see(1) != 0);
    else
        filch__wave_drop(&watch->lock, &waiter);
}

/* A select that another case has won. */
static void has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    int r;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_WATCH);
    waiter.group = &group;
    waiter.index = 0;
    if (filch__watch_enlist(&reader[1], &waiter, &waiter, &r) == FILCH__ENLIST_WAITS)
        (void)filch__wave_leave(&watch->lock, &waiter);
    xp_assert(reader[1].seen == FILCH__WATCH_VERSION);
}

static void last_reader_goes(void)
{
    filch_watch_unsubscribe(&reader[0]);
    filch_watch_unsubscribe(&reader[1]);
}

static void waits_until_abandoned(void)
{
    xp_assert(filch_watch_abandoned(watch, FILCH_NEVER) == 0);
}

static bool grace_is_there(void *arg)
{
    (void)arg;
    return called && filch__rcu_count == 0;
}

/* RCU's thread, once: a grace period is a moment without sections. */
static void reclaims(void)
{
    filch_rcu_head *head;

    while (!grace_is_there(NULL))
        xp_block_until(grace_is_there, NULL);
    in_order();
    head = called;
    called = NULL;
    called_fn(head);
}

static void nobody_waits(void)
{
    xp_assert(filch__wave_is_empty(&watch->changes));
    xp_assert(filch__wave_is_empty(&watch->departures));
    xp_assert(filch__rcu_count == 0);
}

static int value_now(void)
{
    return *(const int *)(const void *)((struct filch__watch_node *)(uintptr_t)xp_peek(
                                            &watch->current.location))
                ->value;
}

static void two_added(void)
{
    nobody_waits();
    xp_assert(value_now() == 2);
}

/* The first value came out of one of them, and its own out of the other, or is there. */
static void each_replaced_once(void)
{
    nobody_waits();
    xp_assert(replaced[1] != replaced[2]);
    xp_assert(replaced[1] + replaced[2] + value_now() == 3);
}

/* The sender and one reader have gone, the other has not: it is there. */
static void ended(void)
{
    nobody_waits();
    xp_assert(watch->senders == 0 && watch->readers == 1);
}

/* All have gone: the watch, its first value and what was sent. */
static void all_freed(void)
{
    xp_assert(model_memory_all_freed() == 3);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a change against a wait", 2, {sends_1, waits_for_one}, reset, nobody_waits, -1, false},
        {"two changes against a wait",
         2,
         {sends_1_and_2, waits_for_two},
         reset,
         nobody_waits,
         4,
         false},
        {"two senders, one who waits, one who gives up",
         4,
         {sends_1, sends_2, waits_for_one, waits_or_gives_up},
         reset,
         nobody_waits,
         2,
         false},
        {"the end against a reader",
         2,
         {sends_1_and_goes, reads_to_the_end},
         reset,
         ended,
         5,
         false},
        {"looks against changes",
         3,
         {sends_1, sends_2, looks_twice},
         reset,
         nobody_waits,
         3,
         false},
        {"two who modify", 2, {modifies, modifies}, reset, two_added, -1, false},
        {"two who replace",
         3,
         {replaces_by_1, replaces_by_2, reclaims},
         reset_with_graces,
         each_replaced_once,
         3,
         false},
        {"a future that is dropped",
         3,
         {sends_1, future_is_dropped, waits_for_one},
         reset,
         nobody_waits,
         3,
         false},
        {"a select that has lost",
         3,
         {sends_1, has_lost, waits_for_one},
         reset,
         nobody_waits,
         3,
         false},
        {"looks against changes and what frees the old values",
         4,
         {sends_1, sends_2, looks_twice, reclaims},
         reset_with_graces,
         nobody_waits,
         2,
         false},
        {"all go",
         3,
         {sends_1_and_goes, last_reader_goes, reclaims},
         reset_with_graces,
         all_freed,
         4,
         false},
        {"the last reader goes",
         2,
         {last_reader_goes, waits_until_abandoned},
         reset,
         nobody_waits,
         5,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "a waiter that gives up looks again under the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
