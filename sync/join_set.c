/* Join sets: a watched scope, and what it says of each child's end, until somebody takes it.
 *
 *     spawner                          child's end (scope locked)       next()
 *     -------                          --------------------------       ------
 *     make task and entry              lock                             lock
 *     lock; key free? link; unlock     out of `running` and the keys    head of `results` has
 * ended? link to the scope, queue         `ended`; into `results`            take it; unlock
 *     (refused: unlink, free)          waiters? hand over; wake         else wait in `waiters`;
 * unlock unlock; out of the scope         awake: the entry is in its slot
 *
 * An entry is allocated per task and freed by whoever takes its result. It is
 *   in `running` and, with a key, in `keys`   from before the task is queued until its end;
 *   in `results`                              until it is taken: from its end; or, in an ordered
 *                                             set, from the beginning.
 *
 * Invariants:
 *   [set-wait]   a waiter is in the list only while the set is not empty and the head of `results`
 * has not ended; whoever changes that serves waiters;
 *   [set-order]  the scope's lock is taken before the set's, never within it. A child leaves the
 * scope after its result was handed over, but under the scope's lock, so whoever has the result and
 * spawns finds the room;
 *   [set-handle] while an entry is in `running` its task cannot be released, so those who hold the
 * lock may take the handle; afterwards it is refused.
 *
 * The inside is on the heap, made by the first spawn, so that it can outlive the caller's frame:
 * detach_all gives it to a task that waits for the scope. [set-made] release by the first spawn,
 * acquire by all others: the inside is complete.
 *
 * To cancel all, entries are turned round like a wheel, as in task/scope.c: they are taken from the
 * front and put to the back, a few at a time; those added meanwhile are behind all that were there.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include <filch/cancel.h>
#include <filch/join_set.h>
#include <filch/runtime.h>
#include <filch/scope.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/lost.h"
#include "runtime/task/scope.h"
#include "runtime/task/task.h"
#include "sync/case.h"
#include "sync/key_tree.h"
#include "sync/wait_list.h"

#ifndef CANCEL_BATCH
#define CANCEL_BATCH 32
#endif

/* What lies in the caller's frame. */
struct set_words {
    filch_atomic_ptr inner; /* struct set; [set-made] */
    uint32_t flags;
    uint32_t limit;
};

#ifndef FILCH_MODEL /* whose atomics are larger */
_Static_assert(sizeof(struct set_words) == sizeof(filch_join_set), "it lives in the frame");
_Static_assert(sizeof(struct filch__waiter) <= 8 * sizeof(uint64_t), "the slot is behind it");
#endif

/* All but the scope and `flags` is guarded by `lock`. */
struct set {
    filch_scope scope;
    filch_spinlock lock;
    uint32_t flags;
    size_t len; /* entries */
    size_t run; /* of them, in `running` */
    struct filch__list running;
    struct filch__list results;
    struct filch__list waiters; /* `data`: where to put the entry; NULL there: empty */
    struct filch__key_node *keys;
};

struct entry {
    struct filch__list running_link;
    struct filch__list result_link;
    struct filch__key_node node; /* and the key; 0: not in the tree */
    struct set *set;
    filch_task *task; /* [set-handle] */
    filch_fn fn;
    void *arg;
    const char *name; /* with the place: for an error that nobody reads */
    const void *place;
    int result;
    bool ended;
    alignas(max_align_t) char copy[];
};

static struct set_words *words_of(filch_join_set *set)
{
    return (struct set_words *)(void *)set;
}

static struct set *inner_of(filch_join_set *set)
{
    return filch_load_acquire(&words_of(set)->inner); /* [set-made] */
}

/* ---- entries, under the lock ---- */

static struct entry *ready_locked(const struct set *set)
{
    struct entry *head;

    if (filch__list_is_empty(&set->results))
        return NULL;
    head = filch_container_of(set->results.next, struct entry, result_link);
    return head->ended ? head : NULL;
}

/* Must next() wait? */
static bool is_pending_locked(const struct set *set)
{
    return set->len && !ready_locked(set);
}

/* Return: the next entry, the caller's to free; NULL: there is none. */
static struct entry *take_locked(struct set *set)
{
    struct entry *entry = ready_locked(set);

    if (entry) {
        filch__list_remove(&entry->result_link);
        set->len--;
    }
    return entry;
}

/* [set-wait] Return: those served, to be woken after the unlock. */
static struct filch__woken serve_locked(struct set *set)
{
    struct filch__woken woken = {NULL, NULL};

    while (!filch__list_is_empty(&set->waiters) && !is_pending_locked(set)) {
        struct filch__waiter *waiter =
            filch_container_of(filch__list_pop_front(&set->waiters), struct filch__waiter, link);

        if (!filch__waiter_claim(waiter))
            continue;
        *(struct entry **)waiter->data = take_locked(set);
        filch__woken_add(&woken, waiter);
    }
    return woken;
}

static int link_locked(struct set *set, struct entry *entry)
{
    if (entry->node.key && filch__key_find(set->keys, entry->node.key))
        return -EEXIST;
    if (entry->node.key)
        filch__key_insert(&set->keys, &entry->node);
    filch__list_push_back(&set->running, &entry->running_link);
    if (set->flags & FILCH_JOIN_SET_ORDERED)
        filch__list_push_back(&set->results, &entry->result_link);
    set->len++;
    set->run++;
    return 0;
}

static void unlink_running_locked(struct set *set, struct entry *entry)
{
    filch__list_remove(&entry->running_link);
    if (entry->node.key)
        filch__key_remove(&entry->node);
    set->run--;
}

/* It was not started after all. */
static void withdraw(struct set *set, struct entry *entry)
{
    struct filch__woken woken;

    filch_spinlock_lock(&set->lock);
    unlink_running_locked(set, entry);
    if (set->flags & FILCH_JOIN_SET_ORDERED)
        filch__list_remove(&entry->result_link);
    set->len--;
    woken = serve_locked(set);
    filch_spinlock_unlock(&set->lock);
    filch__woken_wake(&woken, 0);
}

/* Called by the scope. [set-order] */
static struct filch__waiter *task_ended(void *arg)
{
    struct filch__woken woken;
    struct entry *entry = arg;
    struct set *set = entry->set;

    filch_spinlock_lock(&set->lock);
    unlink_running_locked(set, entry);
    entry->ended = true;
    if (!(set->flags & FILCH_JOIN_SET_ORDERED))
        filch__list_push_back(&set->results, &entry->result_link);
    woken = serve_locked(set);
    filch_spinlock_unlock(&set->lock);
    return woken.first;
}

/* ---- the set ---- */

static void scope_begin(struct set *set, unsigned limit)
{
    filch_scope_init(&set->scope, 0);
    filch__scope_watch(&set->scope, task_ended);
    filch_scope_limit(&set->scope, limit);
}

void filch_join_set_init(filch_join_set *set, unsigned flags)
{
    if (!set)
        return;
    filch_atomic_init(&words_of(set)->inner, NULL);
    words_of(set)->flags = flags;
    words_of(set)->limit = 0;
}

static void inner_init(struct set *set, const struct set_words *words)
{
    filch_spinlock_init(&set->lock);
    set->flags = words->flags;
    set->len = 0;
    set->run = 0;
    filch__list_init(&set->running);
    filch__list_init(&set->results);
    filch__list_init(&set->waiters);
    set->keys = NULL;
    scope_begin(set, words->limit);
}

/* Makes the inside, at the first spawn, which is the owner's. */
static int make_inner(filch_join_set *words, struct set **ret_set)
{
    struct set *set = inner_of(words);

    if (!set) {
        set = malloc(sizeof *set);
        if (!set)
            return -ENOMEM;
        inner_init(set, words_of(words));
        filch_store_release(&words_of(words)->inner, set); /* [set-made] */
    }
    *ret_set = set;
    return 0;
}

int filch_join_set_limit(filch_join_set *set, unsigned limit)
{
    struct set *inner;

    if (!set)
        return -EINVAL;
    words_of(set)->limit = limit;
    inner = inner_of(set);
    return inner ? filch_scope_limit(&inner->scope, limit) : 0;
}

/* ---- adding ---- */

/* The body of each task. */
static int run_entry(void *arg)
{
    struct entry *entry = arg;

    entry->result = entry->fn(entry->arg);
    return FILCH__SCOPE_WATCHED;
}

static int entry_new(struct set *set, uint64_t key, filch_fn fn, void *arg, size_t copy_bytes,
                     struct entry **ret_entry)
{
    struct entry *entry;

    if (copy_bytes && !arg)
        return -EINVAL;
    if (copy_bytes > SIZE_MAX - sizeof *entry)
        return -ENOMEM;
    entry = malloc(sizeof *entry + copy_bytes);
    if (!entry)
        return -ENOMEM;
    filch__list_init(&entry->running_link);
    filch__list_init(&entry->result_link);
    entry->node.key = key;
    entry->set = set;
    entry->fn = fn;
    entry->arg = copy_bytes ? memcpy(entry->copy, arg, copy_bytes) : arg;
    entry->ended = false;
    *ret_entry = entry;
    return 0;
}

/* Return: 0: the task is on its way, and with it the entry. */
static int start(struct set *set, struct entry *entry, const filch_task_opts *opts, void *place,
                 bool wait, filch_time until)
{
    filch_task_opts own = opts ? *opts : (filch_task_opts){0};
    struct filch__task *task;
    int r;

    own.copy_bytes = 0; /* it is in the entry */
    entry->name = own.name ? own.name : "";
    entry->place = place;
    r = filch__scope_child_new(&set->scope, run_entry, entry, &own, place, &task);
    if (r < 0)
        return r;
    entry->task = filch__task_handle(task);
    filch_spinlock_lock(&set->lock);
    r = link_locked(set, entry);
    filch_spinlock_unlock(&set->lock);
    if (r < 0) {
        filch__task_abort(task);
        return r;
    }
    r = filch__scope_child_start(&set->scope, task, wait, until);
    if (r < 0)
        withdraw(set, entry);
    return r;
}

static int add(filch_join_set *words, uint64_t key, filch_fn fn, void *arg,
               const filch_task_opts *opts, void *place, bool wait, filch_time until)
{
    struct entry *entry;
    struct set *set;
    int r;

    if (!words || !fn)
        return -EINVAL;
    if (!filch_runtime_self())
        return -EPERM;
    r = make_inner(words, &set);
    if (r == 0)
        r = entry_new(set, key, fn, arg, opts ? opts->copy_bytes : 0, &entry);
    if (r < 0)
        return r;
    r = start(set, entry, opts, place, wait, until);
    if (r < 0)
        free(entry);
    return r;
}

int filch_join_set_spawn(filch_join_set *set, uint64_t key, filch_fn fn, void *arg,
                         const filch_task_opts *opts)
{
    return add(set, key, fn, arg, opts, __builtin_return_address(0), false, FILCH_NOW);
}

int filch_join_set_spawn_wait(filch_join_set *set, uint64_t key, filch_fn fn, void *arg,
                              const filch_task_opts *opts, filch_time until)
{
    return add(set, key, fn, arg, opts, __builtin_return_address(0), true, until);
}

/* ---- taking ---- */

/* The end of a next: @entry, which is freed; NULL: the set was empty. */
static int deliver(struct entry *entry, int *ret_result, uint64_t *ret_key)
{
    if (!entry)
        return -ENOENT;
    if (ret_result)
        *ret_result = entry->result;
    if (ret_key)
        *ret_key = entry->node.key;
    free(entry);
    return 0;
}

/* Waits in line, with the lock held on entry, and free on return. Return: 0: in its slot is what
 * was handed over; -ETIMEDOUT; -ECANCELED. */
static int wait_unlock(struct set *set, struct filch__waiter *waiter, filch_time until)
{
    int r;

    filch__list_push_back(&set->waiters, &waiter->link); /* [set-wait] */
    filch_spinlock_unlock(&set->lock);
    r = filch__waiter_wait(waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&set->lock);
        if (!filch__waiter_was_taken(waiter)) {
            filch__list_remove(&waiter->link);
            filch_spinlock_unlock(&set->lock);
            return r;
        }
        filch_spinlock_unlock(&set->lock);
        filch__waiter_wait_shielded(waiter);
    }
    return 0;
}

int filch_join_set_next(filch_join_set *words, int *ret_result, uint64_t *ret_key, filch_time until)
{
    struct filch__waiter waiter;
    struct entry *entry;
    struct set *set;
    int r;

    if (!words)
        return -EINVAL;
    filch__coop();
    set = inner_of(words);
    if (!set)
        return -ENOENT;
    filch_spinlock_lock(&set->lock);
    if (!is_pending_locked(set)) {
        entry = take_locked(set);
        filch_spinlock_unlock(&set->lock);
        return deliver(entry, ret_result, ret_key);
    }
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    waiter.data = &entry;
    r = wait_unlock(set, &waiter, until);
    return r < 0 ? r : deliver(entry, ret_result, ret_key);
}

size_t filch_join_set_len(filch_join_set *words)
{
    struct set *set = words ? inner_of(words) : NULL;
    size_t len;

    if (!set)
        return 0;
    filch_spinlock_lock(&set->lock);
    len = set->len;
    filch_spinlock_unlock(&set->lock);
    return len;
}

bool filch_join_set_has(filch_join_set *words, uint64_t key)
{
    struct set *set = words ? inner_of(words) : NULL;
    bool has;

    if (!set || !key)
        return false;
    filch_spinlock_lock(&set->lock);
    has = filch__key_find(set->keys, key) != NULL;
    filch_spinlock_unlock(&set->lock);
    return has;
}

/* ---- as a case of a select ---- */

static void case_deliver(filch_case *c, struct entry *entry)
{
    c->result = deliver(entry, c->data, (uint64_t *)(uintptr_t)c->number);
}

/* Behind the waiter. */
static struct entry **case_slot(filch_case *c)
{
    return (struct entry **)(void *)&c->private_words[8];
}

static bool next_try(filch_case *c)
{
    struct set *set = inner_of(c->object);
    struct entry *entry = NULL;
    bool pending = false;

    if (set) {
        filch_spinlock_lock(&set->lock);
        pending = is_pending_locked(set);
        if (!pending)
            entry = take_locked(set);
        filch_spinlock_unlock(&set->lock);
    }
    if (!pending)
        case_deliver(c, entry);
    return !pending;
}

static enum filch__enlist next_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct set *set = inner_of(c->object);
    struct entry *entry = NULL;
    bool claimed;

    if (!set) {
        claimed = filch__waiter_claim(waiter);
    } else {
        filch_spinlock_lock(&set->lock);
        if (is_pending_locked(set)) {
            waiter->data = case_slot(c);
            filch__list_push_back(&set->waiters, &waiter->link); /* [set-wait] */
            filch_spinlock_unlock(&set->lock);
            return FILCH__ENLIST_WAITS;
        }
        claimed = filch__waiter_claim(waiter);
        if (claimed)
            entry = take_locked(set);
        filch_spinlock_unlock(&set->lock);
    }
    if (!claimed)
        return FILCH__ENLIST_LOST;
    case_deliver(c, entry);
    return FILCH__ENLIST_TAKEN;
}

static void next_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct set *set = inner_of(c->object);

    if (won) {
        case_deliver(c, *case_slot(c));
        return;
    }
    filch_spinlock_lock(&set->lock);
    if (!filch__waiter_was_taken(waiter))
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&set->lock);
}

static const struct filch__case_ops next_ops = {
    .try_now = next_try,
    .enlist = next_enlist,
    .delist = next_delist,
    .reason = FILCH_WAIT_JOIN,
};

filch_case filch_case_join_next(filch_join_set *set, int *ret_result, uint64_t *ret_key)
{
    return (filch_case){.ops = set ? &next_ops : NULL,
                        .object = set,
                        .data = ret_result,
                        .number = (uintptr_t)ret_key};
}

/* ---- cancel and end ---- */

int filch_join_set_abort(filch_join_set *words, uint64_t key)
{
    struct filch__key_node *node = NULL;
    filch_task *task = NULL;
    struct set *set;

    if (!words || !key)
        return -EINVAL;
    set = inner_of(words);
    if (!set)
        return -ENOENT;
    filch_spinlock_lock(&set->lock);
    node = filch__key_find(set->keys, key);
    if (node)
        task = filch_container_of(node, struct entry, node)->task; /* [set-handle] */
    filch_spinlock_unlock(&set->lock);
    if (!task)
        return -ENOENT;
    (void)filch_task_cancel(task);
    return 0;
}

/* Up to CANCEL_BATCH handles, from the front; their entries go to the back. */
static unsigned turn(struct set *set, size_t *left, filch_task **batch)
{
    unsigned n = 0;

    filch_spinlock_lock(&set->lock);
    if (*left > set->run)
        *left = set->run;
    for (; n < CANCEL_BATCH && n < *left; n++) {
        struct filch__list *link = filch__list_pop_front(&set->running);

        filch__list_push_back(&set->running, link);
        batch[n] = filch_container_of(link, struct entry, running_link)->task;
    }
    filch_spinlock_unlock(&set->lock);
    *left -= n;
    return n;
}

int filch_join_set_abort_all(filch_join_set *words)
{
    filch_task *batch[CANCEL_BATCH];
    size_t left = SIZE_MAX;
    struct set *set;
    unsigned n;

    if (!words)
        return -EINVAL;
    set = inner_of(words);
    while (set && (n = turn(set, &left, batch)))
        for (unsigned i = 0; i < n; i++)
            (void)filch_task_cancel(batch[i]);
    return 0;
}

/* One at a time: others may still ask. */
static struct entry *take_result(struct set *set)
{
    struct entry *entry;

    filch_spinlock_lock(&set->lock);
    entry = take_locked(set);
    filch_spinlock_unlock(&set->lock);
    return entry;
}

static void drop_results(struct set *set)
{
    struct entry *entry;

    while ((entry = take_result(set)))
        free(entry);
}

/* The same of a detached set. */
static void tell_results(struct set *set)
{
    filch_runtime *rt = filch_runtime_self();
    struct entry *entry;

    while ((entry = take_result(set))) {
        filch_lost_error lost = {
            .error = entry->result, .name = entry->name, .fn = entry->fn, .place = entry->place};

        if (lost.error < 0 && lost.error != -ECANCELED)
            filch__lost_tell_of(rt, &lost);
        free(entry);
    }
}

int filch_join_set_shutdown(filch_join_set *words)
{
    struct set *set;

    if (!words)
        return -EINVAL;
    set = inner_of(words);
    if (!set)
        return 0;
    (void)filch_scope_cancel_join(&set->scope);
    drop_results(set);
    scope_begin(set, words_of(words)->limit);
    return 0;
}

void filch_join_set_fini(filch_join_set *words)
{
    struct set *set;

    if (!words)
        return;
    set = inner_of(words);
    if (!set)
        return;
    (void)filch_scope_cancel_join(&set->scope);
    drop_results(set);
    filch_join_set_init(words, words_of(words)->flags);
    free(set);
}

/* The body of the task that has got a detached set. */
static int reap(void *arg)
{
    struct set *set = arg;

    /* A cancel of this task is none of theirs. */
    FILCH_SHIELD(FILCH_NEVER)
    (void)!filch_scope_join(&set->scope, FILCH_NEVER);
    tell_results(set);
    free(set);
    return 0;
}

int filch_join_set_detach_all(filch_join_set *words)
{
    struct set *set;
    int r;

    if (!words)
        return -EINVAL;
    set = inner_of(words);
    if (!set)
        return 0;
    r = filch_task_spawn(reap, set, &(filch_task_opts){.name = "detached join set"}, NULL);
    if (r == 0)
        filch_atomic_init(&words_of(words)->inner, NULL);
    return r;
}
