/* A fast producer and a slow consumer: the channel between them has room for 4, so the producer
 * waits, and memory does not grow. One that must not wait looks, and drops. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

#define ROOM 4
#define ITEMS 40

static int produce(void *arg)
{
    int r = 0;

    for (int i = 0; r == 0 && i < ITEMS; i++)
        r = filch_chan_send(arg, &i, FILCH_NEVER); /* waits while it is full */
    filch_chan_close(arg);
    return r;
}

static int consume(void *arg)
{
    int item, consumed = 0, r = 0;
    size_t most = 0;

    while (r == 0 && (r = filch_chan_recv(arg, &item, FILCH_NEVER)) == 0) {
        size_t waiting = filch_chan_len(arg);

        most = waiting > most ? waiting : most;
        consumed += item == consumed;                    /* in their order */
        r = filch_sleep(filch_after(FILCH_MILLISECOND)); /* the work */
    }
    printf("consumed: %d\n", consumed);
    printf("more than %d waiting: %s\n", ROOM, most > ROOM ? "yes" : "no");
    return r == -EPIPE ? 0 : r; /* closed and drained */
}

static int back_pressure_main(void *arg)
{
    filch_chan *chan;
    int dropped = 0, r = filch_chan_new(sizeof(int), ROOM, &chan);

    (void)arg;
    if (r < 0)
        return r;
    for (int i = 0; i < 10; i++) /* nobody receives yet */
        dropped += filch_chan_send(chan, &i, FILCH_NOW) == -ETIMEDOUT;
    printf("dropped: %d of 10\n", dropped);
    for (int i; filch_chan_recv(chan, &i, FILCH_NOW) == 0;)
        ;
    r = FILCH_TRY_JOIN({produce, chan}, {consume, chan});
    filch_chan_unref(chan);
    return r;
}

int main(void)
{
    return filch_main(back_pressure_main, NULL, NULL) < 0;
}
