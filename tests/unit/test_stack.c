/* Description: task stacks: sizes, the guard below each, what is said when a task touches it, and
 * memory that is given back. Crashes happen in a child. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/task/stack.h"
#include "tests/runner/run.h"

TestSuite(stack, .timeout = 120);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- sizes ---- */

/* Uses @bytes of stack, a page at a time. */
__attribute__((noinline, unused)) static long use_stack(size_t bytes)
{
    volatile char page[4096];
    long rest = 1;

    page[0] = 1;
    page[4095] = 2;
    if (bytes > sizeof page + 512)
        rest = use_stack(bytes - sizeof page - 512);
    __asm__ volatile("" : : "r"(page) : "memory"); /* no loop instead of the recursion */
    return rest + page[0];
}

__attribute__((unused)) static int uses(void *arg)
{
    return use_stack(*(size_t *)arg) > 0 ? 0 : -1;
}

static int each_size_holds_what_it_says(void *arg)
{
    (void)arg;
#ifndef SANITIZED /* whose frames are larger */
    for (size_t bytes = (size_t)16 << 10; bytes <= (size_t)1 << 20; bytes *= 4) {
        size_t used = bytes - 6000; /* a frame's worth of slack, and the colouring */
        filch_task_opts opts = {.stack_bytes = bytes};
        filch_task *task;
        int result = -1;

        T_OK(filch_task_spawn(uses, &used, &opts, &task));
        T_OK(filch_task_join(task, &result, FILCH_NEVER));
        T_OK(result);
    }
#endif
    return 0;
}

Test(stack, each_size_holds_what_it_says)
{
    cr_assert_eq(run_in_runtime(0, each_size_holds_what_it_says, NULL), 0);
}

static int nop(void *arg)
{
    (void)arg;
    return 0;
}

static int sizes_are_checked(void *arg)
{
    filch_task *task = NULL;

    (void)arg;
    T_IS(filch_task_spawn(nop, NULL, &(filch_task_opts){.stack_bytes = ((size_t)1 << 20) + 1},
                          &task),
         -EINVAL);
    T_IS(filch_task_spawn(nop, NULL, &(filch_task_opts){.stack_bytes = SIZE_MAX}, &task), -EINVAL);
    T_CHECK(!task);
    T_OK(filch_task_spawn(nop, NULL, &(filch_task_opts){.stack_bytes = 1}, &task));
    T_OK(filch_task_join(task, NULL, FILCH_NEVER));
    return 0;
}

Test(stack, a_size_above_the_largest_is_refused)
{
    cr_assert_eq(run_in_runtime(0, sizes_are_checked, NULL), 0);
    cr_assert_eq(filch__stack_class_of(0), FILCH_STACK_256K);
    cr_assert_eq(filch__stack_class_of(16 << 10), FILCH_STACK_16K);
    cr_assert_eq(filch__stack_class_of((16 << 10) + 1), FILCH_STACK_64K);
    cr_assert_eq(filch__stack_class_of((256 << 10) + 1), FILCH_STACK_1M);
}

static int yields_and_ends(void *arg)
{
    size_t used = 8000;

    filch_task_yield();
#ifndef SANITIZED
    T_CHECK(use_stack(used) > 0);
#else
    (void)used;
#endif
    filch_task_yield();
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

/* Tasks of all sizes end and begin on each other's stacks: none may get a smaller one. */
static int sizes_mix(void *arg)
{
    static const size_t sizes[] = {0, 16 << 10, 64 << 10, 1 << 20};
    atomic_uint ended = 0;

    (void)arg;
    FILCH_SCOPE(scope);
    for (unsigned i = 0; i < 4000; i++) {
        filch_task_opts opts = {.stack_bytes = sizes[(i * 7 + i / 5) % 4]};

        T_OK(filch_scope_spawn_opts(&scope, yields_and_ends, &ended, &opts));
        if (i % 64 == 0)
            filch_task_yield();
    }
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(ended, 4000);
    return 0;
}

Test(stack, sizes_mix)
{
    cr_assert_eq(run_in_runtime(0, sizes_mix, NULL), 0);
}

/* ---- children that end badly ---- */

struct ending {
    int status;
    char said[4096];
};

__attribute__((unused)) static struct ending run_child(void (*body)(void))
{
    struct ending ending = {0};
    size_t used = 0;
    int ends[2];
    ssize_t n;
    pid_t pid;

    T_OK(pipe(ends));
    fflush(NULL);
    pid = fork();
    T_CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        alarm(60);
        body();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], ending.said + used, sizeof ending.said - 1 - used)) > 0)
        used += (size_t)n;
    close(ends[0]);
    T_CHECK(waitpid(pid, &ending.status, 0) == pid);
    return ending;
}

#ifndef SANITIZED /* which have a handler of their own */

__attribute__((noinline)) static int recurse(int depth)
{
    volatile char page[2000];

    page[0] = (char)depth;
    return depth < 1 << 20 ? recurse(depth + 1) + page[0] : page[0];
}

static int overflows(void *arg)
{
    (void)arg;
    return recurse(0);
}

static int spawns_the_greedy_one(void *arg)
{
    filch_task_opts opts = {.name = "greedy", .stack_bytes = 64 << 10};
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(overflows, NULL, &opts, &task));
    return filch_task_join(task, NULL, FILCH_NEVER);
}

static void overflow_in_a_task(void)
{
    (void)run_in_runtime(0, spawns_the_greedy_one, NULL);
}

Test(stack, overflow_names_task_place_and_size)
{
    struct ending ending = run_child(overflow_in_a_task);

    cr_assert(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV, "status %#x",
              ending.status);
    cr_assert(strstr(ending.said, "stack overflow in task \"greedy\""), "%s", ending.said);
    cr_assert(strstr(ending.said, "test_stack"), "%s", ending.said);
    cr_assert(strstr(ending.said, "addr2line"), "%s", ending.said);
    cr_assert(strstr(ending.said, "stack of 65536 bytes"), "%s", ending.said);
}

static void on_segv(int signal)
{
    static const char text[] = "host was told\n";

    (void)signal;
    _exit(write(STDERR_FILENO, text, sizeof text - 1) > 0 ? 42 : 43);
}

static void overflow_with_a_host(void)
{
    signal(SIGSEGV, on_segv);
    (void)run_in_runtime(0, spawns_the_greedy_one, NULL);
}

Test(stack, overflow_is_passed_on_to_the_hosts_handler)
{
    struct ending ending = run_child(overflow_with_a_host);

    cr_assert(WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 42, "status %#x",
              ending.status);
    cr_assert(strstr(ending.said, "stack overflow"), "%s", ending.said);
    cr_assert(strstr(ending.said, "host was told"), "%s", ending.said);
}

static int follows_null(void *arg)
{
    (void)arg;
    return *(volatile int *)NULL;
}

static void fault_of_another_kind(void)
{
    (void)run_in_runtime(0, follows_null, NULL);
}

Test(stack, another_fault_is_none_of_our_business)
{
    struct ending ending = run_child(fault_of_another_kind);

    cr_assert(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV, "status %#x",
              ending.status);
    cr_assert(!strstr(ending.said, "overflow"), "%s", ending.said);
}

static void sent_signal(void)
{
    filch_runtime *rt = start_runtime(0);

    kill(getpid(), SIGSEGV);
    pause();
    stop_runtime(rt);
}

Test(stack, a_signal_that_was_sent_ends_the_process_as_ever)
{
    struct ending ending = run_child(sent_signal);

    cr_assert(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV, "status %#x",
              ending.status);
}

/* A frame larger than the guard: the compiler's probes touch the guard on the way. */
__attribute__((noinline)) static int jump(void)
{
    volatile char large[400 << 10];

    large[0] = 1;
    __asm__ volatile("" : : "r"(large) : "memory"); /* all of it is needed */
    return large[0];
}

static int jumps(void *arg)
{
    (void)arg;
    return jump();
}

static void large_frame(void)
{
    (void)run_in_runtime(0, jumps, NULL);
}

Test(stack, a_frame_larger_than_the_guard_does_not_jump_it)
{
    struct ending ending = run_child(large_frame);

    cr_assert(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV, "status %#x",
              ending.status);
    cr_assert(strstr(ending.said, "stack overflow"), "%s", ending.said);
}

Test(stack, handlers_are_given_back_with_the_last_runtime)
{
    struct sigaction action;
    filch_runtime *a, *b;

    signal(SIGSEGV, on_segv);
    a = start_runtime(0);
    b = start_runtime(0);
    stop_runtime(a);
    sigaction(SIGSEGV, NULL, &action);
    cr_assert(action.sa_flags & SA_SIGINFO);
    stop_runtime(b);
    sigaction(SIGSEGV, NULL, &action);
    cr_assert(action.sa_handler == on_segv);
}

/* ---- kernels and limits ---- */

/* madvise(advice 102) gives EINVAL, as before Linux 6.13. */
static void refuse_guard_advice(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void old_kernel(void)
{
    refuse_guard_advice();
    (void)run_in_runtime(0, spawns_the_greedy_one, NULL);
}

Test(stack, guards_hold_on_kernels_without_guard_advice)
{
    struct ending ending = run_child(old_kernel);

    cr_assert(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV, "status %#x",
              ending.status);
    cr_assert(strstr(ending.said, "stack overflow in task \"greedy\""), "%s", ending.said);
}

/* With two mappings a stack, the budget ends before the mappings do: spawning says so. */
static int spawns_until_no_more(void *arg)
{
    unsigned n = 0;
    int r;

    (void)arg;
    FILCH_SCOPE(scope);
    do {
        r = filch_scope_spawn(&scope, nop, NULL);
    } while (r == 0 && ++n < 200000);
    T_IS(r, -ENOMEM);
    T_CHECK(n >= 1024);
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    /* And the stacks are there again. */
    T_OK(filch_scope_spawn(&scope, nop, NULL));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static void old_kernel_many_tasks(void)
{
    refuse_guard_advice();
    T_OK(run_in_runtime(1, spawns_until_no_more, NULL));
}

Test(stack, without_guard_advice_spawning_ends_with_an_error)
{
    struct ending ending;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind keeps track of fewer mappings than the kernel allows");
    ending = run_child(old_kernel_many_tasks);
    cr_assert_eq(ending.status, 0, "status %#x: %s", ending.status, ending.said);
}

static void little_address_space(void)
{
    struct rlimit limit = {(rlim_t)2 << 30, (rlim_t)2 << 30};

    T_OK(setrlimit(RLIMIT_AS, &limit));
    T_OK(run_in_runtime(1, spawns_until_no_more, NULL));
}

Test(stack, without_address_space_spawning_ends_with_an_error)
{
    struct ending ending;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind's own memory needs address space, too");
    ending = run_child(little_address_space);
    cr_assert_eq(ending.status, 0, "status %#x: %s", ending.status, ending.said);
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;

    T_CHECK(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void locked_process(void)
{
    T_OK(mlockall(MCL_CURRENT | MCL_FUTURE));
    T_OK(run_in_runtime(1, each_size_holds_what_it_says, NULL));
    /* The slabs of four sizes are a gigabyte of address space. */
    T_CHECK(resident_kib() < 200 * 1024);
}

Test(stack, a_locked_process_does_not_lock_all_stacks)
{
    struct ending ending;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind's shadow of the memory is resident, too");
    ending = run_child(locked_process);
    cr_assert_eq(ending.status, 0, "status %#x: %s", ending.status, ending.said);
}

/* ---- memory is given back ---- */

#define MANY 4000

static int touches_much(void *arg)
{
    T_CHECK(use_stack((size_t)60 << 10) > 0);
    atomic_fetch_add((atomic_uint *)arg, 1);
    while (atomic_load((atomic_uint *)arg) < MANY)
        filch_task_yield();
    return 0;
}

static int many_at_once(void *arg)
{
    atomic_uint running = 0;

    (void)arg;
    FILCH_SCOPE(scope);
    for (unsigned i = 0; i < MANY; i++)
        T_OK(filch_scope_spawn(&scope, touches_much, &running));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

/* Each task touched 60 KiB: 240 MB. What stays is a page for each stack, and the hot ones. */
Test(stack, an_idle_runtime_gives_memory_back)
{
    filch_runtime *rt;
    long before, full;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind's shadow of the memory stays");
    rt = start_runtime(0);
    before = resident_kib();
    T_OK(filch_runtime_block_on(rt, many_at_once, NULL, NULL, FILCH_NEVER));
    full = resident_kib();
    cr_assert(full - before > 100 * 1024, "only %ld KiB were used", full - before);
    T_WAIT_UNTIL(resident_kib() - before < 60 * 1024);
    stop_runtime(rt);
}

#endif
