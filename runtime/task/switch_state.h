/* What a task owns but its thread keeps, beside errno: saved when the task suspends, put back when
 * it goes on, perhaps on another thread.
 *
 * C++ exceptions: what the thread is handling (a stack of caught exceptions) and how many are in
 * flight, 16 bytes behind __cxa_get_globals(). A task may suspend in a catch block, or in a
 * destructor that an exception runs.
 *
 * Floating point: rounding, masks, flush-to-zero, which are MXCSR and the x87 control word, or
 * FPCR. For tasks with the option `save_fp` only.
 *
 * Invariant [clean-thread]: between tasks a worker's thread handles no exception, and, if tasks
 * change the control state with save_fp only, has the control state of the thread that started the
 * runtime. So a new task finds both clean, and one that suspends with nothing of its own, as nearly
 * all do, has nothing to save and nothing to put back: that is one branch on each side. Who ends
 * cleans up: C++ by leaving its catch blocks, floating point by the wrapper around the body.
 *
 * Each worker keeps the address of its thread's C++ state, because asking for it would cost more
 * than the switch, also for programs in C: Debian's jemalloc brings libstdc++ with it.
 */
#ifndef FILCH_TASK_SWITCH_STATE_H
#define FILCH_TASK_SWITCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/task/switch.h"
#include "runtime/task/task.h"

/* __cxa_eh_globals of the Itanium C++ ABI; libstdc++ and libc++abi agree on 64-bit machines. */
struct filch__cxx_state {
    void *caught;
    unsigned uncaught;
};

/* That of the calling thread, as long as it lives; one that is always empty where there is no C++
 * runtime. Never NULL. */
struct filch__cxx_state *filch__cxx_state(void);

/* This thread's floating-point control state. */
uint64_t filch__fp_control(void);

/* Makes a new task one with save_fp. */
void filch__switch_state_save_fp(struct filch__task *task);

/* Has the running task something to take along? @cxx is its thread's. */
static inline bool filch__switch_state_any(const struct filch__cxx_state *cxx,
                                           const struct filch__task *task)
{
    return ((uintptr_t)cxx->caught | cxx->uncaught | (task->flags & FILCH_TASK_SAVE_FP)) != 0;
}

/* The same as filch__switch_to(), for a task that has, or that has a fork stack. */
void filch__switch_with_state(struct filch__worker *worker, struct filch__task *task,
                              void **fake_stack, const struct filch__switch_target *to);

#endif
