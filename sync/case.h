/* What an object does for a select that waits in it: see include/filch/select.h, sync/select.c for
 * the phases, runtime/task/waiter.h for groups.
 *
 * The waiter lies in the case's private words; the object keeps it in its list as any other one.
 */
#ifndef FILCH_SYNC_CASE_H
#define FILCH_SYNC_CASE_H

#include <limits.h>

#include <filch/select.h>

#include "runtime/task/waiter.h"

enum filch__enlist {
    FILCH__ENLIST_WAITS, /* the waiter is in the object's list */
    FILCH__ENLIST_TAKEN, /* it was ready: the waiter was claimed, the operation done, result set */
    FILCH__ENLIST_LOST,  /* it was ready, but another case has won meanwhile: nothing done */
};

struct filch__case_ops {
    /* Does the operation if it can be done at once, and sets @c->result. Return: was it done? */
    bool (*try_now)(filch_case *c);
    /* The same with the waiter, which has its group: under the object's lock, either the operation
     * can be done, then the waiter is claimed and it is done, or the waiter joins the list. */
    enum filch__enlist (*enlist)(filch_case *c, struct filch__waiter *waiter);
    /* After FILCH__ENLIST_WAITS. @won: somebody claimed the waiter and has woken it: sets
     * @c->result. Otherwise takes the object's lock, and the waiter out of the list if it is still
     * there; who stood behind it may be able to go now. */
    void (*delist)(filch_case *c, struct filch__waiter *waiter, bool won);
    /* After FILCH__ENLIST_WAITS: when the case may have become ready by itself, for the select to
     * look again. NULL: never. */
    filch_time (*when)(filch_case *c);
    enum filch__wait reason;
};

/* As a result, set by delist() of a case that has won: it was called, but nothing was handed over;
 * the select begins anew. No error has this value. */
#define FILCH__CASE_AGAIN INT_MIN

static inline struct filch__waiter *filch__case_waiter(filch_case *c)
{
    return (struct filch__waiter *)(void *)c->private_words;
}

_Static_assert(sizeof(struct filch__waiter) <= sizeof(((filch_case *)0)->private_words),
               "it lives in the private words");

#endif
