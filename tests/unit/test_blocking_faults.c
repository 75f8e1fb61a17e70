/* Description: threads of the blocking pool that cannot be created: no job is lost, the spawner is
 * told only if there is no thread at all, creation is tried again. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/gate.h"

TestSuite(blocking_faults, .timeout = 60);

/* The program is linked with --wrap=pthread_create. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg);

static atomic_int creations_left; /* before all fail */
static atomic_int refusals;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg)
{
    if (atomic_fetch_sub(&creations_left, 1) > 0)
        return __real_pthread_create(thread, attr, body, arg);
    atomic_fetch_add(&refusals, 1);
    return EAGAIN;
}

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static void allow(int n)
{
    atomic_store(&creations_left, n);
}

static filch_runtime *start(void)
{
    allow(1000);
    return start_runtime(1);
}

Test(blocking_faults, without_any_thread_the_spawner_is_told)
{
    filch_runtime *rt = start();
    filch_task_opts by_copy = {.copy_bytes = sizeof(int)};
    filch_task *job = NULL;
    filch_stats stats;
    int number = 4;

    allow(0);
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, &job), -EAGAIN);
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, &number, &by_copy, NULL), -EAGAIN);
    T_CHECK(!job);
    T_OK(filch_runtime_stats(rt, &stats));
    T_IS(stats.blocking_queued, 0);
    T_IS(stats.tasks_spawned, stats.tasks_finished);
    allow(1);
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)8, NULL, &job));
    T_IS(join(job), 8);
    stop_runtime(rt);
}

Test(blocking_faults, jobs_run_when_the_kth_creation_fails)
{
    for (int k = 1; k <= 12; k++) {
        struct gate gate = GATE_INIT;
        filch_task *job[30];
        filch_runtime *rt = start();

        allow(k);
        for (int i = 0; i < 30; i++)
            T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, &job[i]));
        T_WAIT_UNTIL(atomic_load(&gate.inside) == k);
        T_WAIT_UNTIL(atomic_load(&refusals) > 0);
        open_gate(&gate);
        for (int i = 0; i < 30; i++)
            T_OK(join(job[i]));
        T_IS(gate.most_inside, k);
        T_IS(gate.done, 30);
        stop_runtime(rt);
        atomic_store(&refusals, 0);
    }
}

Test(blocking_faults, creation_is_tried_again_with_the_next_jobs)
{
    struct gate gate = GATE_INIT;
    filch_runtime *rt = start();
    filch_task *job[3];

    allow(1);
    for (int i = 0; i < 2; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, &job[i]));
    T_WAIT_UNTIL(atomic_load(&refusals) > 0 && atomic_load(&gate.inside) == 1);
    allow(1000);
    /* Not at once, but the pushes that come later find that nobody looks. */
    T_WAIT_UNTIL(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, NULL) == 0 &&
                 atomic_load(&gate.inside) == 2);
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)9, NULL, &job[2]));
    T_IS(join(job[2]), 9);
    open_gate(&gate);
    T_OK(join(job[0]));
    T_OK(join(job[1]));
    stop_runtime(rt);
}

Test(blocking_faults, shutdown_ends_though_threads_cannot_be_created)
{
    filch_runtime *rt = start();

    allow(1);
    for (int i = 0; i < 1000; i++)
        T_OK(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, NULL));
    allow(0);
    stop_runtime(rt);
}

/* The kernel itself refuses, as with a limit on processes: for all threads, for ever. */
static void refuse_threads(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}

Test(blocking_faults, jobs_run_when_the_kernel_refuses_threads)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind 3.19 does not know the system call seccomp");
    for (int k = 0; k < 4; k++) {
        pid_t child = fork();
        int status;

        T_CHECK(child >= 0);
        if (!child) {
            struct gate gate = GATE_INIT;
            filch_runtime *rt = start();
            int accepted = 0;

            for (int i = 0; i < k; i++)
                T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, NULL));
            T_WAIT_UNTIL(atomic_load(&gate.inside) == k);
            refuse_threads();
            for (int i = 0; i < 20; i++) {
                int r = filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, NULL);

                T_IS(r, k ? 0 : -EAGAIN);
                accepted += r == 0;
            }
            open_gate(&gate);
            T_WAIT_UNTIL(atomic_load(&gate.done) == k + accepted);
            stop_runtime(rt);
            _exit(0);
        }
        T_IS(waitpid(child, &status, 0), child);
        T_IS(status, 0);
    }
}
