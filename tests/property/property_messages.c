/* What passes values on. The models are in the values: who sent them, as the how many-th, so that
 * each receiver sees for itself that they come in order; and in sums and marks for each value,
 * which agree at the end. */
#include "tests/property/property.h"

#include <string.h>

static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185u;
    return x ^ (x >> 27);
}

/* ---- oneshot: a value that was taken from the sender is with the receiver, and no other ---- */

enum sender_end { SENDER_OPEN, SENT, REFUSED, DROPPED };
enum receiver_end { RECEIVER_OPEN, HAS_IT, NOTHING_CAME, CLOSED };
enum { ON_OFFER = 6 };

struct pair {
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    unsigned bytes;
    unsigned char fill;
    enum sender_end sender;     /* by its end's owner */
    enum receiver_end receiver; /* likewise */
};

struct oneshot_world {
    struct pair *pairs; /* by operation */
    unsigned long count;
    /* Ends for anybody. */
    _Atomic(struct pair *) senders[ON_OFFER], receivers[ON_OFFER];
};

static void *oneshot_begin(unsigned long ops, uint64_t *random)
{
    struct oneshot_world *world = new_world(sizeof(*world));

    (void)random;
    world->count = ops;
    world->pairs = calloc(ops, sizeof(*world->pairs));
    T_CHECK(world->pairs);
    return world;
}

static void oneshot_sends(struct actor *actor, struct pair *pair)
{
    unsigned char value[FILCH_ONESHOT_BYTES_MAX];
    filch_time until = soon(actor);
    int r;

    if (any(actor, 4) == 0) {
        r = filch_oneshot_closed(pair->tx, until);
        (void)did(actor, r, until);
    }
    if (any(actor, 5) == 0) {
        T_OK(filch_oneshot_drop(pair->tx));
        pair->sender = DROPPED;
        return;
    }
    memset(value, pair->fill, pair->bytes);
    r = filch_oneshot_send(pair->tx, value);
    T_CHECK(r == 0 || r == -EPIPE);
    pair->sender = r == 0 ? SENT : REFUSED;
    T_IS(filch_oneshot_send(pair->tx, value), -EBADF);
    actor->done++;
}

static void oneshot_has(struct pair *pair, const unsigned char *value)
{
    for (unsigned i = 0; i < pair->bytes; i++)
        T_IS(value[i], pair->fill);
    pair->receiver = HAS_IT;
}

/* Return: false: it is still open. */
static bool oneshot_receives(struct actor *actor, struct pair *pair)
{
    unsigned char value[FILCH_ONESHOT_BYTES_MAX];
    filch_time until = soon(actor);
    int r;

    if (any(actor, 6) == 0) {
        r = filch_oneshot_close(pair->rx, value);
        T_CHECK(r == 0 || r == -EPIPE);
        if (r == 0)
            oneshot_has(pair, value);
        else
            pair->receiver = CLOSED;
        return true;
    }
    r = any(actor, 2) ? filch_oneshot_recv(pair->rx, value, until)
                      : select_one(filch_case_oneshot(pair->rx, value), until);
    if (did_or(actor, r, until, -EPIPE)) {
        oneshot_has(pair, value);
        return true;
    }
    if (r == -EPIPE)
        pair->receiver = NOTHING_CAME;
    return r == -EPIPE;
}

static void oneshot_offers(struct actor *actor, _Atomic(struct pair *) *place, struct pair *pair,
                           bool is_sender)
{
    pair = atomic_exchange(place, pair);
    if (!pair)
        return;
    if (is_sender)
        oneshot_sends(actor, pair);
    else
        while (!oneshot_receives(actor, pair))
            if (filch_task_is_cancelled()) { /* a closing needs no wait */
                filch_oneshot_rx *rx = pair->rx;
                unsigned char value[FILCH_ONESHOT_BYTES_MAX];

                if (filch_oneshot_close(rx, value) == 0)
                    oneshot_has(pair, value);
                else
                    pair->receiver = CLOSED;
                break;
            }
}

static void oneshot_step(struct actor *actor)
{
    struct oneshot_world *world = actor->world;
    struct pair *pair = &world->pairs[actor->op];

    pair->bytes = 1 + any(actor, FILCH_ONESHOT_BYTES_MAX);
    pair->fill = (unsigned char)mixed(actor->op);
    T_OK(filch_oneshot_new(pair->bytes, &pair->tx, &pair->rx));
    oneshot_offers(actor, &world->senders[any(actor, ON_OFFER)], pair, true);
    if (!oneshot_receives(actor, pair))
        oneshot_offers(actor, &world->receivers[any(actor, ON_OFFER)], pair, false);
}

static void oneshot_end(void *arg)
{
    struct oneshot_world *world = arg;
    struct actor actor = {.world = world, .random = 1};

    for (int i = 0; i < ON_OFFER; i++) {
        oneshot_offers(&actor, &world->senders[i], NULL, true);
        oneshot_offers(&actor, &world->receivers[i], NULL, false);
    }
    for (unsigned long i = 0; i < world->count; i++) {
        struct pair *pair = &world->pairs[i];
        static const enum receiver_end agrees[] = {
            [SENT] = HAS_IT, [REFUSED] = CLOSED, [DROPPED] = NOTHING_CAME};

        T_CHECK(pair->sender != SENDER_OPEN);
        if (pair->sender == DROPPED && pair->receiver == CLOSED)
            continue;
        T_IS(pair->receiver, agrees[pair->sender]);
    }
    free(world->pairs);
    free(world);
}

const struct property property_oneshot = {
    .name = "oneshot", .begin = oneshot_begin, .step = oneshot_step, .end = oneshot_end};

/* ---- channel: each receiver sees each sender's in order; all that were sent were received ---- */

enum { BATCH = 4 };

struct stamp {
    uint64_t slot, number;
};

struct chan_world {
    filch_chan *chan;
    size_t capacity;
    uint64_t sent[SLOTS];             /* the last number of each sender */
    uint64_t seen[SLOTS][SLOTS];      /* by each receiver of each sender: the last number */
    atomic_ulong in, out;             /* messages: in is counted before, out after */
    atomic_ulong in_mixed, out_mixed; /* sums that tell which */
};

static void *chan_begin(unsigned long ops, uint64_t *random)
{
    static const size_t capacities[] = {1, 2, 5, 64, FILCH_CHAN_UNBOUNDED};
    struct chan_world *world = new_world(sizeof(*world));

    (void)ops;
    world->capacity = capacities[random_below(random, 5)];
    T_OK(filch_chan_new(sizeof(struct stamp), world->capacity, &world->chan));
    return world;
}

static struct stamp chan_stamp(struct actor *actor, struct chan_world *world)
{
    atomic_fetch_add(&world->in, 1);
    return (struct stamp){actor->slot, ++world->sent[actor->slot]};
}

static void chan_was_sent(struct chan_world *world, struct stamp stamp, bool sent)
{
    if (sent)
        atomic_fetch_add(&world->in_mixed, mixed(stamp.slot << 40 | stamp.number));
    else
        atomic_fetch_sub(&world->in, 1);
}

static void chan_was_received(unsigned slot, struct chan_world *world, struct stamp stamp)
{
    uint64_t *seen = &world->seen[slot][stamp.slot];

    T_CHECK(stamp.slot < SLOTS);
    T_CHECK(stamp.number > *seen);
    *seen = stamp.number;
    atomic_fetch_add(&world->out_mixed, mixed(stamp.slot << 40 | stamp.number));
    T_CHECK(atomic_fetch_add(&world->out, 1) + 1 <= atomic_load(&world->in));
}

static void chan_sends(struct actor *actor, struct chan_world *world, filch_time until)
{
    struct stamp stamp = chan_stamp(actor, world);
    int r = any(actor, 2) ? filch_chan_send(world->chan, &stamp, until)
                          : select_one(filch_case_send(world->chan, &stamp), until);

    chan_was_sent(world, stamp, did(actor, r, until));
}

static void chan_sends_many(struct actor *actor, struct chan_world *world, filch_time until)
{
    struct stamp stamps[BATCH];
    size_t n = 1 + any(actor, BATCH), sent = 0;

    for (size_t i = 0; i < n; i++)
        stamps[i] = chan_stamp(actor, world);
    (void)did(actor, filch_chan_send_many(world->chan, stamps, n, &sent, until), until);
    for (size_t i = 0; i < n; i++)
        chan_was_sent(world, stamps[i], i < sent);
}

static void chan_reserves(struct actor *actor, struct chan_world *world, filch_time until)
{
    size_t n = 1 + any(actor, world->capacity < BATCH ? (unsigned)world->capacity : BATCH);
    filch_chan_permit permit = {0};
    filch_case reserve = filch_case_reserve(world->chan, n, &permit);

    if (!did(actor,
             any(actor, 2) ? filch_chan_reserve_many(world->chan, n, &permit, until)
                           : select_one(reserve, until),
             until))
        return;
    T_IS(permit.n, n);
    while (permit.n && any(actor, 4)) {
        struct stamp stamp = chan_stamp(actor, world);

        pause_now_and_then(actor);
        T_OK(filch_chan_permit_send(&permit, &stamp));
        chan_was_sent(world, stamp, true);
    }
    filch_chan_permit_release(&permit);
}

static void chan_receives(struct actor *actor, struct chan_world *world, filch_time until)
{
    struct stamp stamp;
    int r = any(actor, 2) ? filch_chan_recv(world->chan, &stamp, until)
                          : select_one(filch_case_recv(world->chan, &stamp), until);

    if (did(actor, r, until))
        chan_was_received(actor->slot, world, stamp);
}

static void chan_receives_many(struct actor *actor, struct chan_world *world, filch_time until)
{
    struct stamp stamps[BATCH];
    ssize_t n = filch_chan_recv_many(world->chan, stamps, 1 + any(actor, BATCH), until);

    (void)did(actor, n, until);
    for (ssize_t i = 0; i < n; i++)
        chan_was_received(actor->slot, world, stamps[i]);
}

static void chan_step(struct actor *actor)
{
    static void (*const moves[])(struct actor *, struct chan_world *, filch_time) = {
        chan_sends,    chan_sends,    chan_sends_many,    chan_reserves,
        chan_receives, chan_receives, chan_receives_many,
    };

    moves[any(actor, sizeof(moves) / sizeof(*moves))](actor, actor->world, soon(actor));
}

static void chan_end(void *arg)
{
    struct chan_world *world = arg;
    filch_chan_permit all;
    struct stamp stamp;
    int r;

    if (world->capacity != FILCH_CHAN_UNBOUNDED && filch_chan_len(world->chan) < world->capacity) {
        /* Each place is taken by a message, or free: none is still promised. */
        T_OK(filch_chan_reserve_many(world->chan, world->capacity - filch_chan_len(world->chan),
                                     &all, FILCH_NOW));
        filch_chan_permit_release(&all);
    }
    T_OK(filch_chan_close(world->chan));
    T_IS(filch_chan_send(world->chan, &stamp, FILCH_NOW), -EPIPE);
    while ((r = filch_chan_recv(world->chan, &stamp, FILCH_NEVER)) == 0)
        chan_was_received(0, world, stamp);
    T_IS(r, -EPIPE);
    T_IS(world->out, world->in);
    T_IS(world->out_mixed, world->in_mixed);
    filch_chan_unref(world->chan);
    free(world);
}

const struct property property_chan = {
    .name = "chan", .begin = chan_begin, .step = chan_step, .end = chan_end};

/* ---- broadcast: each receiver gets every message, in one order, or is told exactly how many it
 * has lost ---- */

struct broadcast_world {
    filch_broadcast *broadcast;
    unsigned flags;
    size_t capacity;
    filch_mutex order;  /* makes the number the order of the sends */
    uint64_t last;      /* the number of the last message; under the mutex */
    atomic_ulong sends; /* the same, counted before */
    filch_broadcast_receiver in[SLOTS];
    uint64_t seen[SLOTS]; /* numbers got or lost; 0: it does not know yet */
};

static void *broadcast_begin(unsigned long ops, uint64_t *random)
{
    struct broadcast_world *world = new_world(sizeof(*world));

    (void)ops;
    world->flags = random_below(random, 2) ? FILCH_BROADCAST_KEEP : 0;
    world->capacity = 1 + random_below(random, 12);
    T_OK(filch_broadcast_new(sizeof(uint64_t), world->capacity, world->flags, &world->broadcast));
    return world;
}

static void broadcast_enter(struct actor *actor)
{
    struct broadcast_world *world = actor->world;

    /* Among the sends: so it is known what comes next. */
    T_OK(filch_mutex_lock_shielded(&world->order));
    T_OK(filch_broadcast_subscribe(world->broadcast, &world->in[actor->slot]));
    world->seen[actor->slot] = world->last;
    T_OK(filch_mutex_unlock(&world->order));
}

static void broadcast_leave(struct actor *actor)
{
    struct broadcast_world *world = actor->world;

    filch_broadcast_unsubscribe(&world->in[actor->slot]);
}

static void broadcast_sends(struct actor *actor, struct broadcast_world *world)
{
    filch_time until = soon(actor);
    uint64_t number;
    int r;

    T_OK(filch_mutex_lock_shielded(&world->order));
    number = world->last + 1;
    atomic_store(&world->sends, number);
    r = any(actor, 2) ? filch_broadcast_send(world->broadcast, &number, until)
                      : select_one(filch_case_broadcast_send(world->broadcast, &number), until);
    if (did(actor, r, until)) {
        world->last = number;
        T_CHECK(r >= 1 && r <= SLOTS); /* itself is one */
    }
    T_OK(filch_mutex_unlock(&world->order));
}

static void broadcast_got(struct broadcast_world *world, unsigned slot, int r, uint64_t number,
                          uint64_t lost)
{
    uint64_t *seen = &world->seen[slot];

    if (r == 0) {
        T_IS(number, ++*seen);
    } else {
        T_IS(world->flags, 0); /* where all is kept nothing is lost */
        T_CHECK(lost > 0);
        *seen += lost;
        T_CHECK(*seen <= atomic_load(&world->sends));
    }
}

static void broadcast_receives(struct actor *actor, struct broadcast_world *world)
{
    filch_broadcast_receiver *in = &world->in[actor->slot];
    filch_time until = soon(actor);
    uint64_t number = 0, lost = 0;
    int r = any(actor, 2) ? filch_broadcast_recv(in, &number, &lost, until)
                          : select_one(filch_case_broadcast(in, &number, &lost), until);

    if (did_or(actor, r, until, -EOVERFLOW) || r == -EOVERFLOW)
        broadcast_got(world, actor->slot, r, number, lost);
}

static void broadcast_step(struct actor *actor)
{
    struct broadcast_world *world = actor->world;

    if (any(actor, 4) == 0)
        broadcast_sends(actor, world);
    else
        for (unsigned i = any(actor, 6); i > 0; i--)
            broadcast_receives(actor, world);
    T_CHECK(filch_broadcast_len(&world->in[actor->slot]) <= world->capacity);
}

static void broadcast_end(void *arg)
{
    struct broadcast_world *world = arg;
    uint64_t number, lost;
    int r;

    T_IS(filch_broadcast_receivers(world->broadcast), 0);
    T_OK(filch_broadcast_subscribe(world->broadcast, &world->in[0]));
    world->seen[0] = world->last;
    number = ++world->last;
    atomic_store(&world->sends, number);
    T_IS(filch_broadcast_send(world->broadcast, &number, FILCH_NOW), 1);
    filch_broadcast_unref(world->broadcast);
    while ((r = filch_broadcast_recv(&world->in[0], &number, &lost, FILCH_NEVER)) != -EPIPE)
        broadcast_got(world, 0, r, number, lost);
    T_IS(world->seen[0], world->last);
    filch_broadcast_unsubscribe(&world->in[0]);
    filch_mutex_fini(&world->order);
    free(world);
}

const struct property property_broadcast = {.name = "broadcast",
                                            .begin = broadcast_begin,
                                            .enter = broadcast_enter,
                                            .step = broadcast_step,
                                            .leave = broadcast_leave,
                                            .end = broadcast_end};

/* ---- watch: versions that only grow, values that are whole, and the last one is seen ---- */

struct value {
    uint64_t version, check[3];
};

struct watch_world {
    filch_watch *watch;
    atomic_ulong sent; /* versions, counted after */
    filch_watch_reader reader[SLOTS];
    uint64_t seen[SLOTS];
};

static void value_set(struct value *value, uint64_t version)
{
    value->version = version;
    for (int i = 0; i < 3; i++)
        value->check[i] = mixed(version + (uint64_t)i);
}

static void *watch_begin(unsigned long ops, uint64_t *random)
{
    struct watch_world *world = new_world(sizeof(*world));
    struct value value;

    (void)ops, (void)random;
    value_set(&value, 0);
    T_OK(filch_watch_new(sizeof(value), &value, &world->watch));
    return world;
}

static void watch_enter(struct actor *actor)
{
    struct watch_world *world = actor->world;

    T_OK(filch_watch_subscribe(world->watch, &world->reader[actor->slot]));
}

static void watch_leave(struct actor *actor)
{
    struct watch_world *world = actor->world;

    filch_watch_unsubscribe(&world->reader[actor->slot]);
}

static void watch_saw(struct watch_world *world, unsigned slot, const struct value *value,
                      uint64_t at_least)
{
    struct value whole;

    value_set(&whole, value->version);
    T_OK(memcmp(&whole, value, sizeof(whole)));
    T_CHECK(value->version >= world->seen[slot]);
    T_CHECK(value->version >= at_least);
    world->seen[slot] = value->version;
}

static int watch_next_version(void *arg, void *at)
{
    struct value *value = at;
    struct actor *actor = arg;

    if (any(actor, 8) == 0)
        return any(actor, 2) ? 0 : -EIO;
    value_set(value, value->version + 1);
    return 1;
}

static void watch_sends(struct actor *actor, struct watch_world *world)
{
    int r = filch_watch_modify(world->watch, watch_next_version, actor);

    T_CHECK(r == 1 || r == 0 || r == -EIO);
    atomic_fetch_add(&world->sent, r == 1);
    actor->done += r >= 0;
}

static void watch_reads(struct actor *actor, struct watch_world *world)
{
    filch_watch_reader *reader = &world->reader[actor->slot];
    uint64_t at_least = atomic_load(&world->sent);
    struct value value;

    /* A plain thread may borrow only if it is registered with RCU. */
    if (actor->is_thread || any(actor, 2)) {
        T_OK(filch_watch_get(reader, &value));
        watch_saw(world, actor->slot, &value, at_least);
    } else {
        filch_rcu_read_begin();
        watch_saw(world, actor->slot, filch_watch_borrow(reader), at_least);
        filch_rcu_read_end();
    }
    actor->done++;
}

static bool watch_wants(void *arg, const void *value)
{
    return ((const struct value *)value)->version >= *(const uint64_t *)arg;
}

static void watch_waits(struct actor *actor, struct watch_world *world)
{
    filch_watch_reader *reader = &world->reader[actor->slot];
    filch_time until = soon(actor);
    uint64_t seen = world->seen[actor->slot], wanted = seen + 1 + any(actor, 3);
    struct value value;

    switch (any(actor, 3)) {
    case 0:
        if (did(actor, filch_watch_wait_for(reader, watch_wants, &wanted, &value, until), until))
            watch_saw(world, actor->slot, &value, wanted);
        return;
    case 1:
        if (!did(actor, select_one(filch_case_watch_changed(reader), until), until))
            return;
        break;
    default:
        if (!did(actor, filch_watch_changed(reader, until), until))
            return;
    }
    T_OK(filch_watch_get(reader, &value));
    watch_saw(world, actor->slot, &value, seen + 1); /* the mark is at what was seen, or later */
}

static void watch_step(struct actor *actor)
{
    struct watch_world *world = actor->world;

    switch (any(actor, 3)) {
    case 0:
        watch_sends(actor, world);
        break;
    case 1:
        watch_reads(actor, world);
        break;
    default:
        watch_waits(actor, world);
    }
}

static void watch_end(void *arg)
{
    struct watch_world *world = arg;
    filch_watch_reader *reader = &world->reader[0];
    struct value value;

    T_OK(filch_watch_abandoned(world->watch, FILCH_NOW));
    T_OK(filch_watch_subscribe(world->watch, reader));
    T_IS(filch_watch_has_changed(reader), 0);
    value_set(&value, world->sent + 1);
    T_OK(filch_watch_send(world->watch, &value));
    filch_watch_unref(world->watch);
    T_OK(filch_watch_changed(reader, FILCH_NOW)); /* also after the last sender has gone */
    T_OK(filch_watch_get(reader, &value));
    watch_saw(world, 0, &value, world->sent + 1);
    T_IS(value.version, world->sent + 1);
    T_IS(filch_watch_changed(reader, FILCH_NEVER), -EPIPE);
    filch_watch_unsubscribe(reader);
    free(world);
}

const struct property property_watch = {.name = "watch",
                                        .begin = watch_begin,
                                        .enter = watch_enter,
                                        .step = watch_step,
                                        .leave = watch_leave,
                                        .end = watch_end};
