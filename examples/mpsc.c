/* A channel of 32 messages: a task sends, the receiver loops until the channel is closed and
 * drained. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

static int sender(void *arg)
{
    filch_chan *chan = arg; /* the task owns this reference */
    const char *text = "Hello from task";
    int r = filch_chan_send(chan, &text, FILCH_NEVER);

    filch_chan_close(chan); /* ends the receiver's loop */
    filch_chan_unref(chan);
    return r;
}

static int mpsc_main(void *arg)
{
    filch_chan *chan;
    const char *text;
    int r = filch_chan_new(sizeof text, 32, &chan);

    (void)arg;
    if (r < 0)
        return r;
    r = filch_spawn(sender, filch_chan_ref(chan));
    if (r < 0) {
        filch_chan_unref(chan); /* the sender's, which was not consumed */
        goto out;
    }
    while ((r = filch_chan_recv(chan, &text, FILCH_NEVER)) == 0)
        printf("received: %s\n", text);
    if (r == -EPIPE)
        r = 0; /* closed and drained: the expected end */
out:
    filch_chan_unref(chan);
    return r;
}

int main(void)
{
    return filch_main(mpsc_main, NULL, NULL) < 0;
}
