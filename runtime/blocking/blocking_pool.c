/* The pool's threads: who looks at the queue (job_queue.h), and when there is to be one more.
 *
 *              +-----------------------------------------+
 *              v                                         |
 *     looks, eagerly --job--> runs it, then looks eagerly again
 *        |  ^ spins for 20 us, one at a time
 *     none  |
 *        v  +--job that may run--+
 *     parked --called--> looks, and judges --take--> runs it
 *        |                   ^   |
 *     keep-alive over      again |the others keep up
 *        v                   |   v
 *       ends                 naps: the watcher
 *
 * A thread that has run a job takes the next one, if there is any: with jobs that do not block, one
 * thread does them all, and never waits for anybody. Others are called in by this rule:
 *
 *   [watched]  While a job may run, somebody looks: counted in jobs.lookers from the moment that it
 * is called until it runs a job, parks or naps no more. Who pushes a job and sees nobody looking
 * calls a thread, and so does a thread that stops looking and leaves a job behind: a parked one is
 * woken, else one is created. So it does not matter for how long a job blocks.
 *   [judged]   A thread that was called takes a job if nobody runs one, or if the ones that run are
 * slow: since the call fewer than one job for each 25 us and running thread were taken, so at least
 * some block. It then calls two others, if there are as many jobs: 2, 4, 8... at once. If they keep
 * up, another thread would only take the CPU and the lock away from them: it naps, 100 us at first,
 * 400 us at most, still counted as looking, and judges anew. There is one such watcher; another one
 * parks. If a queue that keeps moving would yet take more than a millisecond, a CPU more is used.
 *   [lone-nap] Nobody naps while no job runs: then jobs would wait for the nap's end. Whoever parks
 * as the last one turns the watcher into a parked thread, in its sleep.
 *
 * Creation may fail, for want of memory or of threads (EAGAIN). The first thread is created before
 * the first job is accepted, and one always stays: so a job that was accepted has a thread that
 * will look again after its present job. Creation is tried again at each push and look that finds
 * nobody, but not within a millisecond.
 *
 *   [ended]    A thread that ends joins the one that ended before it, and fini joins the last: when
 * fini has returned, no thread of the pool runs any code. At most one that ended is not joined yet.
 *
 * Threads are woken and created after the lock was released. */
#include "runtime/blocking/blocking_pool.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/cpu.h"
#include "runtime/base/futex.h"
#include "runtime/task/task.h"

#define SPIN_NS (20 * FILCH_MICROSECOND)
#define SPIN_SCORE_MAX 8
#define SPIN_RETRY 64
#define STACK_BYTES ((size_t)2 << 20)
#define SLOW_NS (25 * FILCH_MICROSECOND)
#define LATE_NS FILCH_MILLISECOND
#define NAP_MIN_NS (100 * FILCH_MICROSECOND)
#define NAP_MAX_NS (400 * FILCH_MICROSECOND)
#define CREATE_AGAIN_NS FILCH_MILLISECOND

/* Allocated by who creates the thread, freed by who joins it. Guarded by the lock, but for `wake`.
 */
struct filch__blocking_thread {
    struct filch__blocking_pool *pool;
    struct filch__list link; /* in pool->idle while parked */
    pthread_t id;            /* set by the thread itself */
    filch_time nap_ns;
    /* When it was called, or judged last, and what had been taken until then. */
    filch_time mark_time;
    uint64_t mark_taken;
    /* Futex: 0 sleeps, 1 was called. What it wakes up to is under the lock. */
    filch_atomic_u32 wake;
};

/* Threads to be woken and created once the lock is free. */
struct calls {
    struct filch__blocking_thread *wake[2];
    unsigned wakes;
    unsigned creates;
};

enum verdict { TAKE, TAKE_AND_CALL, NAP };
enum rest { REST_CALLED, REST_WORK, REST_END };

static void lock(struct filch__blocking_pool *pool)
{
    filch_spinlock_lock(&pool->jobs.lock);
}

static void unlock(struct filch__blocking_pool *pool)
{
    filch_spinlock_unlock(&pool->jobs.lock);
}

static void mark_locked(struct filch__blocking_thread *thread, filch_time now)
{
    thread->mark_time = now;
    thread->mark_taken = thread->pool->jobs.taken;
}

/* Finds one more thread to look, if that can be done. */
static void call_locked(struct filch__blocking_pool *pool, struct calls *calls)
{
    if (!filch__list_is_empty(&pool->idle)) {
        struct filch__blocking_thread *thread =
            filch_container_of(pool->idle.prev, struct filch__blocking_thread, link);

        filch__list_remove(&thread->link);
        mark_locked(thread, filch_now());
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

static void *thread_main(void *arg);

/* A new thread inherits the mask of its creator. */
static int start_thread(struct filch__blocking_thread *thread)
{
    pthread_attr_t attr;
    pthread_t id;
    sigset_t old;
    int r = pthread_attr_init(&attr);

    if (r)
        return -r;
    pthread_attr_setstacksize(&attr, thread->pool->opts.stack_bytes);
    block_signals(&old);
    r = pthread_create(&id, &attr, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
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
    lock(pool);
    mark_locked(thread, filch_now());
    unlock(pool);
    r = start_thread(thread);
    if (r < 0)
        free(thread);
    return r;
}

/* Uncounts a thread that could not be created. In its stead a parked one may look, which had parked
 * because of it. */
static void create_failed(struct filch__blocking_pool *pool, struct calls *calls)
{
    lock(pool);
    pool->creating--;
    pool->create_again = filch_after(CREATE_AGAIN_NS);
    if (filch__job_look_away(&pool->jobs) && !filch__list_is_empty(&pool->idle))
        call_locked(pool, calls);
    filch_fetch_add_release(&pool->ended, 1);
    unlock(pool);
    filch__futex_wake(&pool->ended, INT_MAX); /* only the address is used */
}

static void make_calls(struct filch__blocking_pool *pool, struct calls *calls)
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

/* [judged] */
static enum verdict judge_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__job_queue *jobs = &pool->jobs;
    filch_time now = filch_now();
    filch_time elapsed = now - thread->mark_time;
    uint64_t taken = jobs->taken - thread->mark_taken;

    mark_locked(thread, now);
    if (!jobs->running || pool->closing)
        return TAKE;
    if (!taken || taken * SLOW_NS < jobs->running * elapsed)
        return TAKE_AND_CALL;
    if (jobs->running + 1 < pool->cpus && filch__jobs_queued(jobs) * elapsed > taken * LATE_NS)
        return TAKE;
    return NAP;
}

static int sleep_locked(struct filch__blocking_thread *thread, filch_time until)
{
    int r;

    filch_store_relaxed(&thread->wake, 0);
    unlock(thread->pool);
    r = filch__futex_wait(&thread->wake, 0, until);
    lock(thread->pool);
    return r;
}

/* In the list of parked threads, until called or not needed. */
static enum rest park_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    filch_time until = filch_after(pool->opts.keep_alive_ns);

    while (!filch__list_is_empty(&thread->link)) {
        if (sleep_locked(thread, until) == 0 || filch__list_is_empty(&thread->link))
            continue;
        if (pool->threads > 1) {
            filch__list_remove(&thread->link);
            return REST_END;
        }
        until = FILCH_NEVER; /* the last one stays */
    }
    return REST_CALLED;
}

/* [lone-nap] */
static void end_lone_nap_locked(struct filch__blocking_pool *pool)
{
    if (pool->jobs.running || !pool->watcher || pool->closing)
        return;
    filch__list_push_back(&pool->idle, &pool->watcher->link);
    pool->watcher = NULL;
    (void)filch__job_look_away(&pool->jobs); /* the caller still looks */
}

/* Nothing to do for a thread that looks: it stops to. [watched] */
static enum rest rest_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;

    end_lone_nap_locked(pool);
    if (filch__job_look_away(&pool->jobs)) {
        filch__job_look(&pool->jobs);
        return REST_WORK;
    }
    if (pool->closing)
        return REST_END;
    filch__list_push_back(&pool->idle, &thread->link);
    return park_locked(thread);
}

/* Sleeps for a while, still counted as looking; parks if there is a watcher already. */
static enum rest nap_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;

    if (pool->watcher)
        return rest_locked(thread);
    pool->watcher = thread;
    (void)sleep_locked(thread, thread->mark_time + thread->nap_ns);
    thread->nap_ns = thread->nap_ns * 2 < NAP_MAX_NS ? thread->nap_ns * 2 : NAP_MAX_NS;
    if (pool->watcher == thread) {
        pool->watcher = NULL;
        return REST_CALLED;
    }
    return park_locked(thread); /* [lone-nap]: somebody else made us a parked thread */
}

/* Looks at the queue without the lock for a while. */
static void spin_unlocked(struct filch__blocking_pool *pool)
{
    filch_time end = filch_now() + SPIN_NS;

    do {
        for (int i = 0; i < 16; i++) {
            if (filch_load_relaxed(&pool->jobs.word) & ~FILCH__JOBS_LOOKED)
                return;
            filch_cpu_relax();
        }
    } while (filch_now() < end);
}

/* A wake-up across cores costs more than a short spin, where that pays. Return: look again? */
static bool spin_locked(struct filch__blocking_pool *pool)
{
    bool found;

    if (pool->spinning || pool->closing)
        return false;
    if (pool->spin_score <= 0 && --pool->spin_score > -SPIN_RETRY)
        return false;
    pool->spinning = true;
    unlock(pool);
    spin_unlocked(pool);
    lock(pool);
    pool->spinning = false;
    found = filch__job_is_ready(&pool->jobs);
    if (found)
        pool->spin_score = SPIN_SCORE_MAX;
    else
        pool->spin_score = pool->spin_score < 0 ? 0 : pool->spin_score - 1;
    return found;
}

/* The next job for a thread that looks; NULL when it should end. @eager: it has just run one. */
static struct filch__task *next_locked(struct filch__blocking_thread *thread, bool eager,
                                       enum verdict *ret_verdict)
{
    struct filch__blocking_pool *pool = thread->pool;
    bool may_spin = eager;
    enum rest rest;

    for (;;) {
        enum verdict verdict = eager ? TAKE : judge_locked(thread);

        if (verdict != NAP) {
            struct filch__task *job = filch__job_take(&pool->jobs);

            if (job) {
                *ret_verdict = verdict;
                return job;
            }
            if (may_spin && spin_locked(pool))
                continue;
            rest = rest_locked(thread);
        } else {
            rest = nap_locked(thread);
        }
        if (rest == REST_END)
            return NULL;
        eager = rest == REST_WORK;
        may_spin = false;
    }
}

/* The thread is about to run a job, and leaves the queue to others. [watched] */
static void leave_locked(struct filch__blocking_thread *thread, enum verdict verdict,
                         struct calls *calls)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__job_queue *jobs = &pool->jobs;

    thread->nap_ns = NAP_MIN_NS;
    if (filch__job_look_away(jobs))
        call_locked(pool, calls);
    if (verdict == TAKE_AND_CALL && jobs->lookers < 2 && filch__jobs_queued(jobs) > jobs->lookers &&
        filch__job_is_ready(jobs))
        call_locked(pool, calls);
}

/* The thread's last access to the pool; unlocks. [ended] */
static void end_thread_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__blocking_thread *earlier = pool->last_ended;

    pool->last_ended = thread;
    pool->threads--;
    filch_fetch_add_release(&pool->ended, 1);
    unlock(pool);
    filch__futex_wake(&pool->ended, INT_MAX); /* fini joins us before it frees the pool */
    if (earlier) {
        pthread_join(earlier->id, NULL);
        free(earlier);
    }
}

static void run_job(struct filch__blocking_thread *thread, struct filch__task *job,
                    struct calls *calls)
{
    struct filch__blocking_pool *pool = thread->pool;
    unsigned class = job->job_class;

    make_calls(pool, calls);
    pool->opts.run(job);
    lock(pool);
    filch__job_end(&pool->jobs, class);
    /* Before the joiner knows: it may push the next job at once, and finds us looking. */
    filch__job_look(&pool->jobs);
    unlock(pool);
    pool->opts.finish(job);
}

/* The one place for what a thread does first and last. */
static void enter_thread(struct filch__blocking_thread *thread)
{
    thread->id = pthread_self();
    thread->nap_ns = NAP_MIN_NS;
    pthread_setname_np(thread->id, "filch-blocking");
}

static void *thread_main(void *arg)
{
    struct filch__blocking_thread *thread = arg;
    struct filch__blocking_pool *pool = thread->pool;
    enum verdict verdict = TAKE;
    struct filch__task *job;

    enter_thread(thread);
    lock(pool);
    pool->creating--;
    pool->threads++;
    pool->create_again = 0;
    job = next_locked(thread, false, &verdict);
    while (job) {
        struct calls calls = {0};

        leave_locked(thread, verdict, &calls);
        unlock(pool);
        run_job(thread, job, &calls);
        lock(pool);
        job = next_locked(thread, true, &verdict);
    }
    end_thread_locked(thread);
    return NULL;
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
    pool->cpus = filch__cpu_count();
    pool->threads = 0;
    pool->creating = 0;
    filch__list_init(&pool->idle);
    pool->watcher = NULL;
    pool->spinning = false;
    pool->spin_score = SPIN_SCORE_MAX;
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
        lock(pool);
        pool->creating++;
        filch__job_look(&pool->jobs);
        unlock(pool);
        r = create_thread(pool);
        if (r < 0) {
            lock(pool);
            pool->creating--;
            (void)filch__job_look_away(&pool->jobs); /* nothing was ever pushed */
            unlock(pool);
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
    struct calls calls = {0};
    int r;

    if (!filch_load_acquire(&pool->started) && (r = start_pool(pool)) < 0) /* [pool-started] */
        return r;
    r = filch__job_push(&pool->jobs, class, job);
    if (r <= 0)
        return r;
    lock(pool);
    if (!pool->jobs.lookers && filch__job_is_ready(&pool->jobs))
        call_locked(pool, &calls);
    unlock(pool);
    make_calls(pool, &calls);
    return 0;
}

void filch__blocking_pool_numbers(struct filch__blocking_pool *pool,
                                  struct filch__blocking_numbers *ret_numbers)
{
    lock(pool);
    ret_numbers->threads = pool->threads;
    ret_numbers->running = pool->jobs.running;
    unlock(pool);
    ret_numbers->queued = filch__jobs_queued(&pool->jobs);
}

/* Sends all parked threads to look, and then to end. */
static void close_locked(struct filch__blocking_pool *pool)
{
    pool->closing = true;
    while (!filch__list_is_empty(&pool->idle)) {
        struct calls calls = {0};

        call_locked(pool, &calls);
        unlock(pool);
        make_calls(pool, &calls);
        lock(pool);
    }
}

int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until)
{
    bool in_time = true;
    unsigned left;

    lock(pool);
    close_locked(pool);
    while ((left = pool->threads + pool->creating) && in_time) {
        uint32_t ended = filch_load_relaxed(&pool->ended); /* written under the lock */

        unlock(pool);
        in_time = filch__futex_wait(&pool->ended, ended, until) == 0;
        lock(pool);
    }
    unlock(pool);
    if (left)
        return -ETIMEDOUT;
    if (pool->last_ended) {
        pthread_join(pool->last_ended->id, NULL); /* [ended] */
        free(pool->last_ended);
    }
    pthread_mutex_destroy(&pool->start_lock);
    return 0;
}
