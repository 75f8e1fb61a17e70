/* Checks in the child of a fork, which has the memory of the process and none of its threads. */
#ifndef FILCH_TESTS_RUNNER_FORKED_H
#define FILCH_TESTS_RUNNER_FORKED_H

#include <sys/wait.h>
#include <unistd.h>

#include "tests/runner/check.h"

/* A check that fails there ends the child, and is noticed here. */
static inline void in_child(void (*body)(void))
{
    int status = -1;
    pid_t child = fork();

    T_CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_IS(status, 0);
}

#endif
