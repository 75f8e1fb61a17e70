/* The HTTP client inside: see client.c, shard.c, callbacks.c, transfer.c, response.c. */
#ifndef FILCH_IO_HTTP_CLIENT_H
#define FILCH_IO_HTTP_CLIENT_H

#include <curl/curl.h>
#include <pthread.h>

#include <filch/fd.h>
#include <filch/group.h>
#include <filch/http_client.h>
#include <filch/notify.h>
#include <filch/task.h>

#include "runtime/base/atomic.h"

/* What is buffered of a body, each way: more than the most that libcurl hands over at a time. */
#define HTTP_BUFFER_BYTES ((size_t)64 * 1024)

/* Options that are texts. */
#define HTTP_CLIENT_TEXTS 8

/* Bytes between two tasks; under the response's lock. */
struct http_buffer {
    char *bytes;
    size_t room; /* it grows to HTTP_BUFFER_BYTES as it is used */
    size_t first, count;
    bool paused; /* libcurl's side waits: for room, or for bytes */
    bool ended;  /* no more will be put in */
};

/* What a transfer's owner asks of the shard's task: bits. */
enum http_ask {
    HTTP_ASK_BEGIN = 1,
    HTTP_ASK_GO_ON = 2, /* a buffer has room, or bytes, again */
    HTTP_ASK_END = 4,   /* nobody wants it any more */
};

/* A handle of libcurl's, set up for the client: it is costly to make, so it serves one transfer
 * after another. The shard's task only. */
struct http_handle {
    CURL *easy;
    filch_http_response *response; /* what it is used for; NULL: it is spare */
    struct http_handle *next;      /* of the spare ones */
    char text[CURL_ERROR_SIZE];    /* what has gone wrong */
};

/* A socket that was opened for libcurl: see sockets.c. The shard's task only. */
struct http_socket {
    uint32_t in_epoll; /* what is waited for; 0: it is not in there */
    bool open;
    bool wanted; /* libcurl waits for it */
};

struct filch_http_request {
    filch_atomic_u32 refs;
    filch_http_client *client;
    char *method, *url;
    struct curl_slist *fields;
    struct curl_slist *trailers; /* its owner's, until the reader has said the end */
    char *body;
    size_t body_bytes;
    bool has_body;
    bool has_type;     /* a field Content-Type */
    bool has_trailers; /* a field Trailer: some are announced */
    bool has_reader;
    bool reader_used;
    filch_reader reader;
    int64_t reader_bytes;
    /* Bytes of the body that libcurl has taken. Relaxed: by the shard's task; read by anybody, who
     * learns nothing else from it. */
    filch_atomic_u64 sent;
};

/* A response is a transfer, too. It has two holders: who asked for it, and the shard's task while
 * libcurl has it. */
struct filch_http_response {
    filch_atomic_u32 refs;
    filch_http_client *client;
    struct http_shard *shard;
    filch_http_request *request;
    /* Under the shard's lock. */
    filch_http_response *next_asking;
    unsigned asks;
    /* Under the lock: what passes between the two. It is held for moments, never across a wait. */
    pthread_mutex_t lock;
    filch_notify changed; /* for the owner */
    struct http_buffer in, out;
    bool is_for_all; /* the owner wants all of it: there is no need to wake it before */
    bool has_head;   /* of the final answer: the fields below it are the owner's then */
    bool done;
    int result; /* once it is done */
    enum filch_http_phase phase;
    char text[CURL_ERROR_SIZE];
    int64_t received, total;
    /* The head: the task's until has_head. */
    long status, version;
    char *url;
    char *fields; /* "Name\0value\0" ... */
    size_t fields_bytes, fields_room;
    char *trailers; /* likewise; the task's until it is done */
    size_t trailers_bytes, trailers_room;
    bool no_memory; /* for them, for the body, or to wait for its socket */
    /* The shard's task only. */
    struct http_handle *handle;
    size_t body_sent;
    bool is_sent;       /* and nothing was answered yet */
    bool is_head_whole; /* of an answer that is none for the meantime */
    bool is_sent_whole; /* libcurl has taken all of a body of unknown length */
    bool sending_waits; /* libcurl was told to pause, and has not been told to go on */
    bool reading_waits;
    bool reads_no_more; /* libcurl, of an answer that is not held up */
    bool is_answered;   /* as a whole, whatever becomes of the body that is still being sent */
    filch_http_response *next, **link; /* of those that libcurl has */
    /* The owner only. */
    bool is_sending; /* the reader has more to give, and the server has not refused it */
    char *body;
    size_t body_bytes;
};

/* A task with a libcurl handle of its own: it and its connections are one CPU's work. See shard.c.
 */
struct http_shard {
    filch_http_client *client;
    /* Requests that were given to it and have not ended. Relaxed: who chooses a shard by it may be
     * wrong by some. */
    filch_atomic_u32 load;
    unsigned connections_max, host_connections_max; /* its share */
    filch_task *task;
    pthread_mutex_t lock;
    filch_notify wake; /* somebody asks */
    filch_http_response *asking, **asking_end;
    bool closing;
    /* The task only. */
    CURLM *multi;
    struct http_handle *spare; /* to be used again */
    unsigned spares;
    int epoll;                   /* libcurl's sockets */
    struct http_socket *sockets; /* by their numbers */
    size_t sockets_room;
    filch_fd *ready; /* the same, to be waited for */
    filch_time timer;
    filch_http_response *transfers;
};

struct filch_http_client {
    filch_atomic_u32 refs;
    filch_http_client_opts opts;
    char *texts[HTTP_CLIENT_TEXTS]; /* what the options point to */
    bool may_share;                 /* HTTP/2 streams share a connection */
    bool may_reuse_http2;           /* that was begun without asking */
    CURLSH *cookies;
    pthread_mutex_t cookies_lock; /* for libcurl, which holds it for moments */
    filch_group *group;           /* that shards are in: its maker's */
    unsigned shard_count;
    struct http_shard *shards;
    /* So many of them have begun, those in front. [http-shards] release by who has begun one ->
     * acquire by who chooses: it can be asked. */
    filch_atomic_u32 begun;
    pthread_mutex_t begin_lock; /* for `begun` and `closing` */
    bool closing;
};

/* client.c */
void http_client_unref(filch_http_client *client);
/* Where the next request goes: counted there. */
struct http_shard *http_client_choose_shard(filch_http_client *client);
void http_request_unref(filch_http_request *request);
void http_response_unref(filch_http_response *response);

/* shard.c */

/* Of a shard that is all zero. It can be asked from then on, until the last one has gone who might;
 * the two in between make it do something. */
void http_shard_init(struct http_shard *shard, filch_http_client *client);
void http_shard_fini(struct http_shard *shard);
/* Return: 0; an error, then nothing is left of it. */
int http_shard_start(struct http_shard *shard);
/* What waits for it ends with -ECANCELED; then the task. Suspends. */
void http_shard_stop(struct http_shard *shard);
/* Asks something of the response's shard. Does not suspend. */
void http_ask(filch_http_response *response, unsigned ask);

/* Sets an option of a handle; leaves the calling function if that fails. */
#define HTTP_SET(easy, option, value)                                                              \
    do {                                                                                           \
        if (curl_easy_setopt((easy), (option), (value)) != CURLE_OK)                               \
            return -EINVAL;                                                                        \
    } while (0)

/* sockets.c: in the shard's task. The first four are called by libcurl, or for it. */
curl_socket_t http_socket_open(struct http_shard *shard, const struct curl_sockaddr *addr);
int http_socket_close(void *context, curl_socket_t fd);
int http_on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known);
int http_on_timer(CURLM *multi, long ms, void *context);
/* Return: were there any that are ready? */
bool http_handle_sockets(struct http_shard *shard);
void http_handle_timer(struct http_shard *shard);

/* handle.c: in the shard's task. */
int http_handle_get(struct http_shard *shard, struct http_handle **ret_handle);
void http_handle_put(struct http_shard *shard, struct http_handle *handle);
void http_handle_free(struct http_handle *handle);
/* Tells libcurl what is to be sent. */
int http_handle_describe(struct http_handle *handle, const filch_http_request *request);

/* callbacks.c: in the shard's task. */
int http_transfer_set_calls(struct http_handle *handle);
/* Only for requests that have some: such a handle is not used again. */
int http_transfer_set_trailers(struct http_handle *handle);
void http_transfer_phase(filch_http_response *response, enum filch_http_phase phase);
/* The head is the owner's from now on. */
void http_transfer_hand_over(filch_http_response *response);
/* Tells libcurl which directions wait. Return: CURLE_BAD_FUNCTION_ARGUMENT: the transfer has ended,
 * or not begun; another error: of what had been held up. */
CURLcode http_transfer_pause(filch_http_response *response);
/* libcurl does not want to read from the transfer's socket, or from none any more. */
void http_transfer_reads_no_more(CURL *easy, bool writes);
/* There is no memory for it: it is ended when libcurl has returned. */
void http_transfer_fail(CURL *easy);

/* transfer.c: in the shard's task. */
int http_transfer_begin(filch_http_response *response);
void http_transfer_go_on(filch_http_response *response);
/* libcurl is through with it, or it is taken away from it. */
void http_transfer_end(filch_http_response *response, CURLcode code);
void http_transfer_abort(filch_http_response *response, int error);
int http_transfer_failure(CURLcode code, long os_error);

/* request.c */

/* May it be done twice, as far as the server is concerned? */
bool http_request_is_repeatable(const filch_http_request *request);
/* Copies what is to be sent behind the body. Return: false: no memory. */
bool http_request_copy_trailers(const filch_http_request *request, struct curl_slist **ret_list);

/* response.c: in the owner's task. */
int http_response_new(filch_http_request *request, bool is_for_all,
                      filch_http_response **ret_response);
/* Waits for the head, feeding the reader to it. */
int http_response_await(filch_http_response *response, filch_time until);
/* Tells why. Return: @code. */
int http_tell(const filch_http_request *request, filch_http_response *response, int code,
              filch_error *ret_error);

#endif
