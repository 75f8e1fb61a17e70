/* A connection that speaks HTTP/2: see h2.c. */
#ifndef FILCH_IO_HTTP_H2_H
#define FILCH_IO_HTTP_H2_H

#include <nghttp2/nghttp2.h>

#include <filch/scope.h>

#include "io/http/date.h"
#include "io/http/exchange.h"
#include "io/http/server.h"

/* What is read of the connection at a time. */
#define H2_IN_BYTES 16384
/* What is written of it at a time; a frame more fits behind. */
#define H2_OUT_BYTES ((size_t)32 * 1024)
#define H2_FRAME_BYTES ((size_t)16384 + 256)
/* Of an answer's body, what is kept until the peer takes it. */
#define H2_BODY_BYTES ((size_t)32 * 1024)
/* Of an answer's body, what needs no memory of its own. */
#define H2_SMALL_BYTES 512
#define H2_TYPE_BYTES 257
/* What a peer may send of one body, and of all of them, before it is read. */
#define H2_STREAM_WINDOW (256 * 1024)
#define H2_CONN_WINDOW (1024 * 1024)

struct h2;

/* Bytes on their way: [begin, end). */
struct h2_buffer {
    char *bytes;
    size_t begin, end, room;
};

static inline size_t h2_buffered(const struct h2_buffer *buffer)
{
    return buffer->end - buffer->begin;
}

/* A request and its answer. [owners] Its task has it while `running`, nghttp2 while not `closed`;
 * who is last, frees it. All below `h` is under the connection's lock, but for what is said. */
struct h2_stream {
    struct filch_exchange x; /* the task's; the texts of its head lie behind the stream */
    struct h2 *h;
    struct h2_stream *next, **link; /* in h->streams */
    int32_t id;
    filch_task *task; /* NULL: its body has not begun yet */
    bool running;
    bool closed;
    int refusal;        /* the status to answer with, without asking anybody; 0: none */
    filch_cond changed; /* the task waits here: for input, for room, for the end */
    /* The request's body. */
    struct h2_buffer in;
    bool in_ended;
    struct http_field *trailers; /* an allocation, with their texts; NULL: none */
    unsigned trailer_count;
    bool awaited;   /* the peer waits for "100 Continue" */
    int in_error;   /* what is wrong with it */
    uint64_t came;  /* bytes */
    uint64_t taken; /* the task's */
    filch_time began;
    /* The answer's. Before `submitted` it is the task's alone. */
    struct h2_buffer out;
    bool submitted; /* nghttp2 has its head */
    bool deferred;  /* nghttp2 has asked for more than there was */
    bool out_ended; /* nothing is added any more */
    bool told_end;  /* its last frame has been made */
    char type[H2_TYPE_BYTES];
    char small[H2_SMALL_BYTES];
};

/* The head that comes: heads never come side by side. */
struct h2_collector {
    char *text;
    size_t bytes;
    size_t list_bytes; /* as RFC 9113 counts, 32 more for each field */
    size_t cookie_bytes;
    unsigned cookies;
    struct http_field *fields;
    unsigned count;
    const char *method, *target, *host;
    int status; /* with which it is refused; 0: none */
};

struct h2 {
    filch_http_server *server;
    struct http_conn *conn; /* its task is the reader */
    filch_tcp *tcp;
    void *wrapped;
    filch_io io;
    filch_scope tasks; /* of streams */
    filch_mutex lock;  /* of all below, of nghttp2, and of what streams say */
    nghttp2_session *session;
    struct h2_stream *streams;
    unsigned open;    /* streams of nghttp2 */
    unsigned live;    /* streams with a task */
    unsigned started; /* requests */
    int error;        /* of the connection: nothing can be sent any more */
    bool refused;     /* GOAWAY with an error was sent */
    bool over;        /* nothing is read any more */
    /* The writer. */
    filch_cond writable;
    bool writer_waits;
    bool ending; /* it writes what there is, and ends */
    /* The gentle end: a notice, and, when the peer has seen it, the number of its last stream. */
    bool leaving;
    bool left;
    filch_time leave_until;
    /* Times. */
    filch_time head_at;     /* the head that comes began then; 0: none comes */
    filch_time progress_at; /* something came or went that is worth waiting for */
    /* What a peer may do that makes work and leads nowhere: see h2_in.c. */
    unsigned patience;
    filch_time patience_at;
    int64_t date_s;
    char date[HTTP_DATE_BYTES];
    struct h2_collector head;
    const uint8_t *rest; /* of a frame that did not fit into `out`; nghttp2's */
    size_t rest_bytes;
    char *in, *out;
};

/* h2.c */

/* Serves a connection in the calling task until it ends; it was agreed on HTTP/2. */
int h2_serve(filch_http_server *server, filch_tcp *tcp, filch_io io,
             const filch_http_wrapped *wrapped);
/* The same for one that has entered the server, and of which something was read. */
int h2_run(filch_http_server *server, struct http_conn *conn, filch_tcp *tcp, filch_io io,
           void *wrapped, const char *first, size_t bytes);

void h2_lock(struct h2 *h);
void h2_unlock(struct h2 *h);

/* There may be something to be written. Under the lock. */
void h2_kick(struct h2 *h);
/* Ends the connection for what its peer does: the error is told. Under the lock. */
void h2_refuse(struct h2 *h, uint32_t error_code);
/* Begins the gentle end. Under the lock. */
void h2_leave(struct h2 *h);
/* Says the number of the last stream. Under the lock. */
void h2_say_last(struct h2 *h);

/* h2_in.c */

/* Return: 0; -ENOMEM. */
int h2_session_new(struct h2 *h);
/* The time by which something has to come. Under the lock. */
filch_time h2_deadline(struct h2 *h);

/* h2_stream.c */

/* Makes a stream of what was collected, and starts its task. Under the lock. Return: 0; an error,
 * with which there is none. */
int h2_stream_start(struct h2 *h, int32_t id, bool ended);
/* What was collected comes behind its body. Under the lock. */
void h2_stream_trailers(struct h2_stream *s);
/* nghttp2 lets go of it. Under the lock. */
void h2_stream_closed(struct h2_stream *s, bool by_error);
/* Input that nobody will read. Under the lock. */
void h2_consume(struct h2 *h, int32_t id, size_t bytes);
/* Return: false: no memory. */
bool h2_buffer_add(struct h2_buffer *buffer, const void *data, size_t bytes, size_t first_room);

/* h2_out.c */

extern const struct http_wire h2_wire;

#endif
