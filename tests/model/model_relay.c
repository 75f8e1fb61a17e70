/* Description: wakers for the children of one future (runtime/task/relay.c): children that are
 * woken at any moment, also twice and in the middle of a poll, against the future's polls, which
 * stop when nothing is left. Each child that was woken is polled after its last wake; and a wake
 * that comes when the future is gone, or its relay is another's, does nothing. */
#include <string.h>

#include "runtime/task/relay.c"

#include "tests/model/explore.h"

enum { CHILDREN = 2 };

static struct filch__relay model_relay;
static filch_child children[CHILDREN];
static filch_waker wakers[CHILDREN];
static int progress[CHILDREN]; /* written before a wake; plain: the lock carries it */
static int polled[CHILDREN];   /* the progress that the last poll saw */
static int wanted[CHILDREN];
static filch_atomic_u32 woken; /* the future, by its own waker */
static bool hasty;             /* a poll that says where wakes go after it has taken them */
static bool freed;

/* ---- the future's own waker ---- */

static int the_future;

filch_waker filch_waker_clone(const filch_waker *waker)
{
    return *waker;
}

void filch_waker_drop(filch_waker waker)
{
    (void)waker;
}

bool filch_waker_will_wake(const filch_waker *a, const filch_waker *b)
{
    return a->target == b->target;
}

void filch_waker_wake(filch_waker waker)
{
    if (!waker.target)
        return;
    xp_assert(waker.target == &the_future);
    filch_store_release(&woken, 1);
}

void *filch__pool_take(struct filch__pool *pool)
{
    (void)pool;
    return &model_relay;
}

void filch__pool_give(struct filch__pool *pool, void *object)
{
    (void)pool;
    (void)object;
}

static void reset_n(int wakes_0, int wakes_1)
{
    memset(&model_relay, 0, sizeof model_relay);
    memset(children, 0, sizeof children);
    model_relay.children = children;
    for (size_t i = 0; i < CHILDREN; i++) {
        wakers[i] = filch__relay_waker(&model_relay, i);
        progress[i] = polled[i] = 0;
    }
    wanted[0] = wakes_0;
    wanted[1] = wakes_1;
    filch_atomic_init(&woken, 1); /* its first poll */
    hasty = freed = false;
}

static void reset(void)
{
    reset_n(1, 1);
}

static void reset_twice(void)
{
    reset_n(2, 1);
}

static void reset_hasty(void)
{
    reset_n(1, 1);
    hasty = true;
}

static void wakes(int i)
{
    for (int n = 0; n < wanted[i]; n++) {
        progress[i]++;
        filch__relay_wake(&model_relay, wakers[i].key);
    }
}

static void wakes_0(void)
{
    wakes(0);
}

static void wakes_1(void)
{
    wakes(1);
}

static bool is_woken(void *arg)
{
    (void)arg;
    return xp_peek(&woken.location) != 0;
}

static void poll_once(void)
{
    const filch_waker own = {.target = &the_future};
    uint32_t cursor;
    size_t i;

    if (!hasty)
        filch__relay_listen(&model_relay, &own);
    cursor = filch__relay_take(&model_relay);
    while (filch__relay_next(&model_relay, &cursor, &i))
        polled[i] = progress[i];
    if (hasty)
        filch__relay_listen(&model_relay, &own);
}

/* Until all children have got where they should. */
static void polls(void)
{
    while (polled[0] != wanted[0] || polled[1] != wanted[1]) {
        xp_block_until(is_woken, NULL);
        (void)filch_exchange_acquire(&woken, 0);
        poll_once();
    }
}

/* The future is dropped after its first poll, and its relay given to another one. */
static void polls_once_and_goes(void)
{
    poll_once();
    filch__relay_free(&model_relay);
    freed = true;
    xp_assert(filch__relay_new(children) == &model_relay);
    for (size_t i = 0; i < CHILDREN; i++)
        children[i].private_next = 0;
}

static void all_were_polled(void)
{
    for (int i = 0; i < CHILDREN; i++)
        xp_assert(polled[i] == wanted[i]);
}

static void the_other_is_left_alone(void)
{
    xp_assert(!model_relay.head);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two children", 3, {polls, wakes_0, wakes_1}, reset, all_were_polled, 4, false},
        {"one of them twice", 3, {polls, wakes_0, wakes_1}, reset_twice, all_were_polled, 3, false},
        {"late wakes",
         3,
         {polls_once_and_goes, wakes_0, wakes_1},
         reset,
         the_other_is_left_alone,
         3,
         false},
        {"a poll that listens too late",
         3,
         {polls, wakes_0, wakes_1},
         reset_hasty,
         all_were_polled,
         3,
         true},
    };
    static const struct xp_excuse excuses[] = {
        {"polls exchange_acquire -> relaxed", "the model's own: the relay's lock carries all"},
        {"filch_waker_wake store_release -> relaxed", "the model's own"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
