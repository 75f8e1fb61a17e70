/* For test programs without a test framework: a runtime around a task. In C and C++. */
#ifndef FILCH_TESTS_ABI_PROGRAMS_H
#define FILCH_TESTS_ABI_PROGRAMS_H

#include <filch/filch.h>

#include "tests/abi/hop.h"
#include "tests/runner/check.h"

static inline filch_runtime *program_start(unsigned workers)
{
    filch_runtime_opts opts = {};
    filch_runtime *rt = NULL;
    int r;

    opts.workers = workers;
    r = filch_runtime_start(&opts, &rt);
    if (r < 0)
        fprintf(stderr, "the runtime does not start: %s\n", filch_strerror(r));
    T_OK(r);
    return rt;
}

/* Runs @fn as the first task of a runtime of its own; it must return 0. Tasks may hop. */
static inline void program_run(unsigned workers, filch_fn fn, void *arg)
{
    filch_runtime *rt = program_start(workers);
    int result = -1;

    hop_init();
    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    T_IS(result, 0);
    T_OK(filch_runtime_shutdown(rt, FILCH_NEVER));
    hop_fini();
}

/* Spawns @n tasks and joins them; each gets its number, from 0. */
static inline void program_fan_out(filch_fn fn, unsigned n)
{
    filch_task **tasks = (filch_task **)calloc(n, sizeof *tasks);

    T_CHECK(tasks != NULL);
    for (unsigned i = 0; i < n; i++)
        T_OK(filch_task_spawn(fn, (void *)(uintptr_t)i, NULL, &tasks[i]));
    for (unsigned i = 0; i < n; i++) {
        int result = -1;

        T_OK(filch_task_join(tasks[i], &result, FILCH_NEVER));
        T_IS(result, 0);
    }
    free(tasks);
}

#endif
