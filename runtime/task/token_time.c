/* Tokens that are cancelled at a time: a future that waits for the time and for the cancel,
 * whichever comes first.
 *
 *     spawned --the time--> cancels the token --+
 *        |                                      +--> dropped: out of the token's list, unref, free
 *        +-----cancelled, or its runtime stops--+
 *
 * It keeps a reference, so the token outlives it; that is why a token that nobody cancels stays
 * until its time. The other way, a token that ends its future when its last user goes, would need
 * the token to know who its users are.
 */
#include <errno.h>
#include <stdlib.h>

#include <filch/cancel.h>
#include <filch/future.h>
#include <filch/time.h>

struct timed {
    filch_future base;
    filch_token_future cancelled;
    filch_sleep_future sleep;
    filch_token *token; /* a reference */
    const char *text;
    int cause;
};

static filch_poll timed_poll(filch_future *self, filch_cx *cx)
{
    struct timed *timed = (struct timed *)self;

    if (timed->cancelled.base.poll(&timed->cancelled.base, cx) == FILCH_PENDING) {
        if (timed->sleep.base.poll(&timed->sleep.base, cx) == FILCH_PENDING)
            return FILCH_PENDING;
        (void)filch_token_cancel(timed->token, timed->cause, timed->text);
    }
    self->result = 0;
    return FILCH_READY;
}

static void timed_drop(filch_future *self)
{
    struct timed *timed = (struct timed *)self;

    timed->cancelled.base.drop(&timed->cancelled.base);
    timed->sleep.base.drop(&timed->sleep.base);
    filch_token_unref(timed->token);
    free(timed);
}

static int timed_spawn(filch_token *token, filch_time time, int cause, const char *text)
{
    static const filch_task_opts opts = {.name = "token's time"};
    struct timed *timed = malloc(sizeof *timed);
    int r;

    if (!timed)
        return -ENOMEM;
    timed->base = (filch_future){.poll = timed_poll, .drop = timed_drop};
    filch_sleep_future_init(&timed->sleep, time);
    (void)!filch_token_future_init(&timed->cancelled, token);
    timed->token = filch_token_ref(token);
    timed->text = text;
    timed->cause = cause;
    r = filch_future_spawn(&timed->base, &opts, NULL);
    if (r < 0)
        timed_drop(&timed->base);
    return r;
}

int filch_token_child_until(filch_token *parent, filch_time time, int cause, const char *text,
                            filch_token **ret_token)
{
    filch_token *token;
    int r;

    if (!ret_token || cause >= 0 || cause < -4095)
        return -EINVAL;
    r = parent ? filch_token_child(parent, &token) : filch_token_new(&token);
    if (r < 0)
        return r;
    if (time != FILCH_NEVER && time <= filch_now())
        r = filch_token_cancel(token, cause, text);
    else if (time != FILCH_NEVER && !filch_token_is_cancelled(token))
        r = timed_spawn(token, time, cause, text);
    if (r < 0) {
        filch_token_unref(token);
        return r;
    }
    *ret_token = token;
    return 0;
}
