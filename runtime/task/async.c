/* The part of <filch/async.h> that is not in its macros. */
#include <filch/async.h>

#include "runtime/base/assert.h"

void filch_async_init(filch_async *async, filch_poll (*poll)(filch_future *self, filch_cx *cx))
{
    if (!async)
        return;
    *async = (filch_async){.base = {.poll = poll, .drop = filch_async_drop}};
}

void filch_async_drop(filch_future *self)
{
    filch_async *async = (filch_async *)self;
    filch_future *awaited;

    if (!async)
        return;
    awaited = async->awaited;
    async->awaited = NULL;
    if (awaited && awaited->drop)
        awaited->drop(awaited);
}

void filch__async_polled_again(filch_async *async)
{
    (void)async;
    filch__throw("an async future was polled after it was ready");
}
