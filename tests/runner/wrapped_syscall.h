/* syscall(2) with a test in front of it (--wrap=syscall, in tests/meson.build): what the library
 * calls by number has at most six arguments, none wider than a register. */
#ifndef FILCH_TESTS_RUNNER_WRAPPED_SYSCALL_H
#define FILCH_TESTS_RUNNER_WRAPPED_SYSCALL_H

#include <stdarg.h>
#include <stdbool.h>
#include <sys/syscall.h>

/* The test's: is this call to fail? Then errno is set. */
static bool refuses_syscall(long number, const long *arg);

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
    long arg[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(args, long);
    va_end(args);
    return refuses_syscall(number, arg)
               ? -1
               : __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

#endif
