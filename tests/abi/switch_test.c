/* Description: the context switch alone: what the ABI says a callee keeps, alignment, new stacks,
 * leaving, unwinding.
 *
 * Needs nothing but libc, so that it also runs for another architecture under qemu-user: the
 * library is not linked, and filch__task_main() is the test's own.
 */
#include <fenv.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unwind.h>

#if defined(__x86_64__)
#include <ucontext.h>
#endif

#include "runtime/task/switch.h"
#include "tests/abi/registers.h"
#include "tests/runner/check.h"

#define STACK_BYTES (64 << 10)
#define ROUNDS 20000
#define STACKS 50

static _Alignas(16) char stacks[STACKS][STACK_BYTES];

/* What a new stack runs. Return: as filch__task_main(). */
static void *(*body)(void);
static bool entered_aligned;

void *filch__task_main(void)
{
    entered_aligned = (uintptr_t)__builtin_frame_address(0) % 16 == 0;
    return body();
}

static void *new_stack(unsigned index)
{
    return filch__switch_prepare(stacks[index] + STACK_BYTES);
}

static void fill(uint64_t *slots, uint64_t seed)
{
    for (unsigned i = 0; i < REGISTERS; i++)
        slots[i] = seed * 0x9e3779b97f4a7c15u + i;
}

/* A switch, before and after which all registers that a callee keeps must be the same. */
static void switch_checked(void **save_sp, void *to_sp, uint64_t seed)
{
    uint64_t want[REGISTERS];
    uint64_t slots[REGISTERS];

    fill(want, seed);
    memcpy(slots, want, sizeof slots);
    switch_with_registers(save_sp, to_sp, slots);
    for (unsigned i = 0; i < REGISTERS; i++) {
        if (slots[i] != want[i])
            fprintf(stderr, "register %u of %u\n", i, REGISTERS);
        T_IS(slots[i], want[i]);
    }
}

static void *main_sp;
static void *other_sp;
static unsigned turns;

static void *ping_pong_body(void)
{
    for (;;) {
        turns++;
        switch_checked(&other_sp, main_sp, 1000000 + turns);
    }
    return NULL;
}

static void callee_saved_registers_survive(void)
{
    body = ping_pong_body;
    other_sp = new_stack(0);
    turns = 0;
    for (unsigned i = 0; i < ROUNDS; i++)
        switch_checked(&main_sp, other_sp, i);
    T_IS(turns, ROUNDS);
}

static void *ring_sp[STACKS];
static unsigned started;

static void *ring_body(void)
{
    unsigned mine = started++;

    for (unsigned i = 0;; i++) {
        turns++;
        /* To the next in the ring; the last one's next is main. */
        switch_checked(&ring_sp[mine], mine + 1 < STACKS ? ring_sp[mine + 1] : main_sp,
                       mine * 1000 + i);
    }
    return NULL;
}

static void many_stacks_take_turns(void)
{
    body = ring_body;
    started = 0;
    turns = 0;
    for (unsigned i = 0; i < STACKS; i++)
        ring_sp[i] = new_stack(i);
    for (unsigned i = 0; i < 100; i++)
        switch_checked(&main_sp, ring_sp[0], i);
    T_IS(started, STACKS);
    T_IS(turns, 100 * STACKS);
}

static unsigned depth;
static void *nested_sp[STACKS];

/* Each stack enters the next one, and all but the first are left by returning to the one before. */
static void *nested_body(void)
{
    unsigned mine = depth++;

    if (depth < STACKS)
        switch_checked(&nested_sp[mine], new_stack(depth), mine);
    turns++;
    return mine ? nested_sp[mine - 1] : main_sp;
}

static void stacks_nest_and_are_left_by_return(void)
{
    body = nested_body;
    for (unsigned i = 0; i < 100; i++) {
        depth = 0;
        turns = 0;
        switch_checked(&main_sp, new_stack(0), i);
        T_IS(depth, STACKS);
        T_IS(turns, STACKS);
    }
}

static void *leave_at_once_body(void)
{
    turns++;
    return main_sp;
}

static void new_stacks_are_aligned(void)
{
    body = leave_at_once_body;
    turns = 0;
    for (unsigned i = 0; i < 64; i++) {
        entered_aligned = false;
        filch__switch(&main_sp, filch__switch_prepare(stacks[0] + STACK_BYTES - i));
        T_CHECK(entered_aligned);
    }
    T_IS(turns, 64);
}

static int rounding_seen;

static void *rounding_body(void)
{
    rounding_seen = fegetround();
    fesetround(FE_UPWARD);
    return main_sp;
}

/* It belongs to the thread: a stack finds what the one before left, new or not. */
static void floating_point_control_is_not_switched(void)
{
    body = rounding_body;
    T_OK(fesetround(FE_DOWNWARD));
    filch__switch(&main_sp, new_stack(0));
    T_IS(rounding_seen, FE_DOWNWARD);
    T_IS(fegetround(), FE_UPWARD);
    T_OK(fesetround(FE_TONEAREST));
}

struct walk {
    unsigned frames;
    uintptr_t entered; /* the outermost function that we know: main() or the switch's entry */
};

#define FRAMES_MAX 100

int main(void);

/* A few bytes before it belong to it. */
static bool is_in_entry(uintptr_t ip)
{
    return ip + 4 - (uintptr_t)filch__switch_entry < 32;
}

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    uintptr_t ip = _Unwind_GetIP(context);

    if (is_in_entry(ip) ||
        _Unwind_FindEnclosingFunction((void *)(ip - 1)) == (void *)(uintptr_t)main)
        walk->entered = ip;
    /* More than that is a walk without end. */
    return ++walk->frames < FRAMES_MAX ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static unsigned unwound;
static unsigned walked;

__attribute__((noinline)) static void walk_from(unsigned calls)
{
    if (calls) {
        walk_from(calls - 1);
        __asm__ volatile(""); /* no tail call */
        return;
    }
    struct walk walk = {0};
    void **frame = __builtin_frame_address(0);

    T_IS(_Unwind_Backtrace(walk_frame, &walk), _URC_END_OF_STACK);
    T_CHECK(is_in_entry(walk.entered));
    unwound = walk.frames;
    /* Saved frame pointer, return address: on both architectures. */
    for (walked = 0; frame && walked < FRAMES_MAX; walked++)
        frame = *frame;
    T_CHECK(!frame);
}

static void *walk_body(void)
{
    walk_from(10);
    return main_sp;
}

static void walkers_end_at_the_entry(void)
{
    /* Not zeros: a walker that goes on past the entry must meet something. */
    memset(stacks[0], 0x11, STACK_BYTES);
    body = walk_body;
    filch__switch(&main_sp, new_stack(0));
    T_CHECK(unwound >= 12 && unwound < 20);
    T_CHECK(walked >= 11 && walked < 20);
}

#if defined(__x86_64__)

/* One step at a time through the switch: the unwind information must hold at each instruction. */

static unsigned steps_inside;
static bool step_failed;

static void on_step(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    uintptr_t ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    struct walk walk = {0};

    (void)signal;
    (void)info;
    if (ip < (uintptr_t)filch__switch || ip >= (uintptr_t)filch__switch_entry + 32)
        return;
    steps_inside++;
    if (_Unwind_Backtrace(walk_frame, &walk) != _URC_END_OF_STACK || !walk.entered)
        step_failed = true;
}

static void set_trap_flag(bool on)
{
    /* Below the red zone. */
    if (on)
        __asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; "
                         "leaq 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
    else
        __asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; "
                         "leaq 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
}

static void *step_body(void)
{
    filch__switch(&other_sp, main_sp);
    return main_sp;
}

static void unwinding_works_at_each_instruction(void)
{
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    struct sigaction old;

    body = step_body;
    other_sp = new_stack(0);
    T_OK(sigaction(SIGTRAP, &action, &old));
    set_trap_flag(true);
    filch__switch(&main_sp, other_sp); /* to a new stack and back */
    filch__switch(&main_sp, other_sp); /* to an old one, which is left by return */
    set_trap_flag(false);
    T_OK(sigaction(SIGTRAP, &old, NULL));
    T_CHECK(steps_inside >= 60);
    T_CHECK(!step_failed);
}

#else

static void unwinding_works_at_each_instruction(void)
{
    printf("unwinding_works_at_each_instruction: skipped: no single steps here\n");
}

#endif

int main(void)
{
    callee_saved_registers_survive();
    many_stacks_take_turns();
    stacks_nest_and_are_left_by_return();
    new_stacks_are_aligned();
    floating_point_control_is_not_switched();
    walkers_end_at_the_entry();
    unwinding_works_at_each_instruction();
    printf("switch: all checks hold\n");
    return 0;
}
