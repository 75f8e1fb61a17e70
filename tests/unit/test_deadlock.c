/* Description: what builds with all asserts find about locks: recursion, circles of owners, unlock
 * by others, ends with a lock, and the end of a lock that is in use. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(deadlock, .timeout = 120);

#if FILCH_ASSERTS >= 2

static char messages[4096];
static pthread_mutex_t messages_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(void *arg, int level, const char *message)
{
    (void)arg;
    (void)level;
    pthread_mutex_lock(&messages_lock);
    strncat(messages, message, sizeof messages - strlen(messages) - 1);
    strncat(messages, "\n", sizeof messages - strlen(messages) - 1);
    pthread_mutex_unlock(&messages_lock);
}

static bool was_said(const char *part)
{
    bool found;

    pthread_mutex_lock(&messages_lock);
    found = strstr(messages, part) != NULL;
    pthread_mutex_unlock(&messages_lock);
    if (!found)
        fprintf(stderr, "not said: %s, but: %s\n", part, messages);
    return found;
}

/* Each a module and an offset into it. */
static unsigned places_said(void)
{
    unsigned places = 0;

    pthread_mutex_lock(&messages_lock);
    for (const char *at = messages; (at = strstr(at, "+0x")); at++)
        places++;
    pthread_mutex_unlock(&messages_lock);
    return places;
}

Test(deadlock, a_recursive_lock_is_refused)
{
    filch_mutex mutex = FILCH_MUTEX_INIT;

    filch_log_set(keep, NULL);
    T_OK(filch_mutex_lock(&mutex, FILCH_NEVER));
    T_IS(filch_mutex_lock(&mutex, FILCH_NEVER), -EDEADLK);
    T_IS(filch_mutex_lock(&mutex, filch_after(FILCH_SECOND)), -EDEADLK);
    T_IS(filch_mutex_lock_shielded(&mutex), -EDEADLK);
    T_CHECK(was_said("deadlock (1 of 1)"));
    T_IS(places_said(), 6); /* each time where it waits, and where it has it from */
    T_OK(filch_mutex_unlock(&mutex));
    filch_mutex_fini(&mutex);
    filch_log_set(NULL, NULL);
}

struct circle {
    filch_mutex mutex[3];
    atomic_int arrived;
};

struct member {
    struct circle *circle;
    int index;
};

static int locks_two(void *arg)
{
    struct member *member = arg;
    struct circle *circle = member->circle;
    filch_mutex *first = &circle->mutex[member->index];
    filch_mutex *second = &circle->mutex[(member->index + 1) % 3];
    int r;

    T_OK(filch_mutex_lock(first, FILCH_NEVER));
    atomic_fetch_add(&circle->arrived, 1);
    T_WAIT_UNTIL(atomic_load(&circle->arrived) == 3);
    r = filch_mutex_lock(second, FILCH_NEVER);
    if (r == 0)
        T_OK(filch_mutex_unlock(second));
    T_OK(filch_mutex_unlock(first));
    return r;
}

static int circle_of_three(void *arg)
{
    static const char *const names[] = {"anna", "bert", "carl"};
    struct circle circle = {.arrived = 0};
    struct member members[3];
    filch_task *task[3];
    int found = 0;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        members[i] = (struct member){&circle, i};
        T_OK(filch_task_spawn(locks_two, &members[i], &(filch_task_opts){.name = names[i]},
                              &task[i]));
    }
    for (int i = 0; i < 3; i++) {
        int r = join(task[i]);

        T_CHECK(r == 0 || r == -EDEADLK);
        found += r < 0;
    }
    T_IS(found, 1); /* the last one: the others go on */
    for (int i = 0; i < 3; i++) {
        T_CHECK(was_said(names[i]));
        filch_mutex_fini(&circle.mutex[i]);
    }
    T_CHECK(was_said("deadlock (3 of 3)"));
    T_IS(places_said(), 6);
    return 0;
}

Test(deadlock, a_circle_of_owners_is_found_by_the_last_one)
{
    filch_log_set(keep, NULL);
    T_OK(run_in_runtime(0, circle_of_three, NULL));
    filch_log_set(NULL, NULL);
}

static int writes(void *arg)
{
    int r = filch_rwlock_write(arg, FILCH_NEVER);

    return r < 0 ? r : filch_rwlock_unlock(arg);
}

static int reads_twice(void *arg)
{
    filch_rwlock lock = FILCH_RWLOCK_INIT;
    filch_task *writer;

    (void)arg;
    T_OK(filch_rwlock_read(&lock, FILCH_NEVER));
    T_OK(filch_rwlock_read(&lock, FILCH_NEVER)); /* nobody waits */
    T_OK(filch_rwlock_unlock(&lock));
    T_IS(filch_rwlock_write(&lock, FILCH_NEVER), -EDEADLK);
    writer = spawn(writes, &lock);
    for (int r = 0; r == 0; filch_task_yield()) {
        r = filch_rwlock_try_read(&lock);
        if (r == 0)
            T_OK(filch_rwlock_unlock(&lock));
    }
    T_IS(filch_rwlock_read(&lock, FILCH_NEVER), -EDEADLK);
    T_CHECK(was_said("read/write lock"));
    T_OK(filch_rwlock_unlock(&lock));
    T_OK(join(writer));
    filch_rwlock_fini(&lock);
    return 0;
}

Test(deadlock, a_recursive_read_behind_a_writer_is_found)
{
    filch_log_set(keep, NULL);
    T_OK(run_in_runtime(0, reads_twice, NULL));
    filch_log_set(NULL, NULL);
}

static int keeps_it(void *arg)
{
    return filch_mutex_lock(arg, FILCH_NEVER);
}

static int ends_with_it(void *arg)
{
    static filch_mutex mutex;
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(keeps_it, &mutex, &(filch_task_opts){.name = "forgetful"}, &task));
    T_OK(join(task));
    T_CHECK(was_said("task \"forgetful\" has ended with the lock"));
    T_OK(filch_mutex_unlock(&mutex)); /* nobody's */
    return 0;
}

Test(deadlock, a_task_that_ends_with_a_lock_is_named)
{
    filch_log_set(keep, NULL);
    T_OK(run_in_runtime(0, ends_with_it, NULL));
    filch_log_set(NULL, NULL);
}

static filch_mutex others;

static void *unlocks(void *arg)
{
    (void)filch_mutex_unlock(arg);
    return NULL;
}

static void in_another_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, fn, arg));
    pthread_join(thread, NULL);
}

static void unlock_of_others(void)
{
    T_OK(filch_mutex_lock(&others, FILCH_NEVER));
    in_another_thread(unlocks, &others);
}

static filch_rwlock others_rwlock;

static void *unlocks_rwlock(void *arg)
{
    (void)filch_rwlock_unlock(arg);
    return NULL;
}

static void unlock_of_others_reading(void)
{
    T_OK(filch_rwlock_read(&others_rwlock, FILCH_NEVER));
    in_another_thread(unlocks_rwlock, &others_rwlock);
}

static void unlock_of_others_writing(void)
{
    T_OK(filch_rwlock_write(&others_rwlock, FILCH_NEVER));
    in_another_thread(unlocks_rwlock, &others_rwlock);
}

#endif

#if FILCH_ASSERTS >= 1

/* In a child: the process must abort. */
static void must_abort(void (*what)(void))
{
    pid_t child = fork();
    int status;

    T_CHECK(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        what();
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void fini_of_a_locked_one(void)
{
    filch_mutex mutex = FILCH_MUTEX_INIT;

    T_OK(filch_mutex_lock(&mutex, FILCH_NEVER));
    filch_mutex_fini(&mutex);
}

static void fini_of_a_read_one(void)
{
    filch_rwlock lock = FILCH_RWLOCK_INIT;

    T_OK(filch_rwlock_read(&lock, FILCH_NEVER));
    filch_rwlock_fini(&lock);
}

static filch_mutex waited_mutex;
static filch_cond waited_cond;

static void *waits(void *arg)
{
    (void)!filch_mutex_lock(&waited_mutex, FILCH_NEVER);
    (void)!filch_cond_wait(&waited_cond, &waited_mutex, FILCH_NEVER);
    return arg;
}

static void fini_with_a_waiter(void)
{
    pthread_t thread;
    filch_time limit = T_LIMIT;

    T_OK(pthread_create(&thread, NULL, waits, NULL));
    while (filch_now() < limit) {
        filch_cond_fini(&waited_cond); /* until somebody waits */
        sched_yield();
    }
}

static int ends_its_own(void *arg)
{
    filch_once_fini(arg);
    return 0;
}

static void fini_of_a_running_once(void)
{
    filch_once once = FILCH_ONCE_INIT;

    (void)!filch_once_do(&once, ends_its_own, &once, FILCH_NEVER);
}

static void guard_of_null(void)
{
    FILCH_LOCKED(NULL)
    {
    }
}

Test(deadlock, the_end_of_a_lock_in_use_aborts)
{
    must_abort(fini_of_a_locked_one);
    must_abort(fini_of_a_read_one);
    must_abort(fini_with_a_waiter);
    must_abort(fini_of_a_running_once);
    must_abort(guard_of_null);
#if FILCH_ASSERTS >= 2
    must_abort(unlock_of_others);
    must_abort(unlock_of_others_reading);
    must_abort(unlock_of_others_writing);
#endif
}

#endif

Test(deadlock, locks_can_be_nested_in_one_order)
{
    filch_mutex a = FILCH_MUTEX_INIT, b = FILCH_MUTEX_INIT;

    FILCH_LOCKED(&a)
    {
        FILCH_LOCKED(&b)
        {
            T_IS(filch_mutex_try_lock(&a), -EBUSY);
        }
    }
    filch_mutex_fini(&a);
    filch_mutex_fini(&b);
}
