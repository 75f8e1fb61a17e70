/* Description: selects over two channels (sync/select.c, sync/chan.c) against senders, other
 * selects, close, and giving up at any moment: one case takes effect, and no message is lost or
 * doubled. */
#include "sync/chan.c"
#include "sync/chan_case.c"
#include "sync/chan_overflow.c"
#include "sync/chan_permit.c"
#include "sync/chan_store.c"

#define give_up select_give_up
#include "sync/select.c"
#undef give_up

#include "tests/model/explore.h"

static filch_chan *a, *b;
static int sent[4];
static int received[4];

/* What the two need of the runtime, for plain threads. */
struct filch__task *filch__task_current(void)
{
    return NULL;
}

bool filch__task_cancelled(struct filch__task *task)
{
    (void)task;
    return false;
}

filch_time filch_now(void)
{
    return 1;
}

struct filch__parker *filch__parker_new(void)
{
    return NULL;
}

void filch__parker_unref(struct filch__parker *parker)
{
    (void)parker;
}

filch_waker filch__parker_waker(struct filch__parker *parker)
{
    return (filch_waker){.target = parker};
}

void filch__parker_reset(struct filch__parker *parker)
{
    (void)parker;
}

bool filch__parker_attach(struct filch__parker *parker, struct filch__waiter_group *group)
{
    return !parker && !group;
}

void filch__parker_detach(struct filch__parker *parker)
{
    (void)parker;
}

/* Nobody receives by a future here. */
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

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    filch__list_init(&waiter->link);
    waiter->task = NULL;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

void filch__waiter_group_init(struct filch__waiter_group *group)
{
    filch_atomic_init(&group->winner, 0);
}

void filch__waiter_join_group(struct filch__waiter *waiter, struct filch__waiter_group *group,
                              unsigned index)
{
    waiter->group = group;
    waiter->index = (uint16_t)index;
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    uint32_t nobody = 0;

    return filch_cas_relaxed(&group->winner, &nobody, winner);
}

static bool is_woken(void *arg)
{
    return xp_peek(&((struct filch__waiter *)arg)->woken.location) != 0;
}

static bool is_won(void *arg)
{
    return xp_peek(&((struct filch__waiter_group *)arg)->winner.location) != 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken))
        xp_block_until(is_woken, waiter);
    filch_plain_read(&waiter->data);
}

int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    (void)until;
    filch__waiter_wait_shielded(waiter);
    return 0;
}

/* With a limit it is over at any moment. */
int filch__waiter_group_wait(struct filch__waiter_group *group, bool once, filch_time until)
{
    (void)once;
    while (!filch_load_relaxed(&group->winner)) {
        if (until != FILCH_NEVER)
            return -ETIMEDOUT;
        xp_block_until(is_won, group);
    }
    return 0;
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    filch_plain_write(&waiter->data);
    filch_store_release(&waiter->woken, 1);
}

void filch__waiter_wake_back(struct filch__waiter *waiter)
{
    filch__waiter_wake(waiter);
}

static void free_channel(filch_chan *chan)
{
    if (!chan)
        return;
    free(chan->store.last);
    free(chan);
}

static void reset(void)
{
    free_channel(a);
    free_channel(b);
    if (filch_chan_new(sizeof(int64_t), 1, &a) < 0 || filch_chan_new(sizeof(int64_t), 1, &b) < 0)
        xp_fail("no memory");
    memset(sent, 0, sizeof sent);
    memset(received, 0, sizeof received);
}

static void receive_any(filch_time until)
{
    int64_t x = 0, y = 0;
    filch_case cases[2] = {filch_case_recv(a, &x), filch_case_recv(b, &y)};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, until);

    if (r >= 0 && cases[r].result == 0)
        received[r ? y : x]++;
}

static void send_any(int64_t message, filch_time until)
{
    filch_case cases[2] = {filch_case_send(a, &message), filch_case_send(b, &message)};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, until);

    if (r >= 0 && cases[r].result == 0)
        sent[message] = 1;
}

static void receives_any(void)
{
    receive_any(FILCH_NEVER);
}

static void receives_any_or_gives_up(void)
{
    receive_any(2);
}

static void sends_any(void)
{
    send_any(1, FILCH_NEVER);
}

static void sends_any_or_gives_up(void)
{
    send_any(2, 2);
}

static void send_one(filch_chan *chan, int64_t message)
{
    if (filch_chan_send(chan, &message, FILCH_NEVER) == 0)
        sent[message] = 1;
}

static void sends_to_a(void)
{
    send_one(a, 0);
}

static void sends_another_to_a(void)
{
    send_one(a, 2);
}

static void sends_to_b(void)
{
    send_one(b, 1);
}

static void closes_a(void)
{
    filch_chan_close(a);
}

static void receives_from_a(void)
{
    int64_t message;

    if (filch_chan_recv(a, &message, FILCH_NEVER) == 0)
        received[message]++;
}

/* Both ends of both channels, in both orders: each may serve the other. */
static void turns_over(void)
{
    int64_t x = 0, message = 3;
    filch_case cases[2] = {filch_case_recv(b, &x), filch_case_send(a, &message)};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, 2);

    if (r == 0 && cases[0].result == 0)
        received[x]++;
    if (r == 1 && cases[1].result == 0)
        sent[message] = 1;
}

/* Room in either channel, of which it uses what it gets. */
static void reserves_any_or_gives_up(void)
{
    filch_chan_permit permit[2] = {{0}, {0}};
    filch_case cases[2] = {filch_case_reserve(a, 1, &permit[0]),
                           filch_case_reserve(b, 1, &permit[1])};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, 2);
    int64_t message = 3;

    if (r < 0)
        return;
    xp_assert(permit[r].n == 1 && permit[1 - r].n == 0);
    if (r == 0 && filch_chan_permit_send(&permit[r], &message) == 0)
        sent[message] = 1;
    filch_chan_permit_release(&permit[r]);
}

static void nothing_lost(void)
{
    size_t missing = 0;

    for (int i = 0; i < 4; i++) {
        xp_assert(received[i] <= sent[i]);
        missing += (size_t)(sent[i] - received[i]);
    }
    xp_assert(missing == filch__store_count(&a->store) + filch__store_count(&b->store));
    xp_assert(a->store.promised == 0 && b->store.promised == 0);
    xp_assert(filch__list_is_empty(&a->receivers) && filch__list_is_empty(&a->senders));
    xp_assert(filch__list_is_empty(&b->receivers) && filch__list_is_empty(&b->senders));
}

static void one_received(void)
{
    nothing_lost();
    xp_assert(received[0] + received[1] + received[2] + received[3] == 1);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two senders, one select takes one",
         3,
         {receives_any, sends_to_a, sends_to_b},
         reset,
         one_received,
         3,
         false},
        {"select against select", 2, {receives_any, sends_any}, reset, one_received, -1, false},
        {"selects on both sides give up",
         3,
         {receives_any_or_gives_up, sends_any_or_gives_up, sends_to_b},
         reset,
         nothing_lost,
         3,
         false},
        {"a select and a receiver beside it",
         4,
         {receives_any, receives_from_a, sends_to_a, sends_another_to_a},
         reset,
         nothing_lost,
         1,
         false},
        {"close against a select",
         3,
         {receives_any, closes_a, sends_any_or_gives_up},
         reset,
         nothing_lost,
         3,
         false},
        {"a select with both ends",
         3,
         {turns_over, receives_any_or_gives_up, sends_any_or_gives_up},
         reset,
         nothing_lost,
         3,
         false},
        {"a select that reserves",
         3,
         {reserves_any_or_gives_up, sends_any_or_gives_up, receives_any_or_gives_up},
         reset,
         nothing_lost,
         3,
         false},
        {"a select that reserves, in line",
         3,
         {reserves_any_or_gives_up, sends_to_a, receives_from_a},
         reset,
         nothing_lost,
         3,
         false},
    };
    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
