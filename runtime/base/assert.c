/* The end of the line: says what broke, without allocating, and aborts. */
#include "runtime/base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void filch__throw(const char *what)
{
    dprintf(STDERR_FILENO, "filch: fatal: %s\n", what);
    abort();
}

void filch__assert_failed(const char *expression, const char *file, int line)
{
    dprintf(STDERR_FILENO, "filch: assertion failed: %s (%s:%d)\n", expression, file, line);
    abort();
}
