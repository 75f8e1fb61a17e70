/* Description: notifications (sync/notify.c): the permit against those who wait, give up, abandon;
 * check-then-wait against one, last and all. No notification lost or doubled. */
#include "sync/notify.c"

#include "tests/model/model_waiter.h"

static struct notify model_notify;
static int woken;
static uint32_t payload;
static filch_atomic_u32 condition;

#define NOTIFY ((filch_notify *)(void *)&model_notify)

static void reset(void)
{
    filch_notify_init(NOTIFY);
    filch_atomic_init(&condition, 0);
    woken = 0;
}

static void waits(void)
{
    xp_assert(filch_notify_wait(NOTIFY, FILCH_NEVER) == 0);
    woken++;
}

static void waits_and_reads(void)
{
    waits();
    filch_plain_read(&payload);
}

static void writes_and_notifies(void)
{
    filch_plain_write(&payload);
    filch_notify_one(NOTIFY);
}

static void waits_or_gives_up(void)
{
    if (filch_notify_wait(NOTIFY, 1) == 0)
        woken++;
}

static void prepares_and_abandons(void)
{
    struct notified notified = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&notified);
    filch_notified_abandon((filch_notified *)(void *)&notified);
}

/* A select that another case has won. */
static void has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_NOTIFY);
    waiter.group = &group;
    waiter.index = 0;
    if (enlist(&model_notify, &waiter, &waiter) == FILCH__ENLIST_WAITS)
        (void)leave(&model_notify, &waiter);
}

static void notifies_one(void)
{
    filch_notify_one(NOTIFY);
}

static void writes_and_notifies_last(void)
{
    filch_plain_write(&payload);
    filch_notify_last(NOTIFY);
}

static void notifies_last(void)
{
    filch_notify_last(NOTIFY);
}

/* Stands in line twice, and leaves what was for the last of the two to the first. */
static void prepares_twice_and_abandons_one(void)
{
    struct notified first = {0}, second = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&first);
    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&second);
    filch_notified_abandon((filch_notified *)(void *)&second);
    xp_assert(filch_notified_wait((filch_notified *)(void *)&first, FILCH_NEVER) == 0);
    woken++;
}

static void notifies_two(void)
{
    filch_notify_one(NOTIFY);
    filch_notify_one(NOTIFY);
}

/* The condition itself is relaxed: the notification has to order it. */
static void checks_then_waits(void)
{
    struct notified notified = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&notified);
    if (filch_load_relaxed(&condition)) {
        filch_notified_abandon((filch_notified *)(void *)&notified);
        return;
    }
    xp_assert(filch_notified_wait((filch_notified *)(void *)&notified, FILCH_NEVER) == 0);
    xp_assert(filch_load_relaxed(&condition));
}

/* A select of a prepared wait, in which another case may win at any moment; up to @times. Return:
 * has the wait won? */
static bool selects(struct notified *d, int times)
{
    filch_case c = {.ops = &prepared_ops, .object = d};
    struct filch__waiter_group group;
    struct filch__waiter waiter;

    for (int i = 0; i < times; i++) {
        if (prepared_try(&c))
            return true;
        filch_atomic_init(&group.winner, 0);
        filch__waiter_init(&waiter, FILCH_WAIT_NOTIFY);
        waiter.group = &group;
        waiter.index = 0;
        waiter.data = NULL;
        switch (prepared_enlist(&c, &waiter)) {
        case FILCH__ENLIST_TAKEN:
            return true;
        case FILCH__ENLIST_LOST:
            xp_fail("nobody else decides");
            break;
        case FILCH__ENLIST_WAITS:
            break;
        }
        if (!filch__waiter_group_claim(&group, FILCH__GROUP_OWNER)) {
            filch__waiter_wait_shielded(&waiter);
            prepared_delist(&c, &waiter, true);
            return true;
        }
        prepared_delist(&c, &waiter, false);
    }
    return false;
}

static void checks_then_selects(void)
{
    struct notified d = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&d);
    if (filch_load_relaxed(&condition)) {
        filch_notified_abandon((filch_notified *)(void *)&d);
        return;
    }
    if (!selects(&d, 2))
        xp_assert(filch_notified_wait((filch_notified *)(void *)&d, FILCH_NEVER) == 0);
    xp_assert(filch_load_relaxed(&condition));
}

static void selects_and_waits(void)
{
    struct notified d = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&d);
    if (!selects(&d, 1))
        xp_assert(filch_notified_wait((filch_notified *)(void *)&d, FILCH_NEVER) == 0);
    filch_plain_read(&payload);
    woken++;
}

/* Two may notify it, of which one says nothing of the condition. */
static void checks_then_selects_and_waits(void)
{
    struct notified d = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&d);
    if (filch_load_relaxed(&condition))
        filch_notified_abandon((filch_notified *)(void *)&d);
    else if (!selects(&d, 1))
        xp_assert(filch_notified_wait((filch_notified *)(void *)&d, FILCH_NEVER) == 0);
}

static void notifies_one_then_all(void)
{
    filch_notify_one(NOTIFY);
    filch_store_relaxed(&condition, 1);
    filch_notify_all(NOTIFY);
}

static void selects_and_abandons(void)
{
    struct notified d = {0};

    filch_notify_prepare(NOTIFY, (filch_notified *)(void *)&d);
    if (selects(&d, 1))
        woken++;
    else
        filch_notified_abandon((filch_notified *)(void *)&d);
}

static void makes_true_and_notifies_all(void)
{
    filch_store_relaxed(&condition, 1);
    filch_notify_all(NOTIFY);
}

static void makes_true_and_notifies_one(void)
{
    filch_store_relaxed(&condition, 1);
    filch_notify_one(NOTIFY);
}

static uint64_t permit(void)
{
    return xp_peek(&model_notify.permit.location);
}

static void nobody_waits(void)
{
    xp_assert(!model_notify.waiters.next || filch__list_is_empty(&model_notify.waiters));
}

static void woken_once_or_stored(void)
{
    nobody_waits();
    xp_assert(woken + permit() == 1);
}

static void all_woken(void)
{
    nobody_waits();
    xp_assert(woken == 1 && permit() == 0);
}

/* Two permits may have become one. */
static void at_least_one(void)
{
    nobody_waits();
    xp_assert(woken + permit() >= 1 && woken <= 2);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one against a wait",
         2,
         {waits_and_reads, writes_and_notifies},
         reset,
         all_woken,
         6,
         false},
        {"one against two that give up",
         3,
         {waits_or_gives_up, notifies_one, waits_or_gives_up},
         reset,
         woken_once_or_stored,
         3,
         false},
        {"one who abandons passes on",
         3,
         {prepares_and_abandons, notifies_one, waits},
         reset,
         all_woken,
         3,
         false},
        {"last against a wait",
         2,
         {waits_and_reads, writes_and_notifies_last},
         reset,
         all_woken,
         6,
         false},
        {"last against two that give up",
         3,
         {waits_or_gives_up, notifies_last, waits_or_gives_up},
         reset,
         woken_once_or_stored,
         3,
         false},
        {"last, abandoned, passes on",
         3,
         {prepares_and_abandons, notifies_last, waits},
         reset,
         all_woken,
         3,
         false},
        {"last, abandoned, passes back",
         2,
         {prepares_twice_and_abandons_one, notifies_last},
         reset,
         all_woken,
         6,
         false},
        {"last passes over one who has lost",
         3,
         {has_lost, writes_and_notifies_last, waits_and_reads},
         reset,
         all_woken,
         3,
         false},
        {"last and one",
         3,
         {waits_or_gives_up, notifies_last, notifies_one},
         reset,
         at_least_one,
         3,
         false},
        {"one who has lost takes nothing",
         3,
         {has_lost, writes_and_notifies, waits_and_reads},
         reset,
         all_woken,
         3,
         false},
        {"two against two that give up",
         3,
         {waits_or_gives_up, notifies_two, waits_or_gives_up},
         reset,
         at_least_one,
         2,
         false},
        {"check, then wait, for all",
         3,
         {checks_then_waits, makes_true_and_notifies_all, checks_then_waits},
         reset,
         nobody_waits,
         2,
         false},
        {"check, then wait, for one",
         2,
         {checks_then_waits, makes_true_and_notifies_one},
         reset,
         nobody_waits,
         6,
         false},
        {"prepare, then select, against one",
         2,
         {selects_and_waits, writes_and_notifies},
         reset,
         all_woken,
         6,
         false},
        {"prepare, select and abandon, against one",
         3,
         {selects_and_abandons, notifies_one, waits_or_gives_up},
         reset,
         woken_once_or_stored,
         3,
         false},
        {"check, then select, for all",
         3,
         {checks_then_selects, makes_true_and_notifies_all, checks_then_selects},
         reset,
         nobody_waits,
         2,
         false},
        {"check, then select, for one",
         2,
         {checks_then_selects, makes_true_and_notifies_one},
         reset,
         nobody_waits,
         6,
         false},
        {"one, then all, find who has lost",
         3,
         {checks_then_selects_and_waits, notifies_one_then_all, waits_or_gives_up},
         reset,
         nobody_waits,
         3,
         false},
        {"one and all",
         3,
         {waits_or_gives_up, makes_true_and_notifies_all, notifies_one},
         reset,
         nobody_waits,
         3,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "a waiter that gives up looks again under the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
