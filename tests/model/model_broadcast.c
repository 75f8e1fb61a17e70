/* Description: broadcasts (sync/broadcast.c): messages of two words, read while they are
 * overwritten; receivers that wait, give up, go; senders that wait for them. Each message arrives
 * whole, once, in order, or is counted as lost; with KEEP none is. */
#include "tests/model/model_memory.h"

#include "sync/broadcast.c"
#include "sync/broadcast_end.c"

#include "tests/model/model_waiter.h"

struct message {
    uint64_t number;
    uint64_t again;
};

static filch_broadcast *broadcast;
static filch_broadcast_receiver receiver[2];
static uint64_t received[2], lost[2], sent, refused;
static uint32_t payload[4]; /* of message i */

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

static void begin_bytes(size_t bytes, size_t capacity, unsigned flags, unsigned receivers)
{
    model_memory_reset();
    if (filch_broadcast_new(bytes, capacity, flags, &broadcast) < 0)
        xp_fail("no memory");
    /* By hand: the explorer is not running. */
    broadcast->receivers = receivers;
    broadcast->at_tail = flags ? receivers : 0;
    for (unsigned i = 0; i < 2; i++)
        receiver[i] = (filch_broadcast_receiver){.broadcast = broadcast};
    memset(received, 0, sizeof received);
    memset(lost, 0, sizeof lost);
    sent = refused = 0;
}

static void begin(size_t capacity, unsigned flags, unsigned receivers)
{
    begin_bytes(sizeof(struct message), capacity, flags, receivers);
}

/* For messages of one word, of which the nth is n. */
static void one_slot_of_one_word(void)
{
    begin_bytes(sizeof(uint64_t), 1, 0, 1);
}

static void one_slot(void)
{
    begin(1, 0, 1);
}

static void two_slots(void)
{
    begin(2, 0, 2);
}

static void one_slot_and_a_weak_reference(void)
{
    one_slot();
    broadcast->weaks = 1;
}

static void keeps_one(void)
{
    begin(1, FILCH_BROADCAST_KEEP, 1);
}

static void keeps_one_for_two(void)
{
    begin(1, FILCH_BROADCAST_KEEP, 2);
}

static int send(uint64_t number, filch_time until)
{
    struct message message = {number, number};
    int r;

    filch_plain_write(&payload[number]);
    r = filch_broadcast_send(broadcast, &message, until);
    sent += r > 0;
    refused += r < 0;
    return r;
}

static int receive(int who, uint64_t *last, filch_time until)
{
    struct message message = {0, 0};
    uint64_t n = 0;
    int r = filch_broadcast_recv(&receiver[who], &message, &n, until);

    if (r == 0) {
        if (broadcast->bytes == sizeof(message))
            xp_assert(message.number && message.number == message.again);
        else
            xp_assert(message.number == receiver[who].next);
        xp_assert(message.number != *last);
        filch_plain_read(&payload[message.number]);
        *last = message.number;
        received[who]++;
    }
    xp_assert((n != 0) == (r == -EOVERFLOW));
    lost[who] += n;
    return r;
}

static void sends_1(void)
{
    xp_assert(send(1, FILCH_NEVER) >= 0);
}

static void sends_2(void)
{
    xp_assert(send(2, FILCH_NEVER) >= 0);
}

static void sends_1_and_2(void)
{
    sends_1();
    sends_2();
}

static void sends_3(void)
{
    sends_1_and_2();
    xp_assert(send(3, FILCH_NEVER) >= 0);
}

static void sends_2_and_goes(void)
{
    sends_1_and_2();
    filch_broadcast_unref(broadcast);
}

static void sends_2_or_gives_up(void)
{
    send(1, 1);
    send(2, 1);
}

static void receives_all_of_3(void)
{
    uint64_t last = 0;

    while (received[0] + lost[0] < 3)
        receive(0, &last, FILCH_NEVER);
}

static void receives_2(void)
{
    uint64_t last = 0;

    while (received[0] + lost[0] < 2)
        receive(0, &last, FILCH_NEVER);
}

static void other_receives_2(void)
{
    uint64_t last = 0;

    while (received[1] + lost[1] < 2)
        receive(1, &last, FILCH_NEVER);
}

static void receives_to_the_end(void)
{
    uint64_t last = 0;
    int r;

    do {
        r = receive(0, &last, FILCH_NEVER);
    } while (r != -EPIPE);
    filch_broadcast_unsubscribe(&receiver[0]);
}

static void receives_or_gives_up(void)
{
    uint64_t last = 0;

    receive(1, &last, 1);
    receive(1, &last, 1);
}

static void goes(void)
{
    filch_broadcast_unsubscribe(&receiver[0]);
}

static void waits_until_abandoned(void)
{
    xp_assert(filch_broadcast_abandoned(broadcast, FILCH_NEVER) == 0);
}

static void waits_until_abandoned_or_gives_up(void)
{
    int r = filch_broadcast_abandoned(broadcast, 1);

    xp_assert(r == 0 || r == -ETIMEDOUT);
}

/* A select that has lost to another case while it waited for the last receiver to go. */
static void watcher_has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
    waiter.group = &group;
    waiter.index = 0;
    if (enlist_abandoned(broadcast, &waiter, &waiter) == FILCH__ENLIST_WAITS)
        (void)filch__wave_leave(&broadcast->lock, &waiter);
}

/* A weak reference that becomes a sender, if it can, and goes. */
static void weak_one_goes(void)
{
    filch_broadcast *sender = filch_broadcast_sender_ref(broadcast);

    filch_broadcast_unref(sender);
    filch_broadcast_weak_unref(broadcast);
}

static void closes(void)
{
    filch_broadcast_close(broadcast);
}

static void sends_2_or_is_refused(void)
{
    int r = send(1, FILCH_NEVER);

    xp_assert(r >= 0 || r == -EPIPE);
    r = send(2, FILCH_NEVER);
    xp_assert(r >= 0 || r == -EPIPE);
}

/* A future that is polled twice, and dropped. */
static void future_is_dropped(void)
{
    struct filch__future_waiter waiter;
    filch_waker nobody = {0};
    uint32_t phase = FILCH__WAVE_NEW;
    struct message message = {0, 0};
    int r = -EAGAIN;

    for (int polls = 0; polls < 2 && r == -EAGAIN; polls++)
        if (filch__wave_poll(&broadcast->lock, &waiter, &phase, FILCH_WAIT_BROADCAST, &nobody))
            (void)filch__broadcast_enlist(&receiver[1], &message, NULL, &waiter.waiter, NULL, &r);
    if (r == -EAGAIN)
        filch__wave_drop(&broadcast->lock, &waiter);
    else
        received[1]++;
    other_receives_2();
}

/* A select that another case has won: it takes nothing. */
static void has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    struct message message = {0, 0};
    int r;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
    waiter.group = &group;
    waiter.index = 0;
    if (filch__broadcast_enlist(&receiver[1], &message, NULL, &waiter, &waiter, &r) ==
        FILCH__ENLIST_WAITS)
        (void)filch__wave_leave(&broadcast->lock, &waiter);
    xp_assert(message.number == 0);
    other_receives_2();
}

/* A select that has lost to another case while it waited to send. */
static void sender_has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    struct message message = {3, 3};
    int r;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
    waiter.group = &group;
    waiter.index = 0;
    if (filch__broadcast_send_enlist(broadcast, &message, &waiter, &waiter, &r) ==
        FILCH__ENLIST_WAITS)
        (void)filch__wave_leave(&broadcast->lock, &waiter);
}

static void nobody_waits(void)
{
    xp_assert(filch__wave_is_empty(&broadcast->arrivals));
    xp_assert(filch__list_is_empty(&broadcast->waiting));
    xp_assert(filch__wave_is_empty(&broadcast->departures));
}

static void two_without_loss(void)
{
    nobody_waits();
    xp_assert(received[0] == 2 && lost[0] == 0);
}

static void two_for_both(void)
{
    two_without_loss();
    xp_assert(received[1] == 2 && lost[1] == 0);
}

static void keeps_its_word(void)
{
    nobody_waits();
    xp_assert(lost[1] == 0 && received[1] <= sent);
    xp_assert(broadcast->tail == sent && broadcast->tail - broadcast->head <= 1);
}

static void sent_or_refused(void)
{
    nobody_waits();
    xp_assert(sent + refused <= 2);
}

static void all_freed(void)
{
    xp_assert(received[0] + lost[0] == 2);
    xp_assert(model_memory_all_freed() >= 2);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"three into one slot", 2, {sends_3, receives_all_of_3}, one_slot, nobody_waits, 4, false},
        {"three of one word into one slot",
         2,
         {sends_3, receives_all_of_3},
         one_slot_of_one_word,
         nobody_waits,
         4,
         false},
        {"one sender, two receivers",
         3,
         {sends_1_and_2, receives_2, other_receives_2},
         two_slots,
         two_for_both,
         1,
         false},
        {"two senders, one receiver",
         3,
         {sends_1, sends_2, receives_2},
         two_slots,
         two_without_loss,
         2,
         false},
        {"a future that is dropped",
         3,
         {sends_1, sends_2, future_is_dropped},
         two_slots,
         nobody_waits,
         2,
         false},
        {"a select that has lost",
         3,
         {sends_1, sends_2, has_lost},
         two_slots,
         nobody_waits,
         2,
         false},
        {"the end", 2, {sends_2_and_goes, receives_to_the_end}, one_slot, all_freed, 3, false},
        {"the end, and a weak reference",
         3,
         {sends_2_and_goes, receives_to_the_end, weak_one_goes},
         one_slot_and_a_weak_reference,
         all_freed,
         2,
         false},
        {"the last receiver goes",
         3,
         {goes, waits_until_abandoned, waits_until_abandoned_or_gives_up},
         one_slot,
         nobody_waits,
         4,
         false},
        {"the last receiver goes, and a select has lost",
         3,
         {goes, watcher_has_lost, waits_until_abandoned},
         keeps_one,
         nobody_waits,
         4,
         false},
        {"kept: a sender waits",
         3,
         {sends_1, sends_2, receives_2},
         keeps_one,
         two_without_loss,
         2,
         false},
        {"kept: for two receivers",
         3,
         {sends_1_and_2, receives_2, other_receives_2},
         keeps_one_for_two,
         two_for_both,
         1,
         false},
        {"kept: both give up",
         2,
         {sends_2_or_gives_up, receives_or_gives_up},
         keeps_one,
         keeps_its_word,
         4,
         false},
        {"kept: the receiver goes",
         3,
         {sends_1, sends_2, goes},
         keeps_one,
         sent_or_refused,
         3,
         false},
        {"kept: a sender's select that has lost",
         3,
         {sends_1_and_2, sender_has_lost, receives_2},
         keeps_one,
         two_without_loss,
         2,
         false},
        {"kept: closed while one waits",
         2,
         {sends_2_or_is_refused, closes},
         keeps_one,
         sent_or_refused,
         4,
         false},
        {"kept: the end",
         2,
         {sends_2_and_goes, receives_to_the_end},
         keeps_one,
         all_freed,
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
