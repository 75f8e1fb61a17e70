/* Delay queues: a heap of items by time, and a list of those who want one.
 *
 * One of those who wait is the leader: it waits with the time of the earliest item. The others wait
 * without a time, so an item that becomes due wakes one of them. Nothing is ever handed over: every
 * wake says "look again", and who looks takes the earliest item if it is due, or goes back into the
 * list, as the leader if there is none.
 *
 * Invariants, true whenever the lock is free:
 *   [leader]   items are there and somebody waits => there is a leader, whose time is not later
 *              than the earliest item, or somebody was called who will look;
 *   [pass-on]  whoever was called, or was the leader, and leaves (with an item, or with nothing),
 *              calls another one if there is no leader;
 *   [end]      closed and empty => the list is empty.
 *
 * A select (see sync/select.c) that was called has to look at all of its cases again; as it may
 * find another one ready, it passes the call on at once, before it looks.
 *
 * Read first: delay_heap.h.
 */
#include <filch/delay_queue.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "sync/delay_heap.h"
#include "sync/wait_list.h"

struct queue {
    filch_spinlock lock; /* guards the rest */
    uint32_t closed;
    struct filch__delay_node *root;
    struct filch__waiter *leader; /* in the list; NULL: none */
    uint64_t inserted;
    size_t count;
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct queue) == sizeof(filch_delay_queue), "it is the private words");
_Static_assert(_Alignof(struct queue) <= _Alignof(filch_delay_queue), "it is the private words");
#endif
_Static_assert(sizeof(struct filch__delay_node) == sizeof(filch_delay_item),
               "it is the private words");
_Static_assert(_Alignof(struct filch__delay_node) <= _Alignof(filch_delay_item),
               "it is the private words");

static struct queue *queue_of(filch_delay_queue *queue)
{
    return (struct queue *)(void *)queue;
}

static struct filch__delay_node *node_of(filch_delay_item *item)
{
    return (struct filch__delay_node *)(void *)item;
}

static void lock(struct queue *q)
{
    filch_spinlock_lock(&q->lock);
    filch__wait_list_ready(&q->waiters);
}

/* [leader] After any change: wakes who has to look. Gives the lock back. */
static void unlock_call(struct queue *q)
{
    struct filch__woken woken = {0};
    struct filch__waiter *waiter;

    if (q->closed && !q->root) {
        q->leader = NULL;
        filch__woken_add_all(&woken, &q->waiters); /* [end] */
    } else if (q->root && !q->leader) {
        waiter = filch__wait_list_pop(&q->waiters);
        if (waiter)
            filch__woken_add(&woken, waiter);
    }
    filch_spinlock_unlock(&q->lock);
    filch__woken_wake(&woken, 0);
}

/* The leader is to look again, if @node has become the earliest. Gives the lock back. */
static void unlock_call_leader(struct queue *q, const struct filch__delay_node *node)
{
    struct filch__waiter *leader = q->leader;

    if (!leader || q->root != node) {
        unlock_call(q);
        return;
    }
    filch__list_remove(&leader->link);
    q->leader = NULL;
    if (!filch__waiter_claim(leader)) {
        unlock_call(q); /* its select was decided: another one */
        return;
    }
    filch_spinlock_unlock(&q->lock);
    filch__waiter_wake_with(leader, 0);
}

/* Return: when to look again. */
static filch_time enlist_locked(struct queue *q, struct filch__waiter *waiter)
{
    filch__list_push_back(&q->waiters, &waiter->link);
    if (q->leader || !q->root)
        return FILCH_NEVER;
    q->leader = waiter;
    return q->root->at;
}

/* The wait is over, for whatever reason. Return: false: it was called, and so taken out before. */
static bool leave(struct queue *q, struct filch__waiter *waiter)
{
    bool waited;

    lock(q);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    if (q->leader == waiter)
        q->leader = NULL;
    unlock_call(q); /* [pass-on] */
    return waited;
}

/* Under the lock: takes what is due, or finds that the end has come. */
static enum filch__enlist attempt_locked(struct queue *q, filch_delay_item **ret_item,
                                         struct filch__waiter *self, int *ret_result)
{
    struct filch__delay_node *node = q->root;
    bool due =
        node && (node->at == FILCH_NOW || (node->at != FILCH_NEVER && node->at <= filch_now()));

    if (!due && (node || !q->closed))
        return FILCH__ENLIST_WAITS;
    if (!filch__wait_claim_self(self))
        return FILCH__ENLIST_LOST;
    *ret_result = due ? 0 : -EPIPE;
    if (due) {
        filch__delay_remove(&q->root, node);
        node->owner = NULL;
        q->count--;
        *ret_item = (filch_delay_item *)(void *)node;
    }
    return FILCH__ENLIST_TAKEN;
}

void filch_delay_queue_init(filch_delay_queue *queue)
{
    if (!queue)
        return;
    *queue = (filch_delay_queue)FILCH_DELAY_QUEUE_INIT;
    filch_spinlock_init(&queue_of(queue)->lock);
}

void filch_delay_queue_fini(filch_delay_queue *queue)
{
    if (!queue)
        return;
    lock(queue_of(queue));
    filch_assert(!queue_of(queue)->root && filch__list_is_empty(&queue_of(queue)->waiters));
    filch_spinlock_unlock(&queue_of(queue)->lock);
}

static void insert_locked(struct queue *q, struct filch__delay_node *node, filch_time at)
{
    node->at = at;
    node->number = q->inserted++;
    node->owner = q;
    filch__delay_insert(&q->root, node);
}

int filch_delay_queue_insert(filch_delay_queue *queue, filch_delay_item *item, filch_time at)
{
    struct queue *q = queue_of(queue);
    struct filch__delay_node *node = node_of(item);
    int r = 0;

    if (!queue || !item)
        return -EINVAL;
    lock(q);
    if (node->owner)
        r = -EBUSY;
    else if (q->closed)
        r = -EPIPE;
    if (r < 0) {
        filch_spinlock_unlock(&q->lock);
        return r;
    }
    insert_locked(q, node, at);
    q->count++;
    unlock_call_leader(q, node);
    return 0;
}

int filch_delay_queue_remove(filch_delay_queue *queue, filch_delay_item *item)
{
    struct queue *q = queue_of(queue);
    struct filch__delay_node *node = node_of(item);

    if (!queue || !item)
        return -EINVAL;
    lock(q);
    if (node->owner != q) {
        filch_spinlock_unlock(&q->lock);
        return -ESRCH;
    }
    filch__delay_remove(&q->root, node);
    node->owner = NULL;
    q->count--;
    unlock_call(q);
    return 0;
}

int filch_delay_queue_reset(filch_delay_queue *queue, filch_delay_item *item, filch_time at)
{
    struct queue *q = queue_of(queue);
    struct filch__delay_node *node = node_of(item);

    if (!queue || !item)
        return -EINVAL;
    lock(q);
    if (node->owner != q) {
        filch_spinlock_unlock(&q->lock);
        return -ESRCH;
    }
    filch__delay_remove(&q->root, node);
    insert_locked(q, node, at);
    unlock_call_leader(q, node);
    return 0;
}

/* Return: 1: look again; 0 and errors are the result. */
static int next_once(struct queue *q, filch_delay_item **ret_item, filch_time until)
{
    struct filch__waiter waiter;
    filch_time when;
    int result = 0;
    int r;

    lock(q);
    if (attempt_locked(q, ret_item, NULL, &result) == FILCH__ENLIST_TAKEN) {
        unlock_call(q); /* [pass-on] */
        return result;
    }
    if (until == FILCH_NOW) {
        filch_spinlock_unlock(&q->lock);
        return filch__wait_give_up();
    }
    filch__waiter_init(&waiter, FILCH_WAIT_DELAY_QUEUE);
    when = enlist_locked(q, &waiter);
    filch_spinlock_unlock(&q->lock);
    r = filch__waiter_wait(&waiter, when < until ? when : until);
    if (r == 0)
        return 1;
    if (!leave(q, &waiter)) {
        filch__waiter_wait_shielded(&waiter);
        return 1;
    }
    return r == -ETIMEDOUT && when <= until ? 1 : r; /* it may be due */
}

int filch_delay_queue_next(filch_delay_queue *queue, filch_delay_item **ret_item, filch_time until)
{
    int r;

    if (!queue || !ret_item)
        return -EINVAL;
    filch__coop_inline();
    do
        r = next_once(queue_of(queue), ret_item, until);
    while (r > 0);
    return r;
}

int filch_delay_queue_close(filch_delay_queue *queue)
{
    if (!queue)
        return -EINVAL;
    lock(queue_of(queue));
    queue_of(queue)->closed = 1;
    unlock_call(queue_of(queue));
    return 0;
}

size_t filch_delay_queue_len(filch_delay_queue *queue)
{
    size_t count;

    if (!queue)
        return 0;
    filch_spinlock_lock(&queue_of(queue)->lock);
    count = queue_of(queue)->count;
    filch_spinlock_unlock(&queue_of(queue)->lock);
    return count;
}

/* ---- in a select ---- */

static enum filch__enlist delay_case(filch_case *c, struct filch__waiter *self)
{
    struct queue *q = c->object;
    enum filch__enlist done;

    lock(q);
    done = attempt_locked(q, c->data, self, &c->result);
    c->number = FILCH_NEVER;
    if (done == FILCH__ENLIST_WAITS && self)
        c->number = enlist_locked(q, self);
    unlock_call(q);
    return done;
}

static bool delay_try(filch_case *c)
{
    return delay_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static filch_time delay_when(filch_case *c)
{
    return c->number;
}

static void delay_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    (void)leave(c->object, waiter);
    if (won)
        c->result = FILCH__CASE_AGAIN;
}

static const struct filch__case_ops delay_ops = {
    .try_now = delay_try,
    .enlist = delay_case,
    .delist = delay_delist,
    .when = delay_when,
    .reason = FILCH_WAIT_DELAY_QUEUE,
};

filch_case filch_case_delay(filch_delay_queue *queue, filch_delay_item **ret_item)
{
    return (filch_case){
        .ops = queue && ret_item ? &delay_ops : NULL, .object = queue, .data = ret_item};
}
