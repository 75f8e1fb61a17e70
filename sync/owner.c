/* See owner.h.
 *
 * Two tables under one lock: holds (who has what; found by lock, and by owner) and waits (who waits
 * for what; found by owner). An owner waits for one lock at a time. So the walk is
 *
 *     owner -> the lock it waits for -> each owner of that lock -> ...
 *
 * and a circle is one that comes back to where it began. It is looked for when a wait is noted,
 * under the table's lock: of those who close a circle, the last one finds it.
 *
 * Invariants:
 *   [true-edge]  a hold is noted after the lock was taken, and forgotten before it is given up, by
 *                its owner; a wait is noted under the lock's own lock by somebody who will not go
 *                on until a holder has left, and forgotten, by who hands over, before the waiter
 *                can be anybody's holder. So each edge that is found is there;
 *   [order]      the table's lock is taken with a lock's lock held, never the other way round.
 *
 * Not noted: waits with a limit, which end, and selects, which have other ways out. What does not
 * fit into the table, HOLDS at a time, is not known.
 */
#include "sync/owner.h"

#include <dlfcn.h>
#include <stdio.h>

#include "runtime/base/assert.h"
#include "runtime/base/log.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"

/* Its address is the thread's number: not in line, as the thread of a task changes. */
__attribute__((noinline)) static uint64_t thread_self(void)
{
    static _Thread_local char mark;
    char *address = &mark;

    __asm__ volatile("" : "+r"(address));
    return (uint64_t)(uintptr_t)address | 1;
}

uint64_t filch__owner_self(void)
{
    struct filch__task *task = filch__task_current();

    if (!task)
        return thread_self();
    return (uint64_t)(uintptr_t)task ^ filch__task_generation(task) << FILCH_TASK_GENERATION_SHIFT;
}

#if FILCH_ASSERTS >= 2

#define HOLDS 4096
#define BUCKETS 256

struct hold {
    struct filch__list by_lock;
    struct filch__list by_owner; /* or in the free list */
    uint64_t owner;
    const void *lock;
    const void *place;
};

static struct {
    filch_spinlock lock;
    bool is_ready;
    struct filch__list by_lock[BUCKETS];
    struct filch__list by_owner[BUCKETS];
    struct filch__list waits[BUCKETS]; /* by owner */
    struct filch__list free;
    struct hold holds[HOLDS];
    /* Holds noted: without any, a task's end looks no further. relaxed: the task's own are seen. */
    filch_atomic_u32 count;
} table;

static unsigned bucket_of(uint64_t key)
{
    return (unsigned)(key * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static void on_task_end(struct filch__task *task);

static void lock_table(void)
{
    filch_spinlock_lock(&table.lock);
    if (table.is_ready)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        filch__list_init(&table.by_lock[i]);
        filch__list_init(&table.by_owner[i]);
        filch__list_init(&table.waits[i]);
    }
    filch__list_init(&table.free);
    for (unsigned i = 0; i < HOLDS; i++) {
        filch__list_init(&table.holds[i].by_lock);
        filch__list_init(&table.holds[i].by_owner);
        filch__list_push_back(&table.free, &table.holds[i].by_owner);
    }
    filch_store_release(&filch__task_end_hook, (void *)(uintptr_t)on_task_end);
    table.is_ready = true;
}

static void unlock_table(void)
{
    filch_spinlock_unlock(&table.lock);
}

static struct filch__list *holds_of_lock(const void *lock)
{
    return &table.by_lock[bucket_of((uintptr_t)lock)];
}

static void add_locked(uint64_t owner, const void *lock, const void *place)
{
    struct filch__list *link = filch__list_pop_front(&table.free);
    struct hold *hold;

    if (!link)
        return;
    hold = filch_container_of(link, struct hold, by_owner);
    hold->owner = owner;
    hold->lock = lock;
    hold->place = place;
    filch__list_push_back(holds_of_lock(lock), &hold->by_lock);
    filch__list_push_back(&table.by_owner[bucket_of(owner)], &hold->by_owner);
    filch_fetch_add_relaxed(&table.count, 1);
}

static void remove_locked(struct hold *hold)
{
    filch__list_remove(&hold->by_lock);
    filch__list_remove(&hold->by_owner);
    filch__list_push_back(&table.free, &hold->by_owner);
    filch_fetch_sub_relaxed(&table.count, 1);
}

/* The next hold of @lock after @hold, or the first one. */
static struct hold *next_hold(const void *lock, struct hold *hold)
{
    struct filch__list *head = holds_of_lock(lock);
    struct filch__list *link = hold ? hold->by_lock.next : head->next;

    for (; link != head; link = link->next) {
        hold = filch_container_of(link, struct hold, by_lock);
        if (hold->lock == lock)
            return hold;
    }
    return NULL;
}

static struct hold *hold_of(const void *lock, uint64_t owner)
{
    struct hold *hold = NULL;

    while ((hold = next_hold(lock, hold)))
        if (hold->owner == owner)
            return hold;
    return NULL;
}

static struct filch__owner_wait *wait_of(uint64_t owner)
{
    struct filch__list *head = &table.waits[bucket_of(owner)];

    for (struct filch__list *link = head->next; link != head; link = link->next) {
        struct filch__owner_wait *wait = filch_container_of(link, struct filch__owner_wait, link);

        if (wait->self.owner == owner)
            return wait;
    }
    return NULL;
}

void filch__owner_took(const void *lock, const void *place)
{
    uint64_t self = filch__owner_self();

    lock_table();
    add_locked(self, lock, place);
    unlock_table();
}

void filch__owner_leaves(const void *lock)
{
    uint64_t self = filch__owner_self();
    struct hold *hold;
    bool is_others;

    lock_table();
    hold = hold_of(lock, self);
    is_others = !hold && next_hold(lock, NULL);
    if (hold)
        remove_locked(hold);
    unlock_table();
    if (is_others)
        filch__throw("a lock is given up by somebody who does not have it");
}

bool filch__owner_has(const void *lock)
{
    uint64_t self = filch__owner_self();
    bool has;

    lock_table();
    has = hold_of(lock, self) != NULL;
    unlock_table();
    return has;
}

/* Does whoever has what @edge waits for wait, at last, for @origin? The way is left in its circle.
 */
static bool leads_back(struct filch__owner_wait *origin, const struct filch__owner_edge *edge,
                       unsigned depth)
{
    struct hold *hold = NULL;

    if (depth == FILCH__OWNER_CIRCLE)
        return false;
    while ((hold = next_hold(edge->lock, hold))) {
        struct filch__owner_wait *next = NULL;

        if (hold->owner != origin->self.owner)
            next = wait_of(hold->owner);
        if (hold->owner != origin->self.owner &&
            (!next || !leads_back(origin, &next->self, depth + 1)))
            continue;
        origin->circle[depth] = *edge;
        origin->circle[depth].held_place = hold->place;
        if (origin->count < depth + 1)
            origin->count = depth + 1;
        return true;
    }
    return false;
}

int filch__owner_waits(struct filch__owner_wait *wait, const void *lock, const void *place)
{
    int r = 0;

    filch__list_init(&wait->link);
    wait->self = (struct filch__owner_edge){
        .owner = filch__owner_self(),
        .name = filch_task_name(NULL),
        .lock = lock,
        .place = place,
    };
    wait->count = 0;
    lock_table();
    if (leads_back(wait, &wait->self, 0))
        r = -EDEADLK;
    else
        filch__list_push_back(&table.waits[bucket_of(wait->self.owner)], &wait->link);
    unlock_table();
    return r;
}

void filch__owner_granted(struct filch__owner_wait *wait)
{
    lock_table();
    filch__list_remove(&wait->link);
    add_locked(wait->self.owner, wait->self.lock, wait->self.place);
    unlock_table();
}

void filch__owner_stops(struct filch__owner_wait *wait)
{
    lock_table();
    filch__list_remove(&wait->link);
    unlock_table();
}

/* As addr2line wants it, if the module is known. */
static void format_place(char *text, size_t bytes, const void *place)
{
    uintptr_t call = (uintptr_t)place - 1; /* not what follows it */
    Dl_info info;

    if (dladdr((const void *)call, &info) && info.dli_fname)
        snprintf(text, bytes, "%s+0x%zx", info.dli_fname, call - (uintptr_t)info.dli_fbase);
    else
        snprintf(text, bytes, "0x%zx", call);
}

void filch__owner_report(struct filch__owner_wait *wait, const char *what)
{
    char waits[160];
    char held[160];

    for (unsigned i = 0; i < wait->count; i++) {
        const struct filch__owner_edge *edge = &wait->circle[i];
        const struct filch__owner_edge *next = &wait->circle[(i + 1) % wait->count];

        format_place(waits, sizeof waits, edge->place);
        format_place(held, sizeof held, edge->held_place);
        filch__log(
            NULL, FILCH_LOG_ERROR,
            "deadlock (%u of %u): \"%s\" waits for the %s %p at %s, which \"%s\" has since %s",
            i + 1, wait->count, edge->name, i == 0 ? what : "lock", edge->lock, waits, next->name,
            held);
    }
}

/* Nobody will ever unlock what it has. */
static void on_task_end(struct filch__task *task)
{
    uint64_t self;
    struct filch__list *head;

    if (!filch_load_relaxed(&table.count))
        return;
    self = (uint64_t)(uintptr_t)task ^ filch__task_generation(task) << FILCH_TASK_GENERATION_SHIFT;
    head = &table.by_owner[bucket_of(self)];
    for (;;) {
        struct filch__list *link;
        struct hold *hold = NULL;
        const void *lock;
        const void *place;
        char text[160];

        lock_table();
        for (link = head->next; link != head; link = link->next) {
            hold = filch_container_of(link, struct hold, by_owner);
            if (hold->owner == self)
                break;
        }
        if (link == head) {
            unlock_table();
            return;
        }
        lock = hold->lock;
        place = hold->place;
        remove_locked(hold);
        unlock_table();
        format_place(text, sizeof text, place);
        filch__log(NULL, FILCH_LOG_ERROR,
                   "task \"%s\" has ended with the lock %p, which it took at %s",
                   task->flags & FILCH_TASK_NAMED ? task->name : "", lock, text);
    }
}

#endif
