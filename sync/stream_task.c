/* A stage whose work is done by tasks: they make progress whether or not anybody reads.
 *
 *     items --> slot: FREE --taken--> RUNS (a task of the scope) --index into `done`--> READY
 * --read--> FREE
 *
 * There are as many slots as tasks may be under way, and `done` holds as many indexes, so a task
 * that has ended never waits. A slot is touched by the reader, but while its task runs by that
 * alone: the channel carries it over and back.
 *
 * Read first: sync/stream.c. */
#include "sync/stream.h"

#include <stdalign.h>
#include <stdlib.h>

#include <filch/scope.h>

#define MOST_MAX 65536

struct slot {
    struct filch__concurrent *of;
    uint32_t index;
    int result;
    bool ready;                        /* has been seen in `done` */
    alignas(16) unsigned char bytes[]; /* the item, then what was made of it */
};

struct filch__concurrent {
    filch_scope scope;
    filch_chan *done;
    filch_recv_future recv; /* of the next index */
    uint32_t ended;         /* filled by it */
    bool waits;             /* it is in the channel's list */
    int (*fn)(void *context, const void *in, void *out);
    void *context;
    size_t in_bytes; /* rounded up: what was made lies behind */
    size_t slot_bytes;
    uint32_t most;
    bool ordered;
    bool has_item; /* the last slot of `free` was filled, but its task could not be spawned */
    uint32_t free_count;
    uint32_t run_first; /* of `running`, a ring: the longest under way */
    uint32_t run_count;
    uint32_t *free; /* a stack of indexes */
    uint32_t *running;
    unsigned char *slots;
};

static size_t round_up(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

static struct slot *slot_at(struct filch__concurrent *state, uint32_t index)
{
    return (struct slot *)(void *)(state->slots + index * state->slot_bytes);
}

static int run_slot(void *arg)
{
    struct slot *slot = arg;
    struct filch__concurrent *state = slot->of;

    slot->result = state->fn(state->context, slot->bytes, slot->bytes + state->in_bytes);
    /* There is room, so a cancel does not matter. */
    return filch_chan_send(state->done, &slot->index, FILCH_NEVER);
}

/* The item in the last free slot gets its task. */
static int start(struct filch__concurrent *state)
{
    uint32_t index = state->free[state->free_count - 1];
    struct slot *slot = slot_at(state, index);
    int r;

    slot->ready = false;
    r = filch_scope_spawn(&state->scope, run_slot, slot);
    state->has_item = r < 0; /* [kept] */
    if (r < 0)
        return r;
    state->free_count--;
    state->running[(state->run_first + state->run_count) % state->most] = index;
    state->run_count++;
    return 1;
}

/* Takes items while there are free slots. Return: 0 (the items have ended); -EAGAIN (no item, or no
 * slot); an error. */
static int take_items(filch_concurrent_stream *stream, filch_cx *cx)
{
    struct filch__concurrent *state = stream->state;
    int r = 1;

    while (r > 0 && state->free_count) {
        if (!state->has_item) {
            struct slot *slot = slot_at(state, state->free[state->free_count - 1]);

            r = filch__stream_poll(stream->from, cx, slot->bytes);
        }
        if (r > 0)
            r = start(state);
    }
    return r > 0 ? -EAGAIN : r;
}

/* Looks for one that has ended. Return: its slot; NULL: none, and the reader will be woken. */
static struct slot *take_ended(struct filch__concurrent *state, filch_cx *cx)
{
    if (!state->waits && filch_recv_future_init(&state->recv, state->done, &state->ended) < 0)
        return NULL;
    state->waits = state->recv.base.poll(&state->recv.base, cx) == FILCH_PENDING;
    if (state->waits)
        return NULL;
    return slot_at(state, state->ended);
}

/* Out of `running`, wherever it is: the others keep their order. */
static void forget_running(struct filch__concurrent *state, uint32_t index)
{
    uint32_t at = state->run_first;

    while (state->running[at % state->most] != index)
        at++;
    for (; at != state->run_first; at--)
        state->running[at % state->most] = state->running[(at - 1) % state->most];
    state->run_first = (state->run_first + 1) % state->most;
    state->run_count--;
}

static int give(filch_concurrent_stream *stream, struct slot *slot, void *item)
{
    struct filch__concurrent *state = stream->state;

    forget_running(state, slot->index);
    state->free[state->free_count++] = slot->index;
    if (slot->result < 0)
        return slot->result;
    filch__stream_copy(item, slot->bytes + state->in_bytes, stream->base.item_bytes);
    return 1;
}

/* Return: the slot that is to be given next; NULL: not yet. */
static struct slot *next_result(struct filch__concurrent *state, filch_cx *cx)
{
    struct slot *slot;

    if (!state->ordered)
        return state->run_count ? take_ended(state, cx) : NULL;
    while (state->run_count) {
        struct slot *first = slot_at(state, state->running[state->run_first]);

        if (first->ready)
            return first;
        slot = take_ended(state, cx);
        if (!slot)
            return NULL;
        slot->ready = true;
    }
    return NULL;
}

static int concurrent_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_concurrent_stream *stream = (filch_concurrent_stream *)self;
    struct filch__concurrent *state = stream->state;
    int r = take_items(stream, cx);
    struct slot *slot;

    if (r < 0 && r != -EAGAIN)
        return r;
    slot = next_result(state, cx);
    if (!slot)
        return state->run_count ? -EAGAIN : r;
    return give(stream, slot, item);
}

static void state_free(struct filch__concurrent *state)
{
    filch_chan_unref(state->done);
    free(state->slots);
    free(state->running);
    free(state->free);
    free(state);
}

static void concurrent_drop(filch_stream *self)
{
    filch_concurrent_stream *stream = (filch_concurrent_stream *)self;
    struct filch__concurrent *state = stream->state;

    filch_scope_cancel_join(&state->scope);
    if (state->waits)
        state->recv.base.drop(&state->recv.base);
    state_free(state);
    stream->state = NULL;
    filch_stream_drop(stream->from);
}

static struct filch__concurrent *state_new(size_t in_bytes, size_t out_bytes, unsigned most)
{
    struct filch__concurrent *state = calloc(1, sizeof *state);

    if (!state)
        return NULL;
    state->most = most;
    state->in_bytes = round_up(in_bytes);
    state->slot_bytes = round_up(sizeof(struct slot)) + state->in_bytes + round_up(out_bytes);
    state->free = calloc(most, sizeof *state->free);
    state->running = calloc(most, sizeof *state->running);
    state->slots = calloc(most, state->slot_bytes);
    if (!state->free || !state->running || !state->slots ||
        filch_chan_new(sizeof(uint32_t), most, &state->done) < 0) {
        state->done = NULL;
        state_free(state);
        return NULL;
    }
    for (uint32_t i = 0; i < most; i++) {
        struct slot *slot = slot_at(state, i);

        slot->of = state;
        slot->index = i;
        state->free[i] = most - 1 - i;
    }
    state->free_count = most;
    filch_scope_init(&state->scope, 0);
    return state;
}

int filch_concurrent_stream_init(filch_concurrent_stream *stream, filch_stream *from,
                                 size_t out_bytes,
                                 int (*fn)(void *context, const void *in, void *out), void *context,
                                 unsigned most, unsigned flags)
{
    struct filch__concurrent *state;

    if (!stream || !filch__stream_is_fit(from) || out_bytes - 1 >= FILCH_STREAM_ITEM_MAX || !fn ||
        most - 1 >= MOST_MAX || flags & ~(unsigned)FILCH_CONCURRENT_ORDERED)
        return -EINVAL;
    state = state_new(from->item_bytes, out_bytes, most);
    if (!state)
        return -ENOMEM;
    state->fn = fn;
    state->context = context;
    state->ordered = flags & FILCH_CONCURRENT_ORDERED;
    filch__stream_base(&stream->base, concurrent_next, concurrent_drop, out_bytes);
    stream->from = from;
    stream->state = state;
    return 0;
}
