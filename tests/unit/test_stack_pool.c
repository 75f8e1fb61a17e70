/* Description: the pool of task stacks (runtime/task/stack.h): credits, caches, guards, memory that
 * is given back, and the end of the address space. */
#include <alloca.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "runtime/task/stack.h"
#include "runtime/task/switch.h"
#include "tests/runner/memory.h"
#include "tests/runner/run.h"

TestSuite(stack_pool, .timeout = 120);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)
#define SOME 100

#ifdef FILCH__SWITCH_SANITIZED
#define TASKS_AT_ONCE 20000
#else
#define TASKS_AT_ONCE 100000
#endif

static const size_t class_bytes[] = {16 * KB, 64 * KB, 256 * KB, 1 * MB};

static int return_0(void *arg)
{
    (void)arg;
    return 0;
}

static int wrong_sizes_body(void *arg)
{
    filch_task_opts large = {.stack_bytes = 1 * MB + 1};
    filch_task_opts small = {.stack_bytes = 1};
    filch_task *task = NULL;
    FILCH_SCOPE(scope);

    (void)arg;
    T_IS(filch_task_spawn(return_0, NULL, &large, &task), -EINVAL);
    T_IS(filch_runtime_spawn(filch_runtime_self(), return_0, NULL, &large, &task), -EINVAL);
    T_IS(filch_scope_spawn_opts(&scope, return_0, NULL, &large), -EINVAL);
    T_IS(filch_blocking_spawn(return_0, NULL, &small, &task), -EINVAL);
    T_CHECK(task == NULL);
    return 0;
}

Test(stack_pool, more_than_the_largest_class_is_refused_and_jobs_have_none)
{
    cr_assert_eq(run_in_runtime(0, wrong_sizes_body, NULL), 0);
}

__attribute__((noinline)) static uintptr_t fill(size_t bytes, unsigned char with)
{
    volatile unsigned char *memory = alloca(bytes);
    uintptr_t sum = 0;

    for (size_t i = 0; i < bytes; i += 64)
        memory[i] = with;
    filch_task_yield();
    for (size_t i = 0; i < bytes; i += 64)
        sum += memory[i];
    return sum;
}

/* All that was asked for but a little for the frames around. */
static int use_all(void *arg)
{
    size_t bytes = *(size_t *)arg - 4 * KB;

    T_IS(fill(bytes, 7), 7 * ((bytes + 63) / 64));
    return 0;
}

static int use_classes_body(void *arg)
{
    unsigned rounds = (unsigned)(uintptr_t)arg;

    for (unsigned round = 0; round < rounds; round++) {
        FILCH_TRY_SCOPE(scope);

        for (unsigned i = 0; i < 40; i++) {
            size_t bytes = class_bytes[(i * 7 + round) % 4];
            filch_task_opts opts = {.stack_bytes = bytes, .copy_bytes = sizeof bytes};

            T_OK(filch_scope_spawn_opts(&scope, use_all, &bytes, &opts));
        }
        T_OK(filch_scope_join(&scope, FILCH_NEVER));
    }
    return 0;
}

Test(stack_pool, each_task_can_use_what_it_asked_for_among_others)
{
    cr_assert_eq(run_in_runtime(0, use_classes_body, (void *)10), 0);
}

static int nested_body(void *arg)
{
    uintptr_t depth = (uintptr_t)arg;
    size_t bytes = class_bytes[depth % 3];
    filch_task_opts opts = {.stack_bytes = bytes};
    filch_task *task;

    if (depth == 0)
        return 0;
    T_OK(filch_task_spawn(nested_body, (void *)(depth - 1), &opts, &task));
    return join(task) + 1;
}

/* A task that ends is followed by one of another class on the same worker. */
Test(stack_pool, classes_alternate_on_one_worker)
{
    cr_assert_eq(run_in_runtime(1, nested_body, (void *)60), 60);
}

static void check_stack(struct filch__stack *stack, enum filch__stack_class class)
{
    enum filch__stack_class found = FILCH__STACK_CLASSES;
    const char *low = stack->low;

    T_IS(stack->size_class, class);
    T_CHECK((size_t)((char *)stack - low) >= filch__stack_bytes(class));
    T_CHECK(filch__stack_of_guard(low - 1, &found) == stack);
    T_IS(found, class);
    T_CHECK(filch__stack_of_guard(low - FILCH__STACK_GUARD_BYTES, &found) == stack);
    T_CHECK(filch__stack_of_guard(low, &found) == NULL);
    T_CHECK(filch__stack_of_guard(stack, &found) == NULL);
    T_CHECK(memory_is_forbidden(low - 1));
    T_CHECK(memory_is_forbidden(low - FILCH__STACK_GUARD_BYTES));
    T_CHECK(!memory_is_forbidden(low));
    T_CHECK(!memory_is_forbidden((char *)stack - 1));
}

static void caches_init(struct filch__stack_cache *caches)
{
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        caches[i] = (struct filch__stack_cache){.size_class = (enum filch__stack_class)i};
}

static void attach_some(struct filch__stack_cache *cache, struct filch__stack **stacks, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        T_OK(filch__stack_cache_credit(cache));
        stacks[i] = filch__stack_attach(cache);
        stacks[i]->low[0] = (char)i;
    }
}

static void detach_some(struct filch__stack_cache *cache, struct filch__stack **stacks, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        T_IS(stacks[i]->low[0], (char)i); /* nobody else's */
        filch__stack_cache_uncredit(cache);
        filch__stack_detach(cache, stacks[i]);
    }
}

Test(stack_pool, stacks_are_apart_and_guarded)
{
    struct filch__stack_cache caches[FILCH__STACK_CLASSES];
    struct filch__stack *stacks[SOME];
    struct filch__stack_numbers before, during, after;
    enum filch__stack_class class;

    filch__stack_numbers(&before);
    T_IS(before.mapped, 0);
    T_CHECK(filch__stack_of_guard(caches, &class) == NULL);
    caches_init(caches);
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++) {
        attach_some(&caches[i], stacks, SOME);
        for (unsigned k = 0; k < SOME; k += 9)
            check_stack(stacks[k], (enum filch__stack_class)i);
        filch__stack_numbers(&during);
        T_CHECK(during.promised >= SOME && during.promised <= during.mapped);
        T_CHECK(during.map_bytes > during.mapped * FILCH__STACK_GUARD_BYTES);
        detach_some(&caches[i], stacks, SOME);
        filch__stack_cache_fini(&caches[i]);
    }
    filch__stack_numbers(&after);
    T_IS(after.promised, 0);
    T_IS(after.idle, FILCH__STACK_CLASSES * SOME);
}

Test(stack_pool, a_cache_keeps_hot_stacks_and_gives_the_rest_away)
{
    struct filch__stack_cache caches[FILCH__STACK_CLASSES];
    struct filch__stack_cache *cache = &caches[FILCH_STACK_16K];
    struct filch__stack *stacks[SOME], *last;
    struct filch__stack_numbers numbers;

    caches_init(caches);
    T_CHECK(!filch__stack_is_worth_trimming(caches));
    attach_some(cache, stacks, SOME);
    last = stacks[SOME - 1];
    detach_some(cache, stacks, SOME);
    T_OK(filch__stack_cache_credit(cache));
    T_CHECK(filch__stack_attach(cache) == last);
    filch__stack_numbers(&numbers);
    T_CHECK(numbers.idle > 0 && numbers.idle < SOME);
    T_CHECK(filch__stack_is_worth_trimming(caches));
    filch__stack_cache_uncredit(cache);
    filch__stack_detach(cache, last);
    filch__stack_cache_rest(cache);
    filch__stack_numbers(&numbers);
    T_CHECK(numbers.idle > SOME - 8);
    filch__stack_cache_fini(cache);
}

/* A whole slab, so that its page tables and guards go as well. */
Test(stack_pool, what_was_idle_for_a_second_is_given_back)
{
    enum { ALL = 1024 };
    struct filch__stack_cache cache = {.size_class = FILCH_STACK_64K};
    static struct filch__stack *stacks[ALL];
    static char *low[ALL];
    filch_time later = filch_now() + 5 * FILCH_SECOND;
    size_t tables;
    struct filch__stack_numbers numbers;

    attach_some(&cache, stacks, ALL);
    for (unsigned i = 0; i < ALL; i++)
        low[i] = stacks[i]->low;
    detach_some(&cache, stacks, ALL);
    filch__stack_cache_fini(&cache);
    tables = memory_kb("VmPTE");

    /* Too early. */
    T_CHECK(filch__stack_trim(filch_now()) > filch_now());
    for (unsigned i = 0; i < ALL; i++)
        T_CHECK(memory_is_resident(low[i]) && memory_is_resident(stacks[i]));

    while (filch__stack_trim(later) == later)
        ;
    T_IS(filch__stack_trim(later), FILCH_NEVER);
    filch__stack_numbers(&numbers);
    T_IS(numbers.idle, 0);
    for (unsigned i = 0; i < ALL; i++)
        T_CHECK(!memory_is_resident(low[i]) && !memory_is_resident(stacks[i]));
    T_CHECK(memory_kb("VmPTE") <= tables);

    /* And can be used again. */
    attach_some(&cache, stacks, ALL);
    for (unsigned i = 0; i < ALL; i += 50)
        check_stack(stacks[i], FILCH_STACK_64K);
    detach_some(&cache, stacks, ALL);
    filch__stack_cache_fini(&cache);
}

/* Stacks in use lie among those that are given back. */
Test(stack_pool, stacks_in_use_keep_their_memory)
{
    struct filch__stack_cache cache = {0};
    struct filch__stack *stacks[SOME];
    filch_time later = filch_now() + 5 * FILCH_SECOND;

    attach_some(&cache, stacks, SOME);
    for (unsigned i = 0; i < SOME; i++) {
        if (i % 3 == 0)
            continue;
        filch__stack_cache_uncredit(&cache);
        filch__stack_detach(&cache, stacks[i]);
    }
    filch__stack_cache_rest(&cache);
    while (filch__stack_trim(later) == later)
        ;
    for (unsigned i = 0; i < SOME; i += 3) {
        T_IS(stacks[i]->low[0], (char)i);
        check_stack(stacks[i], FILCH_STACK_256K);
        filch__stack_cache_uncredit(&cache);
        filch__stack_detach(&cache, stacks[i]);
    }
    filch__stack_cache_fini(&cache);
}

#ifndef FILCH__SWITCH_SANITIZED /* whose own memory would not fit into the limit */

Test(stack_pool, address_space_runs_out_at_spawn_and_not_later)
{
    struct rlimit limit = {.rlim_cur = memory_kb("VmSize") * KB + 700 * MB,
                           .rlim_max = RLIM_INFINITY};
    struct filch__stack_cache cache = {0};
    static struct filch__stack *stacks[20000];
    unsigned n = 0, again = 0;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind's own memory does not fit into the limit");
    T_OK(setrlimit(RLIMIT_AS, &limit));
    while (filch__stack_cache_credit(&cache) == 0)
        T_CHECK(++n < 20000);
    /* More than 512 MB of stacks with their guards: the last slab is a small one. */
    T_CHECK(n > 1600);
    T_IS(filch__stack_cache_credit(&cache), -ENOMEM);
    T_IS(filch__stack_credit_take(FILCH_STACK_1M, 200), -ENOMEM); /* another class knows it, too */
    for (unsigned i = 0; i < n; i++) {
        stacks[i] = filch__stack_attach(&cache);
        stacks[i]->low[0] = (char)i;
    }
    check_stack(stacks[n - 1], FILCH_STACK_256K);
    detach_some(&cache, stacks, n);
    while (filch__stack_cache_credit(&cache) == 0)
        again++;
    T_CHECK(again >= n - 100); /* slack of the cache */
}

static int spawn_to_the_limit(void *arg)
{
    filch_task_opts opts = {.stack_bytes = 1 * MB};
    unsigned n = 0;
    int r;

    (void)arg;
    FILCH_SCOPE(scope);
    while ((r = filch_scope_spawn_opts(&scope, sleep_until_cancelled, NULL, &opts)) == 0)
        n++;
    T_IS(r, -ENOMEM);
    filch_task_yield();
    filch_scope_cancel_join(&scope);
    T_OK(filch_scope_spawn_opts(&scope, return_0, NULL, &opts) == -ECANCELED ? 0 : -1);
    T_CHECK(filch_task_spawn(return_0, NULL, &opts, NULL) == 0);
    return (int)n;
}

Test(stack_pool, tasks_beyond_the_limit_are_refused_and_those_within_run)
{
    struct rlimit limit;
    filch_runtime *rt;
    int n = 0;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind's own memory does not fit into the limit");
    rt = start_runtime(1);
    limit = (struct rlimit){.rlim_cur = memory_kb("VmSize") * KB + 1100 * MB,
                            .rlim_max = RLIM_INFINITY};
    T_OK(setrlimit(RLIMIT_AS, &limit));
    T_OK(filch_runtime_block_on(rt, spawn_to_the_limit, NULL, &n, FILCH_NEVER));
    T_CHECK(n >= 600 && n < 1100);
    stop_runtime(rt);
}

#endif

struct party {
    pthread_t thread;
    unsigned number;
};

static atomic_bool storm_is_over;

static void *attach_and_detach(void *arg)
{
    struct party *party = arg;
    struct filch__stack_cache caches[FILCH__STACK_CLASSES];
    struct filch__stack *stacks[60];

    caches_init(caches);
    for (unsigned round = 0; round < 60; round++) {
        struct filch__stack_cache *cache = &caches[(round + party->number) % FILCH__STACK_CLASSES];
        unsigned n = 1 + (round * 13 + party->number * 7) % 60;

        attach_some(cache, stacks, n);
        if (round % 8 == 0)
            filch__stack_cache_rest(cache);
        detach_some(cache, stacks, n);
        if (round % 16 == 0)
            filch__stack_cache_fini(cache);
    }
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        filch__stack_cache_fini(&caches[i]);
    return NULL;
}

static void *trim_all_the_time(void *arg)
{
    (void)arg;
    while (!atomic_load(&storm_is_over))
        filch__stack_trim(filch_now() + 5 * FILCH_SECOND);
    return NULL;
}

Test(stack_pool, no_stack_is_with_two_threads_while_others_are_trimmed)
{
    struct party party[6];
    struct filch__stack_numbers numbers;
    pthread_t trimmer;

    T_OK(pthread_create(&trimmer, NULL, trim_all_the_time, NULL));
    for (unsigned i = 0; i < 6; i++) {
        party[i].number = i;
        T_OK(pthread_create(&party[i].thread, NULL, attach_and_detach, &party[i]));
    }
    for (unsigned i = 0; i < 6; i++)
        T_OK(pthread_join(party[i].thread, NULL));
    atomic_store(&storm_is_over, true);
    T_OK(pthread_join(trimmer, NULL));
    filch__stack_numbers(&numbers);
    T_IS(numbers.promised, 0);
}

static atomic_uint arrived;

static int touch_and_wait(void *arg)
{
    volatile char memory[6000];

    (void)arg;
    memory[0] = 1;
    memory[sizeof memory - 1] = 1;
    atomic_fetch_add(&arrived, 1);
    return filch_sleep(FILCH_NEVER);
}

static unsigned tasks_at_once(void)
{
    const char *text = getenv("FILCH_TEST_TASKS");

    return text ? (unsigned)strtoul(text, NULL, 10) : TASKS_AT_ONCE;
}

/* Control blocks stay, so they belong to what there was before. On one worker: none runs before all
 * are there. */
static int queue_many(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    for (unsigned i = 0; i < tasks_at_once(); i++)
        T_OK(filch_scope_spawn(&scope, return_0, NULL));
    return filch_scope_join(&scope, FILCH_NEVER);
}

static int hold_many(void *arg)
{
    size_t *ret_kb = arg;
    unsigned n = tasks_at_once();

    FILCH_SCOPE(scope);
    atomic_store(&arrived, 0);
    for (unsigned i = 0; i < n; i++)
        T_OK(filch_scope_spawn(&scope, touch_and_wait, NULL));
    while (atomic_load(&arrived) < n) /* for as long as it takes to get the pages */
        filch_task_yield();
    *ret_kb = memory_kb("VmRSS");
    filch_scope_cancel_join(&scope);
    return 0;
}

__attribute__((unused)) static void wait_until_trimmed(void)
{
    filch_time limit = filch_after(60 * FILCH_SECOND);
    struct filch__stack_numbers numbers;

    do {
        T_CHECK(filch_now() < limit);
        poll(NULL, 0, 20);
        filch__stack_numbers(&numbers);
    } while (numbers.idle);
}

/* Spare workers, called in when a slow machine keeps others waiting, come with memory of their own,
 * and stay. */
static filch_runtime *start_without_spares(void)
{
    filch_runtime_opts opts = {.workers = test_workers(), .spare_workers = FILCH_NO_SPARES};
    filch_runtime *rt;

    opts.current_thread = test_without_threads();
    rt = test_start(&opts);
    if (opts.current_thread)
        test_host_start(rt);
    return rt;
}

/* The runtime does it by itself, some seconds after the last task. */
Test(stack_pool, memory_after_many_tasks_is_as_before)
{
    filch_runtime *rt;
    size_t before, during = 0, allowed, now;
    filch_time limit;
    filch_stats stats;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("what Valgrind notes about memory counts as ours");
    T_OK(run_in_runtime(1, queue_many, NULL));
    rt = start_without_spares();
#ifdef FILCH__SWITCH_SANITIZED
    /* What a sanitizer notes about memory stays, most of it once for all. */
    T_OK(filch_runtime_block_on(rt, hold_many, &during, NULL, FILCH_NEVER));
    wait_until_trimmed();
#endif
    before = memory_kb("VmRSS");
    T_OK(filch_runtime_block_on(rt, hold_many, &during, NULL, FILCH_NEVER));
    T_CHECK(during > before + (size_t)tasks_at_once() * 4);
    T_OK(filch_runtime_stats(rt, &stats));
    T_CHECK(stats.stacks_mapped >= tasks_at_once());
    limit = filch_after(60 * FILCH_SECOND);
#ifdef FILCH__SWITCH_SANITIZED
    allowed = during - (size_t)tasks_at_once() * 4;
#else
    allowed = before + before / 10;
#endif
    while ((now = memory_kb("VmRSS")) > allowed) {
        if (filch_now() > limit)
            cr_assert_fail("%zu kB before, %zu during, %zu after", before, during, now);
        poll(NULL, 0, 20);
    }
    stop_runtime(rt);
}
