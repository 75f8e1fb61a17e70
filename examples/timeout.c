/* Limits of time: for one call, and for all that a block calls. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

/* Stands for a query in three steps, which knows of no limit. */
static int query(void)
{
    int r = 0;

    for (int i = 0; r == 0 && i < 3; i++)
        r = filch_sleep(filch_after(3600 * FILCH_SECOND));
    return r;
}

static int timeout_main(void *arg)
{
    filch_chan *replies;
    filch_block limit;
    int reply, r = filch_chan_new(sizeof reply, 1, &replies);

    (void)arg;
    if (r < 0)
        return r;
    /* Each call that may wait takes the time until which it does. */
    r = filch_chan_recv(replies, &reply, filch_after(20 * FILCH_MILLISECOND));
    printf("one call: %s\n", r == -ETIMEDOUT ? "timed out" : filch_strerror(r));
    filch_chan_unref(replies);

    /* A deadline ends every wait within: they return -ECANCELED, the block's end says why. */
    r = filch_deadline_begin(&limit, filch_after(20 * FILCH_MILLISECOND));
    if (r < 0)
        return r;
    r = query();
    printf("a call within the block: %s\n", r == -ECANCELED ? "cancelled" : filch_strerror(r));
    r = filch_block_end(&limit);
    printf("the block: %s\n", r == -ETIMEDOUT ? "timed out" : filch_strerror(r));

    /* It is over: waits are as before. */
    return filch_sleep(filch_after(FILCH_MILLISECOND));
}

int main(void)
{
    return filch_main(timeout_main, NULL, NULL) < 0;
}
