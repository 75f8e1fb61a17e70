/* Futures made of futures.
 *
 * A group (join, try_join, select) goes through three phases: NEW, before the first poll; POLLED;
 * OVER, when it was ready or dropped. A child is `private_done` when it was ready or dropped: each
 * of the two happens to it at most once in all.
 *
 * Which children are polled: of few, all, each time, with the group's own waker. Of many, all at
 * the first poll and then those that were woken, by the relay's list (relay.h). A relay is made at
 * the first poll, so a group that never runs needs none.
 */
#include <filch/combine.h>

#include <errno.h>
#include <limits.h>

#include "runtime/base/assert.h"
#include "runtime/task/relay.h"

/* Polling a child that has nothing new costs some nanoseconds; a relay two locks for each wake. */
#define FEW 8

enum mode { MODE_JOIN, MODE_TRY_JOIN, MODE_SELECT, MODE_SELECT_ORDERED };
enum phase { PHASE_NEW, PHASE_POLLED, PHASE_OVER };

static bool is_future(const filch_future *future)
{
    return future && future->poll;
}

static void drop(filch_future *future)
{
    if (future->drop)
        future->drop(future);
}

/* ---- groups ---- */

static void group_end(filch_group_future *group)
{
    group->phase = PHASE_OVER;
    for (size_t i = 0; i < group->count && group->left; i++) {
        filch_child *child = &group->children[i];

        if (child->private_done)
            continue;
        child->private_done = true;
        group->left--;
        drop(child->future);
    }
    filch__relay_free(group->relay);
    group->relay = NULL;
}

static void group_drop(filch_future *self)
{
    filch_group_future *group = (filch_group_future *)self;

    if (group->phase != PHASE_OVER)
        group_end(group);
}

/* Return: is the group decided? */
static bool child_is_ready(filch_group_future *group, size_t index)
{
    int result = group->children[index].future->result;

    switch ((enum mode)group->mode) {
    case MODE_JOIN:
        break;
    case MODE_TRY_JOIN:
        if (result >= 0)
            break;
        group->index = index;
        group->base.result = result;
        return true;
    case MODE_SELECT:
    case MODE_SELECT_ORDERED:
        group->index = index;
        group->base.result = (int)index;
        return true;
    }
    return group->left == 0;
}

/* Return: is the group decided? */
static bool poll_child(filch_group_future *group, size_t index, filch_cx *cx)
{
    filch_child *child = &group->children[index];
    filch_waker waker;
    filch_cx own = {.waker = &waker};

    if (child->private_done)
        return false;
    if (group->relay) {
        waker = filch__relay_waker(group->relay, index);
        cx = &own;
    }
    if (child->future->poll(child->future, cx) == FILCH_PENDING)
        return false;
    child->private_done = true;
    group->left--;
    return child_is_ready(group, index);
}

/* Where a fair select begins; of other kinds, the beginning. */
static size_t first_of(const filch_group_future *group)
{
    static filch_atomic_u32 turn;
    uint32_t mixed;

    if (group->mode != MODE_SELECT || group->count < 2)
        return 0;
    /* Races lose a step or repeat one, and are as good as any other. A finaliser of a counter, so
     * that programs with a period of their own do not meet the same start each time. */
    mixed = filch_load_relaxed(&turn) + 1;
    filch_store_relaxed(&turn, mixed);
    mixed = (mixed ^ mixed >> 16) * 0x7feb352du;
    mixed = (mixed ^ mixed >> 15) * 0x846ca68bu;
    mixed ^= mixed >> 16;
    return (size_t)((uint64_t)mixed * group->count >> 32);
}

static bool poll_all(filch_group_future *group, filch_cx *cx)
{
    size_t first = first_of(group);

    for (size_t i = first; i < group->count; i++) {
        if (poll_child(group, i, cx))
            return true;
    }
    for (size_t i = 0; i < first; i++) {
        if (poll_child(group, i, cx))
            return true;
    }
    return group->left == 0;
}

static bool poll_woken(filch_group_future *group, filch_cx *cx)
{
    uint32_t cursor = filch__relay_take(group->relay);
    size_t index;

    while (filch__relay_next(group->relay, &cursor, &index)) {
        if (poll_child(group, index, cx))
            return true;
    }
    return false;
}

static filch_poll group_poll(filch_future *self, filch_cx *cx)
{
    filch_group_future *group = (filch_group_future *)self;
    bool is_first = group->phase == PHASE_NEW;
    bool decided;

    filch_assert(group->phase != PHASE_OVER);
    group->phase = PHASE_POLLED;
    if (is_first && group->count > FEW && group->mode != MODE_SELECT_ORDERED)
        group->relay = filch__relay_new(group->children);
    if (group->relay)
        filch__relay_listen(group->relay, cx->waker);
    decided = group->relay && !is_first ? poll_woken(group, cx) : poll_all(group, cx);
    if (!decided)
        return FILCH_PENDING;
    group_end(group);
    return FILCH_READY;
}

static int group_init(filch_group_future *group, filch_child *children, size_t count,
                      enum mode mode)
{
    if (!group || (!children && count) || count > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!is_future(children[i].future))
            return -EINVAL;
    }
    for (size_t i = 0; i < count; i++)
        children[i] = (filch_child){.future = children[i].future};
    *group = (filch_group_future){
        .base = {.poll = group_poll, .drop = group_drop},
        .index = count,
        .children = children,
        .count = count,
        .left = count,
        .mode = mode,
    };
    return 0;
}

int filch_join_future_init(filch_join_future *join, filch_child *children, size_t count)
{
    return group_init(join, children, count, MODE_JOIN);
}

int filch_try_join_future_init(filch_try_join_future *join, filch_child *children, size_t count)
{
    return group_init(join, children, count, MODE_TRY_JOIN);
}

int filch_select_future_init(filch_select_future *select, filch_child *children, size_t count,
                             unsigned flags)
{
    if (!count || flags & ~(unsigned)FILCH_SELECT_ORDERED)
        return -EINVAL;
    return group_init(select, children, count,
                      flags & FILCH_SELECT_ORDERED ? MODE_SELECT_ORDERED : MODE_SELECT);
}

/* ---- one child at a time ---- */

static void timeout_drop(filch_future *self)
{
    filch_timeout_future *timeout = (filch_timeout_future *)self;
    filch_future *child = timeout->child;

    timeout->child = NULL;
    if (!child)
        return;
    drop(child);
    drop(&timeout->timer.base);
}

static filch_poll timeout_poll(filch_future *self, filch_cx *cx)
{
    filch_timeout_future *timeout = (filch_timeout_future *)self;
    filch_future *child = timeout->child;

    filch_assert(child);
    if (child->poll(child, cx) == FILCH_READY) {
        timeout->child = NULL;
        drop(&timeout->timer.base);
        self->result = child->result;
        return FILCH_READY;
    }
    if (timeout->timer.until == FILCH_NEVER ||
        timeout->timer.base.poll(&timeout->timer.base, cx) == FILCH_PENDING)
        return FILCH_PENDING;
    timeout_drop(self);
    self->result = timeout->timer.base.result < 0 ? timeout->timer.base.result : -ETIMEDOUT;
    return FILCH_READY;
}

int filch_timeout_future_init(filch_timeout_future *timeout, filch_future *child, filch_time until)
{
    if (!timeout || !is_future(child))
        return -EINVAL;
    *timeout = (filch_timeout_future){.base = {.poll = timeout_poll, .drop = timeout_drop},
                                      .child = child};
    filch_sleep_future_init(&timeout->timer, until);
    return 0;
}

static void map_drop(filch_future *self)
{
    filch_map_future *map = (filch_map_future *)self;
    filch_future *child = map->child;

    map->child = NULL;
    if (child)
        drop(child);
}

static filch_poll map_poll(filch_future *self, filch_cx *cx)
{
    filch_map_future *map = (filch_map_future *)self;
    filch_future *child = map->child;

    filch_assert(child);
    if (child->poll(child, cx) == FILCH_PENDING)
        return FILCH_PENDING;
    map->child = NULL;
    self->result = map->fn(child->result, map->arg);
    return FILCH_READY;
}

int filch_map_future_init(filch_map_future *map, filch_future *child,
                          int (*fn)(int result, void *arg), void *arg)
{
    if (!map || !is_future(child) || !fn)
        return -EINVAL;
    *map = (filch_map_future){
        .base = {.poll = map_poll, .drop = map_drop}, .child = child, .fn = fn, .arg = arg};
    return 0;
}

static void then_drop(filch_future *self)
{
    filch_then_future *then = (filch_then_future *)self;
    filch_future *child = then->child;

    then->child = NULL;
    if (child)
        drop(child);
}

static filch_poll then_poll(filch_future *self, filch_cx *cx)
{
    filch_then_future *then = (filch_then_future *)self;
    filch_future *child;

    filch_assert(then->child);
    while (then->child) {
        filch_future *(*next)(int result, void *arg) = then->next;

        child = then->child;
        if (child->poll(child, cx) == FILCH_PENDING)
            return FILCH_PENDING;
        self->result = child->result;
        then->child = NULL;
        then->next = NULL;
        if (next)
            then->child = next(child->result, then->arg);
    }
    return FILCH_READY;
}

int filch_then_future_init(filch_then_future *then, filch_future *first,
                           filch_future *(*next)(int result, void *arg), void *arg)
{
    if (!then || !is_future(first) || !next)
        return -EINVAL;
    *then = (filch_then_future){
        .base = {.poll = then_poll, .drop = then_drop}, .child = first, .next = next, .arg = arg};
    return 0;
}

/* ---- without children ---- */

static filch_poll ready_poll(filch_future *self, filch_cx *cx)
{
    (void)self;
    (void)cx;
    return FILCH_READY;
}

void filch_ready_future_init(filch_future *future, int result)
{
    if (future)
        *future = (filch_future){.poll = ready_poll, .result = result};
}

static filch_poll pending_poll(filch_future *self, filch_cx *cx)
{
    (void)self;
    (void)cx;
    return FILCH_PENDING;
}

void filch_pending_future_init(filch_future *future)
{
    if (future)
        *future = (filch_future){.poll = pending_poll};
}

static filch_poll fn_poll(filch_future *self, filch_cx *cx)
{
    filch_fn_future *future = (filch_fn_future *)self;

    if (future->poll)
        return future->poll(future->arg, cx, &self->result);
    self->result = future->fn(future->arg);
    return FILCH_READY;
}

int filch_poll_fn_future_init(filch_fn_future *future,
                              filch_poll (*poll)(void *arg, filch_cx *cx, int *ret_result),
                              void *arg)
{
    if (!future || !poll)
        return -EINVAL;
    *future = (filch_fn_future){.base.poll = fn_poll, .poll = poll, .arg = arg};
    return 0;
}

int filch_lazy_future_init(filch_fn_future *future, filch_fn fn, void *arg)
{
    if (!future || !fn)
        return -EINVAL;
    *future = (filch_fn_future){.base.poll = fn_poll, .fn = fn, .arg = arg};
    return 0;
}
