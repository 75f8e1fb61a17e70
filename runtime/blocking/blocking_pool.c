/* See blocking_pool.h. One queue under a mutex. A submit wakes an idle thread, or creates one while there are fewer than the cap; a thread
 * that runs out of jobs looks at the queue's length for 20 us (one thread at a time, and while that pays: a wake-up across cores costs more than
 * that), waits for keep_alive_ns, and ends. When a thread cannot be created the job waits for those that exist; only with none at
 * all is it refused.
 */
#include "runtime/blocking/blocking_pool.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include <filch/time.h>

#include "runtime/task/task.h"

#define SPIN_NS (20 * FILCH_MICROSECOND)
#define SPIN_SCORE_MAX 8
#define SPIN_RETRY 64
#define STACK_BYTES ((size_t)2 << 20)

static struct timespec to_timespec(filch_time when)
{
    struct timespec ts = {
        .tv_sec = (time_t)(when / FILCH_SECOND),
        .tv_nsec = (long)(when % FILCH_SECOND),
    };

    return ts;
}

/* Return: false when @until has passed. */
static bool wait_on(pthread_cond_t *cond, pthread_mutex_t *lock, filch_time until)
{
    struct timespec ts = to_timespec(until);

    if (until == FILCH_NEVER)
        return pthread_cond_wait(cond, lock) == 0;
    return pthread_cond_timedwait(cond, lock, &ts) != ETIMEDOUT;
}

static struct filch__task *pop_locked(struct filch__blocking_pool *pool)
{
    struct filch__task *job = pool->first;

    if (!job)
        return NULL;
    pool->first = job->next;
    filch_store_relaxed(&pool->queued, filch_load_relaxed(&pool->queued) - 1);
    return job;
}

/* Looks at the queue's length without the lock for a while. */
static void spin_unlocked(struct filch__blocking_pool *pool)
{
    filch_time end = filch_now() + SPIN_NS;

    while (!filch_load_relaxed(&pool->queued) && filch_now() < end)
        for (int i = 0; i < 16; i++)
            filch_cpu_relax();
}

static void spin_locked(struct filch__blocking_pool *pool)
{
    if (pool->spinning || pool->closing)
        return;
    if (pool->spin_score <= 0 && --pool->spin_score > -SPIN_RETRY)
        return;
    pool->spinning = 1;
    pthread_mutex_unlock(&pool->lock);
    spin_unlocked(pool);
    pthread_mutex_lock(&pool->lock);
    pool->spinning = 0;
    if (pool->first)
        pool->spin_score = SPIN_SCORE_MAX;
    else
        pool->spin_score = pool->spin_score < 0 ? 0 : pool->spin_score - 1;
}

/* The next job; NULL when the thread should end. */
static struct filch__task *next_locked(struct filch__blocking_pool *pool)
{
    filch_time until;

    if (!pool->first)
        spin_locked(pool);
    until = filch_after(pool->keep_alive_ns);
    while (!pool->first && !pool->closing) {
        bool in_time;

        pool->idle++;
        in_time = wait_on(&pool->work, &pool->lock, until);
        pool->idle--;
        if (!in_time && !pool->first)
            return NULL;
    }
    return pop_locked(pool);
}

static void *thread_main(void *arg)
{
    struct filch__blocking_pool *pool = arg;
    struct filch__task *job;

    pthread_setname_np(pthread_self(), "filch-blocking");
    pthread_mutex_lock(&pool->lock);
    while ((job = next_locked(pool))) {
        pthread_mutex_unlock(&pool->lock);
        pool->run(job);
        pthread_mutex_lock(&pool->lock);
    }
    pool->threads--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int create_thread(struct filch__blocking_pool *pool)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    int r;

    r = pthread_attr_init(&attr);
    if (r)
        return -r;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Signals go to the host's threads; faults stay where they happen. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&thread, &attr, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

int filch__blocking_pool_init(struct filch__blocking_pool *pool, unsigned max_threads, filch_time keep_alive_ns,
                              void (*run)(struct filch__task *job))
{
    pthread_condattr_t attr;

    if (!max_threads)
        return -EINVAL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, &attr);
    pthread_condattr_destroy(&attr);
    pool->first = NULL;
    pool->last = NULL;
    filch_atomic_init(&pool->queued, 0);
    pool->threads = 0;
    pool->idle = 0;
    pool->spinning = 0;
    pool->max_threads = max_threads;
    pool->spin_score = SPIN_SCORE_MAX;
    pool->closing = false;
    pool->keep_alive_ns = keep_alive_ns;
    pool->run = run;
    return 0;
}

int filch__blocking_pool_submit(struct filch__blocking_pool *pool, struct filch__task *job)
{
    uint32_t queued;
    int r = 0;

    pthread_mutex_lock(&pool->lock);
    queued = filch_load_relaxed(&pool->queued);
    if (pool->idle + pool->spinning <= queued && pool->threads < pool->max_threads) {
        r = create_thread(pool);
        if (r == 0)
            pool->threads++;
    }
    if (pool->threads == 0) {
        pthread_mutex_unlock(&pool->lock);
        return r < 0 ? r : -EAGAIN;
    }
    job->next = NULL;
    if (pool->first)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    filch_store_relaxed(&pool->queued, queued + 1);
    if (pool->idle && (queued || !pool->spinning))
        pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

unsigned filch__blocking_pool_threads(struct filch__blocking_pool *pool)
{
    unsigned n;

    pthread_mutex_lock(&pool->lock);
    n = pool->threads;
    pthread_mutex_unlock(&pool->lock);
    return n;
}

int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until)
{
    bool in_time = true;

    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads && in_time)
        in_time = wait_on(&pool->ended, &pool->lock, until);
    in_time = pool->threads == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!in_time)
        return -ETIMEDOUT;
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    return 0;
}
