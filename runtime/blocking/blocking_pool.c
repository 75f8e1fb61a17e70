/* See blocking_pool.h. One queue under a mutex: a blocking job costs a system call at least, so the
 * lock is not what counts. A submit wakes an idle thread, or creates one while there are fewer than
 * the cap. A thread that runs out of jobs
 *
 *     run --no job--> spin 20 us --> wait keep_alive_ns --> end (not the last one)
 *
 * and spins only if nobody else does and while that pays: a wake-up across cores costs more than a
 * short spin.
 *
 * Invariants, under the lock:
 *   [served]  there are jobs without a free thread only if the cap is reached or the last creation
 * failed; a thread ends only when the queue is empty. So with one thread at least, each job runs.
 *   [ended]   a thread that ends joins the one that ended before it, and fini joins the last: when
 * fini has returned, no thread of the pool runs any code. At most one thread that ended is not
 * joined yet.
 *
 * Threads are created under the lock, which makes "no thread and none can be created" exact:
 * otherwise a job could be accepted because of a thread that then cannot be created.
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
    /* relaxed: the job itself is passed on under the lock; the count is a hint for the spinning
     * thread. */
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
        if (in_time || pool->first)
            continue;
        if (pool->threads > 1)
            return NULL;
        until = FILCH_NEVER; /* the last one stays */
    }
    return pop_locked(pool);
}

/* The thread's last access to the pool; unlocks. [ended] */
static void end_thread_locked(struct filch__blocking_pool *pool)
{
    bool has_earlier = pool->has_last_ended;
    pthread_t earlier = pool->last_ended;

    pool->has_last_ended = true;
    pool->last_ended = pthread_self();
    if (--pool->threads == 0)
        pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    if (has_earlier)
        pthread_join(earlier, NULL);
}

static void *thread_main(void *arg)
{
    struct filch__blocking_pool *pool = arg;
    struct filch__task *job;

    pthread_setname_np(pthread_self(), "filch-blocking");
    pthread_mutex_lock(&pool->lock);
    pool->starting--;
    while ((job = next_locked(pool))) {
        pthread_mutex_unlock(&pool->lock);
        pool->run(job);
        pthread_mutex_lock(&pool->lock);
    }
    end_thread_locked(pool);
    return NULL;
}

/* Signals go to the host's threads; those that a fault raises stay where it happens. */
static void block_signals(sigset_t *ret_old)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t set;

    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, ret_old);
}

/* A new thread inherits the mask of its creator. */
static int create_thread_locked(struct filch__blocking_pool *pool)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t old;
    int r;

    r = pthread_attr_init(&attr);
    if (r)
        return -r;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    block_signals(&old);
    r = pthread_create(&thread, &attr, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (r)
        return -r;
    pool->threads++;
    pool->starting++;
    return 0;
}

int filch__blocking_pool_init(struct filch__blocking_pool *pool, unsigned max_threads,
                              filch_time keep_alive_ns, void (*run)(struct filch__task *job))
{
    pthread_condattr_t attr;

    if (!max_threads)
        return -EINVAL;
    *pool = (struct filch__blocking_pool){
        .max_threads = max_threads,
        .spin_score = SPIN_SCORE_MAX,
        .keep_alive_ns = keep_alive_ns,
        .run = run,
    };
    filch_atomic_init(&pool->queued, 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, &attr);
    pthread_condattr_destroy(&attr);
    return 0;
}

/* [served] */
static void grow_locked(struct filch__blocking_pool *pool, uint32_t queued)
{
    if (pool->idle + pool->spinning + pool->starting <= queued && pool->threads < pool->max_threads)
        (void)create_thread_locked(pool); /* if not, the job waits for those that exist */
}

static void push_locked(struct filch__blocking_pool *pool, struct filch__task *job)
{
    job->next = NULL;
    if (pool->first)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    filch_store_relaxed(&pool->queued, filch_load_relaxed(&pool->queued) + 1);
}

int filch__blocking_pool_submit(struct filch__blocking_pool *pool, struct filch__task *job)
{
    uint32_t queued;

    pthread_mutex_lock(&pool->lock);
    queued = filch_load_relaxed(&pool->queued);
    grow_locked(pool, queued);
    if (pool->threads == 0) {
        pthread_mutex_unlock(&pool->lock);
        return -EAGAIN;
    }
    push_locked(pool, job);
    /* The first job is left to the spinning thread, if there is one. */
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
    bool done;

    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads && in_time)
        in_time = wait_on(&pool->ended, &pool->lock, until);
    done = pool->threads == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!done)
        return -ETIMEDOUT;
    if (pool->has_last_ended)
        pthread_join(pool->last_ended, NULL); /* [ended] */
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    return 0;
}
