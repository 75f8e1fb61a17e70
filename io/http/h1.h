/* A connection that speaks HTTP/1: see h1.c. */
#ifndef FILCH_IO_HTTP_H1_H
#define FILCH_IO_HTTP_H1_H

#include <sys/uio.h>

#include "io/http/chunks.h"
#include "io/http/date.h"
#include "io/http/exchange.h"
#include "io/http/server.h"

/* Beyond the largest head there is room for so much of what follows it. */
#define H1_BODY_BYTES 8192
/* Trailers are read where they were received, as a whole. */
#define H1_TRAILER_BYTES H1_BODY_BYTES
/* What is buffered of answers; more than a head can have. */
#define H1_OUT_BYTES 16384
/* So much is read, at most, of what comes to a connection that has ended: more than the buffers of
 * both its sides hold (tcp_wmem and tcp_rmem, 10 MiB), so that a peer that sends without a look at
 * the answer comes to its next look. */
#define H1_LINGER_BYTES ((size_t)16 << 20)

struct h1_body {
    enum {
        H1_NO_BODY = 0, /* or it was read to its end */
        H1_LENGTH,
        H1_CHUNKS,
    } kind;
    uint64_t left; /* of H1_LENGTH */
    struct http_chunks chunks;
    struct http_scan trailers; /* how far their end was looked for */
    uint64_t taken;
    bool awaited;     /* the peer waits for "100 Continue" */
    filch_time began; /* the first read; 0: none yet */
};

struct h1 {
    struct filch_exchange x; /* its head's texts lie in `in` */
    struct http_conn conn;
    filch_io io;
    bool direct; /* io is the TCP connection: it takes several buffers */
    bool keep;   /* the connection goes on after this answer */
    bool http2;  /* the peer has begun with HTTP/2 */
    int error;   /* of the connection: it is over */
    unsigned requests;
    /* Input: in[head_end..rd) is used up, in[rd..wr) has come. A head begins at 0 and stays until
     * its exchange ends. */
    char *in;
    size_t in_bytes, head_end, rd, wr;
    struct h1_body body;
    /* Output: what is to be sent. */
    char *out;
    size_t out_bytes;
    bool chunk_open;
    size_t chunk_at; /* where the open chunk begins */
    int64_t date_s;
    char date[HTTP_DATE_BYTES];
    char *copies; /* of targets: two */
};

/* in.c */

/* Waits for the head of the next request and reads it. Return: 0; the status with which it is
 * refused; an error: the connection is over. */
int h1_read_head(struct h1 *h);
ssize_t h1_read(filch_exchange *x, void *buf, size_t bytes, filch_time until);
/* Reads and drops what is left of the body. Return: is it done? */
bool h1_drop_body(struct h1 *h);
/* Bytes of the connection, without framing: what has come first. */
ssize_t h1_read_raw(struct h1 *h, void *buf, size_t bytes, filch_time until);

/* out.c */

extern const struct http_wire h1_wire;
int h1_flush(struct h1 *h, filch_time until);
ssize_t h1_write_raw(struct h1 *h, const void *data, size_t bytes, filch_time until);

/* h1.c */

/* The earlier of @until and the server's own limit. */
filch_time h1_limit(filch_time until, filch_time span_ns);
/* The present time, to some milliseconds: it costs next to nothing. */
filch_time h1_now(void);

/* Serves a connection in the calling task until it ends. @tcp: NULL if there is none; @wrapped:
 * NULL if it is spoken to directly. */
int h1_serve(filch_http_server *server, filch_tcp *tcp, filch_io io,
             const filch_http_wrapped *wrapped);

#endif
