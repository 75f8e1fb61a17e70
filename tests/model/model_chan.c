/* Description: channels (sync/chan.c): senders and receivers that wait, give up, and are sent away
 * by close; no message lost or doubled. The lock and the waiter protocol are under test; a waiter
 * that gives up does so at any moment. */
#include "sync/chan.c"
#include "sync/chan_batch.c"
#include "sync/chan_case.c"
#include "sync/chan_end.c"
#include "sync/chan_overflow.c"
#include "sync/chan_permit.c"
#include "sync/chan_store.c"

#include "tests/model/model_waiter.h"

static filch_chan *chan;
static int received[4];
static int sent[4];
static int refused; /* receivers that were sent away */

/* By hand: an unref is a step of the explorer, which is not running. */
static void free_channel(void)
{
    if (!chan)
        return;
    free(chan->store.last);
    free(chan);
    chan = NULL;
}

static void reset(void)
{
    free_channel();
    if (filch_chan_new(sizeof(int64_t), 1, &chan) < 0)
        xp_fail("no memory");
    memset(received, 0, sizeof received);
    memset(sent, 0, sizeof sent);
    refused = 0;
}

static void reset_full(void)
{
    int64_t message = 3;

    reset();
    sent[3] = 1;
    /* By hand: the explorer is not running yet. */
    filch__store_put(&chan->store, &message);
}

static void send_one(int64_t message, filch_time until)
{
    if (filch_chan_send(chan, &message, until) == 0)
        sent[message] = 1;
}

static void receive_one(filch_time until)
{
    int64_t message;

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

static void receives_one(void)
{
    receive_one(FILCH_NEVER);
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
    int64_t message;

    while (filch_chan_recv(chan, &message, FILCH_NEVER) == 0)
        received[message]++;
}

/* A future that is polled once, and dropped at any moment afterwards. */
static void future_is_dropped(void)
{
    struct filch__waiter waiter;
    int64_t message;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_CHAN_RECV);
    waiter.data = NULL;
    r = filch__chan_recv_enlist(chan, &message, &waiter);
    if (r == 0)
        received[message]++;
    if (r != -EAGAIN || filch__chan_leave(chan, &waiter))
        return;
    filch__waiter_wait_shielded(&waiter);
    /* As the future's drop. */
    filch__chan_lock(chan);
    chan->kept--;
    filch__chan_advance_unlock(chan);
}

/* What was sent was received once, or is still there. */
static void nothing_lost(void)
{
    int missing = 0;

    for (int i = 0; i < 4; i++) {
        xp_assert(received[i] <= sent[i]);
        missing += sent[i] - received[i];
    }
    xp_assert((size_t)missing == filch__store_count(&chan->store));
    xp_assert(chan->store.promised == 0);
    xp_assert(chan->kept == 0);
}

static void all_received(void)
{
    nothing_lost();
    xp_assert(filch__store_count(&chan->store) == 0);
}

/* ---- permits, batches, ends ---- */

static void reset_two(void)
{
    free_channel();
    if (filch_chan_new(sizeof(int64_t), 2, &chan) < 0)
        xp_fail("no memory");
    memset(received, 0, sizeof received);
    memset(sent, 0, sizeof sent);
    refused = 0;
}

static void uses_permit(int64_t message, filch_time until)
{
    filch_chan_permit permit;

    if (filch_chan_reserve(chan, &permit, until) < 0)
        return;
    xp_assert(filch_chan_permit_send(&permit, &message) == 0);
    sent[message] = 1;
}

static void reserves_and_sends_0(void)
{
    uses_permit(0, FILCH_NEVER);
}

static void reserves_or_gives_up(void)
{
    uses_permit(0, 1);
}

static void reserves_and_releases(void)
{
    filch_chan_permit permit;

    if (filch_chan_reserve(chan, &permit, FILCH_NEVER) == 0)
        filch_chan_permit_release(&permit);
}

/* Both places; uses one. */
static void reserves_two_sends_0(void)
{
    filch_chan_permit permit;
    int64_t message = 0;

    if (filch_chan_reserve_many(chan, 2, &permit, FILCH_NEVER) < 0)
        return;
    if (filch_chan_permit_send(&permit, &message) == 0)
        sent[message] = 1;
    filch_chan_permit_release(&permit);
}

static void reserves_two_or_gives_up(void)
{
    filch_chan_permit permit;

    if (filch_chan_reserve_many(chan, 2, &permit, 1) == 0)
        filch_chan_permit_release(&permit);
}

static void sends_1_and_2(void)
{
    int64_t messages[2] = {1, 2};
    size_t n = 0;

    xp_assert(filch_chan_send_many(chan, messages, 2, &n, FILCH_NEVER) == 0);
    for (size_t i = 0; i < n; i++)
        sent[messages[i]] = 1;
}

static void receives_three(void)
{
    int64_t messages[3];

    for (int n = 0; n < 3;) {
        ssize_t got = filch_chan_recv_many(chan, messages, 3, FILCH_NEVER);

        xp_assert(got > 0);
        for (ssize_t i = 0; i < got; i++)
            received[messages[i]]++;
        n += (int)got;
    }
}

static void receives_until_sent_away(void)
{
    int64_t message;

    while (filch_chan_recv(chan, &message, FILCH_NEVER) == 0)
        received[message]++;
    refused++;
}

/* Of ends that are counted; the channel outlives them here. */
static void reset_sender_ends(void)
{
    reset();
    chan->sender_ends = 2;
    filch_atomic_init(&chan->refs, 3);
}

static void sends_0_and_goes(void)
{
    send_one(0, FILCH_NEVER);
    filch_chan_sender_unref(chan);
}

static void upgrades_or_not(void)
{
    if (filch_chan_sender_ref(chan)) {
        send_one(1, FILCH_NEVER);
        filch_chan_sender_unref(chan);
    }
    filch_chan_sender_unref(chan);
}

static void sent_away(void)
{
    all_received();
    xp_assert(refused == 1);
}

/* A permit holds up the end, and its message arrives after the close. */
static void reset_permit(void)
{
    reset();
    chan->store.promised = 1;
}

static void uses_the_permit(void)
{
    filch_chan_permit permit = {.chan = chan, .n = 1};
    int64_t message = 0;

    xp_assert(filch_chan_permit_send(&permit, &message) == 0);
    sent[message] = 1;
}

static void gives_the_permit_back(void)
{
    filch_chan_permit permit = {.chan = chan, .n = 1};

    filch_chan_permit_release(&permit);
}

/* Whoever drops the last reference frees what the others have used. */
static filch_chan *doomed;

static void reset_doomed(void)
{
    reset();
    if (filch_chan_new(sizeof(int64_t), 1, &doomed) < 0)
        xp_fail("no memory");
    filch_atomic_init(&doomed->refs, 2);
}

static void uses_and_unrefs(void)
{
    filch_plain_read(&doomed->capacity);
    filch_chan_unref(doomed);
}

static void waits_for_the_close(void)
{
    xp_assert(filch_chan_closed(chan, FILCH_NEVER) == 0);
}

static void closes(void)
{
    filch_chan_close(chan);
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
        {"permits and senders in one line",
         3,
         {reserves_and_sends_0, sends_1, receives_two},
         reset,
         all_received,
         3,
         false},
        {"a waiting reserver gives up",
         3,
         {reserves_or_gives_up, receives_or_gives_up, sends_1_or_gives_up},
         reset_full,
         nothing_lost,
         3,
         false},
        {"a permit is given back",
         3,
         {reserves_and_releases, sends_1, receives_one},
         reset,
         all_received,
         3,
         false},
        {"two places at once",
         3,
         {reserves_two_sends_0, sends_1, receives_two},
         reset_two,
         all_received,
         3,
         false},
        {"the first in line gives up",
         3,
         {reserves_two_or_gives_up, sends_0, reserves_and_releases},
         reset_two,
         nothing_lost,
         3,
         false},
        {"a permit outlives the close",
         3,
         {uses_the_permit, receives_until_sent_away, closes},
         reset_permit,
         sent_away,
         4,
         false},
        {"the last permit sends receivers away",
         3,
         {gives_the_permit_back, receives_until_sent_away, closes},
         reset_permit,
         sent_away,
         4,
         false},
        {"batches", 3, {sends_1_and_2, sends_0, receives_three}, reset, all_received, 3, false},
        {"the last sender goes, or another one comes",
         3,
         {sends_0_and_goes, upgrades_or_not, receives_until_sent_away},
         reset_sender_ends,
         sent_away,
         3,
         false},
        {"the last reference frees",
         2,
         {uses_and_unrefs, uses_and_unrefs},
         reset_doomed,
         nothing_lost,
         -1,
         false},
        {"waiting for the close",
         3,
         {waits_for_the_close, sends_0, closes},
         reset,
         nothing_lost,
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
