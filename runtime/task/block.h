/* Blocks of a task: stretches of its code with a deadline, or shielded from cancel. See block.c. */
#ifndef FILCH_TASK_BLOCK_H
#define FILCH_TASK_BLOCK_H

#include <filch/cancel.h>

#include "runtime/time/wheel.h"

struct filch__task;

/* In the frame of the task that is in it. Constant from its begin to its end, but for the timer. */
struct filch__block {
    struct filch__timer timer;
    struct filch__block *outer; /* NULL: the outermost */
    filch_time until;           /* its own limit: FILCH_NEVER: none */
    uint32_t level;             /* 1 for the outermost */
    bool is_shield;
    bool begun; /* it is the task's: else its end does nothing */
};

/* Its time has come; under the lock of the timers. @generation: of the task. */
void filch__block_fire(struct filch__timer *timer, uint64_t generation);

#endif
