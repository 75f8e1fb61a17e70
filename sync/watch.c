/* Watches: a pointer to the latest value, under RCU; a version; and a wave of those who wait.
 *
 *     current --> [ version | value ]     replaced, never changed
 *     state    =  version of current, and whether the last sender has gone
 *
 *     sender, under the lock                      reader, without it
 *     ----------------------                      ------------------
 *     store current        [watch-value]          load state          [watch-state]
 *     store state          [watch-state]          a later version than `seen`?
 *     the wave rises                              load current        [watch-value]
 *
 * Who sees a version in `state` sees its value, or a later one, in `current`: so what changed() has
 * announced is there to be read. The value brings its version along, by which the reads set the
 * mark: so a value that comes between is not marked as seen unread. A reader that is about to wait
 * looks at the state again under the lock.
 *
 * Old values. A value that was replaced is `retired`: somebody may be in a section with it. A
 * grace period costs the same for one as for many, so RCU is asked when there are MANY of them, or
 * MANY_BYTES. At most one call is under way for a watch: it takes all that are retired, frees them
 * a grace period later, and begins again if there are many already. So what is kept is at most that
 * much, and what is sent in two grace periods. A sender that never lets its worker go on says
 * itself, now and then, that it is in no section: or they would not end. Where RCU cannot be had
 * (no thread for it; the child of a fork) they are kept until the next send, or the end. By grace
 * periods, not by reference counts: a count would be a cache line that all readers write.
 *
 * The memory goes with the last of senders, readers and the call under way, which are counted under
 * the lock.
 *
 * Rejected: a lock around the function of modify(), which may then not send, nor wait for anybody
 * who does. The copy that it changes becomes the value only if the version is still the same.
 *
 * Read first: sync/wave.h, include/filch/rcu.h.
 */
#include <filch/watch.h>

#include <stdlib.h>
#include <string.h>

#include "runtime/base/assert.h"
#include "runtime/rcu/rcu.h"
#include "sync/watch.h"

/* Retired values, for which RCU is asked; at each MANY the sender says that it is in no section. */
#ifndef FILCH_MODEL
#define MANY 64
#else
#define MANY 1
#endif
#define MANY_BYTES 16384

static struct filch__watch_node *node_new(size_t bytes)
{
    struct filch__watch_node *node;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    node = malloc(sizeof(*node) + bytes);
    if (node)
        node->next = NULL;
    return node;
}

static void nodes_free(struct filch__watch_node *node)
{
    while (node) {
        struct filch__watch_node *next = node->next;

        free(node);
        node = next;
    }
}

/* ---- the lifetime ---- */

/* Return: nobody is left: the caller frees it after the unlock. */
static bool is_over_locked(const struct filch_watch *w)
{
    return !w->senders && !w->readers && !w->pins && !w->reclaims;
}

static void watch_free(struct filch_watch *w)
{
    filch_assert_state(filch__wave_is_empty(&w->changes) && filch__wave_is_empty(&w->departures));
    nodes_free(w->retired);
    free(filch_load_relaxed(&w->current)); /* the last one: nobody writes any more */
    free(w);
}

static bool is_much_retired_locked(const struct filch_watch *w)
{
    return w->retired_count >= MANY || w->retired_count * w->bytes >= MANY_BYTES;
}

static void grace_is_over(filch_rcu_head *head);

/* `reclaims` is set. */
static void reclaim(struct filch_watch *w)
{
    size_t count;
    bool over;

    filch_spinlock_lock(&w->lock);
    w->dying = w->retired;
    count = w->retired_count;
    w->retired = NULL;
    w->retired_count = 0;
    filch_spinlock_unlock(&w->lock);
    if (filch_rcu_call(&w->head, grace_is_over) == 0)
        return;
    filch_spinlock_lock(&w->lock);
    for (struct filch__watch_node **end = &w->retired;; end = &(*end)->next)
        if (!*end) {
            *end = w->dying;
            break;
        }
    w->retired_count += count;
    w->reclaims = false;
    over = is_over_locked(w);
    filch_spinlock_unlock(&w->lock);
    if (over)
        watch_free(w);
}

/* In RCU's thread. */
static void grace_is_over(filch_rcu_head *head)
{
    struct filch_watch *w = filch_container_of(head, struct filch_watch, head);
    bool again, over;

    nodes_free(w->dying);
    filch_spinlock_lock(&w->lock);
    again = is_much_retired_locked(w) && (w->senders || w->readers);
    w->reclaims = again;
    over = is_over_locked(w);
    filch_spinlock_unlock(&w->lock);
    if (over)
        watch_free(w);
    else if (again)
        reclaim(w);
}

int filch_watch_new(size_t bytes, const void *value, filch_watch **ret_watch)
{
    struct filch_watch *w;
    struct filch__watch_node *node;

    if (bytes == 0 || !value || !ret_watch)
        return -EINVAL;
    node = node_new(bytes);
    if (!node)
        return -ENOMEM;
    w = malloc(sizeof(*w));
    if (!w) {
        free(node);
        return -ENOMEM;
    }
    node->version = FILCH__WATCH_VERSION;
    memcpy(node->value, value, bytes);
    *w = (struct filch_watch){.bytes = bytes, .senders = 1};
    filch_atomic_init(&w->current, node);
    filch_atomic_init(&w->state, node->version);
    filch_spinlock_init(&w->lock);
    filch__wave_init(&w->changes);
    filch__wave_init(&w->departures);
    *ret_watch = w;
    return 0;
}

filch_watch *filch_watch_ref(filch_watch *watch)
{
    if (!watch)
        return NULL;
    filch_spinlock_lock(&watch->lock);
    watch->senders++;
    filch_spinlock_unlock(&watch->lock);
    return watch;
}

void filch__watch_go_unlock(struct filch_watch *w, struct filch__wave *wave)
{
    bool over;

    w->pins++;
    filch__wave_rise(wave);
    filch__wave_unlock(wave, &w->lock);
    filch_spinlock_lock(&w->lock);
    w->pins--;
    over = is_over_locked(w);
    filch_spinlock_unlock(&w->lock);
    if (over)
        watch_free(w);
}

void filch_watch_unref(filch_watch *watch)
{
    if (!watch)
        return;
    filch_spinlock_lock(&watch->lock);
    if (--watch->senders) {
        filch_spinlock_unlock(&watch->lock);
        return;
    }
    filch_store_release(&watch->state, filch_load_relaxed(&watch->state) |
                                           FILCH__WATCH_CLOSED); /* [watch-state] */
    filch__watch_go_unlock(watch, &watch->changes);
}

/* ---- sending ---- */

/* Makes @node the value, if the version is still @version, or that is FILCH__WATCH_NOT_SEEN. */
static bool publish(struct filch_watch *w, struct filch__watch_node *node, uint64_t version)
{
    struct filch__watch_node *old;
    uint64_t state;
    bool begin, many;

    filch_spinlock_lock(&w->lock);
    state = filch_load_relaxed(&w->state); /* written under the lock */
    if (version != FILCH__WATCH_NOT_SEEN && version != filch__watch_version(state)) {
        filch_spinlock_unlock(&w->lock);
        return false;
    }
    old = filch_load_relaxed(&w->current); /* the same */
    node->version = filch__watch_version(state) + FILCH__WATCH_VERSION;
    filch_store_release(&w->current, node);                       /* [watch-value] */
    filch_store_release(&w->state, state + FILCH__WATCH_VERSION); /* [watch-state] */
    old->next = w->retired;
    w->retired = old;
    many = ++w->retired_count % MANY == 0;
    begin = !w->reclaims && is_much_retired_locked(w);
    w->reclaims |= begin;
    filch__wave_rise(&w->changes);
    filch__wave_unlock(&w->changes, &w->lock);
    if (begin)
        reclaim(w);
    if (many && filch__rcu_nesting() == 0)
        filch_rcu_quiescent();
    return true;
}

int filch_watch_send(filch_watch *watch, const void *value)
{
    struct filch__watch_node *node;

    if (!watch || !value)
        return -EINVAL;
    node = node_new(watch->bytes);
    if (!node)
        return -ENOMEM;
    memcpy(node->value, value, watch->bytes);
    (void)publish(watch, node, FILCH__WATCH_NOT_SEEN);
    return 0;
}

int filch_watch_modify(filch_watch *watch, int (*fn)(void *arg, void *value), void *arg)
{
    struct filch__watch_node *node;
    uint64_t version;
    int r;

    if (!watch || !fn)
        return -EINVAL;
    node = node_new(watch->bytes);
    if (!node)
        return -ENOMEM;
    do {
        r = filch__watch_copy(watch, node->value, &version);
        if (r == 0)
            r = fn(arg, node->value);
        if (r <= 0) {
            free(node);
            return r;
        }
    } while (!publish(watch, node, version));
    return r;
}

/* What is replaced is copied before it is: a value is replaced once, so by the same version. */
int filch_watch_replace(filch_watch *watch, const void *value, void *old)
{
    struct filch__watch_node *node;
    uint64_t version;
    int r;

    if (!watch || !value || !old)
        return -EINVAL;
    node = node_new(watch->bytes);
    if (!node)
        return -ENOMEM;
    memcpy(node->value, value, watch->bytes);
    do {
        r = filch__watch_copy(watch, old, &version);
        if (r < 0) {
            free(node);
            return r;
        }
    } while (!publish(watch, node, version));
    return 0;
}

static size_t count_of(filch_watch *w, const size_t *count)
{
    size_t value;

    filch_spinlock_lock(&w->lock);
    value = *count;
    filch_spinlock_unlock(&w->lock);
    return value;
}

size_t filch_watch_readers(filch_watch *watch)
{
    return watch ? count_of(watch, &watch->readers) : 0;
}

size_t filch_watch_senders(filch_watch *watch)
{
    return watch ? count_of(watch, &watch->senders) : 0;
}

enum filch__enlist filch__watch_enlist_abandoned(filch_watch *watch, struct filch__waiter *waiter,
                                                 struct filch__waiter *self)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch_spinlock_lock(&watch->lock);
    if (!watch->readers)
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else if (waiter)
        filch__list_push_back(&watch->departures.waiting, &waiter->link);
    filch_spinlock_unlock(&watch->lock);
    return done;
}

int filch_watch_abandoned(filch_watch *watch, filch_time until)
{
    struct filch__waiter waiter, *me = until == FILCH_NOW ? NULL : &waiter;

    if (!watch)
        return -EINVAL;
    filch__waiter_init(&waiter, FILCH_WAIT_WATCH);
    if (filch__watch_enlist_abandoned(watch, me, NULL) == FILCH__ENLIST_TAKEN) {
        filch__coop_inline();
        return 0;
    }
    return me ? filch__wave_wait(&watch->lock, me, until) : filch__wait_give_up();
}
