/* Description: what <filch/rcu.h> promises: what a reader sees is not freed under it, whoever reads
 * and whoever replaces; a suspension in a section is the program's end; callbacks come once, in
 * order, also after the runtime. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/task/switch.h"
#include "tests/runner/run.h"

TestSuite(rcu, .timeout = 120);

#define ALIVE 0x600dcafeu
#define FREED 0xdeadbeefu
#define READERS 4

struct object {
    filch_rcu_head head;
    _Atomic unsigned canary;
};

static struct object *shared;
static atomic_int made, freed, stop;

static struct object *make(void)
{
    struct object *object = calloc(1, sizeof *object);

    T_CHECK(object != NULL);
    atomic_store_explicit(&object->canary, ALIVE, memory_order_relaxed);
    atomic_fetch_add(&made, 1);
    return object;
}

static void end(struct object *object)
{
    atomic_store_explicit(&object->canary, FREED, memory_order_relaxed);
    free(object);
    atomic_fetch_add(&freed, 1);
}

static void end_later(filch_rcu_head *head)
{
    end((struct object *)(void *)head);
}

static void read_once(void)
{
    struct object *object;

    filch_rcu_read_begin();
    object = filch_rcu_load(&shared);
    for (int i = 0; i < 20; i++) {
        filch_rcu_read_begin();
        T_CHECK(atomic_load_explicit(&object->canary, memory_order_relaxed) == ALIVE);
        filch_rcu_read_end();
    }
    filch_rcu_read_end();
}

static int reader(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        for (int i = 0; i < 50; i++)
            read_once();
        filch_task_yield();
    }
    return 0;
}

static void *reader_thread(void *arg)
{
    T_OK(filch_rcu_thread_register());
    while (!atomic_load(&stop)) {
        read_once();
        filch_rcu_quiescent();
    }
    T_OK(filch_rcu_thread_offline());
    T_OK(filch_rcu_thread_online());
    T_OK(filch_rcu_thread_unregister());
    return arg;
}

static int replace(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct object *old = filch_rcu_exchange(&shared, make());

        if (i % 4 == 0) {
            T_OK(filch_rcu_synchronize());
            end(old);
        } else {
            T_OK(filch_rcu_call(&old->head, end_later));
        }
    }
    return 0;
}

static void *replacing_thread(void *arg)
{
    T_OK(filch_rcu_thread_register());
    T_IS(replace(NULL), 0);
    T_OK(filch_rcu_thread_unregister());
    return arg;
}

static int race(void *arg)
{
    filch_task *readers[READERS], *writers[2], *job;

    for (int i = 0; i < READERS; i++)
        readers[i] = spawn(reader, NULL);
    writers[0] = spawn(replace, NULL);
    writers[1] = spawn(replace, NULL);
    T_OK(filch_blocking_spawn(replace, NULL, NULL, &job));
    T_IS(join(writers[0]) + join(writers[1]) + join(job), 0);
    atomic_store(&stop, 1);
    for (int i = 0; i < READERS; i++)
        T_IS(join(readers[i]), 0);
    (void)arg;
    return 0;
}

static void race_with(unsigned workers)
{
    pthread_t threads[2];

    atomic_store(&made, 0);
    atomic_store(&freed, 0);
    atomic_store(&stop, 0);
    filch_rcu_store(&shared, make());
    T_OK(pthread_create(&threads[0], NULL, reader_thread, NULL));
    T_OK(pthread_create(&threads[1], NULL, replacing_thread, NULL));
    T_IS(run_in_runtime(workers, race, NULL), 0);
    for (int i = 0; i < 2; i++)
        T_OK(pthread_join(threads[i], NULL));
    T_OK(filch_rcu_barrier());
    end(shared);
    T_IS(atomic_load(&made), 4 * 200 + 1);
    T_IS(atomic_load(&freed), atomic_load(&made));
}

Test(rcu, readers_never_see_a_freed_object)
{
    race_with(1);
    race_with(2);
    race_with(8);
}

static int update_much(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++) {
        struct object *old = filch_rcu_exchange(&shared, make());

        T_OK(filch_rcu_call(&old->head, end_later));
    }
    return 0;
}

/* Pending when the runtime ends, and called nevertheless. */
Test(rcu, a_hundred_thousand_updates_leak_nothing)
{
    atomic_store(&made, 0);
    atomic_store(&freed, 0);
    filch_rcu_store(&shared, make());
    T_IS(run_in_runtime(0, update_much, NULL), 0);
    T_OK(filch_rcu_barrier());
    T_IS(atomic_load(&freed), 100000);
    end(shared);
}

static atomic_int was_in, may_leave, waited;

static int hold(void *arg)
{
    filch_rcu_read_begin();
    atomic_store(&was_in, 1);
    while (!atomic_load(&may_leave))
        sched_yield();
    T_IS(atomic_load(&waited), 0);
    filch_rcu_read_end();
    (void)arg;
    return 0;
}

static void *wait_for_holder(void *arg)
{
    T_OK(filch_rcu_synchronize());
    T_CHECK(atomic_load(&may_leave));
    atomic_store(&waited, 1);
    return arg;
}

/* A reader on one runtime holds up a thread and a task of another. */
static int wait_as_task(void *arg)
{
    wait_for_holder(arg);
    return 0;
}

Test(rcu, a_section_holds_up_other_runtimes_until_it_ends)
{
    filch_runtime *a = start_runtime_with_threads(1);
    filch_runtime *b = start_runtime_with_threads(1);
    filch_task *holder, *waiting;
    pthread_t thread;

    T_OK(filch_runtime_spawn(a, hold, NULL, NULL, &holder));
    T_WAIT_UNTIL(atomic_load(&was_in));
    T_OK(filch_runtime_spawn(b, wait_as_task, NULL, NULL, &waiting));
    T_OK(pthread_create(&thread, NULL, wait_for_holder, NULL));
    let_others_run();
    T_IS(filch_task_is_finished(waiting), false);
    atomic_store(&may_leave, 1);
    T_IS(join(holder), 0);
    T_IS(join(waiting), 0);
    T_OK(pthread_join(thread, NULL));
    stop_runtime(a);
    stop_runtime(b);
}

static void in_callback(filch_rcu_head *head)
{
    T_IS(filch_rcu_synchronize(), -EDEADLK);
    T_IS(filch_rcu_barrier(), -EDEADLK);
    free(head);
}

Test(rcu, a_callback_cannot_wait_for_itself)
{
    filch_rcu_head *head = malloc(sizeof *head);

    T_CHECK(head != NULL);
    T_OK(filch_rcu_call(head, in_callback));
    T_OK(filch_rcu_barrier());
}

/* What a child says before it ends. */
static void check_abort(void (*body)(void), const char *says)
{
    char text[1024] = "";
    size_t length = 0;
    int ends[2], status;
    ssize_t n;
    pid_t child;

    T_OK(pipe(ends));
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < sizeof text &&
           (n = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)n;
    close(ends[0]);
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    T_CHECK(strstr(text, says) != NULL);
}

static int yield_inside(void *arg)
{
    filch_rcu_read_begin();
    filch_task_yield();
    (void)arg;
    return 0;
}

static int sleep_inside(void *arg)
{
    filch_rcu_read_begin();
    (void)arg;
    return filch_sleep(filch_after(FILCH_MILLISECOND));
}

static int end_inside(void *arg)
{
    filch_rcu_read_begin();
    (void)arg;
    return 0;
}

static int wait_inside(void *arg)
{
    filch_rcu_read_begin();
    (void)arg;
    return filch_rcu_synchronize();
}

static void run_yield(void)
{
    run_in_runtime(1, yield_inside, NULL);
}

static void run_sleep(void)
{
    run_in_runtime(1, sleep_inside, NULL);
}

static void run_end(void)
{
    run_in_runtime(1, end_inside, NULL);
}

static void run_wait(void)
{
    run_in_runtime(1, wait_inside, NULL);
}

static void end_without_begin(void)
{
    T_OK(filch_rcu_thread_register());
    filch_rcu_read_end();
}

static void read_offline(void)
{
    T_OK(filch_rcu_thread_register());
    T_OK(filch_rcu_thread_offline());
    filch_rcu_read_begin();
}

Test(rcu, a_suspension_in_a_section_aborts)
{
    check_abort(run_yield, "inside an RCU read section");
    check_abort(run_sleep, "inside an RCU read section");
    check_abort(run_end, "inside an RCU read section");
    check_abort(run_wait, "inside an RCU read section");
}

Test(rcu, a_thread_that_may_not_read_aborts)
{
    check_abort(filch_rcu_read_begin, "not registered");
    check_abort(filch_rcu_read_end, "not registered");
    check_abort(read_offline, "offline");
    check_abort(end_without_begin, "without filch_rcu_read_begin");
}

__attribute__((unused)) static int read_in_child(void *arg)
{
    filch_rcu_read_begin();
    filch_rcu_read_end();
    filch_task_yield();
    (void)arg;
    return filch_rcu_synchronize();
}

Test(rcu, the_child_of_a_fork_reads_and_does_not_wait)
{
    int status;
    pid_t child;

    T_OK(filch_rcu_synchronize());
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        filch_rcu_head head;

        T_IS(filch_rcu_call(&head, in_callback), -ECHILD);
#ifndef FILCH__TSAN /* which allows no threads in a fork's child */
        T_IS(run_in_runtime(1, read_in_child, NULL), -ECHILD);
#endif
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    T_OK(filch_rcu_synchronize());
}
