/* Readers and writers in memory, which give and take pieces of random sizes, and fail in between as
 * a call that times out or is cancelled does: with nothing done. */
#ifndef FILCH_TESTS_RUNNER_SCRIPT_H
#define FILCH_TESTS_RUNNER_SCRIPT_H

#include <errno.h>
#include <string.h>

#include "tests/runner/run.h"

static inline uint32_t test_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

struct script_reader {
    const char *data;
    size_t bytes;
    size_t at;
    size_t piece_max; /* 1: a byte at a time */
    unsigned fails;   /* of 8 calls */
    uint64_t seed;
    size_t calls;
};

static inline ssize_t script_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct script_reader *script = context;
    size_t n = script->bytes - script->at;

    (void)until;
    T_CHECK(bytes > 0);
    script->calls++;
    if (test_random(&script->seed) % 8 < script->fails)
        return test_random(&script->seed) % 2 ? -ECANCELED : -ETIMEDOUT;
    if (n > script->piece_max)
        n = 1 + test_random(&script->seed) % script->piece_max;
    n = n < bytes ? n : bytes;
    memcpy(buf, script->data + script->at, n);
    script->at += n;
    return (ssize_t)n;
}

struct script_writer {
    char *data;
    size_t room;
    size_t bytes;
    size_t piece_max;
    unsigned fails;
    uint64_t seed;
    size_t calls;
    unsigned finished;
};

static inline ssize_t script_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct script_writer *script = context;
    size_t n = bytes;

    (void)until;
    T_CHECK(bytes > 0 && !script->finished);
    script->calls++;
    if (test_random(&script->seed) % 8 < script->fails)
        return test_random(&script->seed) % 2 ? -ECANCELED : -ETIMEDOUT;
    if (n > script->piece_max)
        n = 1 + test_random(&script->seed) % script->piece_max;
    T_CHECK(n <= script->room - script->bytes);
    memcpy(script->data + script->bytes, buf, n);
    script->bytes += n;
    return (ssize_t)n;
}

static inline int script_finish(void *context, filch_time until)
{
    struct script_writer *script = context;

    (void)until;
    if (test_random(&script->seed) % 8 < script->fails)
        return -ECANCELED;
    script->finished++;
    return 0;
}

static inline filch_reader script_reader(struct script_reader *script)
{
    return (filch_reader){.read = script_read, .context = script};
}

static inline filch_writer script_writer(struct script_writer *script)
{
    return (filch_writer){.write = script_write, .finish = script_finish, .context = script};
}

/* Was a call given up with nothing done? */
static inline bool gave_up(ssize_t r)
{
    return r == -ECANCELED || r == -ETIMEDOUT;
}

#endif
