/* What modelled code needs of a task: its word and its link. */
#ifndef FILCH_TESTS_MODEL_TASK_H
#define FILCH_TESTS_MODEL_TASK_H

#include "runtime/base/atomic.h"

struct filch__task {
    filch_atomic_u64 state;
    struct filch__task *next;
    struct {
        struct filch__task *next;
        struct filch__task *column;
    } chunk;
};

#endif
