/* See lifo.h for the protocol. */
#include "runtime/sched/lifo.h"

#include <sched.h>

#ifndef FILCH__LIFO_PAUSE /* models wait in their own way */
#define FILCH__LIFO_PAUSE(lifo) sched_yield()
#endif

void filch__lifo_wait(struct filch__lifo *lifo)
{
    while (filch_load_acquire(&lifo->thief)) /* [lifo-slot] */
        FILCH__LIFO_PAUSE(lifo);
}

struct filch__task *filch__lifo_steal(struct filch__lifo *lifo)
{
    struct filch__task *task = NULL;

    if (filch__lifo_is_empty(lifo) || filch_exchange_seq_cst(&lifo->thief, 1))
        return NULL;
    /* seq_cst: with the owner's light store and load. And [lifo-slot] of `taking`. */
    if (filch_fence_heavy() && !filch_load_seq_cst(&lifo->taking)) {
        task = filch_load_acquire(&lifo->task); /* [lifo-slot] */
        if (task)
            filch_store_relaxed(&lifo->task, NULL);
    }
    filch_store_release(&lifo->thief, 0); /* [lifo-slot] */
    return task;
}
