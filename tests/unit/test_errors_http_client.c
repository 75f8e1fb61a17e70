/* Description: errors that <filch/http_client.h> promises and that other tests have no cause to
 * provoke: of memory and descriptors, which wrappers refuse that the linker puts in (--wrap), of
 * servers and proxies that answer what is no HTTP, or too little of it, and of connections that are
 * reset. */
#include <sys/epoll.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/process.h"
#include "tests/runner/refused_memory.h"
#include "tests/runner/tcp_pair.h"

TestSuite(errors_http_client, .timeout = 120);

enum refused { TEXT = REFUSED_NEXT, EPOLL };

WRAPPED(char *, strdup, (const char *text))
{
    return refuses(TEXT) ? NULL : __real_strdup(text);
}

WRAPPED(int, epoll_create1, (int flags))
{
    return refuses(EPOLL) ? -1 : __real_epoll_create1(flags);
}

static filch_http_client *client_new(filch_http_client_opts opts)
{
    filch_http_client *client;

    opts.proxy = opts.proxy ?: "";
    opts.no_retries = true;
    T_OK(filch_http_client_new(&opts, &client));
    return client;
}

/* A request for one call: the next one takes its place. */
static filch_http_request *request_to(filch_http_client *client, const char *url)
{
    static filch_http_request *request;

    filch_http_request_free(request);
    request = NULL;
    if (client)
        T_OK(filch_http_request_new(client, "GET", url, &request));
    return request;
}

/* ---- what is made ---- */

static ssize_t reads_nothing(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)bytes, (void)until;
    return 0;
}

/* What was refused can be said again. */
static int make(void *arg)
{
    const filch_http_client_opts opts = {.proxy = ""};
    const filch_reader reader = {.read = reads_nothing};
    unsigned files = process_descriptors();
    filch_http_client *client;
    filch_http_request *request, *with_reader;
    filch_http_response *response;

    (void)arg;
    SAYS(MEMORY, filch_http_client_new(NULL, &client), -ENOMEM);
    SAYS(TEXT, filch_http_client_new(&opts, &client), -ENOMEM);
    SAYS(EPOLL, filch_http_client_new(&opts, &client), -EMFILE, -ENFILE);
    T_IS(process_descriptors(), files);
    T_OK(filch_http_client_new(&opts, &client));
    SAYS(MEMORY, filch_http_post(client, "http://x/", "a", "b", 1, &response, NULL, T_LIMIT),
         -ENOMEM);
    SAYS(MEMORY, filch_http_request_new(client, "GET", "http://x/", &request), -ENOMEM);
    SAYS(TEXT, filch_http_request_new(client, "GET", "http://x/", &request), -ENOMEM);
    T_OK(filch_http_request_new(client, "GET", "http://x/", &request));
    SAYS(MEMORY, filch_http_request_set(request, "A", "b"), -ENOMEM);
    T_OK(filch_http_request_set(request, "A", "b"));
    SAYS(MEMORY, filch_http_request_body(request, "ab", 2), -ENOMEM);
    T_OK(filch_http_request_body(request, "ab", 2));
    SAYS(MEMORY, filch_http_send(request, &response, NULL, T_LIMIT), -ENOMEM);
    filch_http_request_free(request);
    T_OK(filch_http_request_new(client, "POST", "http://x/", &with_reader));
    T_OK(filch_http_request_set(with_reader, "Trailer", "X-Sum"));
    T_OK(filch_http_request_reader(with_reader, reader, -1));
    SAYS(MEMORY, filch_http_request_set_trailer(with_reader, "X-Sum", "1"), -ENOMEM);
    T_OK(filch_http_request_set_trailer(with_reader, "X-Sum", "1"));
    filch_http_request_free(with_reader);
    filch_http_client_close(client);
    return 0;
}

Test(errors_http_client, of_memory_and_descriptors)
{
    T_OK(run_in_runtime(1, make, NULL));
}

static int makes_too_late(void *arg)
{
    filch_http_client *client;

    (void)arg;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_http_client_new(NULL, &client), -ESHUTDOWN);
    return 0;
}

Test(errors_http_client, of_a_runtime_that_stops)
{
    filch_runtime *rt = start_runtime(0);

    T_OK(filch_runtime_spawn(rt, makes_too_late, NULL, NULL, NULL));
    stop_runtime(rt);
}

/* ---- servers that are none ---- */

/* Answers whatever it is asked with a text, and with a rest when it may go on, or there is no
 * memory any more. Then it ends the connection. */
struct speaker {
    const char *text, *rest;
    bool resets;
    atomic_bool may_go_on;
    filch_listener *listener;
    filch_task *task;
    char addr[FILCH_ADDR_BYTES], url[128];
};

static void answer(struct speaker *speaker, filch_tcp *conn)
{
    char request[4096];

    if (filch_tcp_read(conn, request, sizeof(request), T_LIMIT) <= 0) { /* given up */
        T_OK(filch_tcp_close(conn));
        return;
    }
    T_OK(filch_tcp_write_all(conn, speaker->text, strlen(speaker->text), NULL, T_LIMIT));
    if (speaker->rest) {
        T_WAIT_UNTIL(atomic_load(&speaker->may_go_on) || atomic_load(&refused) == MEMORY);
        T_OK(filch_tcp_write_all(conn, speaker->rest, strlen(speaker->rest), NULL, T_LIMIT));
    }
    if (speaker->resets)
        T_OK(filch_tcp_set(conn, FILCH_TCP_LINGER, 0));
    T_OK(filch_tcp_close(conn));
}

static int speak(void *arg)
{
    struct speaker *speaker = arg;
    filch_tcp *conn;
    int r;

    while ((r = filch_listener_accept(speaker->listener, &conn, FILCH_NEVER)) == 0)
        answer(speaker, conn);
    return r;
}

static void speaker_open(struct speaker *speaker)
{
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &speaker->listener));
    T_OK(filch_listener_addr(speaker->listener, speaker->addr));
    snprintf(speaker->url, sizeof(speaker->url), "http://%s/", speaker->addr);
    speaker->task = spawn(speak, speaker);
}

static void speaker_close(struct speaker *speaker)
{
    T_OK(filch_listener_close(speaker->listener));
    T_CHECK(join(speaker->task) < 0);
}

/* ---- answers ---- */

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static int ask_all(void *arg)
{
    static const struct {
        const char *text;
        int error;
        const char *why;
        bool resets;
    } answers[] = {
        {"", -ECONNRESET, "", .resets = true},
        {"", -ECONNRESET, "Empty reply"},
        {"HTTP/1.1 20", -ECONNRESET, "Empty reply"},
        {OK_HEAD, -EPIPE, "within the head"},
        {OK_HEAD "Content-Type: te", -EPIPE, "within the head"},
        {OK_HEAD "Content-Type: text/plain\r\n", -EPIPE, "within the head"},
        {"HTTP/1.1 100 Continue\r\n\r\n", -ECONNRESET, "Empty reply"},
        {"HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD "A: b\r\n", -EPIPE, "within the head"},
        {"nonsense\r\n\r\n", -EPROTO, "HTTP/0.9"},
        {"HTTP/9.1 200 OK\r\n\r\n", -EPROTO, "HTTP version"},
        {"HTTP/1.1 abc OK\r\n\r\n", -EPROTO, "HTTP version"},
        {OK_HEAD "Content-Length: -5\r\n\r\n", -EPROTO, "Content-Length"},
        {"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
         -ELOOP, "redirects"},
    };
    filch_http_client *client = client_new((filch_http_client_opts){.redirects_max = 3});

    (void)arg;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        struct speaker speaker = {.text = answers[i].text, .resets = answers[i].resets};
        filch_http_response *response;
        filch_error error;
        int r;

        speaker_open(&speaker);
        r = filch_http_get(client, speaker.url, &response, &error, T_LIMIT);
        if (r != answers[i].error || !strstr(error.text, answers[i].why))
            fprintf(stderr, "%zu: %d, %s\n", i, r, r < 0 ? error.text : "");
        T_IS(r, answers[i].error);
        T_CHECK(strstr(error.text, answers[i].why));
        r = filch_http_send(request_to(client, speaker.url), &response, &error, T_LIMIT);
        T_IS(r, answers[i].error);
        speaker_close(&speaker);
    }
    request_to(NULL, NULL);
    filch_http_client_close(client);
    return 0;
}

Test(errors_http_client, of_answers_that_are_none)
{
    T_OK(run_in_runtime(0, ask_all, NULL));
}

/* ---- connections ---- */

static int connect_in_vain(void *arg)
{
    static const char unknown[] = "http://no.such.host.invalid/";
    struct speaker forbids = {.text = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"};
    struct speaker silent = {.text = ""};
    filch_http_client *client = client_new((filch_http_client_opts){0});
    filch_http_response *response;
    char addr[FILCH_ADDR_BYTES], url[128], secret[128], socks[128];
    int bound = raw_bind(addr); /* nobody listens */

    (void)arg;
    snprintf(url, sizeof(url), "http://%s/", addr);
    snprintf(secret, sizeof(secret), "https://%s/", addr);
    T_IS(filch_http_send(request_to(client, url), &response, NULL, T_LIMIT), -ECONNREFUSED);
    T_IS(filch_http_send(request_to(client, unknown), &response, NULL, T_LIMIT), -EHOSTUNREACH);
    T_IS(filch_http_post(client, url, NULL, "a", 1, &response, NULL, T_LIMIT), -ECONNREFUSED);
    T_IS(filch_http_post(client, unknown, NULL, "a", 1, &response, NULL, T_LIMIT), -EHOSTUNREACH);
    speaker_open(&silent);
    T_IS(filch_http_send(request_to(client, silent.url), &response, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_http_post(client, silent.url, NULL, "a", 1, &response, NULL, FILCH_NOW), -ETIMEDOUT);
    filch_http_client_close(client);

    speaker_open(&forbids);
    client = client_new((filch_http_client_opts){.proxy = forbids.url});
    T_IS(filch_http_get(client, secret, &response, NULL, T_LIMIT), -EACCES);
    T_IS(filch_http_send(request_to(client, secret), &response, NULL, T_LIMIT), -EACCES);
    T_IS(filch_http_post(client, secret, NULL, "a", 1, &response, NULL, T_LIMIT), -EACCES);
    filch_http_client_close(client);
    speaker_close(&forbids);

    snprintf(socks, sizeof(socks), "socks5h://%s", silent.addr);
    client = client_new((filch_http_client_opts){.proxy = socks});
    T_IS(filch_http_get(client, url, &response, NULL, T_LIMIT), -ECONNRESET);
    T_IS(filch_http_send(request_to(client, url), &response, NULL, T_LIMIT), -ECONNRESET);
    T_IS(filch_http_post(client, url, NULL, "a", 1, &response, NULL, T_LIMIT), -ECONNRESET);
    request_to(NULL, NULL);
    filch_http_client_close(client);
    speaker_close(&silent);
    T_OK(close(bound));
    return 0;
}

Test(errors_http_client, of_connections_that_are_none)
{
    T_OK(run_in_runtime(0, connect_in_vain, NULL));
}

/* ---- bodies ---- */

/* The answer has begun. */
static filch_http_response *begun(filch_http_client *client, struct speaker *speaker)
{
    filch_http_response *response;

    speaker_open(speaker);
    T_OK(filch_http_send(request_to(client, speaker->url), &response, NULL, T_LIMIT));
    return response;
}

static void end(filch_http_response *response, struct speaker *speaker)
{
    filch_http_response_free(response);
    atomic_store(&speaker->may_go_on, true);
    speaker_close(speaker);
}

static int read_badly(void *arg)
{
    struct speaker cuts = {.text = OK_HEAD "Content-Length: 5\r\n\r\nab", .rest = ""};
    struct speaker resets = {
        .text = OK_HEAD "Content-Length: 5\r\n\r\nab", .rest = "", .resets = true};
    struct speaker packs = {.text =
                                OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"};
    struct speaker chunks = {.text = OK_HEAD "Transfer-Encoding: chunked\r\n\r\nnone\r\n"};
    filch_http_client *client = client_new((filch_http_client_opts){0});
    filch_http_response *response;
    char buf[5];

    (void)arg;
    response = begun(client, &cuts);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), 2);
    T_IS(filch_http_response_read(response, buf, 5, NULL, FILCH_NOW), -ETIMEDOUT);
    atomic_store(&cuts.may_go_on, true);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), -EPIPE);
    end(response, &cuts);
    response = begun(client, &resets);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), 2);
    atomic_store(&resets.may_go_on, true);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), -ECONNRESET);
    end(response, &resets);
    response = begun(client, &packs);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), -EPROTO);
    end(response, &packs);
    response = begun(client, &chunks);
    T_IS(filch_http_response_read(response, buf, 5, NULL, T_LIMIT), -EPROTO);
    end(response, &chunks);
    request_to(NULL, NULL);
    filch_http_client_close(client);
    return 0;
}

Test(errors_http_client, of_bodies)
{
    T_OK(run_in_runtime(0, read_badly, NULL));
}

static int64_t received(filch_http_response *response)
{
    int64_t bytes;

    T_OK(filch_http_response_progress(response, &bytes, NULL));
    return bytes;
}

static int read_without_room(void *arg)
{
    struct speaker waits = {.text = OK_HEAD "Content-Length: 5\r\n\r\n", .rest = "hello"};
    struct speaker speaks = {.text = OK_HEAD "Content-Length: 5\r\n\r\nhello"};
    struct speaker again = speaks;
    filch_http_client *client = client_new((filch_http_client_opts){0});
    filch_http_response *response;
    char buf[5];

    (void)arg;
    response = begun(client, &waits);
    SAYS(MEMORY, filch_http_response_read(response, buf, 5, NULL, T_LIMIT), -ENOMEM);
    end(response, &waits);
    response = begun(client, &speaks);
    T_WAIT_UNTIL(received(response) == 5);
    SAYS(MEMORY, filch_http_response_read_all(response, NULL, T_LIMIT), -ENOMEM);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT)); /* nothing was lost */
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
    end(response, &speaks);
    filch_http_client_close(client);

    client = client_new((filch_http_client_opts){.body_bytes_max = 4});
    response = begun(client, &again);
    T_IS(filch_http_response_read_all(response, NULL, T_LIMIT), -EMSGSIZE);
    end(response, &again);
    request_to(NULL, NULL);
    filch_http_client_close(client);
    return 0;
}

Test(errors_http_client, of_bodies_without_room)
{
    T_OK(run_in_runtime(1, read_without_room, NULL));
}
