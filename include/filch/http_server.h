/* HTTP server: HTTP/1.1, 1.0 and 2 on connections of any kind. Of the library filch-http.
 *
 *     static int hello(filch_exchange *x, void *context)
 *     {
 *         return filch_exchange_reply(x, 200, "text/plain", "Hello, World!", 13, FILCH_NEVER);
 *     }
 *
 *     r = filch_http_server_new(NULL, &server);
 *     r = filch_http_route(server, "GET", "/hello", hello, NULL);
 *     r = filch_http_serve(server, listener, FILCH_NEVER);      until it is drained or cancelled
 *     filch_http_server_free(server);
 *
 * Each connection is a task, and a handler is an ordinary function in it: it may sleep, read the
 * body as it comes, and write the answer as the peer takes it. An exchange is one request and its
 * answer; it is the handler's until that returns.
 *
 * HTTP/2 is the same to handlers, but each request is a task of its own, of a scope of the
 * connection. Its task is cancelled when the peer resets the request, or the connection ends,
 * before the answer is whole. What cuts a connection off with HTTP/1 resets the request only. A
 * drain tells the peer (GOAWAY); requests that have come are answered. A peer that makes much work
 * for nothing (resets, pings, settings) loses its connection.
 *
 * What is refused. Requests that two parsers could read differently get 400 and the end of the
 * connection: two lengths, a length and chunks, other transfer codings than chunked (501), numbers
 * that are not plain digits, line ends other than CR LF, folded lines, spaces around names, NUL and
 * other control characters, no Host or two of them. Limits have answers of their own: 408 (too
 * slow), 413 (body), 414 (target), 431 (head, trailers), 503 (connections).
 *
 * Trailers are fields behind a body: of HTTP/1.1 in chunks, and of HTTP/2. They are kept apart from
 * the fields of the head. Of those that may not come there (RFC 9110, 6.5.1: about lengths,
 * codings, routing, conditions, who asks) Content-Length, Transfer-Encoding and Host make a request
 * wrong, the others are ignored. All together they may have 8 KiB (HTTP/2: head_bytes_max), and
 * with the fields of the head count for fields_max.
 *
 * Who is slow. A head has to be there `head_ns` after its first byte; a body has to keep up a rate;
 * a peer that takes nothing of its answer for `stall_ns` loses the connection.
 *
 * Functions of an exchange are for the task that runs its handler, one at a time. Texts that they
 * return end in a zero and are valid until the handler returns.
 */
#ifndef FILCH_HTTP_SERVER_H
#define FILCH_HTTP_SERVER_H

#include <filch/base.h>
#include <filch/io.h>
#include <filch/tcp.h>

FILCH_BEGIN_DECLS

typedef struct filch_http_server filch_http_server;
typedef struct filch_exchange filch_exchange;

/* Answers a request. Return: 0 (answered; 204 if it was not); 400 to 599: answer with that status
 * and its name; an error: 500, or what the failure of the request's body calls for (400, 408, 413).
 * When the answer had begun, the connection is cut off instead, so that the peer can tell. */
typedef int (*filch_http_handler)(filch_exchange *x, void *context);

/* What is told of each answer. Borrowed for the call. */
typedef struct filch_http_access {
    filch_tcp *conn;        /* for filch_tcp_peer_addr(); NULL if it is no TCP connection */
    const char *method;     /* "" if the request could not be read, as the target */
    const char *target;     /* as it came */
    int version;            /* 10, 11, 20 */
    int status;             /* of the answer */
    uint64_t body_bytes;    /* of the answer's body that were sent */
    filch_time duration_ns; /* from the end of the request's head to the end of the answer */
    bool complete;          /* false: it was cut off */
} filch_http_access;

/* A connection in disguise: TLS (see http_tls.h), or something that counts bytes. */
typedef struct filch_http_wrapped {
    filch_io io; /* what is spoken through. Its finish is called where a connection ends properly,
                    and not where an answer was cut off */
    void *state; /* for the end, and for filch_exchange_wrapped() */
    bool http2;  /* the peer has agreed to speak HTTP/2 */
} filch_http_wrapped;

/* What connections are wrapped in. Both functions run in the connection's task. */
typedef struct filch_http_wrap {
    /* A handshake, say. @until: head_ns after the accept. Return: 0; an error ends the connection.
     */
    int (*begin)(void *context, filch_tcp *conn, filch_http_wrapped *ret_wrapped, filch_time until);
    /* Ends what begin() has begun; the connection is closed by the server afterwards. NULL: nothing
     * is to be done. */
    void (*end)(void *context, void *state);
    void *context;
} filch_http_wrap;

/* All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_http_server_opts {
    size_t head_bytes_max;    /* of request line and header fields: 1 to 64 KiB; 0: 16 KiB */
    size_t target_bytes_max;  /* 0: 8 KiB */
    unsigned fields_max;      /* header fields: at most 1,000; 0: 100 */
    uint64_t body_bytes_max;  /* 0: 1 MiB; UINT64_MAX: no limit */
    unsigned connections_max; /* at a time; those beyond get 503. 0: 10,000 */
    unsigned streams_max;     /* requests at a time on a connection, with HTTP/2: at most 10,000;
                                 0: 128. Beyond it they are refused */
    bool no_http2;            /* else a peer may speak it on a plain connection, too, if it begins
                                 with it ("prior knowledge") */
    unsigned requests_max;    /* on a connection, which then ends; 0: no limit */
    filch_time idle_ns;       /* between requests; 0: 60 s */
    filch_time head_ns;       /* for a head, from its first byte (the first: from the accept);
                                 0: 10 s */
    filch_time stall_ns;      /* without a byte of a body that is read, or of an answer that is
                                 written; 0: 30 s */
    unsigned body_rate_min;   /* bytes a second that a body must have on average after stall_ns;
                                 0: 240 */
    const char *server_name;  /* field Server; borrowed; NULL: none */
    const filch_http_wrap *wrap; /* borrowed; NULL: none */
    /* Called in the connection's task after each answer; must not suspend. NULL: none. */
    void (*access)(void *context, const filch_http_access *access);
    void *access_context;
} filch_http_server_opts;

/**
 * filch_http_server_new() - make a server that knows no routes yet
 * @opts: copied; what it points to is borrowed until filch_http_server_free()
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_server_new(const filch_http_server_opts *opts,
                                                     filch_http_server **ret_server);

/** filch_http_server_free() - nobody may be serving with it any more. NULL is allowed. Suspends:
 * no. */
FILCH_API void filch_http_server_free(filch_http_server *server);

/**
 * filch_http_route() - say who answers what
 * @method:  "GET" (answers HEAD, too), "POST", ...; NULL: any. Copied
 * @pattern: a path, copied: "/users/{id}/posts" has a parameter, which is one segment that is not
 *           empty; "/files/{path...}" has the rest of the path as one, which may be empty
 * @context: handed to @handler
 *
 * Of several patterns that match, the one wins that is literal where they differ first, before a
 * parameter, before the rest. OPTIONS is answered with the methods that there are, 404 and 405 are
 * given, unless a route says otherwise. Segments are compared after decoding; "." and ".." in a
 * path match nothing.
 *
 * Thread-safety: before the server serves. Suspends: no. Return: 0; -EEXIST (there is such a
 * route); -EINVAL (NULL, no path, a bad parameter); -EBUSY (it serves); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_route(filch_http_server *server, const char *method,
                                                const char *pattern, filch_http_handler handler,
                                                void *context);

enum filch_http_route_flags {
    /* The handler waits in functions of its exchange only, and not for long elsewhere. Then answers
     * to requests that a peer has sent at once may leave in one write: otherwise those before it
     * are sent before it is called. */
    FILCH_HTTP_PROMPT = 1,
};

/** filch_http_route_flags() - the same with enum filch_http_route_flags. */
FILCH_API FILCH_MUST_CHECK int filch_http_route_flags(filch_http_server *server, const char *method,
                                                      const char *pattern,
                                                      filch_http_handler handler, void *context,
                                                      unsigned flags);

/**
 * filch_http_route_files() - answer a path and all below it with the files of a directory
 * @prefix: such as "/static"; copied
 * @folder: copied; symbolic links in it are followed
 *
 * GET and HEAD; ranges (of several, those that overlap or touch become one; of more than 16 the
 * whole comes), validators (ETag, Last-Modified) and all conditions on them; types by name;
 * index.html for a directory. No names that begin with a dot. Routes with a
 * longer literal path below @prefix go first. Return: as filch_http_route().
 */
FILCH_API FILCH_MUST_CHECK int filch_http_route_files(filch_http_server *server, const char *prefix,
                                                      const char *folder);

/**
 * filch_http_serve() - accept connections and serve them
 * @listener: borrowed; is not closed
 * @until:    the connections are cancelled then
 *
 * Several tasks may serve with one server, each a listener of its own or the same. Suspends: yes.
 * Cancellation point: yes; its connections are cancelled and waited for.
 * Return: 0 (filch_http_drain() was called, and the last connection of this listener has ended);
 * -ETIMEDOUT; -ECANCELED; what filch_listener_accept() says; -EPERM (not in a task); -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_serve(filch_http_server *server, filch_listener *listener,
                                                filch_time until);

/**
 * filch_http_serve_until_signal() - the same until SIGINT or SIGTERM comes, and then
 * filch_http_drain()
 * @drain_ns: how long the requests that are under way may take then; connections are cancelled
 * after it. A second signal ends the process
 *
 * Return: 0 (drained); else as filch_http_serve(), filch_http_drain() and
 * filch_shutdown_signals_open().
 */
FILCH_API FILCH_MUST_CHECK int filch_http_serve_until_signal(filch_http_server *server,
                                                             filch_listener *listener,
                                                             filch_time drain_ns, filch_time until);

/**
 * filch_http_serve_io() - serve one connection, in the calling task
 * @io: borrowed; is finished at the end, and not closed
 *
 * For connections that come in other ways: pipes, sockets of other families, memory. Suspends: yes.
 * Cancellation point: yes. Return: 0 (it has ended); -ETIMEDOUT; -ECANCELED; -ESHUTDOWN (the server
 * drains); -EPERM (not in a task); -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_serve_io(filch_http_server *server, filch_io io,
                                                   filch_time until);

/**
 * filch_http_drain() - end gracefully
 * @until: connections that are still there are cancelled then
 *
 * Nothing is accepted any more, idle connections end at once, others with the answers to the
 * requests they have read. There is no way back. Thread-safety: any task, not a handler of this
 * server. Suspends: yes. Cancellation point: yes; the rest are cancelled.
 * Return: 0 (all have ended); -ETIMEDOUT, -ECANCELED (some had to be cancelled: all have ended);
 * -EPERM (not in a task); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_http_drain(filch_http_server *server, filch_time until);

/* Counts since the server was made. */
typedef struct filch_http_server_stats {
    uint64_t connections; /* accepted */
    uint64_t refused;     /* of those, answered with 503 */
    uint64_t requests;    /* whose head was read */
    uint64_t malformed;   /* refused as such, or for a limit */
    uint64_t timeouts;    /* connections that were too slow */
    uint64_t unwrapped;   /* connections that ended because a wrap's begin() has failed */
    unsigned open;        /* connections at present */
} filch_http_server_stats;

/** filch_http_server_stats_get() - its counts. Thread-safety: any. Suspends: no. Return: 0;
 * -EINVAL.
 */
FILCH_API int filch_http_server_stats_get(filch_http_server *server,
                                          filch_http_server_stats *ret_stats);

/* ---- the request ---- */

/** filch_exchange_method() - "GET", ... Return: "" for NULL. */
FILCH_API const char *filch_exchange_method(filch_exchange *x);

/** filch_exchange_target() - what was asked for, as it came. Return: "" for NULL. */
FILCH_API const char *filch_exchange_target(filch_exchange *x);

/** filch_exchange_path() - the path of it, not decoded, without the query. Return: "" for NULL. */
FILCH_API const char *filch_exchange_path(filch_exchange *x);

/** filch_exchange_query() - what follows the "?", not decoded. Return: ""; NULL if there is none.
 */
FILCH_API const char *filch_exchange_query(filch_exchange *x);

/** filch_exchange_version() - 10, 11 or 20. Return: 0 for NULL. */
FILCH_API int filch_exchange_version(filch_exchange *x);

/** filch_exchange_host() - the host asked for, with its port: of the target, or the field Host.
 * Return: "" if there is none. */
FILCH_API const char *filch_exchange_host(filch_exchange *x);

/** filch_exchange_header() - the first field of a name, in any case. Return: its value, without
 * spaces around; NULL if there is none. */
FILCH_API const char *filch_exchange_header(filch_exchange *x, const char *name);

/** filch_exchange_header_at() - the fields in their order, from 0 on. Return: 0; -ENOENT (no more);
 * -EINVAL. */
FILCH_API int filch_exchange_header_at(filch_exchange *x, unsigned index, const char **ret_name,
                                       const char **ret_value);

/** filch_exchange_param() - a parameter of the route's pattern, decoded. Return: NULL if there is
 * none of this name. */
FILCH_API const char *filch_exchange_param(filch_exchange *x, const char *name);

/** filch_exchange_query_param() - a value of the query, decoded, as "+" and "%20". @bytes: of
 * @ret_text. Return: 0; -ENOENT; -ERANGE (too long); -EINVAL (NULL, or what cannot be decoded). */
FILCH_API int filch_exchange_query_param(filch_exchange *x, const char *name, char *ret_text,
                                         size_t bytes);

/** filch_exchange_conn() - the TCP connection, for its addresses and options. Return: NULL if it is
 * none. */
FILCH_API filch_tcp *filch_exchange_conn(filch_exchange *x);

/** filch_exchange_wrapped() - what the wrap's begin() has called its state: with http_tls.h the
 * filch_tls, for filch_tls_get_peer(). Return: NULL if there is no wrap. */
FILCH_API void *filch_exchange_wrapped(filch_exchange *x);

/** filch_exchange_body_bytes() - length of the body. Return: bytes, 0 if there is none; -1: it is
 * known at its end only. */
FILCH_API int64_t filch_exchange_body_bytes(filch_exchange *x);

/**
 * filch_exchange_read() - read of the body what is there, waiting for at least one byte
 *
 * The first call tells a peer that waits for it (Expect: 100-continue) to send. What a handler does
 * not read is dropped, up to 256 KiB; with more left the connection ends. Suspends: yes.
 * Cancellation point: yes; no byte was taken. Return: bytes; 0 (the end); -EPROTO (chunks or
 * trailers that are none); -EMSGSIZE (more than body_bytes_max); -E2BIG (trailers, likewise);
 * -EPIPE (cut off); -ETIMEDOUT (also: it is too slow, and the connection ends); -ECANCELED; what
 * else its io says; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_exchange_read(filch_exchange *x, void *buf, size_t bytes,
                                                       filch_time until);

/**
 * filch_exchange_read_all() - read the whole body
 * @bytes_max: more is refused; 0: no other limit than body_bytes_max
 * @ret_data:  gets the bytes and a zero behind them, from malloc(3): the caller's to free
 * @ret_bytes: how many, without that zero; may be NULL
 *
 * Cancellation point: yes; what was read is dropped. Return: 0; -EMSGSIZE; -ENOMEM; else as
 * filch_exchange_read().
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_read_all(filch_exchange *x, size_t bytes_max,
                                                       void **ret_data, size_t *ret_bytes,
                                                       filch_time until);

/** filch_exchange_reader() - a reader of the body. */
FILCH_API filch_reader filch_exchange_reader(filch_exchange *x);

/** filch_exchange_trailer() - the first field of a name behind the body, in any case, once
 * filch_exchange_read() has returned 0, or filch_exchange_read_all(). Return: its value; NULL if
 * there is none. */
FILCH_API const char *filch_exchange_trailer(filch_exchange *x, const char *name);

/** filch_exchange_trailer_at() - the same in their order, from 0 on. Return: 0; -ENOENT (no more);
 * -EINVAL. */
FILCH_API int filch_exchange_trailer_at(filch_exchange *x, unsigned index, const char **ret_name,
                                        const char **ret_value);

/* ---- the answer ---- */

/**
 * filch_exchange_set() - add a header field to the answer, before it begins
 *
 * Lengths, codings and what is said of the connection are the server's, and so is Date. Suspends:
 * no. Return: 0; -EINVAL (NULL, not a name, a value with control characters, one of the server's);
 * -EALREADY (the answer has begun); -ENOBUFS (more than 4 KiB of fields).
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_set(filch_exchange *x, const char *name,
                                                  const char *value);

/**
 * filch_exchange_reply() - answer, all at once
 * @status: 200 to 599
 * @type:   of the body, as "text/plain"; NULL: not said
 * @body:   borrowed for the call
 *
 * For HEAD the body is left out. Suspends: only if it is larger than what is buffered (8 KiB).
 * Cancellation point: yes; the answer is cut off then, and the connection ends. Return: 0;
 * -EALREADY (there is an answer); -ETIMEDOUT; -ECANCELED; -EPIPE, -ECONNRESET and what else its io
 * says; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_reply(filch_exchange *x, int status, const char *type,
                                                    const void *body, size_t bytes,
                                                    filch_time until);

/**
 * filch_exchange_begin() - begin an answer whose body is written bit by bit
 * @body_bytes: how many will be written; -1: not known (chunks, or until the end of the connection
 *              for HTTP/1.0)
 *
 * Ends when the handler returns 0; with fewer than @body_bytes written the connection is cut off.
 * Suspends: only if what is buffered has to leave first. Cancellation point: yes; it has not begun
 * then. Return: as filch_exchange_reply().
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_begin(filch_exchange *x, int status, const char *type,
                                                    int64_t body_bytes, filch_time until);

/**
 * filch_exchange_write() - write some of the body, waiting for room for one byte at least
 *
 * What is written is buffered; filch_exchange_flush() sends it, and so does the end. Suspends: yes,
 * while the peer takes nothing. Cancellation point: yes; nothing was taken then. Return: bytes
 * taken; -EPROTO (not begun, or ended); -EMSGSIZE (more than begun with); -ETIMEDOUT, and the
 * connection ends, if the peer takes nothing for stall_ns; -ECANCELED; -EPIPE, -ECONNRESET and what
 * else its io says; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_exchange_write(filch_exchange *x, const void *data,
                                                        size_t bytes, filch_time until);

/** filch_exchange_write_all() - write all of it. @ret_done: bytes taken, set also on failure; may
 * be NULL. Return: 0; else as filch_exchange_write(). */
FILCH_API FILCH_MUST_CHECK int filch_exchange_write_all(filch_exchange *x, const void *data,
                                                        size_t bytes, size_t *ret_done,
                                                        filch_time until);

/**
 * filch_exchange_set_trailer() - add a field behind the body of the answer
 *
 * For what is known only when the body was written: a sum, a result. For an answer of unknown
 * length (filch_exchange_begin() with -1) that has begun; its names are announced before, by
 * filch_exchange_set(x, "Trailer", "Name, Name"). Trailers may be lost on the way, so a peer gets
 * them only if it says that it takes them (field "TE: trailers"). They leave when the handler
 * returns 0; for HEAD they are left out. Suspends: no. Return: 0; -EOPNOTSUPP (the peer does not
 * take them, or speaks HTTP/1.0: nothing was added, and the answer goes on); -EPROTO (the answer
 * has not begun, is over, or its length is known); -ENOENT (the name was not announced); -ENOBUFS
 * (more than 4 KiB, with the fields); -EINVAL (NULL, not a name, a value with control characters, a
 * name that may not come there).
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_set_trailer(filch_exchange *x, const char *name,
                                                          const char *value);

/** filch_exchange_flush() - send what is buffered. Suspends: yes. Cancellation point: yes; what was
 * not sent stays buffered. Return: 0; -EPROTO (there is no answer yet); -ETIMEDOUT, and the
 * connection ends, if the peer takes nothing for stall_ns; -ECANCELED; -EPIPE, -ECONNRESET and what
 * else its io says; -EINVAL. */
FILCH_API FILCH_MUST_CHECK int filch_exchange_flush(filch_exchange *x, filch_time until);

/** filch_exchange_writer() - a writer of the body; it has no finish. */
FILCH_API filch_writer filch_exchange_writer(filch_exchange *x);

/**
 * filch_exchange_reply_file() - answer with a file
 * @path: what filch_file_open() takes
 * @type: NULL: by the name
 *
 * Ranges and conditions of the request are honoured: 200, 206, 304, 412 or 416. Suspends: yes.
 * Cancellation point: yes, as filch_exchange_reply(). Return: 0; -ENOENT, -EACCES, -EISDIR and what
 * else filch_file_open() says (there is no answer yet); else as filch_exchange_reply().
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_reply_file(filch_exchange *x, const char *path,
                                                         const char *type, filch_time until);

/**
 * filch_exchange_upgrade() - leave HTTP for another protocol, with status 101
 * @protocol: field Upgrade; fields given by filch_exchange_set() come with it
 * @ret_io:   what the peer sends from now on, and what goes to it; valid until the handler returns,
 *            which ends the connection
 *
 * Suspends: yes. Cancellation point: yes; the connection ends. Return: 0; -EPROTO (the request is
 * no HTTP/1.1, has a body, or does not offer to upgrade); else as filch_exchange_reply().
 */
FILCH_API FILCH_MUST_CHECK int filch_exchange_upgrade(filch_exchange *x, const char *protocol,
                                                      filch_io *ret_io, filch_time until);

FILCH_END_DECLS

#endif
