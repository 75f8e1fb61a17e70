/* Description: oneshots (sync/oneshot.c): a value against a receiver that waits, gives up, closes,
 * is a future or has lost its select; a sender that waits for the closing. Each value is received
 * once or handed back, and the block goes back to its pool once. */
#include "sync/oneshot.c"

#include "tests/model/model_waiter.h"

static struct oneshot block;
static filch_oneshot_tx *tx;
static filch_oneshot_rx *rx;
static int sent, received, given_back, takes;
static uint32_t payload;

void *filch__pool_take(struct filch__pool *pool)
{
    (void)pool;
    return &block;
}

void filch__pool_give(struct filch__pool *pool, void *object)
{
    (void)pool;
    xp_assert(object == &block);
    given_back++;
}

/* Futures: their waiters have no wakers here. */
filch_waker filch__future_waiter_listen(struct filch__future_waiter *waiter,
                                        const filch_waker *waker)
{
    (void)waiter;
    return *waker;
}

void filch_waker_drop(filch_waker waker)
{
    (void)waker;
}

static void reset(void)
{
    filch_spinlock_init(&block.lock);
    if (filch_oneshot_new(sizeof(int), &tx, &rx) < 0)
        xp_fail("no oneshot");
    sent = received = given_back = takes = 0;
}

static void got(int r, int value)
{
    if (r == 0) {
        xp_assert(value == 7);
        filch_plain_read(&payload);
        received++;
    }
    takes += r == 0 || r == -EPIPE;
}

static void sends(void)
{
    int value = 7;
    int r;

    filch_plain_write(&payload);
    r = filch_oneshot_send(tx, &value);
    xp_assert(r == 0 || r == -EPIPE);
    sent += r == 0;
}

static void drops(void)
{
    xp_assert(filch_oneshot_drop(tx) == 0);
}

static int receive(filch_time until)
{
    int value = 0;
    int r = filch_oneshot_recv(rx, &value, until);

    got(r, value);
    return r;
}

static void receives(void)
{
    receive(FILCH_NEVER);
}

static void closes(void)
{
    int value = 0;
    int r = filch_oneshot_close(rx, &value);

    got(r, value);
}

static void gives_up_and_closes(void)
{
    if (receive(1) == -ETIMEDOUT)
        closes();
}

static void gives_up_and_receives(void)
{
    if (receive(1) == -ETIMEDOUT)
        receive(FILCH_NEVER);
}

static void waits_for_closing_and_sends(void)
{
    int value = 7;

    xp_assert(filch_oneshot_closed(tx, FILCH_NEVER) == 0);
    xp_assert(filch_oneshot_send(tx, &value) == -EPIPE);
}

static void gives_up_waiting_for_closing_and_sends(void)
{
    if (filch_oneshot_closed(tx, 1) == 0)
        drops();
    else
        sends();
}

/* A future that is polled once and dropped, and then a call. */
static void future_is_dropped(void)
{
    struct filch__future_waiter waiter = {0};
    int value = 0;
    int r;

    filch__waiter_init(&waiter.waiter, FILCH_WAIT_ONESHOT);
    waiter.waiter.data = NULL;
    r = filch__oneshot_recv_enlist(rx, &value, &waiter.waiter);
    if (r != -EAGAIN) {
        got(r, value);
        return;
    }
    if (!filch__oneshot_leave(rx, &waiter))
        filch__waiter_wait_shielded(&waiter.waiter);
    receive(FILCH_NEVER);
}

/* A future that is polled when it was woken. */
static void future_receives(void)
{
    struct filch__future_waiter waiter = {0};
    int value = 0;
    int r;

    filch__waiter_init(&waiter.waiter, FILCH_WAIT_ONESHOT);
    waiter.waiter.data = NULL;
    r = filch__oneshot_recv_enlist(rx, &value, &waiter.waiter);
    if (r == -EAGAIN) {
        filch__waiter_wait_shielded(&waiter.waiter);
        r = filch__oneshot_recv_enlist(rx, &value, &waiter.waiter);
        xp_assert(r != -EAGAIN);
    }
    got(r, value);
}

/* A select that another case has won: it takes nothing. */
static void has_lost_and_receives(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    int value = 0;
    filch_case c = filch_case_oneshot(rx, &value);

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_ONESHOT);
    waiter.group = &group;
    waiter.index = 0;
    if (recv_enlist(&c, &waiter) == FILCH__ENLIST_WAITS)
        recv_delist(&c, &waiter, false);
    xp_assert(value == 0);
    receive(FILCH_NEVER);
}

static void over(void)
{
    xp_assert(takes == 1 && given_back == 1);
    xp_assert(received == sent);
}

static void received_one(void)
{
    over();
    xp_assert(received == 1);
}

static void received_none(void)
{
    over();
    xp_assert(received == 0);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a value against a wait", 2, {sends, receives}, reset, received_one, -1, false},
        {"no value against a wait", 2, {drops, receives}, reset, received_none, -1, false},
        {"a value against one who gives up and closes",
         2,
         {sends, gives_up_and_closes},
         reset,
         over,
         -1,
         false},
        {"a value against one who gives up and tries again",
         2,
         {sends, gives_up_and_receives},
         reset,
         received_one,
         -1,
         false},
        {"no value against one who gives up and closes",
         2,
         {drops, gives_up_and_closes},
         reset,
         received_none,
         -1,
         false},
        {"a value against a close", 2, {sends, closes}, reset, over, -1, false},
        {"a sender waits for the close",
         2,
         {waits_for_closing_and_sends, closes},
         reset,
         received_none,
         -1,
         false},
        {"a sender gives up waiting for the close",
         2,
         {gives_up_waiting_for_closing_and_sends, gives_up_and_closes},
         reset,
         over,
         -1,
         false},
        {"a value against a future that is dropped",
         2,
         {sends, future_is_dropped},
         reset,
         received_one,
         -1,
         false},
        {"a value against a future", 2, {sends, future_receives}, reset, received_one, -1, false},
        {"no value against a future", 2, {drops, future_receives}, reset, received_none, -1, false},
        {"a value against a select that has lost",
         2,
         {sends, has_lost_and_receives},
         reset,
         received_one,
         -1,
         false},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
