/* A shard of an HTTP client: a task that has a libcurl handle, which nobody else touches.
 *
 *     owner's task                      shard's task
 *     ask(BEGIN) ---- notify ---------> adds the transfer to libcurl
 *                                       waits: somebody asks | a socket is ready | libcurl's timer
 *                <--- notify ---------- bytes, a head, the end
 *     ask(GO_ON) ---------------------> a paused transfer goes on
 *     ask(END)   ---------------------> takes the transfer away
 *
 * libcurl is told of readiness through its multi-socket interface. Its sockets are in an epoll
 * instance (sockets.c), and the task waits for that as for any descriptor: one operation for all of
 * them, however many, and one look finds all that are ready.
 *
 * libcurl calls back in the middle of its work, on this task's stack. Those functions (callbacks.c)
 * never wait: they take the response's lock, which is held for moments only, and wake with a
 * notification. So no other task ever runs within a call of libcurl, and what OpenSSL keeps per
 * thread is never torn.
 *
 * Asking needs no memory and never waits either: the responses themselves are the queue.
 *
 * When the client closes, or the runtime stops, each transfer ends with -ECANCELED before the task
 * does. */
#include "io/http_client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <filch/cancel.h>
#include <filch/select.h>
#include <filch/time.h>

#define STACK_BYTES ((size_t)1024 * 1024) /* for OpenSSL */
/* Sockets may be ready all the time, and looking at them is no operation of the runtime: after so
 * many looks others run. */
#define ROUNDS 16
/* Where it cannot wait for its sockets, it looks at them again after that. */
#define NO_MEMORY_NS (10 * FILCH_MILLISECOND)

/* ---- asking ---- */

void http_ask(filch_http_response *response, unsigned ask)
{
    struct http_shard *shard = response->shard;
    bool first, closing;

    pthread_mutex_lock(&shard->lock);
    closing = shard->closing;
    first = !response->asks && !closing;
    if (!closing)
        response->asks |= ask;
    if (first) {
        filch_fetch_add_relaxed(&response->refs, 1);
        response->next_asking = NULL;
        *shard->asking_end = response;
        shard->asking_end = &response->next_asking;
    }
    pthread_mutex_unlock(&shard->lock);
    if (first)
        filch_notify_one(&shard->wake);
    if (closing && ask & HTTP_ASK_BEGIN) /* nobody is there to do it */
        http_transfer_abort(response, -ECANCELED);
}

/* Return: false: the client closes. */
static bool take_asking(struct http_shard *shard, filch_http_response **ret_response,
                        unsigned *ret_asks)
{
    filch_http_response *response;
    bool closing;

    pthread_mutex_lock(&shard->lock);
    closing = shard->closing;
    response = shard->asking;
    if (response) {
        shard->asking = response->next_asking;
        if (!shard->asking)
            shard->asking_end = &shard->asking;
        *ret_asks = response->asks;
        response->asks = 0;
    }
    pthread_mutex_unlock(&shard->lock);
    *ret_response = response;
    return !closing;
}

static void do_as_asked(filch_http_response *response, unsigned asks)
{
    if (asks & HTTP_ASK_END) {
        http_transfer_abort(response, response->no_memory ? -ENOMEM : -ECANCELED);
        return;
    }
    if (asks & HTTP_ASK_BEGIN) {
        int r = http_transfer_begin(response);

        if (r < 0)
            http_transfer_abort(response, r);
    }
    if (asks & HTTP_ASK_GO_ON)
        http_transfer_go_on(response);
}

static void handle_ends(struct http_shard *shard)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->multi, &left))) {
        struct http_handle *handle = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&handle);
        http_transfer_end(handle->response, message->data.result);
    }
}

/* ---- the task ---- */

static void end_all(struct http_shard *shard)
{
    filch_http_response *response;
    unsigned asks;

    pthread_mutex_lock(&shard->lock);
    shard->closing = true;
    pthread_mutex_unlock(&shard->lock);
    for (;;) {
        (void)take_asking(shard, &response, &asks);
        if (!response)
            break;
        http_transfer_abort(response, -ECANCELED);
        http_response_unref(response);
    }
    while (shard->transfers)
        http_transfer_abort(shard->transfers, -ECANCELED);
}

/* Return: 0; -ECANCELED: the client closes. */
static int handle_asks(struct http_shard *shard)
{
    filch_http_response *response;
    unsigned asks = 0;
    bool open;

    while ((open = take_asking(shard, &response, &asks)) && response) {
        do_as_asked(response, asks);
        http_response_unref(response);
    }
    if (response) {
        http_transfer_abort(response, -ECANCELED);
        http_response_unref(response);
    }
    return open ? 0 : -ECANCELED;
}

/* Waits for something to do. Return: 0; an error: it is over. */
static int wait_for_work(struct http_shard *shard)
{
    unsigned events;
    filch_case cases[] = {filch_case_notified(&shard->wake),
                          filch_case_fd(shard->ready, FILCH_FD_READABLE, &events)};
    int r = filch_select(cases, 2, 0, shard->timer);

    if (r == 1 && cases[1].result < 0) { /* no memory to wait for the sockets with */
        filch_time soon = filch_after(NO_MEMORY_NS);

        r = filch_notify_wait(&shard->wake, soon < shard->timer ? soon : shard->timer);
    }
    return r < 0 && r != -ETIMEDOUT ? r : 0;
}

static int shard_main(void *arg)
{
    struct http_shard *shard = arg;
    unsigned rounds = 0;
    bool worked;
    int r;

    do {
        r = handle_asks(shard);
        if (r < 0)
            break;
        http_handle_timer(shard);
        worked = http_handle_sockets(shard);
        handle_ends(shard);
        if (!worked) {
            r = wait_for_work(shard);
            rounds = 0;
        } else if (filch_should_yield() || ++rounds % ROUNDS == 0) {
            filch_task_yield();
        }
    } while (r == 0);
    end_all(shard);
    return 0;
}

/* ---- making and ending ---- */

static void free_parts(struct http_shard *shard)
{
    while (shard->spare) {
        struct http_handle *handle = shard->spare;

        shard->spare = handle->next;
        http_handle_free(handle);
    }
    if (shard->multi)
        curl_multi_cleanup(shard->multi);
    if (shard->ready)
        filch_fd_close(shard->ready); /* closes the epoll instance */
    else if (shard->epoll >= 0)
        close(shard->epoll);
    free(shard->sockets);
}

static int make_multi(struct http_shard *shard)
{
    long connections = (long)shard->connections_max;

    shard->multi = curl_multi_init();
    if (!shard->multi)
        return -ENOMEM;
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, http_on_socket);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, http_on_timer);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
    curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, connections);
    curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING,
                      shard->client->may_share ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
    curl_multi_setopt(shard->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      (long)shard->host_connections_max);
    return 0;
}

static int make_epoll(struct http_shard *shard)
{
    shard->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (shard->epoll < 0)
        return -errno;
    return filch_fd_adopt(shard->epoll, &shard->ready);
}

void http_shard_init(struct http_shard *shard, filch_http_client *client)
{
    shard->client = client;
    filch_atomic_init(&shard->load, 0);
    pthread_mutex_init(&shard->lock, NULL);
    filch_notify_init(&shard->wake);
    shard->asking_end = &shard->asking;
    shard->epoll = -1;
    shard->timer = FILCH_NEVER;
}

void http_shard_fini(struct http_shard *shard)
{
    filch_notify_fini(&shard->wake);
    pthread_mutex_destroy(&shard->lock);
}

int http_shard_start(struct http_shard *shard)
{
    const filch_task_opts opts = {
        .name = "http client", .stack_bytes = STACK_BYTES, .group = shard->client->group};
    int r = make_multi(shard);

    if (r == 0)
        r = make_epoll(shard);
    if (r == 0)
        r = filch_task_spawn(shard_main, shard, &opts, &shard->task);
    if (r < 0) {
        free_parts(shard);
        shard->multi = NULL; /* it may be tried again */
        shard->epoll = -1;
        shard->ready = NULL;
    }
    return r;
}

void http_shard_stop(struct http_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    shard->closing = true;
    pthread_mutex_unlock(&shard->lock);
    filch_notify_one(&shard->wake);
    FILCH_SHIELD(FILCH_NEVER)
    {
        (void)!filch_task_join(shard->task, NULL, FILCH_NEVER);
    }
    free_parts(shard);
}
