/* Description: the pool of blocking threads by itself: each job runs once, in order, under the cap;
 * fini drains and joins. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <filch/time.h>

#include "runtime/blocking/blocking_pool.h"
#include "runtime/task/task.h"
#include "tests/runner/check.h"

#define JOBS 10000
#define SUBMITTERS 4

TestSuite(blocking_pool, .timeout = 60);

/* For what must happen: a failure takes this long. */
#define LIMIT filch_after(20 * FILCH_SECOND)

static struct filch__blocking_pool pool;
static struct filch__task *jobs;

static filch_atomic_u32 ran;
static filch_atomic_u32 running;
static filch_atomic_u32 running_most;
/* 0 closed, 1 open. [test-gate] release in gate_open() -> acquire in gate_wait(). */
static filch_atomic_u32 gate;

static void gate_wait(void)
{
    while (!filch_load_acquire(&gate)) /* [test-gate] */
        sched_yield();
}

static void gate_open(void)
{
    filch_store_release(&gate, 1); /* [test-gate] */
}

static void note_running(void)
{
    uint32_t now = filch_fetch_add_acq_rel(&running, 1) + 1;
    uint32_t most = filch_load_relaxed(&running_most);

    while (now > most && !filch_cas_weak_relaxed(&running_most, &most, now))
        ;
}

/* `result` counts the job's runs. */
static void run_count(struct filch__task *job)
{
    note_running();
    job->result++;
    filch_fetch_sub_acq_rel(&running, 1);
    filch_fetch_add_acq_rel(&ran, 1);
}

static void run_behind_gate(struct filch__task *job)
{
    note_running();
    gate_wait();
    job->result++;
    filch_fetch_sub_acq_rel(&running, 1);
    filch_fetch_add_acq_rel(&ran, 1);
}

static void finish_nothing(struct filch__task *job)
{
    (void)job;
}

static int pool_init(unsigned threads_max, filch_time keep_alive_ns,
                     void (*run)(struct filch__task *job))
{
    struct filch__blocking_opts opts = {
        .threads_max = threads_max,
        .cpus = 3,
        .keep_alive_ns = keep_alive_ns,
        .run = run,
        .finish = finish_nothing,
    };

    return filch__blocking_pool_init(&pool, &opts);
}

static unsigned threads_now(void)
{
    struct filch__blocking_numbers numbers;

    filch__blocking_pool_numbers(&pool, &numbers);
    return numbers.threads;
}

static void make_jobs(void)
{
    jobs = aligned_alloc(64, JOBS * sizeof *jobs);
    T_CHECK(jobs != NULL);
    memset((void *)jobs, 0, JOBS * sizeof *jobs);
}

static void wait_for(filch_atomic_u32 *counter, uint32_t value)
{
    filch_time limit = LIMIT;

    while (filch_load_acquire(counter) != value) { /* pairs with the acq_rel counts of the jobs */
        T_CHECK(filch_now() < limit);
        sched_yield();
    }
}

static void check_each_ran_once(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        T_IS(jobs[i].result, 1);
    free(jobs);
}

static void *submit_quarter(void *arg)
{
    unsigned first = (unsigned)(uintptr_t)arg;

    for (unsigned i = first; i < first + JOBS / SUBMITTERS; i++)
        T_IS(filch__blocking_pool_submit(&pool, 0, &jobs[i]), 0);
    return NULL;
}

Test(blocking_pool, ten_thousand_jobs_run_once_each_under_the_cap)
{
    pthread_t thread[SUBMITTERS];

    make_jobs();
    T_IS(pool_init(8, FILCH_SECOND, run_count), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        T_IS(pthread_create(&thread[i], NULL, submit_quarter,
                            (void *)(uintptr_t)(i * (JOBS / SUBMITTERS))),
             0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(thread[i], NULL);
    wait_for(&ran, JOBS);
    T_CHECK(threads_now() <= 8);
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    T_CHECK(filch_load_relaxed(&running_most) <= 8);
    check_each_ran_once(JOBS);
}

Test(blocking_pool, grows_to_its_cap_and_not_beyond)
{
    make_jobs();
    T_IS(pool_init(5, FILCH_SECOND, run_behind_gate), 0);
    T_IS(threads_now(), 0);
    for (unsigned i = 0; i < 20; i++)
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
    wait_for(&running, 5);
    T_IS(threads_now(), 5);
    gate_open();
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    T_IS(filch_load_relaxed(&running_most), 5);
    check_each_ran_once(20);
}

#define BLOCKERS 60

static bool is_blocker(const struct filch__task *job)
{
    return (job - jobs) % (JOBS / BLOCKERS) == 0 && job < &jobs[JOBS / BLOCKERS * BLOCKERS];
}

static void run_some_behind_gate(struct filch__task *job)
{
    if (is_blocker(job)) {
        filch_fetch_add_acq_rel(&running, 1);
        gate_wait();
    } else {
        filch_fetch_add_acq_rel(&ran, 1);
    }
    job->result++;
}

Test(blocking_pool, jobs_run_beside_any_number_that_blocks)
{
    pthread_t thread[SUBMITTERS];

    make_jobs();
    T_OK(pool_init(BLOCKERS + 1, FILCH_SECOND, run_some_behind_gate));
    for (unsigned i = 0; i < SUBMITTERS; i++)
        T_OK(pthread_create(&thread[i], NULL, submit_quarter,
                            (void *)(uintptr_t)(i * (JOBS / SUBMITTERS))));
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(thread[i], NULL);
    /* All the others, though each blocker holds a thread for as long as it likes. */
    wait_for(&running, BLOCKERS);
    wait_for(&ran, JOBS - BLOCKERS);
    T_CHECK(threads_now() <= BLOCKERS + 1);
    gate_open();
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(JOBS);
}

/* Each job blocks after jobs that did not, when threads nap: it must not hold up those behind it.
 */
Test(blocking_pool, a_job_that_blocks_after_many_that_did_not_holds_nobody_up)
{
    make_jobs();
    T_OK(pool_init(BLOCKERS + 1, FILCH_SECOND, run_some_behind_gate));
    for (unsigned i = 0; i < JOBS; i++) {
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
        if (is_blocker(&jobs[i]))
            wait_for(&ran, i - i / (JOBS / BLOCKERS));
    }
    wait_for(&ran, JOBS - BLOCKERS);
    gate_open();
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(JOBS);
}

static unsigned order[1000];

static void run_note_order(struct filch__task *job)
{
    unsigned place = filch_fetch_add_acq_rel(&ran, 1);

    if (job == &jobs[0])
        gate_wait();
    order[place] = (unsigned)(job - jobs);
    job->result++;
}

Test(blocking_pool, queued_jobs_run_in_order)
{
    make_jobs();
    T_OK(pool_init(1, FILCH_SECOND, run_note_order));
    for (unsigned i = 0; i < 1000; i++)
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
    gate_open();
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    for (unsigned i = 0; i < 1000; i++)
        T_IS(order[i], i);
    check_each_ran_once(1000);
}

Test(blocking_pool, fini_runs_what_is_queued)
{
    make_jobs();
    T_OK(pool_init(2, FILCH_SECOND, run_count));
    for (unsigned i = 0; i < 2000; i++)
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
    T_OK(filch__blocking_pool_fini(&pool, FILCH_NEVER));
    check_each_ran_once(2000);
}

Test(blocking_pool, fini_times_out_with_a_stuck_job_and_succeeds_later)
{
    make_jobs();
    T_OK(pool_init(1, FILCH_SECOND, run_behind_gate));
    for (unsigned i = 0; i < 3; i++)
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
    wait_for(&running, 1);
    T_IS(filch__blocking_pool_fini(&pool, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch__blocking_pool_fini(&pool, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(threads_now(), 1);
    gate_open();
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(3);
}

static void run_and_submit_next(struct filch__task *job)
{
    if (job < &jobs[99])
        T_OK(filch__blocking_pool_submit(&pool, 0, job + 1));
    job->result++;
}

Test(blocking_pool, jobs_may_submit_jobs_while_the_pool_closes)
{
    make_jobs();
    T_OK(pool_init(3, FILCH_SECOND, run_and_submit_next));
    T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[0]));
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(100);
}

Test(blocking_pool, idle_threads_end_but_the_last_one_stays)
{
    filch_time limit = LIMIT;

    make_jobs();
    T_OK(pool_init(8, FILCH_MILLISECOND, run_behind_gate));
    for (unsigned i = 0; i < 8; i++)
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
    wait_for(&running, 8);
    gate_open();
    while (threads_now() > 1) {
        T_CHECK(filch_now() < limit);
        sched_yield();
    }
    /* It outlives its keep-alive time many times over, and serves. */
    for (filch_time end = filch_after(20 * FILCH_MILLISECOND); filch_now() < end; sched_yield())
        T_IS(threads_now(), 1);
    T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[8]));
    wait_for(&ran, 9);
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(9);
}

Test(blocking_pool, one_thread_is_reused_for_jobs_one_after_the_other)
{
    make_jobs();
    T_OK(pool_init(64, 10 * FILCH_SECOND, run_count));
    for (unsigned i = 0; i < 2000; i++) {
        T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[i]));
        wait_for(&ran, i + 1);
    }
    /* A job counts before its thread is back at the queue, so a second and a third one may have
     * come. */
    T_CHECK(threads_now() <= 4);
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    check_each_ran_once(2000);
}

static void run_look_at_thread(struct filch__task *job)
{
    char name[16];
    sigset_t mask;

    T_IS(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    T_IS(strncmp(name, "filch-b", 7), 0);
    T_IS(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    T_IS(sigismember(&mask, SIGTERM), 1);
    T_IS(sigismember(&mask, SIGUSR1), 1);
    T_IS(sigismember(&mask, SIGCHLD), 1);
    T_IS(sigismember(&mask, SIGSEGV), 0);
    T_IS(sigismember(&mask, SIGBUS), 0);
    T_IS(sigismember(&mask, SIGFPE), 0);
    T_IS(sigismember(&mask, SIGILL), 0);
    job->result++;
}

Test(blocking_pool, threads_have_a_name_and_leave_signals_to_the_host)
{
    sigset_t before, after;

    make_jobs();
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    T_OK(pool_init(1, FILCH_SECOND, run_look_at_thread));
    T_OK(filch__blocking_pool_submit(&pool, 0, &jobs[0]));
    T_OK(filch__blocking_pool_fini(&pool, LIMIT));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    T_IS(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    check_each_ran_once(1);
}

Test(blocking_pool, a_pool_without_jobs_has_no_threads_and_ends_at_once)
{
    T_IS(pool_init(0, FILCH_SECOND, run_count), -EINVAL);
    T_OK(pool_init(4, FILCH_SECOND, run_count));
    T_IS(threads_now(), 0);
    T_OK(filch__blocking_pool_fini(&pool, FILCH_NOW));
}
