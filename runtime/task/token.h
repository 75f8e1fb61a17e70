/* Inside of cancellation tokens: see include/filch/cancel.h, token.c. */
#ifndef FILCH_TASK_TOKEN_H
#define FILCH_TASK_TOKEN_H

#include <filch/cancel.h>

#include "runtime/base/list.h"
#include "runtime/task/waiter.h"

/* In its owner's memory. */
struct filch__hook {
    struct filch__list link; /* by the token's lock */
    /* On the thread that cancels; the hook may be gone when it returns. Must not suspend. */
    void (*fn)(struct filch__hook *hook, int cause);
};

/* Calls the hook once, when the token is cancelled. Return: 0; if it is cancelled already, its
 * cause, and the hook is not used. */
int filch__token_hook(filch_token *token, struct filch__hook *hook);

/* Afterwards it does not run. Waits if it does just now. Return: 0: it never will; -EALREADY: it
 * has; -EINPROGRESS: it is what calls. */
int filch__token_unhook(filch_token *token, struct filch__hook *hook);

/* @waiter is woken when the token is cancelled. Return: false: it is cancelled already. */
bool filch__token_enlist(filch_token *token, struct filch__waiter *waiter);

/* Has another waker of a future's @waiter woken, from now on. Return: false: it was taken out. */
bool filch__token_listen(filch_token *token, struct filch__future_waiter *waiter,
                         const filch_waker *waker);

/* Takes it out, if it is still in the list. Return: was it? */
bool filch__token_delist(filch_token *token, struct filch__waiter *waiter);

/* Cancels @task, which is not queued yet or the caller, when @token is. Return: 0; -ENOMEM. */
int filch__token_bind(filch_token *token, struct filch__task *task);

#endif
