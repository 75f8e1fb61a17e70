/* The end of the line: says what broke, without allocating, and aborts. */
#include "runtime/base/assert.h"

#include <stdlib.h>

#include "runtime/base/log.h"

void filch__throw(const char *what)
{
    filch__log(NULL, FILCH_LOG_FATAL, "fatal: %s", what);
    abort();
}

void filch__assert_failed(const char *expression, const char *file, int line)
{
    filch__log(NULL, FILCH_LOG_FATAL, "assertion failed: %s (%s:%d)", expression, file, line);
    abort();
}
