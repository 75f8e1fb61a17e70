/* Description: read/write locks: readers together, writers alone, no overtaking, cancel and
 * time-outs that let those behind go, downgrade, select, plain threads; random operations. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(rwlock, .timeout = 120);

Test(rwlock, many_read_or_one_writes)
{
    static filch_rwlock lock = FILCH_RWLOCK_INIT;

    T_OK(filch_rwlock_read(&lock, FILCH_NOW));
    T_OK(filch_rwlock_try_read(&lock));
    T_IS(filch_rwlock_try_write(&lock), -EBUSY);
    T_IS(filch_rwlock_downgrade(&lock), -EPERM);
    T_OK(filch_rwlock_unlock(&lock));
    T_OK(filch_rwlock_unlock(&lock));
    T_IS(filch_rwlock_unlock(&lock), -EPERM);
    T_OK(filch_rwlock_write(&lock, FILCH_NOW));
    T_IS(filch_rwlock_try_read(&lock), -EBUSY);
    T_IS(filch_rwlock_try_write(&lock), -EBUSY);
    T_OK(filch_rwlock_downgrade(&lock));
    T_OK(filch_rwlock_try_read(&lock));
    T_OK(filch_rwlock_unlock(&lock));
    T_OK(filch_rwlock_unlock(&lock));
    filch_rwlock_fini(&lock);
}

struct shared {
    filch_rwlock lock;
    atomic_int waiting;
    atomic_int readers;
    atomic_int writers;
    atomic_int let_go;
    filch_time until;
};

static int reads(void *arg)
{
    struct shared *shared = arg;
    int r;

    atomic_fetch_add(&shared->waiting, 1);
    r = filch_rwlock_read(&shared->lock, FILCH_NEVER);
    if (r < 0)
        return r;
    atomic_fetch_add(&shared->readers, 1);
    T_WAIT_UNTIL(atomic_load(&shared->let_go));
    return filch_rwlock_unlock(&shared->lock);
}

static int writes(void *arg)
{
    struct shared *shared = arg;
    int r;

    atomic_fetch_add(&shared->waiting, 1);
    r = filch_rwlock_write(&shared->lock, shared->until);
    if (r < 0)
        return r;
    atomic_fetch_add(&shared->writers, 1);
    T_WAIT_UNTIL(atomic_load(&shared->let_go));
    return filch_rwlock_unlock(&shared->lock);
}

/* Until it is in the queue: then newcomers are refused. */
static void wait_for_queue(struct shared *shared)
{
    filch_time limit = T_LIMIT;

    while (filch_rwlock_try_read(&shared->lock) == 0) {
        T_OK(filch_rwlock_unlock(&shared->lock));
        T_CHECK(filch_now() < limit);
        filch_task_yield();
    }
}

static int writer_waits(void *arg)
{
    struct shared shared = {.lock = FILCH_RWLOCK_INIT, .until = FILCH_NEVER};
    filch_task *first, *writer, *behind;

    (void)arg;
    first = spawn(reads, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.readers) == 1);
    writer = spawn(writes, &shared);
    wait_for_queue(&shared);
    behind = spawn(reads, &shared);
    let_others_run();
    T_IS(atomic_load(&shared.readers), 1); /* it does not overtake */
    T_OK(filch_task_cancel(writer));
    T_IS(join(writer), -ECANCELED);
    T_WAIT_UNTIL(atomic_load(&shared.readers) == 2); /* the first one still reads */
    shared.until = filch_after(FILCH_MILLISECOND);
    T_IS(writes(&shared), -ETIMEDOUT);
    atomic_store(&shared.let_go, 1);
    T_OK(join(first));
    T_OK(join(behind));
    filch_rwlock_fini(&shared.lock);
    return 0;
}

Test(rwlock, readers_wait_behind_a_writer_and_go_when_it_gives_up)
{
    T_OK(run_in_runtime(0, writer_waits, NULL));
}

static int batch(void *arg)
{
    struct shared shared = {.lock = FILCH_RWLOCK_INIT, .until = FILCH_NEVER};
    filch_task *readers[3];
    filch_task *writer;

    (void)arg;
    T_OK(filch_rwlock_write(&shared.lock, FILCH_NEVER));
    for (int i = 0; i < 3; i++)
        readers[i] = spawn(reads, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 3);
    let_others_run();
    writer = spawn(writes, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 4);
    T_IS(atomic_load(&shared.readers), 0);
    T_OK(filch_rwlock_downgrade(&shared.lock));
    atomic_store(&shared.let_go, 1);
    T_OK(filch_rwlock_unlock(&shared.lock));
    for (int i = 0; i < 3; i++)
        T_OK(join(readers[i]));
    T_OK(join(writer));
    T_IS(atomic_load(&shared.readers), 3);
    T_IS(atomic_load(&shared.writers), 1);
    filch_rwlock_fini(&shared.lock);
    return 0;
}

Test(rwlock, a_downgrade_lets_the_readers_in)
{
    T_OK(run_in_runtime(0, batch, NULL));
}

static void *thread_writes(void *arg)
{
    struct shared *shared = arg;

    while (!atomic_load(&shared->writers))
        sched_yield();
    T_OK(filch_rwlock_write(&shared->lock, FILCH_NEVER));
    T_OK(filch_rwlock_unlock(&shared->lock));
    return NULL;
}

static int joins_reader(void *arg)
{
    struct shared shared = {.lock = FILCH_RWLOCK_INIT, .until = FILCH_NEVER};
    filch_time limit = T_LIMIT;
    filch_task *reader;
    pthread_t thread;

    (void)arg;
    T_OK(filch_rwlock_write(&shared.lock, FILCH_NEVER));
    atomic_store(&shared.let_go, 1);
    reader = spawn(reads, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 1);
    let_others_run();
    T_OK(pthread_create(&thread, NULL, thread_writes, &shared));
    T_OK(filch_rwlock_downgrade(&shared.lock));
    atomic_store(&shared.writers, 1);
    /* The reader does not run before the writer is there: one worker, which is ours. */
    while (filch_rwlock_try_read(&shared.lock) == 0) {
        T_OK(filch_rwlock_unlock(&shared.lock));
        T_CHECK(filch_now() < limit);
        sched_yield();
    }
    T_OK(join(reader)); /* it was there before the writer, and we only read */
    T_OK(filch_rwlock_unlock(&shared.lock));
    pthread_join(thread, NULL);
    filch_rwlock_fini(&shared.lock);
    return 0;
}

Test(rwlock, who_waited_reads_beside_one_that_has_downgraded)
{
    T_OK(run_in_runtime(1, joins_reader, NULL));
}

struct crossing {
    filch_rwlock lock;
    filch_mutex mutex;
    atomic_int waiting;
};

static int reads_with_mutex(void *arg)
{
    struct crossing *crossing = arg;

    T_OK(filch_mutex_lock(&crossing->mutex, FILCH_NEVER));
    atomic_store(&crossing->waiting, 1);
    T_OK(filch_rwlock_read(&crossing->lock, FILCH_NEVER));
    T_OK(filch_rwlock_unlock(&crossing->lock));
    return filch_mutex_unlock(&crossing->mutex);
}

static int downgrades_and_locks(void *arg)
{
    struct crossing crossing = {.lock = FILCH_RWLOCK_INIT, .mutex = FILCH_MUTEX_INIT};
    filch_task *reader;

    (void)arg;
    T_OK(filch_rwlock_write(&crossing.lock, FILCH_NEVER));
    reader = spawn(reads_with_mutex, &crossing);
    T_WAIT_UNTIL(atomic_load(&crossing.waiting));
    let_others_run();
    T_OK(filch_rwlock_downgrade(&crossing.lock));
    T_OK(filch_mutex_lock(&crossing.mutex, FILCH_NEVER)); /* no circle: the reader can go */
    T_OK(filch_mutex_unlock(&crossing.mutex));
    T_OK(filch_rwlock_unlock(&crossing.lock));
    T_OK(join(reader));
    filch_rwlock_fini(&crossing.lock);
    filch_mutex_fini(&crossing.mutex);
    return 0;
}

Test(rwlock, one_that_is_woken_to_try_is_in_no_circle)
{
    T_OK(run_in_runtime(1, downgrades_and_locks, NULL));
}

static int selects(void *arg)
{
    struct shared shared = {.lock = FILCH_RWLOCK_INIT, .until = FILCH_NEVER};
    filch_task *writer;

    (void)arg;
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_read_lock(&shared.lock)), 0);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_write_lock(&shared.lock)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_write_lock(&shared.lock)),
         -ETIMEDOUT);
    T_OK(filch_rwlock_try_read(&shared.lock)); /* it has left nothing behind */
    T_OK(filch_rwlock_unlock(&shared.lock));
    writer = spawn(writes, &shared);
    wait_for_queue(&shared);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_read_lock(&shared.lock)), -ETIMEDOUT);
    atomic_store(&shared.let_go, 1);
    T_OK(filch_rwlock_unlock(&shared.lock));
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_write_lock(&shared.lock)), 0);
    T_OK(filch_rwlock_unlock(&shared.lock));
    T_OK(join(writer));
    filch_rwlock_fini(&shared.lock);
    return 0;
}

Test(rwlock, a_select_gets_it_or_leaves_it)
{
    T_OK(run_in_runtime(0, selects, NULL));
}

/* ---- who is woken to try ---- */

static struct {
    filch_rwlock lock;
    atomic_uint looks; /* of the reader */
} busy;

#define LOOKS 50u

/* Without a gap, but for what the budget of a task asks of it. */
static int always_writes(void *arg)
{
    (void)arg;
    while (atomic_load(&busy.looks) < LOOKS) {
        T_OK(filch_rwlock_write(&busy.lock, FILCH_NEVER));
        T_OK(filch_rwlock_unlock(&busy.lock));
    }
    return 0;
}

static int looks_in_between(void *arg)
{
    (void)arg;
    while (atomic_load(&busy.looks) < LOOKS) {
        T_OK(filch_rwlock_read(&busy.lock, FILCH_NEVER));
        filch_task_yield(); /* with the lock: who writes has to wait, and others behind it */
        T_OK(filch_rwlock_unlock(&busy.lock));
        atomic_fetch_add(&busy.looks, 1);
    }
    return 0;
}

static int reader_among_writers(void *arg)
{
    filch_task *task[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        task[i] = spawn(i ? always_writes : looks_in_between, NULL);
    for (int i = 0; i < 3; i++)
        T_OK(join(task[i]));
    filch_rwlock_fini(&busy.lock);
    return 0;
}

Test(rwlock, a_reader_gets_in_among_busy_writers)
{
    T_OK(run_in_runtime(0, reader_among_writers, NULL));
}

static void let_pass(filch_time span)
{
    filch_time end = filch_after(span);

    while (filch_now() < end) /* the worker is ours */
        ;
}

/* Who holds the lock decides when the reader runs: one worker. */
static int loses_for_long(void *arg)
{
    struct shared shared = {.lock = FILCH_RWLOCK_INIT};
    filch_task *reader;

    (void)arg;
    T_OK(filch_rwlock_write(&shared.lock, FILCH_NEVER));
    reader = spawn(reads, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 1);
    let_others_run();
    T_OK(filch_rwlock_unlock(&shared.lock));
    T_OK(filch_rwlock_try_write(&shared.lock)); /* it is woken to try, and does not run yet */
    let_pass(2 * FILCH_MILLISECOND);
    let_others_run();
    T_IS(atomic_load(&shared.readers), 0); /* it has tried, and lost */
    T_OK(filch_rwlock_unlock(&shared.lock));
    T_IS(filch_rwlock_try_write(&shared.lock), -EBUSY); /* now it has it */
    atomic_store(&shared.let_go, 1);
    T_OK(join(reader));
    filch_rwlock_fini(&shared.lock);
    return 0;
}

Test(rwlock, a_reader_that_has_lost_for_long_is_given_its_share)
{
    T_OK(run_in_runtime(1, loses_for_long, NULL));
}

#define ROUNDS 50000u
#define WRITE_EACH 64u

static int reads_mostly(void *arg)
{
    filch_rwlock *lock = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        T_OK(i % WRITE_EACH ? filch_rwlock_read(lock, FILCH_NEVER)
                            : filch_rwlock_write(lock, FILCH_NEVER));
        T_OK(filch_rwlock_unlock(lock));
    }
    return 0;
}

/* A lock that is given to readers who do not run yet makes the next writer wait for them, they for
 * it, and so on: four or more switches for each write. */
static int no_convoy(void *arg)
{
    filch_rwlock lock = FILCH_RWLOCK_INIT;
    filch_task *task[4];
    filch_stats before, after;

    (void)arg;
    T_OK(filch_runtime_stats(filch_runtime_self(), &before));
    for (int i = 0; i < 4; i++)
        task[i] = spawn(reads_mostly, &lock);
    for (int i = 0; i < 4; i++)
        T_OK(join(task[i]));
    T_OK(filch_runtime_stats(filch_runtime_self(), &after));
    filch_rwlock_fini(&lock);
    /* With those that the budget asks for; and a thread that loses its CPU with the lock holds up
     * the others for a while. */
    if (!test_in_chaos() && !T_IS_SLOW)
        T_CHECK(after.polls - before.polls < 4 * ROUNDS / WRITE_EACH * 3);
    return 0;
}

Test(rwlock, readers_who_are_not_running_hold_up_nobody)
{
    T_OK(run_in_runtime(2, no_convoy, NULL));
}

/* ---- random operations, against the model: who is inside ---- */

#ifdef T_SANITIZED
#define OPERATIONS 20000u
#else
#define OPERATIONS 200000u
#endif
#define ACTORS 8u

static struct {
    filch_rwlock lock;
    atomic_int readers;
    atomic_int writers;
    uint64_t written; /* plain */
    _Atomic(uint64_t) want;
    unsigned each;
} property;

static unsigned operations(void)
{
    const char *text = getenv("FILCH_TEST_OPERATIONS");

    return text ? (unsigned)strtoul(text, NULL, 10) : OPERATIONS;
}

static int lock_somehow(bool write, uint32_t how)
{
    filch_case c =
        write ? filch_case_write_lock(&property.lock) : filch_case_read_lock(&property.lock);
    filch_time until = how % 2 ? FILCH_NEVER : filch_after(how % 8 * FILCH_MICROSECOND);
    int r;

    switch ((how >> 3) % 4) {
    case 0:
        return write ? filch_rwlock_try_write(&property.lock)
                     : filch_rwlock_try_read(&property.lock);
    case 1:
        r = filch_select(&c, 1, 0, until);
        return r < 0 ? r : c.result;
    default:
        return write ? filch_rwlock_write(&property.lock, until)
                     : filch_rwlock_read(&property.lock, until);
    }
}

static void be_inside(bool write, uint32_t random)
{
    if (write) {
        T_IS(atomic_fetch_add(&property.writers, 1), 0);
        T_IS(atomic_load(&property.readers), 0);
        property.written++;
        if (random % 8 == 0)
            filch_task_yield();
        atomic_fetch_add_explicit(&property.want, 1, memory_order_relaxed);
        atomic_fetch_sub(&property.writers, 1);
        if (random % 3)
            return;
        T_OK(filch_rwlock_downgrade(&property.lock));
    }
    atomic_fetch_add(&property.readers, 1);
    T_IS(atomic_load(&property.writers), 0);
    T_CHECK(property.written <= (uint64_t)property.each * (ACTORS + 2));
    if (random % 8 == 1)
        filch_task_yield();
    atomic_fetch_sub(&property.readers, 1);
}

static int random_operations(void *arg)
{
    uint32_t random = 2463534242u * (uint32_t)(1 + (uintptr_t)arg);

    for (unsigned i = 0; i < property.each; i++) {
        bool write;
        int r;

        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        write = random >> 30 == 0;
        r = lock_somehow(write, random >> 4 & 0xffff);
        if (r < 0) {
            T_CHECK(r == -ETIMEDOUT || r == -EBUSY);
            continue;
        }
        be_inside(write, random >> 20 & 0x3ff);
        T_OK(filch_rwlock_unlock(&property.lock));
    }
    return 0;
}

static void *random_thread(void *arg)
{
    (void)random_operations(arg);
    return NULL;
}

static int random_tasks(void *arg)
{
    filch_task *task[ACTORS];

    (void)arg;
    for (uintptr_t i = 0; i < ACTORS; i++)
        task[i] = spawn(random_operations, (void *)i);
    for (unsigned i = 0; i < ACTORS; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(rwlock, random_operations_of_tasks_and_threads)
{
    pthread_t thread[2];

    property.each = operations() / (ACTORS + 2);
    for (uintptr_t i = 0; i < 2; i++)
        T_OK(pthread_create(&thread[i], NULL, random_thread, (void *)(100 + i)));
    T_OK(run_in_runtime(0, random_tasks, NULL));
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    T_IS(property.written, atomic_load(&property.want));
    filch_rwlock_fini(&property.lock);
}
