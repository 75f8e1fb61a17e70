/* An exchange inside, and what its connection does for it: see exchange.c, exchange_request.c. */
#ifndef FILCH_IO_HTTP_EXCHANGE_H
#define FILCH_IO_HTTP_EXCHANGE_H

#include <filch/file.h>
#include <filch/http_server.h>

#include "io/http/parse.h"
#include "io/http/route.h"

/* Fields and trailers that a handler may add to an answer. */
#define HTTP_SET_BYTES 4096

/* How a version of HTTP moves bodies and answers. What an exchange says is checked before these are
 * called. */
struct http_wire {
    /* The body's next bytes; as filch_exchange_read(). */
    ssize_t (*read)(filch_exchange *x, void *buf, size_t bytes, filch_time until);
    /* Puts the head of the answer: x->status, length, set. 0, or nothing was put. */
    int (*begin)(filch_exchange *x, const char *type, filch_time until);
    /* Some of the answer's body; it has one, and so much is left of it. */
    ssize_t (*write)(filch_exchange *x, const void *data, size_t bytes, filch_time until);
    /* Bytes of a file as the body, without copying them. NULL: never; -EOPNOTSUPP: not here, and
     * nothing was done. @done is counted up, also on failure. */
    int (*send_file)(filch_exchange *x, filch_file *file, uint64_t offset, uint64_t bytes,
                     uint64_t *done, filch_time until);
    int (*flush)(filch_exchange *x, filch_time until);
    /* The body is over. */
    int (*finish)(filch_exchange *x, filch_time until);
    int (*upgrade)(filch_exchange *x, const char *protocol, filch_io *ret_io, filch_time until);
};

enum http_stage {
    HTTP_UNANSWERED = 0,
    HTTP_ANSWERING, /* the head is there, the body may be written */
    HTTP_ANSWERED,
};

struct filch_exchange {
    const struct http_wire *wire;
    filch_http_server *server;
    filch_tcp *tcp; /* NULL: none */
    void *wrapped;  /* the state of its wrap */
    /* the request */
    struct http_head head;
    char *path, *query, *host; /* of the target; query: NULL if there is none */
    struct http_match match;
    char *scratch;               /* for the match: room for a target */
    int read_error;              /* the first error of its body that is the peer's */
    struct http_field *trailers; /* once its body was read to the end */
    unsigned trailer_count;
    filch_time began; /* if there is somebody to be told of the time */
    /* the answer */
    enum http_stage stage;
    int status;
    int64_t length; /* of the body; -1: known at its end */
    bool bodiless;  /* whatever is written, none is sent: HEAD, 204, 304 */
    uint64_t taken; /* bytes of the body */
    bool broken;    /* it cannot be ended properly */
    size_t set_bytes, trailer_bytes;
    char set[HTTP_SET_BYTES]; /* "Name: value\r\n"; trailers behind the fields */
};

/* Begins an exchange whose head was read. */
void http_exchange_init(filch_exchange *x);

/* Runs its handler, or what stands for one, and ends the answer. */
void http_exchange_run(filch_exchange *x);

/* Finds its route. Return: 0; the status of what went wrong. */
int http_exchange_match(filch_exchange *x);

/* Tells the access log, if there is one. @complete: the answer went out whole. */
void http_exchange_tell(const filch_exchange *x, bool complete);

/* Puts "Name: value\r\n" at an offset of x->set. Return: its bytes; -ENOBUFS. */
int http_exchange_put_line(filch_exchange *x, size_t at, const char *name, const char *value);

/* trailers.c: reads what follows the last chunk, which http_head_find() has found: lines, and an
 * empty one. Puts zeroes behind texts. @max: of @fields. Return: 0; 400; 431 (too many). */
int http_trailers_parse(char *text, size_t bytes, struct http_field *fields, unsigned max,
                        unsigned *ret_count);

/* Answers with a status and its name. */
int http_exchange_status(filch_exchange *x, int status, filch_time until);

/* "Not Found" */
const char *http_status_name(int status);

/* exchange_request.c: a target is cut into its parts. @copy: room for target_bytes + 1. Return: 0;
 * 400; 501. */
int http_exchange_split(filch_exchange *x, char *copy);

/* The handler of filch_http_route_files(). */
int http_serve_folder(filch_exchange *x, void *context);

#endif
