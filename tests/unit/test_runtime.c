/* Description: what <filch/runtime.h> promises: start, block_on, shutdown with whatever is still
 * there, numbers, no leaks. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(runtime, .timeout = 60);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    T_CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

Test(runtime, start_checks_its_arguments)
{
    filch_runtime_opts too_many = {.workers = 257};
    filch_runtime *rt = NULL;

    cr_assert_eq(filch_runtime_start(NULL, NULL), -EINVAL);
    cr_assert_eq(filch_runtime_start(&too_many, &rt), -EINVAL);
    cr_assert_null(rt);
}

Test(runtime, defaults_give_at_least_one_worker)
{
    filch_runtime *rt;
    filch_stats stats;

    T_OK(filch_runtime_start(NULL, &rt));
    T_OK(filch_runtime_stats(rt, &stats));
    cr_assert(stats.workers >= 1);
    cr_assert_eq(filch_runtime_stats(NULL, &stats), -EINVAL);
    cr_assert_eq(filch_runtime_stats(rt, NULL), -EINVAL);
    stop_runtime(rt);
}

static int yields_a_little(void *arg)
{
    for (int i = 0; i < 1000; i++)
        filch_task_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void share_one_cpu(unsigned workers, unsigned expected)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = workers});
    atomic_int ended = 0;
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    cr_assert_eq(stats.workers, expected);
    for (int i = 0; i < 50; i++)
        T_OK(filch_runtime_spawn(rt, yields_a_little, &ended, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&ended) == 50);
    stop_runtime(rt);
}

Test(runtime, a_process_with_one_cpu_gets_one_worker_and_may_have_more)
{
    cpu_set_t set, one;
    int cpu = 0;

    T_OK(sched_getaffinity(0, sizeof set, &set));
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    T_OK(sched_setaffinity(0, sizeof one, &one));
    share_one_cpu(0, 1);
    share_one_cpu(8, 8);
}

Test(runtime, errors_have_a_sentence)
{
    static const int errors[] = {-EINVAL, -ENOMEM, -EMFILE, -EAGAIN, -ENOSYS, -EPERM, -12345};

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        cr_assert(strlen(filch_strerror(errors[i])) > 5);
    cr_assert_eq(strcmp(filch_version(), FILCH_VERSION), 0);
}

Test(runtime, block_on_returns_the_result)
{
    filch_runtime *rt = start_runtime(0);
    int result = 0;

    T_OK(filch_runtime_block_on(rt, return_arg, (void *)17, &result, FILCH_NEVER));
    cr_assert_eq(result, 17);
    T_OK(filch_runtime_block_on(rt, return_arg, (void *)-5, &result, FILCH_NEVER));
    cr_assert_eq(result, -5);
    T_OK(filch_runtime_block_on(rt, return_arg, NULL, NULL, FILCH_NEVER));
    cr_assert_eq(filch_runtime_block_on(rt, NULL, NULL, &result, FILCH_NEVER), -EINVAL);
    cr_assert_eq(filch_runtime_block_on(NULL, return_arg, NULL, &result, FILCH_NEVER), -EINVAL);
    stop_runtime(rt);
}

Test(runtime, block_on_cancels_at_its_time_and_still_waits)
{
    filch_runtime *rt = start_runtime(0);
    filch_time until = filch_after(3 * FILCH_MILLISECOND);
    int result = 0;

    cr_assert_eq(filch_runtime_block_on(rt, sleep_until_cancelled, NULL, &result, until),
                 -ETIMEDOUT);
    cr_assert(filch_now() >= until);
    cr_assert_eq(result, -ECANCELED);
    stop_runtime(rt);
}

static int block_on_inside(void *rt)
{
    int result = 55;

    T_IS(filch_runtime_block_on(rt, return_arg, NULL, &result, FILCH_NEVER), -EDEADLK);
    T_IS(result, 55);
    T_IS(filch_runtime_shutdown(rt, FILCH_NEVER), -EDEADLK);
    T_CHECK(filch_runtime_self() == rt);
    T_CHECK(filch_task_self() != NULL);
    return 0;
}

Test(runtime, task_can_neither_block_on_nor_shut_down)
{
    filch_runtime *rt = start_runtime(0);
    int result = -1;

    T_OK(filch_runtime_block_on(rt, block_on_inside, rt, &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    stop_runtime(rt);
}

struct blocker {
    filch_runtime *rt;
    int rounds;
};

static void *block_on_thread(void *arg)
{
    struct blocker *blocker = arg;

    for (int i = 0; i < blocker->rounds; i++) {
        int result;

        T_OK(filch_runtime_block_on(blocker->rt, return_arg, (void *)(intptr_t)i, &result,
                                    FILCH_NEVER));
        T_IS(result, i);
    }
    return NULL;
}

Test(runtime, any_number_of_threads_may_block_on)
{
    struct blocker blocker = {start_runtime(0), 1000};
    pthread_t thread[8];

    for (int i = 0; i < 8; i++)
        T_OK(pthread_create(&thread[i], NULL, block_on_thread, &blocker));
    for (int i = 0; i < 8; i++)
        T_OK(pthread_join(thread[i], NULL));
    stop_runtime(blocker.rt);
}

Test(runtime, spawn_from_outside)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task = NULL;

    cr_assert_eq(filch_runtime_spawn(NULL, return_arg, NULL, NULL, &task), -EINVAL);
    cr_assert_eq(filch_runtime_spawn(rt, NULL, NULL, NULL, &task), -EINVAL);
    cr_assert_null(task);
    T_OK(filch_runtime_spawn(rt, return_arg, (void *)3, NULL, &task));
    cr_assert_eq(join(task), 3);
    T_OK(filch_runtime_spawn(rt, return_arg, NULL, NULL, NULL));
    stop_runtime(rt);
}

static int count_cancelled(void *arg)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_CHECK(filch_task_is_cancelled());
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

Test(runtime, shutdown_cancels_a_thousand_parked_tasks)
{
    filch_runtime *rt = start_runtime(0);
    atomic_int ended = 0;

    for (int i = 0; i < 1000; i++)
        T_OK(filch_runtime_spawn(rt, count_cancelled, &ended, NULL, NULL));
    stop_runtime(rt);
    cr_assert_eq(ended, 1000);
}

Test(runtime, handles_outlive_their_runtime)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task[10];
    filch_task *job;

    for (intptr_t i = 0; i < 10; i++)
        T_OK(filch_runtime_spawn(rt, i % 2 ? return_arg : sleep_until_cancelled, (void *)i, NULL,
                                 &task[i]));
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)33, NULL, &job));
    stop_runtime(rt);
    for (int i = 0; i < 10; i++) {
        cr_assert(filch_task_is_finished(task[i]));
        T_OK(filch_task_cancel(task[i]));
    }
    for (int i = 0; i < 8; i++)
        cr_assert_eq(join(task[i]), i % 2 ? i : -ECANCELED);
    T_OK(filch_task_detach(task[8]));
    T_OK(filch_task_detach(task[9]));
    cr_assert_eq(join(job), 33);
    cr_assert_eq(filch_task_join(task[0], NULL, FILCH_NOW), -ESRCH);
}

struct stubborn {
    atomic_int running;
    atomic_int go;
    int spawn_result;
};

/* Ignores its cancel until it is let go; sees that nothing new can be spawned meanwhile. */
static int be_stubborn(void *arg)
{
    struct stubborn *stubborn = arg;

    atomic_store(&stubborn->running, 1);
    while (!atomic_load(&stubborn->go))
        filch_task_yield();
    stubborn->spawn_result = filch_spawn(return_arg, NULL);
    return 0;
}

Test(runtime, shutdown_times_out_on_a_stuck_task_and_can_be_repeated)
{
    filch_runtime *rt = start_runtime(0);
    struct stubborn stubborn = {0};
    filch_task *task;
    int result;

    T_OK(filch_runtime_spawn(rt, be_stubborn, &stubborn, NULL, &task));
    T_WAIT_UNTIL(atomic_load(&stubborn.running));
    cr_assert_eq(filch_runtime_shutdown(rt, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    cr_assert_eq(filch_runtime_shutdown(rt, FILCH_NOW), -ETIMEDOUT);
    cr_assert_eq(filch_runtime_spawn(rt, return_arg, NULL, NULL, NULL), -ESHUTDOWN);
    cr_assert_eq(filch_runtime_block_on(rt, return_arg, NULL, &result, FILCH_NEVER), -ESHUTDOWN);
    cr_assert_not(filch_task_is_finished(task));
    atomic_store(&stubborn.go, 1);
    stop_runtime(rt);
    cr_assert_eq(stubborn.spawn_result, -ESHUTDOWN);
    cr_assert_eq(join(task), 0);
    cr_assert_eq(filch_runtime_shutdown(NULL, FILCH_NEVER), -EINVAL);
}

static int breathe(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 20; i++)
        T_OK(filch_scope_spawn(&scope, sleep_until_cancelled, NULL));
    T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
    T_OK(filch_blocking_spawn(return_arg, NULL, NULL, NULL));
    return 0;
}

Test(runtime, hundred_cycles_leak_no_descriptor_and_no_thread)
{
    int fds = 0;
    int threads = 0;

    for (int i = 0; i < 100; i++) {
        cr_assert_eq(run_in_runtime(0, breathe, NULL), 0);
        if (i == 0) {
            fds = count_entries("/proc/self/fd");
            threads = count_entries("/proc/self/task");
        }
    }
    cr_assert_eq(count_entries("/proc/self/fd"), fds);
    /* A joined thread may be listed for a moment longer. */
    T_WAIT_UNTIL(count_entries("/proc/self/task") <= threads);
}

Test(runtime, start_and_stop_without_any_task)
{
    for (int i = 0; i < 50; i++)
        stop_runtime(start_runtime(0));
}

Test(runtime, several_runtimes_live_side_by_side)
{
    filch_runtime *a = start_runtime(1);
    filch_runtime *b = start_runtime(2);
    filch_task *in_a;
    filch_task *in_b;

    T_OK(filch_runtime_spawn(a, sleep_until_cancelled, NULL, NULL, &in_a));
    T_OK(filch_runtime_spawn(b, sleep_until_cancelled, NULL, NULL, &in_b));
    stop_runtime(a);
    cr_assert_eq(join(in_a), -ECANCELED);
    cr_assert_not(filch_task_is_finished(in_b));
    stop_runtime(b);
    cr_assert_eq(join(in_b), -ECANCELED);
}

struct hop {
    filch_runtime *other;
    filch_task *task;
};

/* A task of one runtime spawns into, joins and cancels in another. */
static int cross(void *arg)
{
    struct hop *hop = arg;
    filch_task *task;

    T_OK(filch_runtime_spawn(hop->other, return_arg, (void *)44, NULL, &task));
    T_IS(join(task), 44);
    T_OK(filch_runtime_spawn(hop->other, sleep_until_cancelled, NULL, NULL, &task));
    T_IS(filch_task_join(task, NULL, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    return 0;
}

Test(runtime, tasks_of_two_runtimes_wait_for_each_other)
{
    filch_runtime *a = start_runtime(0);
    struct hop hop = {.other = start_runtime(0)};

    for (int i = 0; i < 100; i++) {
        int result = -1;

        T_OK(filch_runtime_block_on(a, cross, &hop, &result, FILCH_NEVER));
        cr_assert_eq(result, 0);
    }
    stop_runtime(a);
    stop_runtime(hop.other);
}

static int spawn_some(void *arg)
{
    filch_task *task[100];

    (void)arg;
    for (int i = 0; i < 100; i++)
        task[i] = spawn(return_arg, NULL);
    for (int i = 0; i < 100; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(runtime, numbers_add_up_once_it_is_idle)
{
    filch_runtime *rt = start_runtime(2);
    filch_stats stats;
    filch_task *job;

    T_OK(filch_runtime_block_on(rt, spawn_some, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, &job));
    T_OK(join(job));
    do {
        T_OK(filch_runtime_stats(rt, &stats));
    } while (stats.tasks_finished < 102);
    cr_assert_eq(stats.workers, 2);
    cr_assert_eq(stats.tasks_spawned, 102);
    cr_assert_eq(stats.tasks_finished, 102);
    cr_assert(stats.polls >= 101);
    cr_assert(stats.worker_wakes_useful + stats.worker_wakes_useless <= stats.worker_wakes);
    stop_runtime(rt);
}

Test(runtime, main_returns_the_result)
{
    filch_runtime_opts opts = {.workers = 1};
    filch_runtime_opts bad = {.workers = 1000};

    cr_assert_eq(filch_main(return_arg, (void *)9, &opts), 9);
    cr_assert_eq(filch_main(return_arg, (void *)-9, NULL), -9);
    cr_assert_eq(filch_main(return_arg, NULL, &bad), -EINVAL);
}

static int fan_out(void *arg)
{
    atomic_int *left = arg;

    if (atomic_fetch_sub(left, 1) > 0)
        return filch_spawn(fan_out, left) == -ESHUTDOWN ? 0 : 1;
    return 0;
}

Test(runtime, shutdown_while_tasks_spawn_tasks)
{
    for (int round = 0; round < 30; round++) {
        filch_runtime *rt = start_runtime(0);
        atomic_int left = 1000000000;

        for (int i = 0; i < 10; i++)
            T_OK(filch_runtime_spawn(rt, fan_out, &left, NULL, NULL));
        T_WAIT_UNTIL(atomic_load(&left) < 1000000000 - 100 * round);
        stop_runtime(rt);
    }
}

Test(runtime, fine_tuned_options_work)
{
    filch_runtime_opts opts = {.workers = 3,
                               .spin_ns = FILCH_NEVER,
                               .ring_entries = 8,
                               .blocking_keep_alive_ns = 1,
                               .blocking_threads = 2};
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    for (int i = 0; i < 100; i++) {
        T_OK(filch_runtime_block_on(rt, breathe, NULL, NULL, FILCH_NEVER));
        T_OK(filch_runtime_block_on(rt, spawn_some, NULL, NULL, FILCH_NEVER));
    }
    stop_runtime(rt);
}

/* As a container engine's default filter does: io_uring_setup fails with @error. Of this process
 * for good, which is one test. */
static void refuse_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static int echo(void *arg)
{
    filch_listener *listener = NULL;
    filch_tcp *client = NULL, *server = NULL;
    char addr[FILCH_ADDR_BYTES], byte = 0;

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_addr(listener, addr));
    T_OK(filch_tcp_connect(addr, &client, T_LIMIT));
    T_OK(filch_listener_accept(listener, &server, T_LIMIT));
    T_OK(filch_tcp_write_all(client, "x", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(server, &byte, 1, T_LIMIT), 1);
    T_OK(filch_tcp_close(client));
    T_IS(filch_tcp_read(server, &byte, 1, T_LIMIT), 0);
    T_OK(filch_tcp_close(server));
    T_OK(filch_listener_close(listener));
    return byte;
}

/* Who insists is told why not; who does not gets the other engine, and may ask why. */
static void refused_with(int error)
{
    filch_runtime_opts strict = {.engine = FILCH_ENGINE_URING};
    filch_runtime *rt = NULL;
    const char *reason = NULL;
    int result = -1;

    refuse_io_uring(error);
    T_IS(filch_runtime_start(&strict, &rt), -error);
    T_CHECK(rt == NULL);
    T_CHECK(strstr(filch_strerror(-error), "io_uring"));
    unsetenv("FILCH_ENGINE");
    rt = start_runtime(0);
    T_OK(strcmp(filch_engine(rt, &reason), "epoll"));
    T_CHECK(strstr(reason, "io_uring_setup") && strstr(reason, strerror(error)));
    T_OK(filch_runtime_block_on(rt, echo, NULL, &result, FILCH_NEVER));
    T_IS(result, 'x');
    stop_runtime(rt);
    setenv("FILCH_ENGINE", "uring", 1);
    T_IS(filch_runtime_start(NULL, &rt), -error);
}

Test(runtime, refused_io_uring_is_named_and_made_up_for)
{
    refused_with(EPERM);
}

Test(runtime, forbidden_io_uring_is_named_and_made_up_for)
{
    refused_with(EACCES);
}

Test(runtime, missing_io_uring_is_named_and_made_up_for)
{
    refused_with(ENOSYS);
}

Test(runtime, the_engine_is_the_programs_or_the_environments_choice)
{
    filch_runtime_opts opts = {.workers = 1, .engine = FILCH_ENGINE_EPOLL};
    filch_runtime *rt = NULL;
    const char *reason = NULL;

    setenv("FILCH_ENGINE", "auto", 1);
    rt = test_start(&opts);
    T_OK(strcmp(filch_engine(rt, &reason), "epoll"));
    T_CHECK(strstr(reason, "options"));
    stop_runtime(rt);
    opts.engine = FILCH_ENGINE_AUTO;
    setenv("FILCH_ENGINE", "epoll", 1);
    rt = test_start(&opts);
    T_OK(strcmp(filch_engine(rt, &reason), "epoll"));
    T_CHECK(strstr(reason, "FILCH_ENGINE"));
    T_OK(strcmp(filch_engine(rt, NULL), "epoll"));
    stop_runtime(rt);
    setenv("FILCH_ENGINE", "kqueue", 1);
    T_IS(filch_runtime_start(&opts, &rt), -EINVAL);
    unsetenv("FILCH_ENGINE");
    opts.engine = (filch_engine_choice)17;
    T_IS(filch_runtime_start(&opts, &rt), -EINVAL);
    T_CHECK(filch_engine(NULL, &reason) == NULL);
}
