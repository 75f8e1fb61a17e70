/* The smallest future: a struct that begins with filch_future, whose poll is ready at once.
 *
 * A future that has to wait keeps a clone of cx->waker, returns FILCH_PENDING and is polled again
 * when the waker is called. */
#include <filch/filch.h>

#include <stdio.h>

struct hello {
    filch_future base; /* first: a pointer to the future is a pointer to the struct */
    const char *text;
};

static filch_poll hello_poll(filch_future *self, filch_cx *cx)
{
    struct hello *hello = (struct hello *)self;

    (void)cx; /* never pending, so nobody needs to be woken */
    hello->text = "Hello, Future!";
    self->result = 0;
    return FILCH_READY;
}

static int hello_main(void *arg)
{
    struct hello hello = {.base.poll = hello_poll};
    int r = filch_await(&hello.base, FILCH_NEVER);

    (void)arg;
    if (r == 0)
        puts(hello.text);
    return r;
}

int main(void)
{
    return filch_main(hello_main, NULL, NULL) < 0;
}
