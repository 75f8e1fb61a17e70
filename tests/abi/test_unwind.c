/* Description: stack walks from inside of tasks, and from signals that hit them anywhere; and
 * longjmp within a task.
 */
#include <execinfo.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>

#include "runtime/task/switch.h"
#include "tests/abi/programs.h"

#define FRAMES_MAX 128
#define CALLS 8
#define SIGNALS 300

/* Return addresses in it are of its one call, its third instruction or so. */
static bool is_in_entry(const void *address)
{
    return (uintptr_t)address - (uintptr_t)filch__switch_entry <= 16;
}

/* The last one is where the stack begins, or, outside of tasks, where the thread does. */
static void check_backtrace(int calls)
{
    void *frames[FRAMES_MAX];
    int n = backtrace(frames, FRAMES_MAX);

    T_CHECK(n > calls);
    T_CHECK(n < calls + 12);
    T_CHECK(is_in_entry(frames[n - 1]));
    for (int i = 0; i < n - 1; i++)
        T_CHECK(!is_in_entry(frames[i]));
}

static void check_frame_pointers(int calls)
{
    void **frame = __builtin_frame_address(0);
    int n = 0;

    for (; frame && n < FRAMES_MAX; frame = *frame, n++)
        T_CHECK(!frame[0] || (void **)frame[0] > frame);
    T_CHECK(n >= calls);
    T_CHECK(n < calls + 12);
}

/* Not gone by a tail call, nor by inlining into itself; gdb looks for it by name. */
#if defined(__clang__)
__attribute__((noinline, optnone))
#else
__attribute__((noipa))
#endif
void unwind_leaf(int calls);

void unwind_leaf(int calls)
{
    check_backtrace(calls);
    check_frame_pointers(calls);
}

#if defined(__clang__)
__attribute__((noinline, optnone))
#else
__attribute__((noipa))
#endif
void unwind_nested(int left);

void unwind_nested(int left)
{
    if (left) {
        unwind_nested(left - 1);
        __asm__ volatile("");
        return;
    }
    unwind_leaf(CALLS);
    filch_task_yield();
    unwind_leaf(CALLS);
    hop_to_another_thread();
    unwind_leaf(CALLS);
}

static int walks_its_stack(void *arg)
{
    (void)arg;
    unwind_nested(CALLS);
    return 0;
}

static int walks(void *arg)
{
    (void)arg;
    program_fan_out(walks_its_stack, 20);
    return 0;
}

static sig_atomic_t volatile signals;

static void on_profile(int signal)
{
    void *frames[FRAMES_MAX];
    int n = backtrace(frames, FRAMES_MAX);

    (void)signal;
    /* No write to stderr would be safe here, and no abort() is needed to see that it went wrong. */
    if (n < 2 || n == FRAMES_MAX)
        _exit(3);
    __atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static int empty(void *arg)
{
    (void)arg;
    return 0;
}

/* As busy as can be with what a profiler should be able to interrupt: switches, new stacks, ends.
 */
static int works_until_profiled(void *arg)
{
    sigset_t profile;

    (void)arg;
    sigemptyset(&profile);
    sigaddset(&profile, SIGPROF);
    while (signals < SIGNALS) {
        /* Workers block signals. It is the thread's mask, so it is said on each that we come to. */
        pthread_sigmask(SIG_UNBLOCK, &profile, NULL);
        for (int i = 0; i < 100; i++)
            filch_task_yield();
        program_fan_out(empty, 4);
    }
    return 0;
}

static int profiled(void *arg)
{
    (void)arg;
    program_fan_out(works_until_profiled, 6);
    return 0;
}

static void profiler_meets_tasks_anywhere(void)
{
    struct sigaction action = {.sa_handler = on_profile, .sa_flags = SA_RESTART};
    struct itimerval every = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    struct itimerval never = {.it_value.tv_usec = 0};
    sigset_t profile;

    /* The main thread only waits. */
    sigemptyset(&profile);
    sigaddset(&profile, SIGPROF);
    T_OK(pthread_sigmask(SIG_BLOCK, &profile, NULL));
    T_OK(sigaction(SIGPROF, &action, NULL));
    T_OK(setitimer(ITIMER_PROF, &every, NULL));
    program_run(2, profiled, NULL);
    T_OK(setitimer(ITIMER_PROF, &never, NULL));
    T_CHECK(signals >= SIGNALS);
}

__attribute__((noinline, noreturn)) static void jump_back(jmp_buf *where, int yields)
{
    for (int i = 0; i < yields; i++)
        filch_task_yield();
    longjmp(*where, 42);
}

static int jumps(void *arg)
{
    jmp_buf here;
    int volatile round = 0;

    (void)arg;
    if (setjmp(here) && ++round == 10)
        return 0;
    if (round % 3 == 1)
        hop_to_another_thread();
    jump_back(&here, round);
}

static int all_jump(void *arg)
{
    (void)arg;
    program_fan_out(jumps, 20);
    return 0;
}

int main(void)
{
    void *warm_up[1];

    (void)backtrace(warm_up, 1); /* loads the unwinder, which no signal handler should */
    program_run(4, walks, NULL);
    profiler_meets_tasks_anywhere();
    program_run(4, all_jump, NULL);
    printf("unwinding: all checks hold\n");
    return 0;
}
