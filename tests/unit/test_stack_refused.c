/* Description: task stacks where the kernel refuses something: guards without mappings
 * (MADV_GUARD_INSTALL), mprotect, or where all memory is locked. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include <criterion/criterion.h>

#include "runtime/task/stack.h"
#include "runtime/task/switch.h"
#include "tests/runner/memory.h"
#include "tests/runner/run.h"

TestSuite(stack_refused, .timeout = 120);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)
#define SOME 100
#define GUARD_INSTALL 102

int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);
ssize_t __real_process_madvise(int process, const struct iovec *ranges, size_t n, int advice,
                               unsigned flags);
ssize_t __wrap_process_madvise(int process, const struct iovec *ranges, size_t n, int advice,
                               unsigned flags);
int __real_mprotect(void *address, size_t bytes, int access);
int __wrap_mprotect(void *address, size_t bytes, int access);

static bool no_guard_advice;      /* an old kernel */
static bool no_protection;        /* no more mappings, for guards */
static unsigned writable_allowed; /* so many stacks can be made writable; 0: all */

int __wrap_madvise(void *address, size_t bytes, int advice)
{
    if (!no_guard_advice || advice != GUARD_INSTALL)
        return __real_madvise(address, bytes, advice);
    errno = EINVAL;
    return -1;
}

ssize_t __wrap_process_madvise(int process, const struct iovec *ranges, size_t n, int advice,
                               unsigned flags)
{
    if (!no_guard_advice)
        return __real_process_madvise(process, ranges, n, advice, flags);
    errno = EINVAL;
    return -1;
}

int __wrap_mprotect(void *address, size_t bytes, int access)
{
    bool refused = access == PROT_NONE ? no_protection : writable_allowed == 1;

    if (access != PROT_NONE && writable_allowed > 1)
        writable_allowed--;
    if (!refused)
        return __real_mprotect(address, bytes, access);
    errno = ENOMEM;
    return -1;
}

static void check_guard(const struct filch__stack *stack)
{
    T_CHECK(memory_is_forbidden(stack->low - 1));
    T_CHECK(memory_is_forbidden(stack->low - FILCH__STACK_GUARD_BYTES));
    T_CHECK(!memory_is_forbidden(stack->low));
    T_CHECK(!memory_is_forbidden((const char *)stack - 1));
}

static struct filch__stack *attach(struct filch__stack_cache *cache)
{
    struct filch__stack *stack;

    T_OK(filch__stack_cache_credit(cache));
    stack = filch__stack_attach(cache);
    stack->low[0] = 1;
    return stack;
}

static unsigned max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned count = 0;

    T_CHECK(file);
    T_IS(fscanf(file, "%u", &count), 1);
    fclose(file);
    return count;
}

Test(stack_refused, guards_are_mappings_within_half_of_the_limit)
{
    struct filch__stack_cache cache[2] = {{.size_class = FILCH_STACK_16K},
                                          {.size_class = FILCH_STACK_64K}};
    struct filch__stack_numbers numbers;
    unsigned limit = max_map_count() / 4; /* stacks, each two mappings */
    unsigned n = 0, again = 0;
    struct filch__stack **stacks = calloc(limit, sizeof *stacks);

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind keeps track of fewer mappings than the kernel allows");
    if (limit > 100000)
        cr_skip_test("vm.max_map_count is large: the limit would take too long to reach");
    no_guard_advice = true;
    while (filch__stack_cache_credit(&cache[n % 2]) == 0)
        T_CHECK(++n <= limit);
    T_CHECK(n > limit - 500); /* what the cache has in hand */
    filch__stack_numbers(&numbers);
    T_CHECK(numbers.mapped <= limit && numbers.promised <= numbers.mapped);
    for (unsigned i = 0; i < n; i++) {
        stacks[i] = filch__stack_attach(&cache[i % 2]);
        stacks[i]->low[0] = 1;
    }
    for (unsigned i = 0; i < n; i += n / SOME)
        check_guard(stacks[i]);
    for (unsigned i = 0; i < n; i++) {
        filch__stack_cache_uncredit(&cache[i % 2]);
        filch__stack_detach(&cache[i % 2], stacks[i]);
    }
    while (filch__stack_cache_credit(&cache[again % 2]) == 0)
        again++;
    T_CHECK(again > n - 500);
    free(stacks);
}

Test(stack_refused, what_is_left_of_the_mappings_is_used)
{
    struct filch__stack_cache cache = {0};
    unsigned n = 0;

    no_guard_advice = true;
    writable_allowed = 301;
    while (filch__stack_cache_credit(&cache) == 0)
        n++;
    T_IS(n, 300);
    for (unsigned i = 0; i < n; i++)
        check_guard(filch__stack_attach(&cache));
}

Test(stack_refused, trimmed_memory_of_protected_stacks_is_usable_again)
{
    struct filch__stack_cache cache = {0};
    struct filch__stack *stacks[SOME];
    filch_time later = filch_now() + 5 * FILCH_SECOND;

    no_guard_advice = true;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < SOME; i++)
            stacks[i] = attach(&cache);
        for (unsigned i = 0; i < SOME; i += 10)
            check_guard(stacks[i]);
        for (unsigned i = 0; i < SOME; i++) {
            filch__stack_cache_uncredit(&cache);
            filch__stack_detach(&cache, stacks[i]);
        }
        filch__stack_cache_fini(&cache);
        while (filch__stack_trim(later) == later)
            ;
        for (unsigned i = 0; i < SOME; i++)
            T_CHECK(!memory_is_resident(stacks[i]));
    }
}

/* The host has locked its memory since. */
Test(stack_refused, guards_refused_later_are_mappings)
{
    struct filch__stack_cache cache = {0};
    struct filch__stack *stacks[SOME];

    for (unsigned i = 0; i < SOME; i++) {
        no_guard_advice = i >= 10;
        stacks[i] = attach(&cache);
    }
    for (unsigned i = 0; i < SOME; i++)
        check_guard(stacks[i]);
}

static int use_stack(void *arg)
{
    volatile char memory[50000];

    memory[0] = memory[sizeof memory - 1] = 1;
    atomic_fetch_add((atomic_uint *)arg, 1);
    return filch_sleep(FILCH_MILLISECOND) < 0;
}

static int many_to_the_limit(void *arg)
{
    static atomic_uint ran;
    unsigned n = 0;
    int r;

    (void)arg;
    FILCH_TRY_SCOPE(scope);
    while ((r = filch_scope_spawn(&scope, use_stack, &ran)) == 0)
        n++;
    T_IS(r, -ENOMEM);
    T_CHECK(n > 0);
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(atomic_load(&ran), n);
    T_OK(filch_task_spawn(use_stack, &ran, NULL, NULL));
    return 0;
}

Test(stack_refused, tasks_beyond_the_limit_are_refused_and_those_within_run)
{
    no_guard_advice = true;
    writable_allowed = 2000;
    cr_assert_eq(run_in_runtime(0, many_to_the_limit, NULL), 0);
}

#ifndef FILCH__SWITCH_SANITIZED /* which do not let memory be locked or unlocked */

Test(stack_refused, a_locked_slab_without_mappings_is_unlocked)
{
    struct filch__stack_cache cache = {0};
    struct filch__stack *stacks[SOME];
    char *first;

    stacks[0] = attach(&cache);
    first = stacks[0]->low;
    if (mlock2(first, 512 * KB, MLOCK_ONFAULT) < 0)
        cr_skip_test("memory cannot be locked");
    T_OK(mlock2(first, 200 * MB, MLOCK_ONFAULT));
    no_protection = true;
    for (unsigned i = 1; i < SOME; i++)
        stacks[i] = attach(&cache);
    for (unsigned i = 0; i < SOME; i++)
        check_guard(stacks[i]);
    T_CHECK(memory_kb("VmLck") < 100 * 1024);
}

static int some_tasks(void *arg)
{
    static atomic_uint ran;
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    for (unsigned i = 0; i < SOME; i++)
        T_OK(filch_scope_spawn(&scope, use_stack, &ran));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(atomic_load(&ran), SOME);
    return 0;
}

Test(stack_refused, a_process_that_locks_its_future_memory_has_tasks_with_guards)
{
    struct filch__stack_cache cache = {0};
    size_t before = memory_kb("VmRSS");

    if (mlockall(MCL_FUTURE) < 0)
        cr_skip_test("memory cannot be locked");
    for (unsigned i = 0; i < SOME; i++)
        check_guard(attach(&cache));
    T_CHECK(memory_kb("VmLck") > SOME * 256);
    /* Some stacks, not the whole slab. */
    T_CHECK(memory_kb("VmRSS") < before + 150 * 1024);
    T_OK(run_in_runtime(1, some_tasks, NULL));
}

#endif
