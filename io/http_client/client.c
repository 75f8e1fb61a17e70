/* The HTTP client's task: it has the libcurl handle, and nobody else touches that.
 *
 *     owner's task                      client's task
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
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <filch/cancel.h>
#include <filch/select.h>
#include <filch/time.h>

#define STACK_BYTES ((size_t)1024 * 1024) /* for OpenSSL */
/* Sockets may be ready all the time, and looking at them is no operation of the runtime: after so
 * many looks others run. */
#define ROUNDS 16

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_ALL);
}

/* ---- asking ---- */

void http_ask(filch_http_response *response, unsigned ask)
{
    filch_http_client *client = response->client;
    bool first, closing;

    pthread_mutex_lock(&client->lock);
    closing = client->closing;
    first = !response->asks && !closing;
    if (!closing)
        response->asks |= ask;
    if (first) {
        filch_fetch_add_relaxed(&response->refs, 1);
        response->next_asking = NULL;
        *client->asking_end = response;
        client->asking_end = &response->next_asking;
    }
    pthread_mutex_unlock(&client->lock);
    if (first)
        filch_notify_one(&client->wake);
    if (closing && ask & HTTP_ASK_BEGIN) /* nobody is there to do it */
        http_transfer_abort(response, -ECANCELED);
}

/* Return: false: the client closes. */
static bool take_asking(filch_http_client *client, filch_http_response **ret_response,
                        unsigned *ret_asks)
{
    filch_http_response *response;
    bool closing;

    pthread_mutex_lock(&client->lock);
    closing = client->closing;
    response = client->asking;
    if (response) {
        client->asking = response->next_asking;
        if (!client->asking)
            client->asking_end = &client->asking;
        *ret_asks = response->asks;
        response->asks = 0;
    }
    pthread_mutex_unlock(&client->lock);
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

static void handle_ends(filch_http_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        struct http_handle *handle = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&handle);
        http_transfer_end(handle->response, message->data.result);
    }
}

/* ---- the task ---- */

static void end_all(filch_http_client *client)
{
    filch_http_response *response;
    unsigned asks;

    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_mutex_unlock(&client->lock);
    for (;;) {
        (void)take_asking(client, &response, &asks);
        if (!response)
            break;
        http_transfer_abort(response, -ECANCELED);
        http_response_unref(response);
    }
    while (client->transfers)
        http_transfer_abort(client->transfers, -ECANCELED);
}

/* Return: 0; -ECANCELED: the client closes. */
static int handle_asks(filch_http_client *client)
{
    filch_http_response *response;
    unsigned asks = 0;
    bool open;

    while ((open = take_asking(client, &response, &asks)) && response) {
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
static int wait_for_work(filch_http_client *client)
{
    unsigned events;
    filch_case cases[] = {filch_case_notified(&client->wake),
                          filch_case_fd(client->ready, FILCH_FD_READABLE, &events)};
    int r = filch_select(cases, 2, 0, client->timer);

    return r < 0 && r != -ETIMEDOUT ? r : 0;
}

static int client_main(void *arg)
{
    filch_http_client *client = arg;
    unsigned rounds = 0;
    bool worked;
    int r;

    do {
        r = handle_asks(client);
        if (r < 0)
            break;
        http_handle_timer(client);
        worked = http_handle_sockets(client);
        handle_ends(client);
        if (!worked) {
            r = wait_for_work(client);
            rounds = 0;
        } else if (filch_should_yield() || ++rounds % ROUNDS == 0) {
            filch_task_yield();
        }
    } while (r == 0);
    end_all(client);
    return 0;
}

/* ---- making and ending ---- */

static void free_parts(filch_http_client *client)
{
    while (client->spare) {
        struct http_handle *handle = client->spare;

        client->spare = handle->next;
        http_handle_free(handle);
    }
    if (client->multi)
        curl_multi_cleanup(client->multi);
    if (client->cookies)
        curl_share_cleanup(client->cookies);
    if (client->ready)
        filch_fd_close(client->ready); /* closes the epoll instance */
    else if (client->epoll >= 0)
        close(client->epoll);
    free(client->sockets);
}

void http_client_unref(filch_http_client *client)
{
    /* [http-client-ref] who comes last sees what the others did */
    if (filch_fetch_sub_acq_rel(&client->refs, 1) != 1)
        return;
    for (size_t i = 0; i < sizeof(client->texts) / sizeof(*client->texts); i++)
        free(client->texts[i]);
    filch_notify_fini(&client->wake);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static int copy_opts(filch_http_client *client, const filch_http_client_opts *opts)
{
    const char **texts[] = {&client->opts.user_agent, &client->opts.proxy, &client->opts.ca_file,
                            &client->opts.cert_file, &client->opts.key_file};
    filch_http_client_opts *o = &client->opts;

    if (opts)
        *o = *opts;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (!*texts[i])
            continue;
        client->texts[i] = strdup(*texts[i]);
        if (!client->texts[i])
            return -ENOMEM;
        *texts[i] = client->texts[i];
    }
    o->connections_max = o->connections_max ?: 256;
    o->host_connections_max = o->host_connections_max ?: 64;
    o->redirects_max = o->redirects_max ?: 10;
    o->retries = o->no_retries ? 0 : o->retries ?: 2;
    o->connect_ns = o->connect_ns ?: 10 * FILCH_SECOND;
    o->stall_ns = o->stall_ns ?: 60 * FILCH_SECOND;
    o->body_bytes_max = o->body_bytes_max ?: (size_t)64 * 1024 * 1024;
    return 0;
}

/* What libcurl gets wrong, by its version. Before 8.1 it gives bytes of a stream of HTTP/2 that is
 * held up out twice when others go on beside it on its connection. Before 8.0 it begins with HTTP/2
 * anew on a connection that has begun with it, without asking, for a request before. */
static void look_at_version(filch_http_client *client)
{
    unsigned version = curl_version_info(CURLVERSION_NOW)->version_num;

    client->may_share = version >= 0x080100;
    client->may_reuse_http2 = version >= 0x080000;
}

static int make_multi(filch_http_client *client)
{
    const filch_http_client_opts *opts = &client->opts;

    look_at_version(client);
    client->multi = curl_multi_init();
    if (opts->cookies)
        client->cookies = curl_share_init();
    if (!client->multi || (opts->cookies && !client->cookies))
        return -ENOMEM;
    if (client->cookies)
        curl_share_setopt(client->cookies, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, http_on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, http_on_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)opts->connections_max);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)opts->connections_max);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING,
                      client->may_share ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      (long)opts->host_connections_max);
    return 0;
}

static int make_epoll(filch_http_client *client)
{
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll < 0)
        return -errno;
    return filch_fd_adopt(client->epoll, &client->ready);
}

static bool is_valid(const filch_http_client_opts *opts)
{
    return !(opts->http1 && opts->http2) && !(opts->no_retries && opts->retries) &&
           !(opts->no_redirects && opts->redirects_max) && (!opts->cert_file == !opts->key_file) &&
           (!opts->stall_ns || opts->stall_ns >= FILCH_SECOND);
}

int filch_http_client_new(const filch_http_client_opts *opts, filch_http_client **ret_client)
{
    const filch_task_opts task_opts = {.name = "http client", .stack_bytes = STACK_BYTES};
    filch_http_client *client;
    int r;

    if (!ret_client || (opts && !is_valid(opts)))
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK)
        return -ENOMEM;
    client = calloc(1, sizeof(*client));
    if (!client)
        return -ENOMEM;
    filch_atomic_init(&client->refs, 1);
    pthread_mutex_init(&client->lock, NULL);
    filch_notify_init(&client->wake);
    client->asking_end = &client->asking;
    client->epoll = -1;
    client->timer = FILCH_NEVER;
    r = copy_opts(client, opts);
    if (r == 0)
        r = make_multi(client);
    if (r == 0)
        r = make_epoll(client);
    if (r == 0)
        r = filch_task_spawn(client_main, client, &task_opts, &client->task);
    if (r < 0) {
        free_parts(client);
        http_client_unref(client);
        return r;
    }
    *ret_client = client;
    return 0;
}

void filch_http_client_close(filch_http_client *client)
{
    if (!client)
        return;
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_mutex_unlock(&client->lock);
    filch_notify_one(&client->wake);
    FILCH_SHIELD(FILCH_NEVER)
    {
        (void)!filch_task_join(client->task, NULL, FILCH_NEVER);
    }
    free_parts(client);
    http_client_unref(client);
}
