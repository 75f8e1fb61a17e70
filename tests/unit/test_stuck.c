/* Description: workers that are stuck in a task, blocked or computing, are made up for: the rest
 * gets on although no worker is left, spare workers sit out afterwards and keep what they have in
 * flight; blocking in place; a task that computes learns that its share is over. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(stuck, .timeout = 120);

static atomic_uint blocked, seen;
static atomic_bool stop, owned;

static filch_runtime *start(unsigned workers, unsigned spares)
{
    atomic_store(&blocked, 0);
    atomic_store(&seen, 0);
    atomic_store(&stop, false);
    return test_start(&(filch_runtime_opts){.workers = workers, .spare_workers = spares});
}

static filch_stats stats_of(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats;
}

static int reads_a_pipe(void *arg)
{
    char byte;

    atomic_fetch_add(&blocked, 1);
    T_IS((int)read(*(int *)arg, &byte, 1), 1); /* the plain system call, which holds the worker */
    return 0;
}

static int is_seen(void *arg)
{
    (void)arg;
    atomic_fetch_add(&seen, 1);
    return 0;
}

static int sleeps_and_is_seen(void *arg)
{
    T_OK(filch_sleep(filch_after(5 * FILCH_MILLISECOND)));
    return is_seen(arg);
}

static void spawn_outside(filch_runtime *rt, filch_fn fn, void *arg)
{
    T_OK(filch_runtime_spawn(rt, fn, arg, NULL, NULL));
}

/* As many as there are workers, and all of them in read(2). */
static void block_all(filch_runtime *rt, unsigned n, int *fd)
{
    for (unsigned i = 0; i < n; i++)
        spawn_outside(rt, reads_a_pipe, fd);
    T_WAIT_UNTIL(atomic_load(&blocked) == n);
}

static void unblock_all(unsigned n, int fd)
{
    for (unsigned i = 0; i < n; i++)
        T_IS((int)write(fd, "x", 1), 1);
}

static void rest_gets_on(unsigned workers, unsigned spares)
{
    filch_runtime *rt = start(workers, spares);
    filch_stats stats;
    int fds[2];

    T_OK(pipe(fds));
    block_all(rt, workers, &fds[0]);
    for (int i = 0; i < 100; i++)
        spawn_outside(rt, sleeps_and_is_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 100);
    stats = stats_of(rt);
    T_CHECK(stats.workers == workers);
    T_CHECK(stats.workers_called_in >= 1);
    T_CHECK(stats.workers_blocked >= 1);
    unblock_all(workers, fds[1]);
    T_WAIT_UNTIL(stats_of(rt).workers_active == workers);
    /* A second time: those that sit out are used again, and there are no more threads than seats.
     */
    atomic_store(&blocked, 0);
    block_all(rt, workers, &fds[0]);
    spawn_outside(rt, sleeps_and_is_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 101);
    unblock_all(workers, fds[1]);
    stop_runtime(rt);
    close(fds[0]);
    close(fds[1]);
}

Test(stuck, the_rest_gets_on_when_all_workers_are_in_a_system_call)
{
    rest_gets_on(2, 0);
}

Test(stuck, one_worker_with_a_spare)
{
    rest_gets_on(1, 1);
}

Test(stuck, shutdown_while_all_are_blocked_waits_for_them)
{
    filch_runtime *rt = start(2, 0);
    int fds[2];

    T_OK(pipe(fds));
    block_all(rt, 2, &fds[0]);
    spawn_outside(rt, is_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 1);
    T_IS(filch_runtime_shutdown(rt, filch_after(20 * FILCH_MILLISECOND)), -ETIMEDOUT);
    unblock_all(2, fds[1]);
    stop_runtime(rt);
    close(fds[0]);
    close(fds[1]);
}

/* Without spares two tasks never run at once on one worker, and nobody is called in. */
static void nobody_comes(unsigned workers, unsigned spares)
{
    filch_runtime *rt = start(workers, spares);
    int fds[2];

    T_OK(pipe(fds));
    block_all(rt, workers, &fds[0]);
    spawn_outside(rt, is_seen, NULL);
    T_WAIT_UNTIL(stats_of(rt).workers_blocked >= workers);
    T_CHECK(atomic_load(&seen) == 0);
    T_CHECK(stats_of(rt).workers_called_in == 0);
    unblock_all(workers, fds[1]);
    T_WAIT_UNTIL(atomic_load(&seen) == 1);
    stop_runtime(rt);
    close(fds[0]);
    close(fds[1]);
}

Test(stuck, one_worker_has_no_spare_by_itself)
{
    nobody_comes(1, 0);
}

Test(stuck, spare_workers_can_be_refused)
{
    nobody_comes(2, FILCH_NO_SPARES);
}

static int locks_a_file(void *arg)
{
    int fd = open(arg, O_RDWR | O_CLOEXEC);

    T_CHECK(fd >= 0);
    atomic_fetch_add(&blocked, 1);
    T_OK(flock(fd, LOCK_EX));
    atomic_fetch_add(&seen, 1);
    close(fd);
    return 0;
}

/* The owner gives the lock back in a task, which needs a worker. */
struct lock {
    char path[32];
    int fd;
};

static int unlocks_the_file(void *arg)
{
    struct lock *lock = arg;

    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(flock(lock->fd, LOCK_UN));
    return 0;
}

Test(stuck, the_owner_of_a_file_lock_comes_to_unlock_it)
{
    filch_runtime *rt = start(2, 0);
    struct lock lock = {.path = "/tmp/filch-lock-XXXXXX"};

    lock.fd = mkstemp(lock.path);
    T_CHECK(lock.fd >= 0);
    T_OK(flock(lock.fd, LOCK_EX));
    spawn_outside(rt, locks_a_file, lock.path);
    spawn_outside(rt, locks_a_file, lock.path);
    T_WAIT_UNTIL(atomic_load(&blocked) == 2);
    spawn_outside(rt, unlocks_the_file, &lock);
    T_WAIT_UNTIL(atomic_load(&seen) == 2);
    stop_runtime(rt);
    unlink(lock.path);
    close(lock.fd);
}

static sem_t sem;

static int waits_for_the_semaphore(void *arg)
{
    (void)arg;
    atomic_fetch_add(&blocked, 1);
    while (sem_wait(&sem) != 0)
        ;
    atomic_fetch_add(&seen, 1);
    return 0;
}

/* Suspends with what the others wait for, and is resumed when they hold all workers. */
static int owns_the_semaphore(void *arg)
{
    unsigned n = *(unsigned *)arg;

    while (atomic_load(&blocked) < n)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    for (unsigned i = 0; i < n; i++)
        T_OK(sem_post(&sem));
    return 0;
}

Test(stuck, a_semaphore_whose_owner_is_parked_while_all_workers_wait_for_it)
{
    filch_runtime *rt = start(2, 0);
    unsigned n = 2;

    T_OK(sem_init(&sem, 0, 0));
    spawn_outside(rt, owns_the_semaphore, &n);
    for (unsigned i = 0; i < n; i++)
        spawn_outside(rt, waits_for_the_semaphore, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == n);
    stop_runtime(rt);
    sem_destroy(&sem);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int waits_for_the_mutex(void *arg)
{
    (void)arg;
    atomic_fetch_add(&blocked, 1);
    T_OK(pthread_mutex_lock(&mutex));
    T_OK(pthread_mutex_unlock(&mutex));
    return is_seen(NULL);
}

/* Parked with the mutex until somebody waits for it on each worker. */
static int owns_the_mutex(void *arg)
{
    unsigned n = *(unsigned *)arg;

    T_OK(pthread_mutex_lock(&mutex));
    atomic_store(&owned, true);
    while (atomic_load(&blocked) < n)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(pthread_mutex_unlock(&mutex));
    return 0;
}

/* It goes on on another thread: glibc's default mutex is unlocked there all the same. */
Test(stuck, a_mutex_whose_owner_is_parked_while_all_workers_wait_for_it)
{
    filch_runtime *rt;
    unsigned n = 2;

    if (T_THREAD_SANITIZER)
        cr_skip_test("ThreadSanitizer wants a mutex unlocked by the thread that locked it");
    rt = start(2, 0);
    spawn_outside(rt, owns_the_mutex, &n);
    T_WAIT_UNTIL(atomic_load(&owned));
    for (unsigned i = 0; i < n; i++)
        spawn_outside(rt, waits_for_the_mutex, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == n);
    T_CHECK(stats_of(rt).workers_called_in >= 1);
    stop_runtime(rt);
}

static int sends(void *arg)
{
    char message = 'x';

    return filch_chan_send(arg, &message, T_LIMIT);
}

/* The owner is a plain thread, which waits for a task. */
Test(stuck, a_mutex_whose_owner_waits_for_a_task_while_all_workers_wait_for_it)
{
    filch_runtime *rt = start(2, 0);
    filch_chan *chan;
    char message;

    T_OK(filch_chan_new(1, 1, &chan));
    T_OK(pthread_mutex_lock(&mutex));
    for (unsigned i = 0; i < 2; i++)
        spawn_outside(rt, waits_for_the_mutex, NULL);
    T_WAIT_UNTIL(atomic_load(&blocked) == 2);
    spawn_outside(rt, sends, chan);
    T_OK(filch_chan_recv(chan, &message, T_LIMIT));
    T_CHECK(atomic_load(&seen) == 0);
    T_OK(pthread_mutex_unlock(&mutex));
    T_WAIT_UNTIL(atomic_load(&seen) == 2);
    T_CHECK(stats_of(rt).workers_called_in >= 1);
    stop_runtime(rt);
    filch_chan_unref(chan);
}

/* More of them block than there are spare workers: one warning, no harm, and all of it ends. */
Test(stuck, more_are_blocked_than_there_are_spares)
{
    filch_runtime *rt = start(2, 1);
    unsigned n = 3;

    T_OK(sem_init(&sem, 0, 0));
    for (unsigned i = 0; i < n; i++)
        spawn_outside(rt, waits_for_the_semaphore, NULL);
    T_WAIT_UNTIL(atomic_load(&blocked) == n);
    spawn_outside(rt, is_seen, NULL);
    T_WAIT_UNTIL(stats_of(rt).workers_blocked >= n);
    T_CHECK(stats_of(rt).workers_active == 3);
    for (unsigned i = 0; i < n; i++)
        T_OK(sem_post(&sem));
    T_WAIT_UNTIL(atomic_load(&seen) == n + 1);
    stop_runtime(rt);
    sem_destroy(&sem);
}

static int spins(void *arg)
{
    (void)arg;
    atomic_fetch_add(&blocked, 1);
    while (!atomic_load(&stop))
        ;
    return 0;
}

Test(stuck, the_rest_gets_on_when_all_workers_compute)
{
    filch_runtime *rt = start(2, 0);

    for (int i = 0; i < 2; i++)
        spawn_outside(rt, spins, NULL);
    T_WAIT_UNTIL(atomic_load(&blocked) == 2);
    for (int i = 0; i < 10; i++)
        spawn_outside(rt, sleeps_and_is_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 10);
    T_CHECK(stats_of(rt).workers_called_in >= 1);
    T_CHECK(stats_of(rt).workers_hogged >= 1);
    atomic_store(&stop, true);
    T_WAIT_UNTIL(stats_of(rt).workers_active == 2);
    stop_runtime(rt);
}

/* What began on a spare worker ends when that one sits out: its timers and its reads go on. */
static struct tcp_pair pair;

static int reads_from_the_peer(void *arg)
{
    char byte;

    (void)arg;
    atomic_fetch_add(&blocked, 1);
    T_IS((int)filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
    return is_seen(NULL);
}

static int sleeps_until_later(void *arg)
{
    atomic_fetch_add(&blocked, 1);
    T_OK(filch_sleep(*(filch_time *)arg));
    return is_seen(NULL);
}

static int opens_the_pair(void *arg)
{
    (void)arg;
    connect_pair(&pair);
    return 0;
}

static int writes_to_the_pair(void *arg)
{
    (void)arg;
    T_OK(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT));
    return 0;
}

static int closes_the_pair(void *arg)
{
    (void)arg;
    close_pair(&pair);
    return 0;
}

Test(stuck, what_a_spare_worker_has_begun_goes_on_when_it_sits_out)
{
    filch_runtime *rt = start(2, 0);
    filch_time later;
    int fds[2];

    T_OK(filch_runtime_block_on(rt, opens_the_pair, NULL, NULL, FILCH_NEVER));
    T_OK(pipe(fds));
    block_all(rt, 2, &fds[0]);
    later = filch_after(400 * FILCH_MILLISECOND);
    spawn_outside(rt, reads_from_the_peer, NULL);
    spawn_outside(rt, sleeps_until_later, &later);
    T_WAIT_UNTIL(atomic_load(&blocked) == 4);
    unblock_all(2, fds[1]);
    T_WAIT_UNTIL(stats_of(rt).workers_active == 2);
    T_OK(filch_runtime_block_on(rt, writes_to_the_pair, NULL, NULL, FILCH_NEVER));
    T_WAIT_UNTIL(atomic_load(&seen) == 2);
    T_OK(filch_runtime_block_on(rt, closes_the_pair, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
    close(fds[0]);
    close(fds[1]);
}

/* A CPU less for all threads of the process, as when a quota shrinks. */
static void set_affinity(const cpu_set_t *set)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;

    T_CHECK(dir);
    while ((entry = readdir(dir)))
        if (atoi(entry->d_name) > 0)
            (void)sched_setaffinity(atoi(entry->d_name), sizeof *set, set);
    closedir(dir);
}

static void allow_cpus(unsigned n)
{
    cpu_set_t all, some;

    T_OK(sched_getaffinity(getpid(), sizeof all, &all));
    CPU_ZERO(&some);
    for (int cpu = 0; cpu < CPU_SETSIZE && n; cpu++)
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &some);
            n--;
        }
    set_affinity(&some);
}

/* An idle runtime looks at nothing. */
static int ticks(void *arg)
{
    (void)arg;
    while (filch_sleep(filch_after(FILCH_MILLISECOND)) == 0) /* until it is cancelled by shutdown */
        ;
    return 0;
}

Test(stuck, workers_follow_the_cpus_that_are_left)
{
    cpu_set_t before;
    filch_runtime *rt;

    T_OK(sched_getaffinity(0, sizeof before, &before));
    if (CPU_COUNT(&before) < 2)
        cr_skip_test("one CPU: nothing to take away");
    rt = start(0, 0);
    spawn_outside(rt, ticks, NULL);
    allow_cpus(1);
    T_WAIT_UNTIL(stats_of(rt).workers_active == 1);
    /* A pinned task of a worker that sits out runs all the same. */
    for (unsigned i = 1; i <= stats_of(rt).workers; i++)
        T_OK(filch_runtime_spawn(rt, sleeps_and_is_seen, NULL,
                                 &(filch_task_opts){.pinned = true, .worker = i}, NULL));
    T_WAIT_UNTIL(atomic_load(&seen) == stats_of(rt).workers);
    set_affinity(&before);
    T_WAIT_UNTIL(stats_of(rt).workers_active == stats_of(rt).workers);
    stop_runtime(rt);
}

static int posts(void *arg)
{
    (void)arg;
    T_OK(sem_post(&sem));
    return 0;
}

static int waits_in_place(void *arg)
{
    (void)arg;
    while (sem_wait(&sem) != 0)
        ;
    return 7;
}

/* What it waits for is queued behind it. */
static int blocks_in_place(void *arg)
{
    filch_task *child = spawn(posts, NULL);
    int result = 0;

    (void)arg;
    T_OK(filch_block_in_place(waits_in_place, NULL, &result));
    T_IS(result, 7);
    T_OK(filch_task_join(child, NULL, T_LIMIT));
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND))); /* it is an ordinary task again */
    return 0;
}

static void blocks_in_place_with(unsigned workers, unsigned spares)
{
    filch_runtime *rt = start(workers, spares);

    T_OK(sem_init(&sem, 0, 0));
    for (int i = 0; i < 20; i++)
        T_OK(filch_runtime_block_on(rt, blocks_in_place, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
    sem_destroy(&sem);
}

Test(stuck, what_is_behind_a_task_that_blocks_in_place_runs_elsewhere)
{
    blocks_in_place_with(2, 0);
    blocks_in_place_with(2, FILCH_NO_SPARES);
    blocks_in_place_with(1, 1);
}

static int blocks_in_place_again(void *arg)
{
    int result = 0;

    T_OK(filch_block_in_place(is_seen, arg, &result));
    return result + 1;
}

static int nests(void *arg)
{
    int result = 0;

    T_IS(filch_block_in_place(NULL, NULL, &result), -EINVAL);
    T_OK(filch_block_in_place(blocks_in_place_again, arg, &result));
    T_IS(result, 1);
    return 0;
}

Test(stuck, blocking_in_place_within_itself_and_elsewhere)
{
    filch_runtime *rt = start(2, 0);

    T_OK(nests(NULL)); /* a plain thread */
    T_OK(filch_runtime_block_on(rt, nests, NULL, NULL, FILCH_NEVER));
    T_CHECK(atomic_load(&seen) == 2);
    stop_runtime(rt);
}

static int suspends(void *arg)
{
    (void)arg;
    return filch_sleep(filch_after(FILCH_MILLISECOND));
}

static int suspends_in_place(void *arg)
{
    return filch_block_in_place(suspends, arg, NULL);
}

Test(stuck, suspending_in_place_aborts)
{
    pid_t pid = fork();
    int status;

    T_CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        T_OK(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
        T_OK(close(STDERR_FILENO));
        (void)run_in_runtime(2, suspends_in_place, NULL);
        _exit(0);
    }
    T_CHECK(waitpid(pid, &status, 0) == pid);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static int computes_until_its_share_is_over(void *arg)
{
    filch_time limit = T_LIMIT;

    (void)arg;
    T_CHECK(!filch_should_yield());
    while (!filch_should_yield())
        T_CHECK(filch_now() < limit);
    filch_task_yield();
    T_CHECK(!filch_should_yield());
    return 0;
}

Test(stuck, a_task_that_computes_learns_that_its_share_is_over)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("threads take turns there, so a share may be over at once");
    T_CHECK(!filch_should_yield());
    for (unsigned workers = 1; workers <= 2; workers++) {
        filch_runtime *rt = start(workers, 0);

        T_OK(filch_runtime_block_on(rt, computes_until_its_share_is_over, NULL, NULL, FILCH_NEVER));
        stop_runtime(rt);
    }
}

static int sleeps_again_and_again(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++)
        T_OK(filch_sleep(filch_after(50 * FILCH_MICROSECOND)));
    return 0;
}

/* Each goes to work thousands of times a second, mostly while the other sleeps, and is to be
 * watched by it. */
Test(stuck, workers_that_park_often_do_not_wake_each_other)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = 2, .spin_ns = FILCH_NEVER});
    filch_task *task[2];
    filch_time began = filch_now(), took;

    for (unsigned i = 0; i < 2; i++) {
        filch_task_opts opts = {.pinned = true, .worker = i + 1};

        T_OK(filch_runtime_spawn(rt, sleeps_again_and_again, NULL, &opts, &task[i]));
    }
    for (unsigned i = 0; i < 2; i++)
        T_OK(join(task[i]));
    took = filch_now() - began;
    /* One in 5 ms calls the other, and the watch may each 10 ms. */
    cr_assert_lt(stats_of(rt).worker_wakes, 50 + took / (2500 * FILCH_MICROSECOND));
    T_OK(filch_runtime_shutdown(rt, FILCH_NEVER));
}
