/* Description: the floating-point control state of tasks, with the option save_fp and without. */
#include <fenv.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

#include "tests/abi/programs.h"

#define TASKS 24
#define ROUNDS 40

static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

/* What the processor really does, not what the library believes; in both of the units that x86 has.
 */
static int mode_in_use(void)
{
    volatile double one = 1, minus_one = -1, three = 3;
    volatile long double tiny = 0x1p-80L, long_one = 1;
    double up = one / three, down = -(minus_one / three);
    long double above = long_one + tiny, below = long_one - tiny;
    int mode;

    if (up > down)
        mode = FE_UPWARD;
    else if (up < down)
        mode = FE_DOWNWARD;
    else
        mode = below < 1 ? FE_TOWARDZERO : FE_TONEAREST;
    if (RUNNING_ON_VALGRIND) /* whose long double has the precision of a double */
        return mode;
    T_CHECK((above > 1) == (mode == FE_UPWARD));
    T_CHECK((below < 1) == (mode == FE_DOWNWARD || mode == FE_TOWARDZERO));
    return mode;
}

static void suspend(unsigned i)
{
    if (i % 16 == 5)
        hop_to_another_thread();
    else
        filch_task_yield();
}

static int keeps_its_mode(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;

    T_IS(mode_in_use(), FE_TONEAREST);
    for (unsigned i = 0; i < ROUNDS; i++) {
        int mode = modes[(number + i / 8) % 4];

        T_OK(fesetround(mode));
        suspend(i);
        T_IS(mode_in_use(), mode);
    }
    return 0; /* with whatever mode it has */
}

static int sees_the_default(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        T_IS(mode_in_use(), FE_TONEAREST);
        suspend(i);
    }
    return 0;
}

static int tasks_with_modes(void *arg)
{
    filch_task_opts opts = {.save_fp = true};
    filch_task *tasks[TASKS];

    (void)arg;
    for (unsigned i = 0; i < TASKS; i++)
        T_OK(filch_task_spawn(i % 3 ? keeps_its_mode : sees_the_default, (void *)(uintptr_t)i,
                              i % 3 ? &opts : NULL, &tasks[i]));
    for (unsigned i = 0; i < TASKS; i++) {
        int result = -1;

        T_OK(filch_task_join(tasks[i], &result, FILCH_NEVER));
        T_IS(result, 0);
    }
    program_fan_out(sees_the_default, 8);
    return 0;
}

static int expects_mode(void *arg)
{
    T_IS(mode_in_use(), (int)(intptr_t)arg);
    return 0;
}

/* The thread's, as the header says: on one worker, the next task has what this one left. */
static int without_the_option_it_is_the_threads(void *arg)
{
    filch_task_opts opts = {.save_fp = true};
    filch_task *task;

    (void)arg;
    T_OK(fesetround(FE_UPWARD));
    T_OK(filch_task_spawn(expects_mode, (void *)(intptr_t)FE_UPWARD, NULL, &task));
    T_OK(filch_task_join(task, NULL, FILCH_NEVER));
    T_IS(mode_in_use(), FE_UPWARD);
    /* With it, a task starts with the runtime's, and what it finds is not disturbed for long. */
    T_OK(filch_task_spawn(expects_mode, (void *)(intptr_t)FE_TONEAREST, &opts, &task));
    T_OK(filch_task_join(task, NULL, FILCH_NEVER));
    T_IS(mode_in_use(), FE_TONEAREST);
    return 0;
}

static int starts_with_the_runtimes(void *arg)
{
    filch_task_opts opts = {.save_fp = true};
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(expects_mode, (void *)(intptr_t)FE_DOWNWARD, &opts, &task));
    T_OK(filch_task_join(task, NULL, FILCH_NEVER));
    return 0;
}

static int copied_argument(void *arg)
{
    T_IS(*(int *)arg, 12345);
    suspend(0);
    T_IS(*(int *)arg, 12345);
    return 99;
}

static int goes_with_a_copied_argument_and_a_name(void *arg)
{
    int value = 12345;
    filch_task_opts opts = {.save_fp = true, .copy_bytes = sizeof value, .name = "fp"};
    filch_task *task;
    int result = 0;

    (void)arg;
    T_OK(filch_task_spawn(copied_argument, &value, &opts, &task));
    value = 0;
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    T_IS(result, 99);
    return 0;
}

int main(void)
{
    program_run(4, tasks_with_modes, NULL);
    program_run(1, without_the_option_it_is_the_threads, NULL);
    program_run(2, goes_with_a_copied_argument_and_a_name, NULL);
    T_OK(fesetround(FE_DOWNWARD));
    program_run(2, starts_with_the_runtimes, NULL);
    T_OK(fesetround(FE_TONEAREST));
    printf("floating point: all checks hold\n");
    return 0;
}
