/* Streams: reading them, where their items come from and go.
 *
 *     filch_stream_next(last) --> poll_next(last) --> poll_next(...) --> poll_next(source)
 *                          <-- item, end, error, or -EAGAIN: the context's waker is kept somewhere
 *
 * There is one primitive, poll_next, for tasks, plain threads and futures. A stage asks the one
 * before it within its own poll, so an item passes all stages by plain calls, into the last
 * caller's buffer where no stage changes its type. A reader that must wait awaits a future that
 * polls.
 *
 * Invariants:
 *   [kept]   a stage that has taken an item gives it out in the same poll, or keeps it in its own
 *            memory: so an abandoned poll loses nothing;
 *   [fused]  after 0 a stream is not polled again: filch__stream_poll() sees to it, for stages that
 *            read from each other, too.
 *
 * Rejected: a stackful next in each stage, which suspends: stages that wait for two things at once
 * (merge, chunks, timeouts) would need a task each, and stackless code could not read them.
 */
#include "sync/stream.h"

#include <filch/select.h>

#include "runtime/sched/worker.h"
#include "runtime/task/task.h"
#include "sync/chan.h"

static filch_poll next_poll(filch_future *self, filch_cx *cx)
{
    filch_next_future *next = (filch_next_future *)self;
    int r = filch__stream_poll(next->stream, cx, next->item);

    if (r == -EAGAIN)
        return FILCH_PENDING;
    self->result = r;
    return FILCH_READY;
}

int filch_next_future_init(filch_next_future *next, filch_stream *stream, void *item)
{
    if (!next || !stream || !stream->poll_next || !item)
        return -EINVAL;
    next->base = (filch_future){.poll = next_poll};
    next->stream = stream;
    next->item = item;
    return 0;
}

int filch_stream_next(filch_stream *stream, void *item, filch_time until)
{
    struct filch__task *task = filch__task_current();
    filch_next_future next;

    if (filch_next_future_init(&next, stream, item) < 0)
        return -EINVAL;
    if (task) {
        filch_waker waker = {.target = task, .key = filch__task_generation(task)};
        filch_cx cx = {.waker = &waker};
        int r = filch__stream_poll(stream, &cx, item);

        if (r != -EAGAIN) {
            filch__coop_inline();
            return r;
        }
    }
    return filch_await(&next.base, until);
}

void filch_stream_drop(filch_stream *stream)
{
    if (!stream || !stream->poll_next)
        return;
    stream->ended = true;
    if (stream->drop) {
        void (*drop)(filch_stream *) = stream->drop;

        stream->drop = NULL;
        drop(stream);
    }
}

/* ---- sources ---- */

static int array_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_array_stream *stream = (filch_array_stream *)self;

    (void)cx;
    if (!stream->left)
        return 0;
    filch__stream_copy(item, stream->items, self->item_bytes);
    stream->items += self->item_bytes;
    stream->left--;
    return 1;
}

int filch_array_stream_init(filch_array_stream *stream, const void *items, size_t item_bytes,
                            size_t count)
{
    if (!stream || (!items && count) || !item_bytes)
        return -EINVAL;
    filch__stream_base(&stream->base, array_next, NULL, item_bytes);
    stream->items = items;
    stream->left = count;
    return 0;
}

static int fn_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_fn_stream *stream = (filch_fn_stream *)self;

    (void)cx;
    return stream->fn(stream->context, item);
}

int filch_fn_stream_init(filch_fn_stream *stream, size_t item_bytes,
                         int (*fn)(void *context, void *item), void *context)
{
    if (!stream || !fn || !item_bytes)
        return -EINVAL;
    filch__stream_base(&stream->base, fn_next, NULL, item_bytes);
    stream->fn = fn;
    stream->context = context;
    return 0;
}

static int chan_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_chan_stream *stream = (filch_chan_stream *)self;

    if (!stream->waits && filch_recv_future_init(&stream->recv, stream->chan, item) < 0)
        return -EINVAL;
    stream->recv.msg = item; /* written by the poll that is ready only */
    stream->waits = stream->recv.base.poll(&stream->recv.base, cx) == FILCH_PENDING;
    if (stream->waits)
        return -EAGAIN;
    return stream->recv.base.result == -EPIPE ? 0 : 1;
}

static void chan_drop(filch_stream *self)
{
    filch_chan_stream *stream = (filch_chan_stream *)self;

    if (stream->waits)
        stream->recv.base.drop(&stream->recv.base);
    stream->waits = false;
}

int filch_chan_stream_init(filch_chan_stream *stream, filch_chan *chan, size_t item_bytes)
{
    if (!stream || !chan || item_bytes != chan->store.elem_bytes)
        return -EINVAL;
    filch__stream_base(&stream->base, chan_next, chan_drop, item_bytes);
    stream->chan = chan;
    stream->waits = false;
    return 0;
}

/* ---- consumers ---- */

int filch_stream_for_each(filch_stream *stream, int (*fn)(void *context, const void *item),
                          void *context, filch_time until)
{
    uint64_t item[FILCH_STREAM_ITEM_MAX / 8];
    int r;

    if (!filch__stream_is_fit(stream) || !fn)
        return -EINVAL;
    while ((r = filch_stream_next(stream, item, until)) > 0) {
        r = fn(context, item);
        if (r < 0)
            break;
    }
    return r;
}

/* Up to the first item of which @fn says @sought. Return: 1: there is one; as filch_stream_next().
 */
static int seek(filch_stream *stream, bool (*fn)(void *context, const void *item), void *context,
                bool sought, filch_time until)
{
    uint64_t item[FILCH_STREAM_ITEM_MAX / 8];
    int r;

    if (!filch__stream_is_fit(stream) || !fn)
        return -EINVAL;
    while ((r = filch_stream_next(stream, item, until)) > 0)
        if (fn(context, item) == sought)
            break;
    return r;
}

int filch_stream_all(filch_stream *stream, bool (*fn)(void *context, const void *item),
                     void *context, filch_time until)
{
    int r = seek(stream, fn, context, false, until);

    return r < 0 ? r : !r;
}

int filch_stream_any(filch_stream *stream, bool (*fn)(void *context, const void *item),
                     void *context, filch_time until)
{
    return seek(stream, fn, context, true, until);
}

int filch_stream_collect(filch_stream *stream, void *items, size_t most, size_t *ret_count,
                         filch_time until)
{
    unsigned char *to = items;
    size_t count = 0;
    int r = 1;

    if (!stream || !stream->poll_next || !items || !ret_count)
        return -EINVAL;
    while (count < most && (r = filch_stream_next(stream, to, until)) > 0) {
        to += stream->item_bytes;
        count++;
    }
    *ret_count = count;
    return r > 0 ? -ENOSPC : r;
}

/* The next item; a closed channel ends the wait for it. */
static int next_while_open(filch_stream *stream, filch_chan *chan, void *item, filch_time until)
{
    filch_next_future next;
    filch_case cases[2];
    int winner;

    if (filch_next_future_init(&next, stream, item) < 0)
        return -EINVAL;
    cases[0] = filch_case_future(&next.base);
    cases[1] = filch_case_closed(chan);
    winner = filch_select(cases, 2, FILCH_SELECT_ORDERED, until);
    if (winner == 1)
        return -EPIPE;
    return winner < 0 ? winner : cases[0].result;
}

/* The place comes first: an item that is taken can be sent. */
int filch_stream_forward(filch_stream *stream, filch_chan *chan, filch_time until)
{
    uint64_t item[FILCH_STREAM_ITEM_MAX / 8];
    filch_chan_permit permit;
    int r;

    if (!filch__stream_is_fit(stream) || !chan || chan->store.elem_bytes != stream->item_bytes)
        return -EINVAL;
    do {
        r = filch_chan_reserve(chan, &permit, until);
        if (r < 0)
            return r;
        r = next_while_open(stream, chan, item, until);
        if (r > 0 && filch_chan_permit_send(&permit, item) < 0) {
            /* The last receiver has gone meanwhile: as if it had gone a little later. */
            if (chan->drop)
                chan->drop(chan->drop_context, item);
            r = -EPIPE;
        }
        filch_chan_permit_release(&permit);
    } while (r > 0);
    return r;
}
