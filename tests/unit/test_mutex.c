/* Description: mutexes: mutual exclusion, order, bounded overtaking, cancel and time-outs that pass
 * the lock on, select, plain threads; random operations. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "sync/lock_wait.h"
#include "tests/runner/run.h"

TestSuite(mutex, .timeout = 120);

static filch_mutex static_mutex = FILCH_MUTEX_INIT;

Test(mutex, is_taken_once_at_a_time)
{
    T_OK(filch_mutex_lock(&static_mutex, FILCH_NOW));
    T_IS(filch_mutex_try_lock(&static_mutex), -EBUSY);
    T_OK(filch_mutex_unlock(&static_mutex));
    T_IS(filch_mutex_unlock(&static_mutex), -EPERM);
    T_OK(filch_mutex_try_lock(&static_mutex));
    T_OK(filch_mutex_unlock(&static_mutex));
    filch_mutex_fini(&static_mutex);
}

static int breaks_out(filch_mutex *mutex)
{
    FILCH_LOCKED(mutex)
    {
        if (filch_mutex_try_lock(mutex) == -EBUSY)
            break;
    }
    FILCH_LOCKED(mutex)
    {
        return 7;
    }
    return 0;
}

Test(mutex, a_guarded_block_unlocks_however_it_is_left)
{
    filch_mutex mutex;

    filch_mutex_init(&mutex);
    T_IS(breaks_out(&mutex), 7);
    T_OK(filch_mutex_try_lock(&mutex));
    T_OK(filch_mutex_unlock(&mutex));
    filch_mutex_fini(&mutex);
}

struct shared {
    filch_mutex mutex;
    atomic_int waiting; /* about to */
    atomic_int had;
    int order[8];
    filch_time until;
};

static int locks_once(void *arg)
{
    struct shared *shared = arg;
    int r;

    atomic_fetch_add(&shared->waiting, 1);
    r = filch_mutex_lock(&shared->mutex, shared->until);
    if (r < 0)
        return r;
    atomic_fetch_add(&shared->had, 1);
    return filch_mutex_unlock(&shared->mutex);
}

static int cancels_and_times_out(void *arg)
{
    struct shared shared = {.mutex = FILCH_MUTEX_INIT, .until = FILCH_NEVER};
    filch_task *first, *second, *late;

    (void)arg;
    T_OK(filch_mutex_lock(&shared.mutex, FILCH_NEVER));
    first = spawn(locks_once, &shared);
    second = spawn(locks_once, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 2);
    let_others_run();
    T_OK(filch_task_cancel(first));
    T_IS(join(first), -ECANCELED);
    shared.until = filch_after(FILCH_MILLISECOND);
    late = spawn(locks_once, &shared);
    T_IS(join(late), -ETIMEDOUT);
    T_IS(atomic_load(&shared.had), 0);
    T_OK(filch_mutex_unlock(&shared.mutex));
    T_OK(join(second));
    T_IS(atomic_load(&shared.had), 1);
    filch_mutex_fini(&shared.mutex);
    return 0;
}

Test(mutex, a_waiter_that_gives_up_has_nothing_and_loses_nothing)
{
    T_OK(run_in_runtime(0, cancels_and_times_out, NULL));
}

/* Woken to try and cancelled at the same time: whoever stands behind must go on. */
static int cancel_races(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        struct shared shared = {.mutex = FILCH_MUTEX_INIT, .until = FILCH_NEVER};
        filch_task *first, *second;
        int r;

        T_OK(filch_mutex_lock(&shared.mutex, FILCH_NEVER));
        first = spawn(locks_once, &shared);
        second = spawn(locks_once, &shared);
        T_WAIT_UNTIL(atomic_load(&shared.waiting) == 2);
        for (int k = 0; k < i % 5; k++)
            filch_task_yield();
        if (i % 2)
            T_OK(filch_task_cancel(first));
        T_OK(filch_mutex_unlock(&shared.mutex));
        if (i % 2 == 0)
            T_OK(filch_task_cancel(first));
        r = join(first);
        T_CHECK(r == 0 || r == -ECANCELED);
        T_OK(join(second));
        filch_mutex_fini(&shared.mutex);
    }
    return 0;
}

Test(mutex, cancel_while_being_woken_passes_the_lock_on)
{
    T_OK(run_in_runtime(0, cancel_races, NULL));
}

static int hogs(void *arg)
{
    struct shared *shared = arg;

    while (!atomic_load(&shared->had)) {
        T_OK(filch_mutex_lock(&shared->mutex, FILCH_NEVER));
        T_OK(filch_sleep(filch_after(100 * FILCH_MICROSECOND)));
        T_OK(filch_mutex_unlock(&shared->mutex));
    }
    return 0;
}

static int overtaken(void *arg)
{
    struct shared shared = {.mutex = FILCH_MUTEX_INIT, .until = FILCH_NEVER};
    filch_task *hog;
    filch_task *waiter;

    (void)arg;
    hog = spawn(hogs, &shared);
    waiter = spawn(locks_once, &shared);
    T_OK(join(waiter));
    T_OK(join(hog));
    filch_mutex_fini(&shared.mutex);
    return 0;
}

Test(mutex, who_locks_again_and_again_does_not_starve_the_others)
{
    T_OK(run_in_runtime(0, overtaken, NULL));
}

static int locks_in_select(void *arg)
{
    struct shared *shared = arg;
    filch_case cases[2];
    filch_chan *never;
    int message;
    int r;

    T_OK(filch_chan_new(sizeof(int), 1, &never));
    cases[0] = filch_case_recv(never, &message);
    cases[1] = filch_case_lock(&shared->mutex);
    atomic_fetch_add(&shared->waiting, 1);
    r = filch_select(cases, 2, 0, FILCH_NEVER);
    filch_chan_unref(never);
    if (r != 1)
        return r < 0 ? r : -EPROTO;
    T_OK(cases[1].result);
    T_IS(filch_mutex_try_lock(&shared->mutex), -EBUSY);
    return filch_mutex_unlock(&shared->mutex);
}

static int select_waits(void *arg)
{
    struct shared shared = {.mutex = FILCH_MUTEX_INIT, .until = FILCH_NEVER};
    filch_task *first, *second, *cancelled;

    (void)arg;
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_lock(&shared.mutex)), 0);
    first = spawn(locks_in_select, &shared);
    cancelled = spawn(locks_in_select, &shared);
    second = spawn(locks_once, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.waiting) == 3);
    let_others_run();
    T_OK(filch_task_cancel(cancelled));
    T_IS(join(cancelled), -ECANCELED);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_lock(&shared.mutex)), -ETIMEDOUT);
    T_OK(filch_mutex_unlock(&shared.mutex));
    T_OK(join(first));
    T_OK(join(second));
    filch_mutex_fini(&shared.mutex);
    return 0;
}

Test(mutex, a_select_gets_it_or_leaves_it)
{
    T_OK(run_in_runtime(0, select_waits, NULL));
}

static int yields_inside(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < 200; i++) {
        FILCH_LOCKED(&shared->mutex)
        {
            int before = shared->order[0];

            filch_task_yield(); /* it may be unlocked on another thread */
            T_IS(shared->order[0], before);
            shared->order[0]++;
        }
    }
    return 0;
}

static int held_across(void *arg)
{
    struct shared shared = {.mutex = FILCH_MUTEX_INIT};
    filch_task *task[6];

    (void)arg;
    for (int i = 0; i < 6; i++)
        task[i] = spawn(yields_inside, &shared);
    for (int i = 0; i < 6; i++)
        T_OK(join(task[i]));
    T_IS(shared.order[0], 1200);
    filch_mutex_fini(&shared.mutex);
    return 0;
}

Test(mutex, is_held_across_suspensions)
{
    T_OK(run_in_runtime(0, held_across, NULL));
}

/* ---- random operations, against the model: a count that only the holder changes ---- */

#ifdef T_SANITIZED
#define OPERATIONS 20000u
#else
#define OPERATIONS 200000u
#endif
#define ACTORS 8u

static struct {
    filch_mutex mutex[2];
    uint64_t count[2]; /* plain: the mutex is what keeps it right */
    int inside[2];
    _Atomic(uint64_t) want[2];
    unsigned each;
} property;

static unsigned operations(void)
{
    const char *text = getenv("FILCH_TEST_OPERATIONS");

    return text ? (unsigned)strtoul(text, NULL, 10) : OPERATIONS;
}

static int lock_somehow(filch_mutex *mutex, uint32_t how)
{
    filch_case c = filch_case_lock(mutex);
    int r;

    switch (how % 6) {
    case 0:
        return filch_mutex_try_lock(mutex);
    case 1:
        return filch_mutex_lock(mutex, FILCH_NOW);
    case 2:
        return filch_mutex_lock(mutex, filch_after(how % 4 * FILCH_MICROSECOND));
    case 3:
        r = filch_select(&c, 1, 0, filch_after(how % 8 * FILCH_MICROSECOND));
        return r < 0 ? r : c.result;
    case 4:
        r = filch_select(&c, 1, 0, FILCH_NEVER);
        return r < 0 ? r : c.result;
    default:
        return filch_mutex_lock(mutex, FILCH_NEVER);
    }
}

static int random_operations(void *arg)
{
    uint32_t random = 2463534242u * (uint32_t)(1 + (uintptr_t)arg);

    for (unsigned i = 0; i < property.each; i++) {
        unsigned which;
        int r;

        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        which = random >> 31;
        r = lock_somehow(&property.mutex[which], random >> 4 & 0xffff);
        if (r < 0) {
            T_CHECK(r == -ETIMEDOUT || r == -EBUSY);
            continue;
        }
        T_IS(property.inside[which]++, 0);
        property.count[which]++;
        if ((random >> 8) % 16 == 0)
            filch_task_yield();
        property.inside[which]--;
        T_OK(filch_mutex_unlock(&property.mutex[which]));
        atomic_fetch_add_explicit(&property.want[which], 1, memory_order_relaxed);
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

Test(mutex, random_operations_of_tasks_and_threads_exclude_each_other)
{
    pthread_t thread[2];

    property.each = operations() / (ACTORS + 2);
    for (uintptr_t i = 0; i < 2; i++)
        T_OK(pthread_create(&thread[i], NULL, random_thread, (void *)(100 + i)));
    T_OK(run_in_runtime(0, random_tasks, NULL));
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        T_IS(property.count[i], atomic_load(&property.want[i]));
        filch_mutex_fini(&property.mutex[i]);
    }
}

/* ---- looks at a taken mutex before the wait ---- */

static atomic_int is_running, has_looked;

static int runs_beside(void *arg)
{
    (void)arg;
    atomic_store(&is_running, 1);
    while (!atomic_load(&has_looked))
        ;
    return 0;
}

static unsigned looks_of(unsigned waits, bool taken)
{
    unsigned looks = 0;

    for (unsigned i = 0; i < waits; i++)
        if (filch__lock_look_pays()) {
            looks++;
            T_IS(filch__lock_looked(taken), taken);
        }
    return looks;
}

static int looks_with_another(void *arg)
{
    filch_task *other = spawn(runs_beside, NULL);

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&is_running));
    T_IS(looks_of(100, true), 100);
    T_CHECK(looks_of(6400, false) <= 110); /* after 2, 4, 8... waits, then each 64th */
    (void)looks_of(64, true);              /* until the next look, which has luck */
    T_IS(looks_of(100, true), 100);
    atomic_store(&has_looked, 1);
    return join(other);
}

static int looks_alone(void *arg)
{
    (void)arg;
    T_IS(looks_of(100, true), 0);
    return 0;
}

Test(mutex, looks_are_for_holders_that_run)
{
    T_OK(run_in_runtime(1, looks_alone, NULL));
    T_OK(run_in_runtime(2, looks_with_another, NULL));
}

/* There is no poisoning, and no lock is taken away: it is the owner's until he unlocks it, which he
 * may do although he is cancelled. */
static int is_cancelled_with_it(void *arg)
{
    struct shared *shared = arg;

    T_OK(filch_mutex_lock(&shared->mutex, FILCH_NEVER));
    atomic_fetch_add(&shared->had, 1);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_WAIT_UNTIL(atomic_load(&shared->waiting) == 1);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_OK(filch_mutex_unlock(&shared->mutex));
    return 0;
}

static int waits_for_the_cancelled(void *arg)
{
    struct shared *shared = arg;
    filch_task *owner = spawn(is_cancelled_with_it, shared);

    T_WAIT_UNTIL(atomic_load(&shared->had) == 1);
    T_OK(filch_task_cancel(owner));
    T_IS(filch_mutex_try_lock(&shared->mutex), -EBUSY);
    T_IS(filch_mutex_lock(&shared->mutex, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    atomic_fetch_add(&shared->waiting, 1);
    T_OK(filch_mutex_lock(&shared->mutex, T_LIMIT));
    T_OK(join(owner));
    return filch_mutex_unlock(&shared->mutex);
}

Test(mutex, a_cancelled_owner_has_it_until_he_unlocks_it)
{
    struct shared shared = {.had = 0};

    filch_mutex_init(&shared.mutex);
    T_OK(run_in_runtime(0, waits_for_the_cancelled, &shared));
    filch_mutex_fini(&shared.mutex);
}
