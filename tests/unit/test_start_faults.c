/* Description: a start that fails, at whatever point, leaves nothing behind: no thread, no
 * descriptor, no memory; and the next one succeeds. Threads and memory are refused by wrappers that
 * the linker puts in (--wrap), descriptors by the process's limit, and once more threads by a
 * filter of system calls, which is how a container does it. */
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

#define WORKERS 4

TestSuite(start_faults, .timeout = 60);

/* The call of that number, from 1 on, fails; 0: none. Only while a runtime is being started. */
static struct {
    atomic_int fails;
    atomic_int calls;
} threads, memory;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    if (atomic_load(&threads.fails) &&
        atomic_fetch_add(&threads.calls, 1) + 1 == atomic_load(&threads.fails))
        return EAGAIN;
    return __real_pthread_create(thread, attr, fn, arg);
}

static bool memory_fails(void)
{
    return atomic_load(&memory.fails) &&
           atomic_fetch_add(&memory.calls, 1) + 1 == atomic_load(&memory.fails);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return memory_fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return memory_fails() ? NULL : __real_calloc(n, bytes);
}

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

static int start(filch_runtime **ret_rt)
{
    return filch_runtime_start(&(filch_runtime_opts){.workers = WORKERS}, ret_rt);
}

static void must_work(void)
{
    filch_runtime *rt = NULL;
    int result = 0;

    T_OK(start(&rt));
    T_OK(filch_runtime_block_on(rt, return_arg, (void *)7, &result, FILCH_NEVER));
    T_IS(result, 7);
    stop_runtime(rt);
}

/* One more run of a test's start: fails with @error and leaves nothing. */
static void must_fail(int error, int fds, int tasks)
{
    struct sigaction before, after;
    filch_runtime *rt = NULL;

    T_OK(sigaction(SIGSEGV, NULL, &before));
    T_IS(start(&rt), error);
    T_CHECK(rt == NULL);
    T_OK(sigaction(SIGSEGV, NULL, &after));
    T_CHECK(before.sa_handler == after.sa_handler);
    T_IS(count_entries("/proc/self/fd"), fds);
    /* A thread that was joined may be listed for a moment longer. */
    T_WAIT_UNTIL(count_entries("/proc/self/task") <= tasks);
}

Test(start_faults, each_thread_refused)
{
    int fds, tasks;

    must_work();
    fds = count_entries("/proc/self/fd");
    tasks = count_entries("/proc/self/task");
    for (int k = 1; k <= WORKERS; k++) {
        threads.calls = 0;
        threads.fails = k;
        must_fail(-EAGAIN, fds, tasks);
        cr_assert_eq(threads.calls, k);
        threads.fails = 0;
    }
    must_work();
}

Test(start_faults, each_allocation_refused)
{
    int fds = count_entries("/proc/self/fd");
    int tasks = count_entries("/proc/self/task");
    filch_runtime *rt = NULL;
    int k, r = -ENOMEM;

    for (k = 1; r == -ENOMEM; k++) {
        memory.calls = 0;
        memory.fails = k;
        if (k <= 3) {
            must_fail(-ENOMEM, fds, tasks);
            continue;
        }
        r = start(&rt); /* libc and liburing may have others, or none */
        cr_assert(r == 0 || rt == NULL);
    }
    memory.fails = 0;
    T_OK(r);
    cr_assert(k > 4);
    stop_runtime(rt);
    cr_assert_eq(count_entries("/proc/self/fd"), fds);
}

static void allow_descriptors(int most)
{
    struct rlimit limit;

    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = (rlim_t)most;
    T_OK(setrlimit(RLIMIT_NOFILE, &limit));
}

static int lowest_free_descriptor(void)
{
    int fd = dup(STDIN_FILENO);

    T_CHECK(fd >= 0);
    close(fd);
    return fd;
}

Test(start_faults, each_descriptor_refused)
{
    struct rlimit before;
    int fds, tasks, least, failed = 0, r;

    must_work();
    T_OK(getrlimit(RLIMIT_NOFILE, &before));
    fds = count_entries("/proc/self/fd");
    tasks = count_entries("/proc/self/task");
    least = lowest_free_descriptor();
    do {
        filch_runtime *rt = NULL;

        allow_descriptors(least + failed);
        r = start(&rt);
        T_OK(setrlimit(RLIMIT_NOFILE, &before));
        if (r == 0) {
            stop_runtime(rt);
        } else {
            T_IS(r, -EMFILE);
            T_CHECK(rt == NULL);
            failed++;
        }
        T_IS(count_entries("/proc/self/fd"), fds);
        T_WAIT_UNTIL(count_entries("/proc/self/task") <= tasks);
    } while (r < 0);
    cr_assert_geq(failed, 1);
    must_work();
}

/* Of the process for good. */
static void refuse_new_threads(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* A child of its own, because LeakSanitizer needs a thread at the end of a process. */
static void in_child(void (*fn)(void))
{
    pid_t child = fork();
    int status;

    T_CHECK(child >= 0);
    if (child == 0) {
        fn();
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void start_without_threads(void)
{
    int fds = count_entries("/proc/self/fd");
    int tasks = count_entries("/proc/self/task");

    refuse_new_threads();
    must_fail(-EAGAIN, fds, tasks);
}

Test(start_faults, all_threads_refused_by_a_filter)
{
    in_child(start_without_threads);
}

static void spawn_job_without_threads(void)
{
    filch_runtime *rt = NULL;
    filch_task *job = NULL;

    T_OK(start(&rt));
    refuse_new_threads();
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, &job), -EAGAIN);
    T_CHECK(job == NULL);
    stop_runtime(rt);
}

Test(start_faults, jobs_without_any_thread_are_refused)
{
    in_child(spawn_job_without_threads);
}
