/* Task-locals and deferred calls: one stack of entries per task, allocated when the first is
 * pushed.
 *
 *     task->locals -> [ count | room | bucket[8] | entry 0 | entry 1 | ... ]
 *                                       |             ^
 *                                       +-- newest of its keys, linked by `older`
 *
 * A deferred call is an entry without a key. Entries are only pushed and popped, so the newest
 * entry with a key is always the first of its bucket: popping it is one store. Keys have numbers
 * that are never used twice (a freed key's successor at the same address is another key), given
 * when a key is first set; numbers are consecutive, so with up to eight keys each has a bucket of
 * its own.
 *
 * Only the task itself touches its stack, and before it is queued its spawner, who gives it what is
 * inherited. `extras` in the block's first line, which the end of a body reads anyway, says whether
 * there is one.
 *
 * Forks use the stack of the task that they are a part of, perhaps at the same time, while it has a
 * fork stack: then a lock in there guards it, and a bit there says whether there is one. What is
 * allocated or called is so without the lock; entries only come, until the body has returned.
 */
#include <filch/local.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/atomic.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

#define BUCKETS 8
#define ROOM_FIRST 4
#define NO_ENTRY UINT32_MAX

struct entry {
    uint64_t key; /* 0: a deferred call */
    void *value;  /* or the argument */
    void (*fn)(void *);
    void *(*inherit)(void *value); /* NULL: it is not inherited */
    uint32_t older;                /* in the bucket */
};

struct filch__locals {
    uint32_t count;
    uint32_t room;
    uint32_t inheritable; /* entries with `inherit` */
    uint32_t bucket[BUCKETS];
    struct entry entry[];
};

/* What the public struct is. */
struct local_key {
    void (*destroy)(void *value);
    /* 0: not used yet. Written once, by whoever sets it first; relaxed, because it is only a number
     * and each task looks up what it has stored itself. */
    filch_atomic_u64 number;
    void *(*inherit)(void *value);
};

_Static_assert(sizeof(struct local_key) == sizeof(filch_local), "the private word is the number");

static filch_atomic_u64 last_number;

static struct local_key *key_of(const filch_local *key)
{
    return (struct local_key *)(uintptr_t)key;
}

static uint64_t number_of(struct local_key *key)
{
    uint64_t number = filch_load_relaxed(&key->number);
    uint64_t fresh;

    if (number)
        return number;
    fresh = filch_fetch_add_relaxed(&last_number, 1) + 1;
    return filch_cas_acq_rel(&key->number, &number, fresh) ? fresh : number;
}

static struct filch__task *self(void)
{
    struct filch__task *task = filch__fork_root(filch__task_current());

    return task ? task : filch__blocking_owner();
}

static void lock(struct filch__fork_locals *guard)
{
    if (guard)
        filch_spinlock_lock(&guard->lock);
}

static void unlock(struct filch__fork_locals *guard)
{
    if (guard)
        filch_spinlock_unlock(&guard->lock);
}

/* NULL: it has none. */
static struct filch__locals *locals_of(const struct filch__task *task,
                                       const struct filch__fork_locals *guard)
{
    bool any = guard ? guard->any : (task->extras & FILCH_EXTRA_LOCALS) != 0;

    return any ? task->locals : NULL;
}

static void set_locals(struct filch__task *task, struct filch__fork_locals *guard,
                       struct filch__locals *locals)
{
    task->locals = locals;
    if (guard)
        guard->any = true;
    else
        task->extras |= FILCH_EXTRA_LOCALS;
}

static struct filch__locals *copy_with_room(const struct filch__locals *old,
                                            struct filch__locals *fresh, uint32_t room)
{
    fresh->count = 0;
    fresh->inheritable = 0;
    for (int i = 0; i < BUCKETS; i++)
        fresh->bucket[i] = NO_ENTRY;
    if (old)
        memcpy(fresh, old, sizeof *old + old->count * sizeof old->entry[0]);
    fresh->room = room;
    return fresh;
}

/* Room for one more, locked, but the lock is given up meanwhile. Return: NULL: no memory. */
static struct filch__locals *make_room_locked(struct filch__task *task,
                                              struct filch__fork_locals *guard)
{
    struct filch__locals *locals, *fresh;

    while (!(locals = locals_of(task, guard)) || locals->count == locals->room) {
        uint32_t room = locals ? 2 * locals->room : ROOM_FIRST;

        unlock(guard);
        fresh = malloc(sizeof *fresh + room * sizeof fresh->entry[0]);
        lock(guard);
        if (!fresh)
            return NULL;
        /* Another fork may have been faster; a larger one is not at the same address then, as the
         * old one is freed after it was made. */
        if (locals_of(task, guard) == locals) {
            set_locals(task, guard, copy_with_room(locals, fresh, room));
            fresh = locals;
        }
        unlock(guard);
        free(fresh);
        lock(guard);
    }
    return locals;
}

static int push_locked(struct filch__task *task, struct filch__fork_locals *guard,
                       struct entry fresh)
{
    struct filch__locals *locals = make_room_locked(task, guard);
    struct entry *entry;

    if (!locals)
        return -ENOMEM;
    entry = &locals->entry[locals->count];
    *entry = fresh;
    entry->older = NO_ENTRY;
    if (fresh.key) {
        entry->older = locals->bucket[fresh.key % BUCKETS];
        locals->bucket[fresh.key % BUCKETS] = locals->count;
    }
    locals->count++;
    locals->inheritable += fresh.inherit != NULL;
    return 0;
}

static int push(struct filch__task *task, struct filch__fork_locals *guard, struct entry fresh)
{
    int r;

    lock(guard);
    r = push_locked(task, guard, fresh);
    unlock(guard);
    return r;
}

static struct entry *find_locked(const struct filch__task *task,
                                 const struct filch__fork_locals *guard, uint64_t key)
{
    struct filch__locals *locals = locals_of(task, guard);
    uint32_t i;

    if (!locals)
        return NULL;
    for (i = locals->bucket[key % BUCKETS]; i != NO_ENTRY; i = locals->entry[i].older)
        if (locals->entry[i].key == key)
            return &locals->entry[i];
    return NULL;
}

void filch__locals_end(struct filch__task *task)
{
    struct filch__fork_locals *guard;

    /* Anew each time: what is called may push, and so move the stack. */
    while (task->locals->count) {
        struct filch__locals *locals = task->locals;
        struct entry entry = locals->entry[--locals->count];

        locals->inheritable -= entry.inherit != NULL;
        if (entry.key)
            locals->bucket[entry.key % BUCKETS] = entry.older;
        if (entry.fn && (!entry.key || entry.value))
            entry.fn(entry.value);
    }
    free(task->locals);
    task->extras &= ~(uint32_t)FILCH_EXTRA_LOCALS;
    guard = filch__fork_locals(task); /* of a destructor that forks */
    if (guard)
        guard->any = false;
}

int filch__task_defer(struct filch__task *task, void (*fn)(void *arg), void *arg)
{
    return push(task, filch__fork_locals(task), (struct entry){.fn = fn, .value = arg});
}

/* The next inheritable entry from *@i on. Return: is there one? */
static bool next_inheritable(const struct filch__task *task, struct filch__fork_locals *guard,
                             uint32_t *i, struct entry *ret_entry)
{
    struct filch__locals *locals;
    bool found = false;

    lock(guard);
    locals = locals_of(task, guard);
    if (locals && locals->inheritable)
        for (; *i < locals->count && !found; ++*i)
            if (locals->entry[*i].inherit) {
                *ret_entry = locals->entry[*i];
                found = true;
            }
    unlock(guard);
    return found;
}

int filch__locals_inherit(struct filch__task *self, struct filch__task *child)
{
    struct filch__task *root = filch__fork_root(self);
    struct filch__fork_locals *guard = filch__fork_locals(root);
    struct entry entry;
    uint32_t i = 0;

    while (next_inheritable(root, guard, &i, &entry)) {
        entry.value = entry.value ? entry.inherit(entry.value) : NULL;
        if (entry.value && push(child, NULL, entry) < 0) {
            if (entry.fn)
                entry.fn(entry.value);
            return -ENOMEM;
        }
    }
    return 0;
}

int filch_local_new(void (*destroy)(void *value), filch_local **ret_key)
{
    return filch_local_new_inherited(destroy, NULL, ret_key);
}

int filch_local_new_inherited(void (*destroy)(void *value), void *(*inherit)(void *value),
                              filch_local **ret_key)
{
    filch_local *key;

    if (!ret_key)
        return -EINVAL;
    key = malloc(sizeof *key);
    if (!key)
        return -ENOMEM;
    *key = (filch_local)FILCH_LOCAL_INHERITED_INIT(destroy, inherit);
    *ret_key = key;
    return 0;
}

void filch_local_free(filch_local *key)
{
    free(key);
}

int filch_local_set(filch_local *key, void *value)
{
    struct filch__task *task = self();
    struct filch__fork_locals *guard;
    struct entry *entry;
    uint64_t number;
    int r = 0;

    if (!key)
        return -EINVAL;
    if (!task)
        return -EPERM;
    number = number_of(key_of(key));
    guard = filch__fork_locals(task);
    lock(guard);
    entry = find_locked(task, guard, number);
    if (entry)
        entry->value = value;
    else
        r = push_locked(task, guard,
                        (struct entry){number, value, key->destroy, key->inherit, NO_ENTRY});
    unlock(guard);
    return r;
}

void *filch_local_get(const filch_local *key)
{
    struct filch__task *task = self();
    struct filch__fork_locals *guard;
    struct entry *entry;
    void *value;

    if (!key || !task)
        return NULL;
    guard = filch__fork_locals(task);
    lock(guard);
    entry = find_locked(task, guard, filch_load_relaxed(&key_of(key)->number));
    value = entry ? entry->value : NULL;
    unlock(guard);
    return value;
}

int filch_task_defer(void (*fn)(void *arg), void *arg)
{
    struct filch__task *task = self();

    if (!fn)
        return -EINVAL;
    return task ? filch__task_defer(task, fn, arg) : -EPERM;
}
