/* A channel of 32 messages: a task sends, the receiver loops until the last sender has gone and the
 * channel is drained. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

static int sender(void *arg)
{
    filch_chan *chan = arg; /* the task's own: it counts as a sender */
    const char *text = "Hello from task";
    int r = filch_chan_send(chan, &text, FILCH_NEVER);

    filch_chan_sender_unref(chan); /* the last one ends the receiver's loop */
    return r;
}

static int mpsc_main(void *arg)
{
    filch_chan *chan, *sending;
    const char *text;
    int r = filch_chan_new(sizeof text, 32, &chan);

    (void)arg;
    if (r < 0)
        return r;
    sending = filch_chan_sender_ref(chan);
    r = filch_spawn(sender, sending);
    if (r < 0) {
        filch_chan_sender_unref(sending); /* it was not consumed */
        goto out;
    }
    while ((r = filch_chan_recv(chan, &text, FILCH_NEVER)) == 0)
        printf("received: %s\n", text);
    if (r == -EPIPE)
        r = 0; /* no sender is left: the expected end */
out:
    filch_chan_unref(chan);
    return r;
}

int main(void)
{
    return filch_main(mpsc_main, NULL, NULL) < 0;
}
