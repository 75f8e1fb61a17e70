/* HTTP client: HTTP/1.1 and HTTP/2, by libcurl, driven by the runtime. Of the library
 * filch-http-client.
 *
 *     r = filch_http_client_new(NULL, &client);
 *     r = filch_http_get(client, "https://example.org/", &response, &error, filch_after(...));
 *     if (r < 0)
 *         fprintf(stderr, "%s\n", error.text);         what failed, where and why
 *     else
 *         use(filch_http_response_status(response), filch_http_response_body(response, &bytes));
 *     filch_http_response_free(response);
 *     filch_http_client_close(client);
 *
 * or step by step, with bodies as they come and go:
 *
 *     filch_http_request_new(client, "PUT", url, &request);
 *     filch_http_request_set(request, "Content-Type", "text/plain");
 *     filch_http_request_reader(request, reader, -1);
 *     filch_http_send(request, &response, &error, until);        until the answer's head is there
 *     while ((n = filch_http_response_read(response, buf, sizeof buf, &error, until)) > 0)
 *         ...
 *
 * or as a future, to be awaited, joined or selected with others: that of a task that fetches.
 *
 *     static int fetch(void *arg) { ... return filch_http_get(...); }
 *
 *     filch_join_task_future future;
 *     filch_task_spawn(fetch, &what, NULL, &task);
 *     filch_join_task_future_init(&future, task);
 *     filch_await(&future.base, until);       its result; filch_task_cancel(task) gives it up
 *
 * (There is no future without a task: tries that are repeated, and bodies that are read while they
 * are sent, wait in the words of a task.)
 *
 * A client is a pool of connections, which are used again, and by HTTP/2 shared with libcurl 8.1
 * and later (an older one mixes up streams that are held up beside others); cookies, if it is told
 * to keep them, are the client's. Its transfers are served by a few tasks (@shards): there is no
 * thread for each (libcurl starts one while it looks a name up). Bodies are buffered up to 64 KiB
 * each way: who does not read holds its transfer up, not the memory.
 *
 * A status such as 404 is an answer, not an error. Certificates are verified with the system's
 * roots. A request that is given up, by its time, a cancel, or by freeing its response, leaves no
 * transfer behind.
 */
#ifndef FILCH_HTTP_CLIENT_H
#define FILCH_HTTP_CLIENT_H

#include <filch/base.h>
#include <filch/error.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

typedef struct filch_http_client filch_http_client;
typedef struct filch_http_request filch_http_request;
typedef struct filch_http_response filch_http_response;

/* How far a request had come when it failed: `detail` of an error of the domain FILCH_ERROR_HTTP,
 * whose text says it, too, with the method, the URL and the reason. */
enum filch_http_phase {
    FILCH_HTTP_PREPARE = 0, /* it was not sent: the URL, an option, memory, no connection free */
    FILCH_HTTP_RESOLVE,     /* looking up the host */
    FILCH_HTTP_CONNECT,
    FILCH_HTTP_TLS,
    FILCH_HTTP_SEND,
    FILCH_HTTP_RECEIVE,
};

/* All zero, or a NULL pointer to it, gives the defaults. Texts are copied. */
typedef struct filch_http_client_opts {
    unsigned connections_max;      /* at a time, requests beyond wait; 0: 256 */
    unsigned host_connections_max; /* of them to one host; 0: 64 */
    unsigned shards;               /* tasks that do the client's work beside each other, between
                                      which its connections are shared out: one does some 25,000 to
                                      50,000 requests a second. The next begins when those before
                                      have 8 requests each. 1 to 16; 0: as many as the runtime has
                                      workers, if each may have 8 connections to a host */
    unsigned redirects_max;        /* 0: 10 */
    bool no_redirects;             /* give 3xx as it comes. Else GET and HEAD follow, others as GET
                                      after 303, and with their method and body after 307 and 308 */
    bool cookies;                  /* keep them, and send them */
    bool no_compression;           /* do not offer any; else bodies come unpacked */
    bool http1;                    /* no HTTP/2 */
    bool http2;                    /* HTTP/2 without asking first, on plain connections too */
    unsigned retries;              /* tries more of requests that may be repeated (GET, HEAD, PUT,
                                      DELETE, OPTIONS; no reader), after failures before the answer,
                                      50 ms apart, doubling; 0: 2 */
    bool no_retries;
    filch_time connect_ns;  /* for looking up, connecting and TLS; 0: 10 s */
    filch_time stall_ns;    /* 1 s at least: without a byte either way; 0: 60 s */
    size_t body_bytes_max;  /* of filch_http_get() and filch_http_response_read_all();
                               0: 64 MiB */
    const char *user_agent; /* NULL: filch and its version */
    const char *proxy;      /* "http://host:port", "socks5h://..."; NULL: of the environment;
                               "": none */
    const char *ca_file;    /* roots of certificates, PEM: these, and nobody else */
    const char *ca_dir;     /* likewise, a directory with names that are hashes; if both
                               are NULL: the system's */
    const char *cert_file, *key_file;   /* of this client, PEM; NULL: none */
    bool insecure;                      /* do not verify certificates: for tests only */
    unsigned tls_min;                   /* oldest version of TLS: 12, 13; 0: 12 */
    const char *ciphers, *ciphersuites; /* OpenSSL's lists, for TLS 1.2 and for 1.3; NULL: its
                                           defaults */
} filch_http_client_opts;

/**
 * filch_http_client_new() - make a client, and its first task
 * @opts:       borrowed; NULL for defaults
 * @ret_client: gets it; ended by filch_http_client_close()
 *
 * Thread-safety: any task. Suspends: no. Return: 0; -EINVAL (NULL, options that contradict each
 * other); -EPERM (not in a task); -ESHUTDOWN; -EMFILE; -ENFILE; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_client_new(const filch_http_client_opts *opts,
                                                     filch_http_client **ret_client);

/**
 * filch_http_client_close() - end a client
 * @client: consumed; NULL is allowed
 *
 * Requests that are under way fail with -ECANCELED; requests and responses are still to be freed.
 * Suspends until its tasks have ended; never a cancellation point.
 */
FILCH_API void filch_http_client_close(filch_http_client *client);

/**
 * filch_http_get() - fetch a URL, body and all
 * @url:          borrowed
 * @ret_response: gets the answer, with its body; ended by filch_http_response_free()
 * @ret_error:    filled on failure; may be NULL
 *
 * Thread-safety: any task. Suspends: yes. Cancellation point: yes; the transfer is ended.
 * Return: 0 (whatever the status); else as filch_http_send() and filch_http_response_read_all().
 */
FILCH_API FILCH_MUST_CHECK int filch_http_get(filch_http_client *client, const char *url,
                                              filch_http_response **ret_response,
                                              filch_error *ret_error, filch_time until);

/**
 * filch_http_post() - send some bytes, and fetch the answer, body and all
 * @type:  "application/json", for the field Content-Type; NULL: without it
 * @data:  copied; may be NULL if @bytes is 0
 *
 * Otherwise as filch_http_get(). It is sent once: what was posted may have been done. Suspends:
 * yes. Cancellation point: yes; the transfer is ended. Return: 0 (whatever the status); -EINVAL
 * (also: control characters in @type); else as filch_http_send() and
 * filch_http_response_read_all().
 */
FILCH_API FILCH_MUST_CHECK int filch_http_post(filch_http_client *client, const char *url,
                                               const char *type, const void *data, size_t bytes,
                                               filch_http_response **ret_response,
                                               filch_error *ret_error, filch_time until);

/* ---- requests ---- */

/**
 * filch_http_request_new() - begin to describe a request
 * @method: a token, "GET"; @url: "http://..." or "https://..."; both are copied
 *
 * Thread-safety: a request is for one task at a time. Suspends: no. Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_request_new(filch_http_client *client, const char *method,
                                                      const char *url,
                                                      filch_http_request **ret_request);

/** filch_http_request_free() - also while responses to it are there. NULL is allowed. Suspends: no.
 */
FILCH_API void filch_http_request_free(filch_http_request *request);

/** filch_http_request_set() - add a header field. Suspends: no. Return: 0; -EINVAL (NULL, no name,
 * control characters, a field that says where the body ends); -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_http_request_set(filch_http_request *request, const char *name,
                                                      const char *value);

/** filch_http_request_body() - give it a body, which is copied. Suspends: no. Return: 0; -EINVAL
 * (NULL; it has one); -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_http_request_body(filch_http_request *request,
                                                       const void *data, size_t bytes);

/**
 * filch_http_request_reader() - give it a body that is read while it is sent
 * @reader: read in the tasks of those who call filch_http_send() and filch_http_response_read();
 *          borrowed until it has said the end, and no longer than the answer is there
 * @bytes:  length; -1: not known (chunks)
 *
 * Where the answer begins before the body was sent, the rest is sent while the answer is read,
 * whenever nothing of it is there; so both may be of any length, but the reader may not wait for
 * what is still to be read of the answer. A status of 300 or more ends the sending. With libcurl
 * before 8.1 such requests go by HTTP/1.1 unless the client is for HTTP/2 only (`http2`): it may
 * lose an answer with which a server ends a stream of HTTP/2 before it has the body; that is -EPIPE
 * or -ECONNRESET then.
 *
 * Such a request is sent once. Suspends: no. Return: 0; -EINVAL (NULL; it has a body).
 */
FILCH_API FILCH_MUST_CHECK int filch_http_request_reader(filch_http_request *request,
                                                         filch_reader reader, int64_t bytes);

/**
 * filch_http_request_set_trailer() - add a field to be sent behind the body
 *
 * For what is known only when the body was read: by the reader before it says the end, or earlier.
 * Of a request with a reader of unknown length; its names are announced before, by
 * filch_http_request_set(request, "Trailer", "Name, Name"). Such a request goes by HTTP/1.1
 * (libcurl sends no trailers by HTTP/2). Suspends: no. Return: 0; -EPROTO (there is no such
 * reader); -ENOENT (the name was not announced); -EINVAL (NULL, not a name, control characters, a
 * name that may not come there: see http_server.h); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_request_set_trailer(filch_http_request *request,
                                                              const char *name, const char *value);

/**
 * filch_http_send() - send a request, and wait for the head of the answer
 * @request:      borrowed; may be sent again afterwards
 * @ret_response: ended by filch_http_response_free()
 * @ret_error:    filled on failure; may be NULL
 *
 * Reads the body of a reader until then, and no further: see there. Suspends: yes. Cancellation
 * point: yes; the transfer is ended. Thread-safety: any task, a request in one at a time.
 * Return: 0 (whatever the status); -EINVAL (NULL; the URL; the reader was used up; a file of
 * certificates, or a list of ciphers); -EHOSTUNREACH (the host was not found, or no way there);
 * -ECONNREFUSED, -ECONNRESET and what else connect(2) says; -EACCES (the proxy does not let us
 * through); -EKEYREJECTED (the certificate); -EPROTO (TLS or HTTP is not understood, or our
 * certificate is refused); -EPIPE (the answer was cut off); -ELOOP (redirects); -ETIMEDOUT;
 * -ECANCELED (the caller was cancelled, or the client closed); -ENOMEM; -EIO (else); what the
 * reader says.
 */
FILCH_API FILCH_MUST_CHECK int filch_http_send(filch_http_request *request,
                                               filch_http_response **ret_response,
                                               filch_error *ret_error, filch_time until);

/** filch_http_request_progress() - bytes of its body that were given to the connection, of the
 * present try or the last one, and that will be in all; -1: not known. Both may be NULL.
 * Thread-safety: any, while it is sent, too. Suspends: no. Return: 0; -EINVAL. */
FILCH_API int filch_http_request_progress(filch_http_request *request, int64_t *ret_now,
                                          int64_t *ret_total);

/* ---- answers: for one task at a time ---- */

/** filch_http_response_free() - what was not read of it is dropped, with its transfer. NULL is
 * allowed. Suspends: no. */
FILCH_API void filch_http_response_free(filch_http_response *response);

/** filch_http_response_status() - 200, 404, ... Return: 0 for NULL. */
FILCH_API int filch_http_response_status(filch_http_response *response);

/** filch_http_response_version() - 10, 11, 20. Return: 0 for NULL. */
FILCH_API int filch_http_response_version(filch_http_response *response);

/** filch_http_response_url() - where it comes from, after redirects. Return: "" for NULL. */
FILCH_API const char *filch_http_response_url(filch_http_response *response);

/** filch_http_response_header() - the first field of a name, in any case. Return: its value, valid
 * until the response is freed; NULL if there is none. */
FILCH_API const char *filch_http_response_header(filch_http_response *response, const char *name);

/** filch_http_response_header_at() - the fields in their order, from 0 on. Return: 0; -ENOENT;
 * -EINVAL. */
FILCH_API int filch_http_response_header_at(filch_http_response *response, unsigned index,
                                            const char **ret_name, const char **ret_value);

/** filch_http_response_trailer() - the first field of a name behind the body, in any case, once
 * filch_http_response_read() has returned 0. Servers send them to who asks for them:
 * filch_http_request_set(request, "TE", "trailers"). Those that may not come there are left out.
 * Return: its value, valid until the response is freed; NULL if there is none. */
FILCH_API const char *filch_http_response_trailer(filch_http_response *response, const char *name);

/** filch_http_response_trailer_at() - the same in their order, from 0 on. Return: 0; -ENOENT;
 * -EINVAL. */
FILCH_API int filch_http_response_trailer_at(filch_http_response *response, unsigned index,
                                             const char **ret_name, const char **ret_value);

/** filch_http_response_progress() - bytes of the body that have come, packed, and that will; -1:
 * not known. Both may be NULL. Return: 0; -EINVAL. */
FILCH_API int filch_http_response_progress(filch_http_response *response, int64_t *ret_now,
                                           int64_t *ret_total);

/**
 * filch_http_response_read() - read of the body what is there, waiting for one byte at least
 * @ret_error: filled on failure; may be NULL
 *
 * Sends what is left of the request's body meanwhile, if that is read from a reader: see there. The
 * answer ends when both have. Suspends: yes. Cancellation point: yes; no byte was taken. Return:
 * bytes; 0 (the end; an answer that was cut off is an error); -ETIMEDOUT (read on later);
 * -ECANCELED; -EPIPE (it was cut off); -ECONNRESET and what else recv(2) says; -EPROTO (HTTP is not
 * understood, or the body cannot be unpacked); -ENOMEM; -EIO (else); what the request's reader
 * says; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_http_response_read(filch_http_response *response,
                                                            void *buf, size_t bytes,
                                                            filch_error *ret_error,
                                                            filch_time until);

/** filch_http_response_read_all() - read the rest of the body into the response, for
 * filch_http_response_body(). Return: 0; -EMSGSIZE (more than body_bytes_max); -ENOMEM; else as
 * filch_http_response_read(). */
FILCH_API FILCH_MUST_CHECK int filch_http_response_read_all(filch_http_response *response,
                                                            filch_error *ret_error,
                                                            filch_time until);

/** filch_http_response_body() - what filch_http_get() or filch_http_response_read_all() has read,
 * with a zero behind it. @ret_bytes: how many, without the zero; may be NULL. Return: "" if there
 * is none. */
FILCH_API const char *filch_http_response_body(filch_http_response *response, size_t *ret_bytes);

/** filch_http_response_reader() - a reader of the body. */
FILCH_API filch_reader filch_http_response_reader(filch_http_response *response);

FILCH_END_DECLS

#endif
