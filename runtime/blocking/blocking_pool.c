/* The blocking pool: jobs come in, threads are woken and created, all ends. What a thread does is
 * in blocking_thread.c, the queue in job_queue.h; their essays come first.
 *
 * Creation may fail, for want of memory or of threads (EAGAIN). The first thread is created before
 * the first job is accepted, and one always stays: so a job that was accepted has a thread that
 * will look again after its present job. Creation is tried again at each push and look that finds
 * nobody, but not within a millisecond.
 *
 * A thread is created and woken after the lock was released, and counts as looking from before
 * that: so nobody else is called in its stead. */
#include "runtime/blocking/blocking_thread.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <filch/time.h>

#include "runtime/base/futex.h"
#include "runtime/sched/thread.h"

#define STACK_BYTES ((size_t)2 << 20)
#define CREATE_AGAIN_NS FILCH_MILLISECOND

void filch__blocking_mark_locked(struct filch__blocking_thread *thread, filch_time now)
{
    thread->mark_time = now;
    thread->mark_taken = thread->pool->jobs.taken;
}

void filch__blocking_call_locked(struct filch__blocking_pool *pool,
                                 struct filch__blocking_calls *calls)
{
    if (!filch__list_is_empty(&pool->idle)) {
        struct filch__blocking_thread *thread =
            filch_container_of(pool->idle.prev, struct filch__blocking_thread, link);

        filch__list_remove(&thread->link);
        filch__blocking_mark_locked(thread, filch_now());
        filch_store_relaxed(&thread->wake, 1); /* it looks at the pool under the lock */
        calls->wake[calls->wakes++] = thread;
    } else if (pool->threads + pool->creating < pool->opts.threads_max &&
               (!pool->create_again || filch_now() >= pool->create_again)) {
        pool->creating++;
        calls->creates++;
    } else {
        return;
    }
    filch__job_look(&pool->jobs);
}

static int start_thread(struct filch__blocking_thread *thread)
{
    pthread_attr_t attr;
    pthread_t id;
    int r = pthread_attr_init(&attr);

    if (r)
        return -r;
    pthread_attr_setstacksize(&attr, thread->pool->opts.stack_bytes);
    r = filch__thread_create(&id, &attr, filch__blocking_thread_main, thread);
    pthread_attr_destroy(&attr);
    return r;
}

/* Makes a thread that `creating` and `lookers` count already. */
static int create_thread(struct filch__blocking_pool *pool)
{
    struct filch__blocking_thread *thread = calloc(1, sizeof *thread);
    int r;

    if (!thread)
        return -ENOMEM;
    thread->pool = pool;
    filch__list_init(&thread->link);
    filch_atomic_init(&thread->wake, 0);
    filch__blocking_lock(pool);
    filch__blocking_mark_locked(thread, filch_now());
    filch__blocking_unlock(pool);
    r = start_thread(thread);
    if (r < 0)
        free(thread);
    return r;
}

/* Uncounts a thread that could not be created. In its stead a parked one may look, which had parked
 * because of it. */
static void create_failed(struct filch__blocking_pool *pool, struct filch__blocking_calls *calls)
{
    filch__blocking_lock(pool);
    pool->creating--;
    pool->create_again = filch_after(CREATE_AGAIN_NS);
    if (filch__job_look_away(&pool->jobs) && !filch__list_is_empty(&pool->idle))
        filch__blocking_call_locked(pool, calls);
    filch_fetch_add_release(&pool->ended, 1);
    filch__blocking_unlock(pool);
    filch__futex_wake(&pool->ended, INT_MAX); /* only the address is used */
}

void filch__blocking_make_calls(struct filch__blocking_pool *pool,
                                struct filch__blocking_calls *calls)
{
    while (calls->creates || calls->wakes) {
        /* The thread may have ended meanwhile: only the address is used. */
        while (calls->wakes)
            filch__futex_wake(&calls->wake[--calls->wakes]->wake, 1);
        if (calls->creates) {
            calls->creates--;
            if (create_thread(pool) < 0)
                create_failed(pool, calls);
        }
    }
}

int filch__blocking_pool_init(struct filch__blocking_pool *pool,
                              const struct filch__blocking_opts *opts)
{
    size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);

    if (!opts->threads_max || (opts->stack_bytes && opts->stack_bytes < least))
        return -EINVAL;
    filch__job_queue_init(&pool->jobs, opts->threads_max);
    pool->opts = *opts;
    if (!pool->opts.stack_bytes)
        pool->opts.stack_bytes = STACK_BYTES;
    pool->threads = 0;
    pool->numbered = 0;
    pool->creating = 0;
    filch__list_init(&pool->idle);
    pool->watcher = NULL;
    pool->spinning = false;
    pool->spin_score = FILCH__BLOCKING_SPIN_SCORE;
    pool->closing = false;
    pool->create_again = 0;
    pool->last_ended = NULL;
    filch_atomic_init(&pool->ended, 0);
    filch_atomic_init(&pool->started, 0);
    pthread_mutex_init(&pool->start_lock, NULL);
    /* One thread is kept for these jobs whatever other classes do. */
    return filch__job_class_add(&pool->jobs, "default", 0, 1, 0);
}

/* The first thread: without it no job is accepted. */
static int start_pool(struct filch__blocking_pool *pool)
{
    int r = 0;

    pthread_mutex_lock(&pool->start_lock);
    if (!filch_load_relaxed(&pool->started)) { /* the mutex orders */
        filch__blocking_lock(pool);
        pool->creating++;
        filch__job_look(&pool->jobs);
        filch__blocking_unlock(pool);
        r = create_thread(pool);
        if (r < 0) {
            filch__blocking_lock(pool);
            pool->creating--;
            (void)filch__job_look_away(&pool->jobs); /* nothing was ever pushed */
            filch__blocking_unlock(pool);
        } else {
            filch_store_release(&pool->started, 1); /* [pool-started] */
        }
    }
    pthread_mutex_unlock(&pool->start_lock);
    return r < 0 ? -EAGAIN : 0;
}

int filch__blocking_pool_submit(struct filch__blocking_pool *pool, unsigned class,
                                struct filch__task *job)
{
    struct filch__blocking_calls calls = {0};
    int r;

    if (!filch_load_acquire(&pool->started) && (r = start_pool(pool)) < 0) /* [pool-started] */
        return r;
    r = filch__job_push(&pool->jobs, class, job);
    if (r <= 0)
        return r;
    filch__blocking_lock(pool);
    if (!pool->jobs.lookers && filch__job_is_ready(&pool->jobs))
        filch__blocking_call_locked(pool, &calls);
    filch__blocking_unlock(pool);
    filch__blocking_make_calls(pool, &calls);
    return 0;
}

void filch__blocking_pool_numbers(struct filch__blocking_pool *pool,
                                  struct filch__blocking_numbers *ret_numbers)
{
    filch__blocking_lock(pool);
    ret_numbers->threads = pool->threads;
    ret_numbers->running = pool->jobs.running;
    filch__blocking_unlock(pool);
    ret_numbers->queued = filch__jobs_queued(&pool->jobs);
}

/* Sends all parked threads to look, and then to end. */
static void close_locked(struct filch__blocking_pool *pool)
{
    pool->closing = true;
    while (!filch__list_is_empty(&pool->idle)) {
        struct filch__blocking_calls calls = {0};

        filch__blocking_call_locked(pool, &calls);
        filch__blocking_unlock(pool);
        filch__blocking_make_calls(pool, &calls);
        filch__blocking_lock(pool);
    }
}

int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until)
{
    bool in_time = true;
    unsigned left;

    filch__blocking_lock(pool);
    close_locked(pool);
    while ((left = pool->threads + pool->creating) && in_time) {
        uint32_t ended = filch_load_relaxed(&pool->ended); /* written under the lock */

        filch__blocking_unlock(pool);
        in_time = filch__futex_wait(&pool->ended, ended, until) == 0;
        filch__blocking_lock(pool);
    }
    filch__blocking_unlock(pool);
    if (left)
        return -ETIMEDOUT;
    if (pool->last_ended) {
        pthread_join(pool->last_ended->id, NULL); /* [ended] */
        free(pool->last_ended);
    }
    pthread_mutex_destroy(&pool->start_lock);
    return 0;
}
