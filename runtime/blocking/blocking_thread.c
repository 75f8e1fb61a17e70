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
 *   [ended]    A thread that ends joins the one that ended before it, and fini joins the last: when
 * fini has returned, no thread of the pool runs any code. At most one that ended is not joined yet.
 */
#include "runtime/blocking/blocking_thread.h"

#include <limits.h>
#include <stdlib.h>

#include <filch/time.h>

#include "runtime/base/futex.h"
#include "runtime/sched/thread.h"
#include "runtime/task/task.h"

#define SPIN_NS (20 * FILCH_MICROSECOND)
#define SPIN_RETRY 64
#define SLOW_NS (25 * FILCH_MICROSECOND)
#define LATE_NS FILCH_MILLISECOND
#define NAP_MIN_NS (100 * FILCH_MICROSECOND)
#define NAP_MAX_NS (400 * FILCH_MICROSECOND)

enum verdict { TAKE, TAKE_AND_CALL, NAP };
enum rest { REST_CALLED, REST_WORK, REST_END };

/* [judged] */
static enum verdict judge_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__job_queue *jobs = &pool->jobs;
    filch_time now = filch_now();
    filch_time elapsed = now - thread->mark_time;
    uint64_t taken = jobs->taken - thread->mark_taken;

    filch__blocking_mark_locked(thread, now);
    if (!jobs->running || pool->closing)
        return TAKE;
    if (!taken || taken * SLOW_NS < jobs->running * elapsed)
        return TAKE_AND_CALL;
    if (jobs->running + 1 < pool->opts.cpus && filch__jobs_queued(jobs) * elapsed > taken * LATE_NS)
        return TAKE;
    return NAP;
}

static int sleep_locked(struct filch__blocking_thread *thread, filch_time until)
{
    int r;

    filch_store_relaxed(&thread->wake, 0);
    filch__blocking_unlock(thread->pool);
    r = filch__futex_wait(&thread->wake, 0, until);
    filch__blocking_lock(thread->pool);
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
    filch__blocking_unlock(pool);
    spin_unlocked(pool);
    filch__blocking_lock(pool);
    pool->spinning = false;
    found = filch__job_is_ready(&pool->jobs);
    if (found)
        pool->spin_score = FILCH__BLOCKING_SPIN_SCORE;
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
                         struct filch__blocking_calls *calls)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__job_queue *jobs = &pool->jobs;

    thread->nap_ns = NAP_MIN_NS;
    if (filch__job_look_away(jobs))
        filch__blocking_call_locked(pool, calls);
    if (verdict == TAKE_AND_CALL && jobs->lookers < 2 && filch__jobs_queued(jobs) > jobs->lookers &&
        filch__job_is_ready(jobs))
        filch__blocking_call_locked(pool, calls);
}

/* The thread's last access to the pool; unlocks. [ended] */
static void end_thread_locked(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    struct filch__blocking_thread *earlier = pool->last_ended;

    pool->last_ended = thread;
    pool->threads--;
    filch_fetch_add_release(&pool->ended, 1);
    filch__blocking_unlock(pool);
    filch__futex_wake(&pool->ended, INT_MAX); /* fini joins us before it frees the pool */
    if (earlier) {
        pthread_join(earlier->id, NULL);
        free(earlier);
    }
}

static void run_job(struct filch__blocking_thread *thread, struct filch__task *job,
                    struct filch__blocking_calls *calls)
{
    struct filch__blocking_pool *pool = thread->pool;
    unsigned class = job->class_index;

    filch__blocking_make_calls(pool, calls);
    pool->opts.run(job);
    filch__blocking_lock(pool);
    filch__job_end(&pool->jobs, class);
    /* Before the joiner knows: it may push the next job at once, and finds us looking. */
    filch__job_look(&pool->jobs);
    filch__blocking_unlock(pool);
    pool->opts.finish(job);
}

static void enter_thread(struct filch__blocking_thread *thread)
{
    struct filch__blocking_pool *pool = thread->pool;
    unsigned number;

    thread->id = pthread_self();
    thread->nap_ns = NAP_MIN_NS;
    filch__blocking_lock(pool);
    number = pool->numbered++;
    filch__blocking_unlock(pool);
    filch__thread_begin(pool->opts.rt, 'b', number);
}

void *filch__blocking_thread_main(void *arg)
{
    struct filch__blocking_thread *thread = arg;
    struct filch__blocking_pool *pool = thread->pool;
    struct filch_runtime *rt = pool->opts.rt;
    enum verdict verdict = TAKE;
    struct filch__task *job;

    enter_thread(thread);
    filch__blocking_lock(pool);
    pool->creating--;
    pool->threads++;
    pool->create_again = 0;
    job = next_locked(thread, false, &verdict);
    while (job) {
        struct filch__blocking_calls calls = {0};

        leave_locked(thread, verdict, &calls);
        filch__blocking_unlock(pool);
        run_job(thread, job, &calls);
        filch__blocking_lock(pool);
        job = next_locked(thread, true, &verdict);
    }
    end_thread_locked(thread);
    filch__thread_end(rt); /* it is there until this thread has been joined: [ended] */
    return NULL;
}
