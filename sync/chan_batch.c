/* Several messages at once: one section for many of them, and one wake.
 *
 * A batch that waits is one waiter in the line of senders. Its messages are moved in in runs, as
 * slots become free, by those who free them (sync/chan.c), and it is woken when the last one is in.
 */
#include "sync/chan.h"

#include <errno.h>
#include <limits.h>

/* So much is copied in one section. */
#define SECTION_MESSAGES 64
#define SECTION_BYTES 4096

static size_t section_most(const filch_chan *chan)
{
    size_t most = SECTION_BYTES / chan->store.elem_bytes;

    if (most == 0)
        return 1;
    return most < SECTION_MESSAGES ? most : SECTION_MESSAGES;
}

/* ---- receiving ---- */

/* One section: a run of them, of @most at most. */
static size_t take_some(filch_chan *chan, unsigned char *to, size_t most)
{
    struct filch__segment *garbage = NULL;
    size_t n;

    filch__chan_lock(chan);
    n = filch__store_count(&chan->store) - chan->kept;
    if (n > most)
        n = most;
    if (n)
        n = filch__store_take_run(&chan->store, to, n, &garbage);
    if (filch__list_is_empty(&chan->senders))
        filch__chan_unlock(chan);
    else
        filch__chan_advance_unlock(chan);
    filch__segments_free(garbage);
    return n;
}

/* A message costs as much of the task's turn as one that is sent or received alone. */
static void spend(size_t messages)
{
    struct filch__worker *worker = filch__worker_self();
    uint32_t left;

    if (!worker)
        return;
    left = filch_load_relaxed(&worker->budget);
    if (messages >= left)
        filch__coop_yield(worker);
    else
        filch_store_relaxed(&worker->budget, left - (uint32_t)messages);
}

/* What is there, without waiting. Others may add as quickly: it ends at @most. */
static size_t take_all(filch_chan *chan, unsigned char *to, size_t most)
{
    size_t section = section_most(chan);
    size_t done = 0, n = 1;

    while (n && done < most) {
        n = take_some(chan, to + done * chan->store.elem_bytes,
                      most - done < section ? most - done : section);
        done += n;
    }
    return done;
}

ssize_t filch_chan_recv_many(filch_chan *chan, void *msgs, size_t max, filch_time until)
{
    unsigned char *to = msgs;
    size_t done;
    int r;

    if (!chan || !msgs || max == 0 || max > SSIZE_MAX)
        return -EINVAL;
    done = take_all(chan, to, max);
    if (done == 0) {
        r = filch_chan_recv(chan, to, until);
        if (r < 0)
            return r;
        done = 1 + take_all(chan, to + chan->store.elem_bytes, max - 1);
    }
    spend(done);
    return (ssize_t)done;
}

/* ---- sending ---- */

static void step(const filch_chan *chan, struct filch__batch *batch, size_t n)
{
    batch->next += n * chan->store.elem_bytes;
    batch->left -= n;
}

/* As far as there is room, after the first one. If receivers wait, each is to be woken: one per
 * section. */
static void put_more_locked(filch_chan *chan, struct filch__batch *batch)
{
    size_t most = section_most(chan) - 1, n;

    while (most && batch->left && (n = filch__store_room(&chan->store)) &&
           filch__list_is_empty(&chan->receivers)) {
        n = n < most ? n : most;
        n = filch__store_put_run(&chan->store, batch->next, n < batch->left ? n : batch->left);
        step(chan, batch, n);
        most -= n;
    }
}

/* There is no room for the next one. */
static int batch_full_unlock(filch_chan *chan, struct filch__batch *batch, filch_time until)
{
    int r;

    if (chan->overflow == FILCH_CHAN_WAIT && until != FILCH_NOW)
        return filch__chan_wait_unlock(chan, &chan->senders, FILCH_WAIT_CHAN_SEND_MANY, batch,
                                       until);
    filch__chan_unlock(chan);
    if (chan->overflow == FILCH_CHAN_WAIT)
        return filch__wait_give_up();
    (void)filch__chan_overflow(chan, batch->next, NULL, &r);
    if (r < 0)
        return r;
    step(chan, batch, 1);
    return 0;
}

/* One section. Return: 0: go on, if there is anything left; or why not. */
static int send_some(filch_chan *chan, struct filch__batch *batch, filch_time until)
{
    struct filch__chan_after after = {0};
    int r;

    filch__chan_lock(chan);
    if (filch__chan_send_locked(chan, batch->next, NULL, &after, &r) == FILCH__ATTEMPT_WAIT)
        return batch_full_unlock(chan, batch, until);
    if (r == 0) {
        step(chan, batch, 1);
        put_more_locked(chan, batch);
    }
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    return r;
}

int filch_chan_send_many(filch_chan *chan, const void *msgs, size_t n, size_t *ret_sent,
                         filch_time until)
{
    struct filch__batch batch = {.next = msgs, .left = n};
    int r = 0;

    if (!chan || (!msgs && n))
        return -EINVAL;
    while (r == 0 && batch.left) {
        size_t left = batch.left;

        r = send_some(chan, &batch, until);
        spend(left - batch.left);
    }
    if (ret_sent)
        *ret_sent = n - batch.left;
    return r;
}
