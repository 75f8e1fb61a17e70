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
 */
#include <filch/local.h>

#include <errno.h>
#include <stdlib.h>

#include "runtime/base/atomic.h"
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
    struct filch__task *task = filch__task_current();

    return task ? task : filch__blocking_self();
}

/* Room for one more. Return: NULL: no memory. */
static struct filch__locals *make_room(struct filch__task *task)
{
    struct filch__locals *old = task->extras & FILCH_EXTRA_LOCALS ? task->locals : NULL;
    struct filch__locals *locals;
    uint32_t room;

    if (old && old->count < old->room)
        return old;
    room = old ? 2 * old->room : ROOM_FIRST;
    locals = realloc(old, sizeof *locals + room * sizeof locals->entry[0]);
    if (!locals)
        return NULL;
    locals->room = room;
    if (!old) {
        locals->count = 0;
        locals->inheritable = 0;
        for (int i = 0; i < BUCKETS; i++)
            locals->bucket[i] = NO_ENTRY;
    }
    task->locals = locals;
    task->extras |= FILCH_EXTRA_LOCALS;
    return locals;
}

static int push(struct filch__task *task, uint64_t key, void *value, void (*fn)(void *),
                void *(*inherit)(void *))
{
    struct filch__locals *locals = make_room(task);
    struct entry *entry;

    if (!locals)
        return -ENOMEM;
    entry = &locals->entry[locals->count];
    *entry =
        (struct entry){.key = key, .value = value, .fn = fn, .inherit = inherit, .older = NO_ENTRY};
    if (key) {
        entry->older = locals->bucket[key % BUCKETS];
        locals->bucket[key % BUCKETS] = locals->count;
    }
    locals->count++;
    locals->inheritable += inherit != NULL;
    return 0;
}

static struct entry *find(const struct filch__task *task, uint64_t key)
{
    struct filch__locals *locals = task->locals;
    uint32_t i;

    if (!(task->extras & FILCH_EXTRA_LOCALS))
        return NULL;
    for (i = locals->bucket[key % BUCKETS]; i != NO_ENTRY; i = locals->entry[i].older)
        if (locals->entry[i].key == key)
            return &locals->entry[i];
    return NULL;
}

void filch__locals_end(struct filch__task *task)
{
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
}

int filch__task_defer(struct filch__task *task, void (*fn)(void *arg), void *arg)
{
    return push(task, 0, arg, fn, NULL);
}

int filch__locals_inherit(const struct filch__task *self, struct filch__task *child)
{
    uint32_t left = self->locals->inheritable;

    for (uint32_t i = 0; left; i++) {
        const struct entry *entry = &self->locals->entry[i];
        void *value;

        if (!entry->inherit)
            continue;
        left--;
        value = entry->value ? entry->inherit(entry->value) : NULL;
        if (value && push(child, entry->key, value, entry->fn, entry->inherit) < 0) {
            if (entry->fn)
                entry->fn(value);
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
    struct entry *entry;

    if (!key)
        return -EINVAL;
    if (!task)
        return -EPERM;
    entry = find(task, number_of(key_of(key)));
    if (!entry)
        return push(task, number_of(key_of(key)), value, key->destroy, key->inherit);
    entry->value = value;
    return 0;
}

void *filch_local_get(const filch_local *key)
{
    struct filch__task *task = self();
    struct entry *entry;

    if (!key || !task)
        return NULL;
    entry = find(task, filch_load_relaxed(&key_of(key)->number));
    return entry ? entry->value : NULL;
}

int filch_task_defer(void (*fn)(void *arg), void *arg)
{
    struct filch__task *task = self();

    if (!fn)
        return -EINVAL;
    return task ? filch__task_defer(task, fn, arg) : -EPERM;
}
