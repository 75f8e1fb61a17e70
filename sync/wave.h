/* Those who wait for something to change, and are all woken by it: a wave.
 *
 *     waiting: who waits for the next change        rising: whom a change wakes
 *
 * A change moves the whole list of those who wait over, in a few instructions, however many they
 * are; then they are taken out and woken in small batches, with the lock given up in between.
 * Nobody is handed anything: whoever is woken looks again, and finds what has changed. So who
 * leaves, by a cancel or a drop, just leaves, from whichever list he is in; several changes may
 * empty `rising` at the same time, each until it is empty; and one who comes while that goes on has
 * seen the change, and waits for the next one.
 *
 * Read first: runtime/task/waiter.h.
 */
#ifndef FILCH_SYNC_WAVE_H
#define FILCH_SYNC_WAVE_H

#include "sync/wait_list.h"

/* Taken out in one section of the lock. */
#define FILCH__WAVE_BATCH 16

struct filch__wave {
    struct filch__list waiting;
    struct filch__list rising;
};

static inline void filch__wave_init(struct filch__wave *wave)
{
    filch__list_init(&wave->waiting);
    filch__list_init(&wave->rising);
}

static inline bool filch__wave_is_empty(const struct filch__wave *wave)
{
    return filch__list_is_empty(&wave->waiting) && filch__list_is_empty(&wave->rising);
}

/* Under the lock: it has changed. filch__wave_unlock() must follow. */
static inline void filch__wave_rise(struct filch__wave *wave)
{
    filch__list_splice_back(&wave->rising, &wave->waiting);
}

/* Gives up the lock, and wakes all that rise. The object must live as long. */
static inline void filch__wave_unlock(struct filch__wave *wave, filch_spinlock *lock)
{
    for (;;) {
        struct filch__woken woken = {0};
        struct filch__waiter *waiter;
        bool is_empty;

        for (int n = 0; n < FILCH__WAVE_BATCH; n++)
            if ((waiter = filch__wait_list_pop(&wave->rising)))
                filch__woken_add(&woken, waiter);
            else
                break;
        is_empty = filch__list_is_empty(&wave->rising);
        filch_spinlock_unlock(lock);
        filch__woken_wake(&woken, 0);
        if (is_empty)
            return;
        filch_spinlock_lock(lock);
    }
}

/* @waiter gives up. Return: false: it was taken out, and is woken. */
static inline bool filch__wave_leave(filch_spinlock *lock, struct filch__waiter *waiter)
{
    bool waited;

    filch_spinlock_lock(lock);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(lock);
    return waited;
}

/* @waiter is in a list: waits there. Return: 0: look again. */
static inline int filch__wave_wait(filch_spinlock *lock, struct filch__waiter *waiter,
                                   filch_time until)
{
    int r = filch__waiter_wait(waiter, until);

    if (r < 0) {
        if (filch__wave_leave(lock, waiter))
            return r;
        filch__waiter_wait_shielded(waiter);
    }
    return 0;
}

/* ---- futures ---- */

enum filch__wave_phase {
    FILCH__WAVE_NEW,   /* not polled, or woken */
    FILCH__WAVE_WAITS, /* in a list, or taken out of it */
    FILCH__WAVE_OVER,
};

/* Begins a poll. Return: false: it waits, and from now on @waker is woken. True: @waiter is fresh,
 * and phase WAITS: to be put into a list, or given to filch__wave_settle(). */
static inline bool filch__wave_poll(filch_spinlock *lock, struct filch__future_waiter *waiter,
                                    uint32_t *phase, enum filch__wait reason,
                                    const filch_waker *waker)
{
    if (*phase == FILCH__WAVE_WAITS) {
        filch_waker old = {0};
        bool waits;

        filch_spinlock_lock(lock);
        waits = !filch__waiter_was_taken(&waiter->waiter);
        if (waits)
            old = filch__future_waiter_listen(waiter, waker);
        filch_spinlock_unlock(lock);
        filch_waker_drop(old);
        if (waits)
            return false;
        filch__future_waiter_release(waiter);
    }
    filch__future_waiter_init(waiter, reason, waker);
    *phase = FILCH__WAVE_WAITS;
    return true;
}

/* Ends it: @r is -EAGAIN: it is in a list; or the result. */
static inline filch_poll filch__wave_settle(filch_future *self, struct filch__future_waiter *waiter,
                                            uint32_t *phase, int r)
{
    if (r == -EAGAIN)
        return FILCH_PENDING;
    filch_waker_drop(waiter->waker);
    *phase = FILCH__WAVE_OVER;
    self->result = r;
    return FILCH_READY;
}

/* It is abandoned, in phase WAITS. */
static inline void filch__wave_drop(filch_spinlock *lock, struct filch__future_waiter *waiter)
{
    if (filch__wave_leave(lock, &waiter->waiter))
        filch_waker_drop(waiter->waker);
    else
        filch__future_waiter_release(waiter);
}

#endif
