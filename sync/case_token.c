/* A cancelled token as a case of a select. */
#include <errno.h>

#include <filch/cancel.h>
#include <filch/select.h>

#include "runtime/task/token.h"
#include "sync/case.h"

static bool token_try(filch_case *c)
{
    if (!filch_token_is_cancelled(c->object))
        return false;
    c->result = 0;
    return true;
}

static enum filch__enlist token_enlist(filch_case *c, struct filch__waiter *waiter)
{
    if (filch__token_enlist(c->object, waiter))
        return FILCH__ENLIST_WAITS;
    if (!filch__waiter_claim(waiter))
        return FILCH__ENLIST_LOST;
    c->result = 0;
    return FILCH__ENLIST_TAKEN;
}

static void token_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = 0;
    else
        (void)filch__token_delist(c->object, waiter);
}

static const struct filch__case_ops token_ops = {
    .try_now = token_try,
    .enlist = token_enlist,
    .delist = token_delist,
    .reason = FILCH_WAIT_TOKEN,
};

filch_case filch_case_token(filch_token *token)
{
    return (filch_case){.ops = token ? &token_ops : NULL, .object = token};
}
