/* Description: channels (sync/chan.c): senders and receivers that wait, give up, and are sent away
 * by close; no message lost or doubled. The lock and the waiter protocol are under test; a waiter
 * that gives up does so at any moment. */
#include "sync/chan.c"

#include "tests/model/explore.h"

static filch_chan *chan;
static int received[4];
static int sent[4];

/* What chan.c needs of the runtime, for plain threads. */
struct filch__task *filch__task_current(void)
{
    return NULL;
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    uint32_t nobody = 0;

    return filch_cas_relaxed(&group->winner, &nobody, winner);
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

bool filch__task_cancelled(struct filch__task *task)
{
    (void)task;
    return false;
}

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    filch__list_init(&waiter->link);
    waiter->task = NULL;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

static bool is_woken(void *arg)
{
    return xp_peek(&((struct filch__waiter *)arg)->woken.location) != 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken))
        xp_block_until(is_woken, waiter);
    filch_plain_read(&waiter->data);
}

int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    if (until != FILCH_NEVER)
        return filch_load_acquire(&waiter->woken) ? 0 : -ETIMEDOUT;
    filch__waiter_wait_shielded(waiter);
    return 0;
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    filch_plain_write(&waiter->data);
    filch_store_release(&waiter->woken, 1);
}

/* By hand: an unref is a step of the explorer, which is not running. */
static void free_channel(void)
{
    if (!chan)
        return;
    free(chan->read.segment);
    free(chan);
    chan = NULL;
}

static void reset(void)
{
    free_channel();
    if (filch_chan_new(sizeof(int), 1, &chan) < 0)
        xp_fail("no memory");
    memset(received, 0, sizeof received);
    memset(sent, 0, sizeof sent);
}

static void reset_full(void)
{
    int message = 3;

    reset();
    sent[3] = 1;
    /* By hand: the explorer is not running yet. */
    push_locked(chan, &message);
}

static void send_one(int message, filch_time until)
{
    if (filch_chan_send(chan, &message, until) == 0)
        sent[message] = 1;
}

static void receive_one(filch_time until)
{
    int message;

    if (filch_chan_recv(chan, &message, until) == 0)
        received[message]++;
}

static void sends_0(void)
{
    send_one(0, FILCH_NEVER);
}

static void sends_1(void)
{
    send_one(1, FILCH_NEVER);
}

static void sends_1_or_gives_up(void)
{
    send_one(1, 1);
}

static void sends_0_or_gives_up(void)
{
    send_one(0, 1);
}

static void receives_two(void)
{
    receive_one(FILCH_NEVER);
    receive_one(FILCH_NEVER);
}

static void receives_or_gives_up(void)
{
    receive_one(1);
}

static void receives_all(void)
{
    int message;

    while (filch_chan_recv(chan, &message, FILCH_NEVER) == 0)
        received[message]++;
}

/* A future that is polled once, and dropped at any moment afterwards. */
static void future_is_dropped(void)
{
    struct filch__future_waiter waiter = {0};
    int message;
    int r;

    filch__waiter_init(&waiter.waiter, FILCH_WAIT_CHAN_RECV);
    waiter.waiter.data = NULL;
    r = filch__chan_recv_enlist(chan, &message, &waiter.waiter);
    if (r == 0)
        received[message]++;
    if (r != -EAGAIN || filch__chan_leave(chan, &waiter))
        return;
    filch__waiter_wait_shielded(&waiter.waiter);
    filch__chan_collect(chan, NULL);
}

static void closes(void)
{
    filch_chan_close(chan);
}

/* What was sent was received once, or is still there. */
static void nothing_lost(void)
{
    int missing = 0;

    for (int i = 0; i < 4; i++) {
        xp_assert(received[i] <= sent[i]);
        missing += sent[i] - received[i];
    }
    xp_assert((size_t)missing == chan->count);
    xp_assert(chan->reserved == 0);
}

static void all_received(void)
{
    nothing_lost();
    xp_assert(chan->count == 0);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two senders, one receiver",
         3,
         {sends_0, sends_1, receives_two},
         reset,
         all_received,
         4,
         false},
        {"a waiting sender gives up",
         3,
         {sends_1_or_gives_up, receives_or_gives_up, sends_0_or_gives_up},
         reset_full,
         nothing_lost,
         3,
         false},
        {"a waiting receiver gives up",
         3,
         {receives_or_gives_up, sends_0, receives_or_gives_up},
         reset,
         nothing_lost,
         4,
         false},
        {"a receiving future is dropped",
         3,
         {future_is_dropped, sends_0, receives_or_gives_up},
         reset,
         nothing_lost,
         4,
         false},
        {"close sends everybody away",
         3,
         {sends_0, receives_all, closes},
         reset,
         all_received,
         4,
         false},
        {"close against a full channel",
         3,
         {sends_0, receives_all, closes},
         reset_full,
         all_received,
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
