/* Memory and threads that are refused while a test says so (refusals.h): the test is linked with
 * `refused_memory` of tests/meson.build, and names what else it refuses behind these.
 *
 *     enum refused { OPEN = REFUSED_NEXT, ENTRIES };
 *     ...
 *     SAYS(MEMORY, filch_tree_watch_open(path, NULL, &watch, T_LIMIT), -ENOMEM);
 */
#ifndef FILCH_TESTS_RUNNER_REFUSED_MEMORY_H
#define FILCH_TESTS_RUNNER_REFUSED_MEMORY_H

#include <pthread.h>
#include <sys/mman.h>

#include "tests/runner/refusals.h"

enum { MEMORY = 1, THREAD, REFUSED_NEXT };

WRAPPED(void *, malloc, (size_t bytes))
{
    return refuses(MEMORY) ? NULL : __real_malloc(bytes);
}

WRAPPED(void *, calloc, (size_t count, size_t bytes))
{
    return refuses(MEMORY) ? NULL : __real_calloc(count, bytes);
}

WRAPPED(void *, realloc, (void *old, size_t bytes))
{
    return refuses(MEMORY) ? NULL : __real_realloc(old, bytes);
}

WRAPPED(void *, mmap64, (void *at, size_t bytes, int protection, int flags, int fd, off_t offset))
{
    return refuses(MEMORY) ? MAP_FAILED : __real_mmap64(at, bytes, protection, flags, fd, offset);
}

WRAPPED(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg))
{
    return refuses(THREAD) ? errno : __real_pthread_create(thread, attr, body, arg);
}

#endif
