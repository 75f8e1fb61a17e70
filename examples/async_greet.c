/* A function that awaits without a stack: locals are in the struct, and a pending await returns
 * from the poll function until it is woken. */
#include <filch/filch.h>

#include <stdio.h>

/* Sleeps, then has a text. */
struct fetch {
    filch_async async; /* first */
    filch_sleep_future nap;
    const char *text;
};

static filch_poll fetch_poll(filch_future *self, filch_cx *cx)
{
    struct fetch *fetch = (struct fetch *)self;
    int r = 0;

    FILCH_ASYNC_BEGIN(&fetch->async, cx);
    filch_sleep_future_init(&fetch->nap, filch_after(10 * FILCH_MILLISECOND));
    FILCH_AWAIT_RESULT(r, &fetch->nap.base);
    fetch->text = "Hello, async world!";
    FILCH_ASYNC_RETURN(r);
    FILCH_ASYNC_END;
}

/* Awaits another one: its memory is a member. */
struct greet {
    filch_async async;
    struct fetch fetch;
};

static filch_poll greet_poll(filch_future *self, filch_cx *cx)
{
    struct greet *greet = (struct greet *)self;
    int r = 0;

    FILCH_ASYNC_BEGIN(&greet->async, cx);
    filch_async_init(&greet->fetch.async, fetch_poll);
    FILCH_AWAIT_RESULT(r, &greet->fetch.async.base);
    if (r == 0)
        puts(greet->fetch.text);
    FILCH_ASYNC_RETURN(r);
    FILCH_ASYNC_END;
}

static int greet_main(void *arg)
{
    struct greet greet;

    (void)arg;
    filch_async_init(&greet.async, greet_poll);
    return filch_await(&greet.async.base, FILCH_NEVER);
}

int main(void)
{
    return filch_main(greet_main, NULL, NULL) < 0;
}
