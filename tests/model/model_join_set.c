/* Description: the list of results of a join set (sync/join_set.c): tasks that end, against those
 * that take, give up and abort; each result comes once, nobody waits for ever, and no entry is used
 * after it was freed. The scope is not here: its calls are made by hand. */
#include <errno.h>
#include <stdlib.h>

#include "tests/model/explore.h"

static void *model_alloc(size_t bytes);
static void model_free(void *object);

#define malloc(bytes) model_alloc(bytes)
#define free(object) model_free(object)
#define CANCEL_BATCH 1
#include "sync/join_set.c"
#include "sync/key_tree.c"
#undef malloc
#undef free

#define ENTRIES 3

static struct set inner;
static struct entry entries[ENTRIES];
static unsigned allocated; /* of entries */
static bool freed[ENTRIES];
static bool cancelled[ENTRIES];

static void *model_alloc(size_t bytes)
{
    if (bytes == sizeof inner)
        return &inner;
    xp_assert(bytes == sizeof(struct entry) && allocated < ENTRIES);
    freed[allocated] = false;
    return &entries[allocated++];
}

/* What is used after that goes astray. */
static void model_free(void *object)
{
    struct entry *entry = object;

    if (!entry)
        return;
    xp_assert(!freed[entry - entries]);
    filch_plain_write(&entry->result);
    freed[entry - entries] = true;
    entry->task = NULL;
    entry->running_link.next = entry->result_link.next = NULL;
}

/* ---- what join_set.c needs of the runtime ---- */

void filch__lost_tell_of(filch_runtime *rt, const filch_lost_error *lost)
{
    (void)rt;
    (void)lost;
}

struct filch__task *filch__task_current(void)
{
    return NULL;
}

void filch__coop(void)
{
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    (void)group;
    (void)winner;
    return true;
}

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    filch__list_init(&waiter->link);
    waiter->task = NULL;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

static bool is_woken(void *arg)
{
    return xp_peek(&((struct filch__waiter *)arg)->woken.location) != 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken))
        xp_block_until(is_woken, waiter);
    filch_plain_read(&waiter->data);
}

/* With a time: gives up whenever it is asked. */
int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    if (until != FILCH_NEVER)
        return filch_load_acquire(&waiter->woken) ? 0 : -ETIMEDOUT;
    filch__waiter_wait_shielded(waiter);
    return 0;
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    filch_plain_write(&waiter->data);
    filch_store_release(&waiter->woken, 1);
}

void filch__waiter_wake_back(struct filch__waiter *waiter)
{
    filch__waiter_wake(waiter);
}

/* Handles are the entries' numbers, and one. */
int filch_task_cancel(filch_task *task)
{
    uintptr_t number = (uintptr_t)task;

    xp_assert(number >= 1 && number <= ENTRIES);
    cancelled[number - 1] = true;
    return 0;
}

filch_runtime *filch_runtime_self(void)
{
    return NULL;
}

int filch_task_spawn(filch_fn fn, void *arg, const filch_task_opts *opts, filch_task **ret_task)
{
    (void)fn;
    (void)arg;
    (void)opts;
    (void)ret_task;
    return -EPERM;
}

void filch__task_abort(struct filch__task *task)
{
    (void)task;
}

void filch_scope_init(filch_scope *scope, unsigned flags)
{
    (void)scope;
    (void)flags;
}

int filch_scope_limit(filch_scope *scope, unsigned limit)
{
    (void)scope;
    (void)limit;
    return 0;
}

int filch_scope_join(filch_scope *scope, filch_time until)
{
    (void)scope;
    (void)until;
    return 0;
}

int filch_scope_cancel_join(filch_scope *scope)
{
    (void)scope;
    return 0;
}

void filch__scope_watch(filch_scope *scope, struct filch__waiter *(*ended)(void *arg))
{
    (void)scope;
    (void)ended;
}

int filch__scope_child_new(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts,
                           void *place, struct filch__task **ret_task)
{
    (void)scope;
    (void)fn;
    (void)arg;
    (void)opts;
    (void)place;
    (void)ret_task;
    return -EPERM;
}

int filch__scope_child_start(filch_scope *scope, struct filch__task *task, bool wait,
                             filch_time until)
{
    (void)scope;
    (void)task;
    (void)wait;
    (void)until;
    return -EPERM;
}

int filch_shield_begin(filch_block *block, filch_time time)
{
    (void)block;
    (void)time;
    return 0;
}

int filch_block_end(filch_block *block)
{
    (void)block;
    return 0;
}

/* ---- the models ---- */

static union {
    filch_join_set set;
    struct set_words words; /* larger here */
} frame;

static int taken[ENTRIES + 1]; /* by key */
static unsigned last_key;
static unsigned empty;

static int body(void *arg)
{
    (void)arg;
    return 7;
}

static void reset(unsigned flags, unsigned count)
{
    struct set *set = &inner;

    allocated = 0;
    filch_join_set_init(&frame.set, flags);
    inner_init(set, &frame.words);
    filch_atomic_init(&frame.words.inner, set);
    for (unsigned i = 0; i < count; i++) {
        struct entry *entry;

        xp_assert(entry_new(set, i + 1, body, NULL, 0, &entry) == 0);
        entry->task = (filch_task *)(uintptr_t)(i + 1);
        xp_assert(link_locked(set, entry) == 0);
        taken[i + 1] = 0;
        cancelled[i] = false;
    }
    last_key = 0;
    empty = 0;
}

static void reset_one(void)
{
    reset(0, 1);
}

static void reset_two(void)
{
    reset(0, 2);
}

static void reset_three(void)
{
    reset(0, 3);
}

static void reset_ordered(void)
{
    reset(FILCH_JOIN_SET_ORDERED, 2);
}

static void reset_bare(void)
{
    filch_join_set_init(&frame.set, 0);
}

static void make(void)
{
    struct set *set;

    filch_plain_write(&inner.flags);
    xp_assert(make_inner(&frame.set, &set) == 0);
}

static void look_inside(void)
{
    struct set *set = inner_of(&frame.set);

    if (set)
        filch_plain_read(&set->flags);
}

static void end_entry(unsigned i)
{
    filch_plain_write(&entries[i].result);
    entries[i].result = run_entry(&entries[i]) == FILCH__SCOPE_WATCHED ? entries[i].result : -1;
    for (struct filch__waiter *waiter = task_ended(&entries[i]), *after; waiter; waiter = after) {
        after = waiter->data;
        filch__waiter_wake(waiter);
    }
}

static void first_ends(void)
{
    end_entry(0);
}

static void second_ends(void)
{
    end_entry(1);
}

static void first_is_withdrawn(void)
{
    withdraw(&inner, &entries[0]);
}

static int take(filch_time until)
{
    uint64_t key = 0;
    int result = 0;
    int r = filch_join_set_next(&frame.set, &result, &key, until);

    if (r == 0) {
        xp_assert(result == 7 && key >= 1 && key <= ENTRIES);
        xp_assert(!taken[key]);
        taken[key] = 1;
        last_key = (unsigned)key;
    }
    empty += r == -ENOENT;
    return r;
}

static void take_one(void)
{
    (void)take(FILCH_NEVER);
}

static void take_two(void)
{
    xp_assert(take(FILCH_NEVER) == 0);
    xp_assert(take(FILCH_NEVER) == 0);
    xp_assert(take(FILCH_NEVER) == -ENOENT);
}

static void take_in_order(void)
{
    take_two();
    xp_assert(last_key == 2);
}

static void try_to_take(void)
{
    (void)take(FILCH_NOW);
}

static void abort_first(void)
{
    int r = filch_join_set_abort(&frame.set, 1);

    xp_assert(r == 0 ? cancelled[0] : r == -ENOENT);
}

static void abort_all(void)
{
    xp_assert(filch_join_set_abort_all(&frame.set) == 0);
}

static void check_both_taken(void)
{
    xp_assert(taken[1] && taken[2] && freed[0] && freed[1]);
    xp_assert(inner.len == 0 && inner.run == 0 && !inner.keys);
}

static void check_taken(void)
{
    xp_assert(taken[1] && freed[0] && inner.len == 0);
}

static void check_made(void)
{
    xp_assert(xp_peek(&frame.words.inner.location) != 0);
}

/* One of the two takers got it, the other one was told that there is nothing. */
static void check_one_each(void)
{
    xp_assert(taken[1] && empty == 1 && freed[0] && inner.len == 0);
}

/* Whatever the one who gave up did, the result is there or was taken. */
static void check_not_lost(void)
{
    xp_assert(taken[1] + (int)inner.len == 1);
    if (inner.len)
        xp_assert(take_locked(&inner) == &entries[0]);
    xp_assert(filch__list_is_empty(&inner.waiters));
}

static void check_withdrawn(void)
{
    xp_assert(empty == 1 && inner.len == 0 && filch__list_is_empty(&inner.waiters));
}

static void check_aborted(void)
{
    xp_assert(cancelled[1] && cancelled[2] && inner.run == 2);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two end, one takes",
         3,
         {first_ends, second_ends, take_two},
         reset_two,
         check_both_taken,
         3,
         false},
        {"two end, one takes in order",
         3,
         {first_ends, second_ends, take_in_order},
         reset_ordered,
         check_both_taken,
         3,
         false},
        {"one ends, two take",
         3,
         {first_ends, take_one, take_one},
         reset_one,
         check_one_each,
         3,
         false},
        {"one ends, one gives up",
         2,
         {first_ends, try_to_take},
         reset_one,
         check_not_lost,
         -1,
         false},
        {"ends, is taken, is aborted",
         3,
         {first_ends, take_one, abort_first},
         reset_one,
         check_taken,
         3,
         false},
        {"was never started",
         2,
         {first_is_withdrawn, take_one},
         reset_one,
         check_withdrawn,
         -1,
         false},
        {"two abort all, one ends",
         3,
         {abort_all, abort_all, first_ends},
         reset_three,
         check_aborted,
         2,
         false},
        {"the first spawn, seen from elsewhere",
         2,
         {make, look_inside},
         reset_bare,
         check_made,
         -1,
         false},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
