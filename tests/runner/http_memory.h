/* A connection in memory, for tests of the HTTP server: what the peer sends is there from the
 * beginning and comes in pieces as wanted; what it gets is kept. */
#ifndef FILCH_TESTS_RUNNER_HTTP_MEMORY_H
#define FILCH_TESTS_RUNNER_HTTP_MEMORY_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <filch/http_server.h>

#include "tests/runner/run.h"

struct memory_io {
    const char *in;
    size_t in_bytes, at;
    size_t piece; /* most bytes a read gives; 0: no limit */
    size_t cut;   /* a read does not go beyond this offset; 0: none */
    size_t out_bytes;
    unsigned writes;
    size_t refuse_after; /* writes fail with -EPIPE when this much was written; 0: never */
    char out[1 << 17];
};

static inline ssize_t memory_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct memory_io *m = context;
    size_t left = m->in_bytes - m->at;

    (void)until;
    if (m->cut > m->at && left > m->cut - m->at)
        left = m->cut - m->at;
    if (m->piece && left > m->piece)
        left = m->piece;
    if (left > bytes)
        left = bytes;
    memcpy(buf, m->in + m->at, left);
    m->at += left;
    return (ssize_t)left;
}

static inline ssize_t memory_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct memory_io *m = context;

    (void)until;
    if (m->refuse_after && m->out_bytes >= m->refuse_after)
        return -EPIPE;
    T_CHECK(m->out_bytes + bytes < sizeof(m->out));
    memcpy(m->out + m->out_bytes, buf, bytes);
    m->out_bytes += bytes;
    m->out[m->out_bytes] = '\0';
    m->writes++;
    return (ssize_t)bytes;
}

static inline int memory_finish(void *context, filch_time until)
{
    (void)context;
    (void)until;
    return 0;
}

static inline filch_io memory_io_of(struct memory_io *m)
{
    return (filch_io){
        .reader = {.read = memory_read, .context = m},
        .writer = {.write = memory_write, .finish = memory_finish, .context = m},
    };
}

/* Has the server answer what a peer sends, until it ends the connection or the peer does. */
static inline void memory_serve(filch_http_server *server, struct memory_io *m, const char *in,
                                size_t bytes)
{
    m->in = in;
    m->in_bytes = bytes;
    m->at = m->out_bytes = 0;
    m->writes = 0;
    m->out[0] = '\0';
    T_OK(filch_http_serve_io(server, memory_io_of(m), T_LIMIT));
}

/* How many answers there are, but for 100. */
static inline unsigned memory_answers(const struct memory_io *m)
{
    unsigned n = 0;

    for (const char *at = m->out; (at = strstr(at, "HTTP/1.1 ")); at += 9)
        n += strncmp(at, "HTTP/1.1 100 ", 13) != 0;
    return n;
}

/* The status of the last answer. */
static inline int memory_last_status(const struct memory_io *m)
{
    int status = 0;

    for (const char *at = m->out; (at = strstr(at, "HTTP/1.1 ")); at += 9)
        status = atoi(at + 9);
    return status;
}

/* Takes the dates out, which differ from run to run. */
static inline void memory_without_dates(struct memory_io *m)
{
    char *at;

    while ((at = strstr(m->out, "Date: "))) {
        char *end = strstr(at, "\r\n") + 2;

        memmove(at, end, strlen(end) + 1);
    }
}

#endif
