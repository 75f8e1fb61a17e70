/* Readers of a watch: the mark, and the value in place or as a copy. See watch.c.
 *
 * A value is looked at in a section of RCU. A task is in a position to have one; a plain thread
 * that is no reader of RCU becomes one for the time of a copy. */
#include <filch/watch.h>

#include <string.h>

#include "runtime/base/assert.h"
#include "runtime/rcu/rcu.h"
#include "sync/watch.h"

/* What the caller is made for the time of a section, where he cannot have one as he is. */
enum guest {
    GUEST_NONE,
    GUEST_WORKER,     /* a worker within filch_block_in_place() */
    GUEST_ONLINE,     /* a registered thread that is offline */
    GUEST_REGISTERED, /* a thread that is not registered */
};

__attribute__((noinline)) static int become_guest(enum guest *ret_guest)
{
    if (filch__worker_self()) {
        *ret_guest = GUEST_WORKER;
        filch__rcu_awake();
        return 0;
    }
    if (filch_rcu_thread_online() == 0) {
        *ret_guest = GUEST_ONLINE;
        return 0;
    }
    *ret_guest = GUEST_REGISTERED;
    return filch_rcu_thread_register();
}

__attribute__((noinline)) static void leave_as_guest(enum guest guest)
{
    switch (guest) {
    case GUEST_NONE:
        break;
    case GUEST_WORKER:
        filch__rcu_sleep();
        break;
    case GUEST_ONLINE:
        filch_rcu_thread_offline();
        break;
    case GUEST_REGISTERED:
        filch_rcu_thread_unregister();
        break;
    }
}

/* A section of RCU, wherever the caller is. */
static inline int section_begin(enum guest *ret_guest)
{
    int r = 0;

    *ret_guest = GUEST_NONE;
    if (__builtin_expect(filch__rcu_nesting() < 0, 0))
        r = become_guest(ret_guest);
    if (r == 0)
        filch_rcu_read_begin();
    return r;
}

static inline void section_end(enum guest guest)
{
    filch_rcu_read_end();
    if (__builtin_expect(guest != GUEST_NONE, 0))
        leave_as_guest(guest);
}

/* The latest value. In a section. */
static const struct filch__watch_node *look(struct filch_watch *w)
{
    return filch_load_acquire(&w->current); /* [watch-value] */
}

int filch__watch_copy(struct filch_watch *w, void *value, uint64_t *ret_version)
{
    const struct filch__watch_node *node;
    enum guest guest;
    int r = section_begin(&guest);

    if (r < 0)
        return r;
    node = look(w);
    memcpy(value, node->value, w->bytes);
    *ret_version = node->version;
    section_end(guest);
    return 0;
}

int filch_watch_latest(filch_watch *watch, void *value)
{
    uint64_t version;

    return watch && value ? filch__watch_copy(watch, value, &version) : -EINVAL;
}

static void become_reader(struct filch_watch *w, filch_watch_reader *reader, uint64_t seen)
{
    filch_spinlock_lock(&w->lock);
    w->readers++;
    filch_spinlock_unlock(&w->lock);
    *reader = (filch_watch_reader){.watch = w, .seen = seen};
}

int filch_watch_subscribe(filch_watch *watch, filch_watch_reader *reader)
{
    if (!watch || !reader)
        return -EINVAL;
    become_reader(watch, reader, FILCH__WATCH_NOT_SEEN);
    filch_watch_mark_seen(reader);
    return 0;
}

int filch_watch_reader_dup(const filch_watch_reader *from, filch_watch_reader *reader)
{
    if (!from || !from->watch || !reader)
        return -EINVAL;
    become_reader(from->watch, reader, from->seen);
    return 0;
}

void filch_watch_unsubscribe(filch_watch_reader *reader)
{
    struct filch_watch *w = reader ? reader->watch : NULL;

    if (!w)
        return;
    reader->watch = NULL;
    filch_spinlock_lock(&w->lock);
    if (--w->readers)
        filch_spinlock_unlock(&w->lock);
    else
        filch__watch_go_unlock(w, &w->departures);
}

/* What changed() would return at this moment; -EAGAIN: it would wait. *ret_version: to be the mark,
 * with 0. */
static int compare(const filch_watch_reader *reader, uint64_t *ret_version)
{
    uint64_t state = filch_load_acquire(&reader->watch->state); /* [watch-state] */

    /* The mark may be ahead of `state`, by a value that was read before its sender came to the
     * store there: that value is no change any more. */
    *ret_version = filch__watch_version(state);
    if (reader->seen == FILCH__WATCH_NOT_SEEN || *ret_version > reader->seen)
        return 0;
    return state & FILCH__WATCH_CLOSED ? -EPIPE : -EAGAIN;
}

int filch__watch_changed_now(filch_watch_reader *reader)
{
    uint64_t version;
    int r = compare(reader, &version);

    if (r == 0)
        reader->seen = version;
    return r;
}

enum filch__enlist filch__watch_enlist(filch_watch_reader *reader, struct filch__waiter *waiter,
                                       struct filch__waiter *self, int *ret_result)
{
    struct filch_watch *w = reader->watch;
    enum filch__enlist done = FILCH__ENLIST_WAITS;
    uint64_t version;

    filch_spinlock_lock(&w->lock);
    *ret_result = compare(reader, &version);
    if (*ret_result == -EAGAIN)
        filch__list_push_back(&w->changes.waiting, &waiter->link);
    else
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    filch_spinlock_unlock(&w->lock);
    if (done == FILCH__ENLIST_TAKEN && *ret_result == 0)
        reader->seen = version;
    return done;
}

int filch_watch_changed(filch_watch_reader *reader, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    if (!reader || !reader->watch)
        return -EINVAL;
    r = filch__watch_changed_now(reader);
    while (r == -EAGAIN) {
        if (until == FILCH_NOW)
            return filch__wait_give_up();
        filch__waiter_init(&waiter, FILCH_WAIT_WATCH);
        if (filch__watch_enlist(reader, &waiter, NULL, &r) == FILCH__ENLIST_TAKEN)
            break;
        r = filch__wave_wait(&reader->watch->lock, &waiter, until);
        if (r < 0)
            return r;
        r = filch__watch_changed_now(reader);
    }
    filch__coop_inline();
    return r;
}

int filch_watch_has_changed(const filch_watch_reader *reader)
{
    uint64_t version;
    int r;

    if (!reader || !reader->watch)
        return -EINVAL;
    r = compare(reader, &version);
    return r == -EAGAIN ? 0 : r == 0 ? 1 : r;
}

const void *filch_watch_borrow(filch_watch_reader *reader)
{
    const struct filch__watch_node *node;

    if (!reader || !reader->watch)
        return NULL;
    if (filch__rcu_nesting() <= 0)
        filch__throw("filch_watch_borrow() outside of an RCU read section");
    node = look(reader->watch);
    reader->seen = node->version;
    return node->value;
}

int filch_watch_get(filch_watch_reader *reader, void *value)
{
    if (!reader || !reader->watch || !value)
        return -EINVAL;
    return filch__watch_copy(reader->watch, value, &reader->seen);
}

/* Return: 1: @fn is content; 0; an error. */
static int try_value(filch_watch_reader *reader, bool (*fn)(void *arg, const void *value),
                     void *arg, void *value)
{
    const struct filch__watch_node *node;
    enum guest guest;
    int r = section_begin(&guest);

    if (r < 0)
        return r;
    node = look(reader->watch);
    reader->seen = node->version;
    r = fn(arg, node->value);
    if (r && value)
        memcpy(value, node->value, reader->watch->bytes);
    section_end(guest);
    return r;
}

int filch_watch_wait_for(filch_watch_reader *reader, bool (*fn)(void *arg, const void *value),
                         void *arg, void *value, filch_time until)
{
    int r;

    if (!reader || !reader->watch || !fn)
        return -EINVAL;
    for (;;) {
        r = try_value(reader, fn, arg, value);
        if (r != 0)
            return r < 0 ? r : 0;
        r = filch_watch_changed(reader, until);
        if (r < 0)
            return r;
    }
}

void filch_watch_mark_changed(filch_watch_reader *reader)
{
    if (reader)
        reader->seen = FILCH__WATCH_NOT_SEEN;
}

void filch_watch_mark_seen(filch_watch_reader *reader)
{
    if (reader && reader->watch)
        (void)!filch__watch_changed_now(reader);
}
