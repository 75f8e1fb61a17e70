/* Calls that are shared: a hash table of the calls under way, each in the frame of who makes it.
 *
 *     leader                                   follower
 *     ------                                   --------
 *     lock; none with this key: link `call`    lock; found: link a waiter to it; unlock
 *     unlock; fn()                             wait
 *     lock; unlink; or, spoiled, hand on       woken with an outcome, or made the leader
 *     take the followers out; unlock           (gave up: lock; unlink itself; unlock)
 *     copy the value to each; wake it
 *
 * Handing on: the first follower's own frame takes the place of the leader's in the table, with its
 * key, and the other followers move over; then it is woken and makes the call itself.
 *
 * Invariants:
 *   [flight-frame] a call is reachable (in the table, or as a follower's) only while its leader is
 * in filch_flight(); the leader takes the lock to end it, and all followers out, before it leaves;
 *   [flight-move]  a follower that is still in a list finds it by its link alone: the lock is that
 * of its key's bucket, wherever it was moved to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/cancel.h>
#include <filch/flight.h>
#include <filch/task.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"
#include "sync/wait_list.h"

#define BUCKETS 256
/* Values up to here are made in the frame. */
#define SMALL_VALUE 256

struct bucket {
    filch_spinlock lock;
    struct filch__list calls;
};

struct filch_flights {
    size_t value_bytes;
    struct bucket buckets[BUCKETS];
};

/* A call under way, in the leader's frame. Guarded by the bucket's lock. */
struct call {
    struct filch__list link; /* not in the table: it was forgotten */
    struct filch__list followers;
    uint64_t hash;
    const void *key;
    size_t key_bytes;
    struct filch__task *task; /* who calls; NULL: a plain thread, or a job */
};

/* In the follower's frame; `waiter.data` is the follower. */
struct follower {
    struct filch__waiter waiter;
    struct call call; /* for when it is made the leader */
    void *value;      /* where it is wanted; or NULL */
    int result;
    bool leads;
};

/* FNV-1a */
static uint64_t hash_of(const void *key, size_t bytes)
{
    const unsigned char *p = key;
    uint64_t hash = 0xcbf29ce484222325;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * 0x100000001b3;
    return hash;
}

static struct bucket *bucket_of(filch_flights *flights, uint64_t hash)
{
    return &flights->buckets[(hash ^ (hash >> 32)) % BUCKETS];
}

static void call_init(struct call *call, const void *key, size_t key_bytes)
{
    filch__list_init(&call->link);
    filch__list_init(&call->followers);
    call->hash = hash_of(key, key_bytes);
    call->key = key;
    call->key_bytes = key_bytes;
    call->task = filch__task_current();
}

static struct call *find_locked(const struct bucket *bucket, const struct call *like)
{
    for (struct filch__list *link = bucket->calls.next; link != &bucket->calls; link = link->next) {
        struct call *call = filch_container_of(link, struct call, link);

        if (call->hash == like->hash && call->key_bytes == like->key_bytes &&
            (!like->key_bytes || memcmp(call->key, like->key, like->key_bytes) == 0))
            return call;
    }
    return NULL;
}

int filch_flights_new(size_t value_bytes, filch_flights **ret_flights)
{
    filch_flights *flights;

    if (!ret_flights)
        return -EINVAL;
    flights = malloc(sizeof *flights);
    if (!flights)
        return -ENOMEM;
    flights->value_bytes = value_bytes;
    for (unsigned i = 0; i < BUCKETS; i++) {
        filch_spinlock_init(&flights->buckets[i].lock);
        filch__list_init(&flights->buckets[i].calls);
    }
    *ret_flights = flights;
    return 0;
}

int filch_flights_free(filch_flights *flights)
{
    bool busy = false;

    if (!flights)
        return 0;
    for (unsigned i = 0; i < BUCKETS && !busy; i++) {
        filch_spinlock_lock(&flights->buckets[i].lock);
        busy = !filch__list_is_empty(&flights->buckets[i].calls);
        filch_spinlock_unlock(&flights->buckets[i].lock);
    }
    if (busy)
        return -EBUSY;
    free(flights);
    return 0;
}

/* ---- the leader ---- */

static struct follower *pop_follower_locked(struct call *call)
{
    struct filch__list *link = filch__list_pop_front(&call->followers);

    return link ? filch_container_of(link, struct follower, waiter.link) : NULL;
}

/* The call failed because its caller was stopped: the next one calls. Return: was there one? */
static bool hand_on(struct bucket *bucket, struct call *call)
{
    struct follower *heir;
    struct filch__list *link;

    filch_spinlock_lock(&bucket->lock);
    heir = pop_follower_locked(call);
    if (heir) {
        while ((link = filch__list_pop_front(&call->followers)))
            filch__list_push_back(&heir->call.followers, link); /* [flight-move] */
        if (!filch__list_is_empty(&call->link)) {
            filch__list_remove(&call->link);
            filch__list_push_back(&bucket->calls, &heir->call.link);
        }
        heir->leads = true;
    }
    filch_spinlock_unlock(&bucket->lock);
    if (heir)
        filch__waiter_wake(&heir->waiter);
    return heir != NULL;
}

static void give(struct call *call, struct bucket *bucket, int result, const void *value,
                 size_t value_bytes)
{
    struct follower *follower;

    filch_spinlock_lock(&bucket->lock);
    filch__list_remove(&call->link); /* which may be in none */
    filch_spinlock_unlock(&bucket->lock);
    /* Nobody joins any more; those who are there leave one by one, or give up meanwhile. */
    do {
        filch_spinlock_lock(&bucket->lock);
        follower = pop_follower_locked(call);
        filch_spinlock_unlock(&bucket->lock);
        if (!follower)
            break;
        if (result >= 0 && follower->value && value_bytes)
            memcpy(follower->value, value, value_bytes);
        follower->result = result;
        filch__waiter_wake(&follower->waiter);
    } while (true);
}

/* Makes the call. Return: 0, with its result; -EOVERFLOW. *ret_stopped: did it fail since the
 * caller was stopped? */
static int call_fn(filch_flight_fn fn, void *arg, void *value, filch_time until, int *ret_result,
                   bool *ret_stopped)
{
    struct filch__task *task = filch__task_current();
    bool has_deadline = task && filch__task_has_stack(task) && until != FILCH_NEVER;
    bool late = false;
    filch_block block;

    if (has_deadline) {
        int r = filch_deadline_begin(&block, until);

        if (r < 0)
            return r;
    }
    *ret_result = fn(arg, value);
    if (has_deadline)
        late = filch_block_end(&block) == -ETIMEDOUT;
    *ret_stopped = *ret_result < 0 && (late || filch_task_is_cancelled());
    if (late && *ret_result < 0)
        *ret_result = -ETIMEDOUT;
    return 0;
}

static int lead_with(filch_flights *flights, struct call *call, filch_flight_fn fn, void *arg,
                     void *value, void *ret_value, filch_time until)
{
    struct bucket *bucket = bucket_of(flights, call->hash);
    bool stopped = true;
    int result = 0;
    int r = call_fn(fn, arg, value, until, &result, &stopped);

    if (r < 0)
        result = r;
    if (!stopped || !hand_on(bucket, call))
        give(call, bucket, result, value, flights->value_bytes);
    if (result >= 0 && ret_value && flights->value_bytes)
        memcpy(ret_value, value, flights->value_bytes);
    return result;
}

static int lead(filch_flights *flights, struct call *call, filch_flight_fn fn, void *arg,
                void *ret_value, filch_time until)
{
    struct bucket *bucket = bucket_of(flights, call->hash);
    _Alignas(max_align_t) char small[SMALL_VALUE];
    void *value = small;
    int result;

    if (flights->value_bytes > SMALL_VALUE) {
        value = malloc(flights->value_bytes);
        if (!value) {
            if (!hand_on(bucket, call))
                give(call, bucket, -ENOMEM, NULL, 0);
            return -ENOMEM;
        }
    }
    memset(value, 0, flights->value_bytes);
    result = lead_with(flights, call, fn, arg, value, ret_value, until);
    if (value != small)
        free(value);
    return result;
}

/* ---- the follower ---- */

/* With the lock held on entry, and free on return. Return: 0: there is a result, or it leads;
 * -ETIMEDOUT; -ECANCELED. */
static int follow_unlock(struct bucket *bucket, struct call *call, struct follower *self,
                         filch_time until)
{
    int r;

    filch__waiter_init(&self->waiter, FILCH_WAIT_ONCE);
    filch__list_push_back(&call->followers, &self->waiter.link);
    filch_spinlock_unlock(&bucket->lock);
    r = filch__waiter_wait(&self->waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&bucket->lock);
        if (!filch__waiter_was_taken(&self->waiter)) {
            filch__list_remove(&self->waiter.link); /* [flight-move] */
            filch_spinlock_unlock(&bucket->lock);
            return r;
        }
        filch_spinlock_unlock(&bucket->lock);
        filch__waiter_wait_shielded(&self->waiter);
    }
    return 0;
}

int filch_flight(filch_flights *flights, const void *key, size_t key_bytes, filch_flight_fn fn,
                 void *arg, void *ret_value, bool *ret_shared, filch_time until)
{
    struct follower self = {.value = ret_value};
    struct bucket *bucket;
    struct call *call;
    int r;

    if (!flights || !fn || (!key && key_bytes))
        return -EINVAL;
    call_init(&self.call, key, key_bytes);
    bucket = bucket_of(flights, self.call.hash);
    filch_spinlock_lock(&bucket->lock);
    call = find_locked(bucket, &self.call);
    if (call && call->task && call->task == self.call.task) {
        filch_spinlock_unlock(&bucket->lock);
        return -EDEADLK;
    }
    if (call) {
        r = follow_unlock(bucket, call, &self, until);
        if (r < 0)
            return r;
    } else {
        filch__list_push_back(&bucket->calls, &self.call.link); /* [flight-frame] */
        filch_spinlock_unlock(&bucket->lock);
        self.leads = true;
    }
    if (ret_shared)
        *ret_shared = !self.leads;
    if (self.leads)
        return lead(flights, &self.call, fn, arg, ret_value, until);
    return self.result;
}

int filch_flight_forget(filch_flights *flights, const void *key, size_t key_bytes)
{
    struct bucket *bucket;
    struct call like;
    struct call *call;

    if (!flights || (!key && key_bytes))
        return -EINVAL;
    call_init(&like, key, key_bytes);
    bucket = bucket_of(flights, like.hash);
    filch_spinlock_lock(&bucket->lock);
    call = find_locked(bucket, &like);
    if (call)
        filch__list_remove(&call->link);
    filch_spinlock_unlock(&bucket->lock);
    return call ? 0 : -ENOENT;
}
