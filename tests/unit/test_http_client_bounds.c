/* Description: what the HTTP client holds while it is held up: a bounded piece of a body each way,
 * whatever its length and its peer, and no thread for a transfer. */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_client_bounds, .timeout = 120);

/* What is promised, and what libcurl has beside it: a buffer that it sends from, and one that it
 * receives into. */
#define OURS ((int64_t)64 * 1024)
#define OF_LIBCURL_TO_SEND ((int64_t)64 * 1024)
#define OF_LIBCURL_RECEIVED ((int64_t)128 * 1024)

/* Long enough to fill all of that and the kernel's buffers. Whatever time there is, the bounds hold
 * at its end. */
#define WHILE filch_after((T_IS_SLOW ? 6000 : 300) * FILCH_MILLISECOND)

/* So long that nobody comes to its end. */
#define LENGTH ((int64_t)1 << 40)

struct peer {
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES], url[FILCH_ADDR_BYTES + 8];
    filch_tcp *conn;
};

static void peer_open(struct peer *peer)
{
    memset(peer, 0, sizeof(*peer));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &peer->listener));
    T_OK(filch_listener_addr(peer->listener, peer->addr));
    snprintf(peer->url, sizeof(peer->url), "http://%s/", peer->addr);
}

static void peer_close(struct peer *peer)
{
    T_OK(filch_tcp_close(peer->conn));
    T_OK(filch_listener_close(peer->listener));
}

/* Takes a connection and a request's head from it, and says this to it. */
static void peer_answer(struct peer *peer, const char *answer)
{
    char last[4] = "";

    T_OK(filch_listener_accept(peer->listener, &peer->conn, T_LIMIT));
    while (memcmp(last, "\r\n\r\n", 4) != 0) {
        memmove(last, last + 1, 3);
        T_OK(filch_tcp_read_exact(peer->conn, last + 3, 1, NULL, T_LIMIT));
    }
    T_OK(filch_tcp_write_all(peer->conn, answer, strlen(answer), NULL, T_LIMIT));
}

static filch_http_client *client_new(void)
{
    filch_http_client *client;

    T_OK(filch_http_client_new(&(filch_http_client_opts){.proxy = ""}, &client));
    return client;
}

/* ---- up ---- */

static ssize_t read_endless(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)until;
    memset(buf, 'x', bytes);
    *(int64_t *)context += (int64_t)bytes;
    filch_task_yield();
    return (ssize_t)bytes;
}

static int hear_and_ignore(void *arg)
{
    peer_answer(arg, "HTTP/1.1 100 Continue\r\n\r\n");
    return 0;
}

static int64_t count_to_end(filch_tcp *conn)
{
    static char buf[65536];
    int64_t bytes = 0;
    ssize_t n;

    while ((n = filch_tcp_read(conn, buf, sizeof(buf), T_LIMIT)) > 0)
        bytes += n;
    T_IS(n, 0);
    return bytes;
}

/* What was taken and did not go to the kernel is what was held. */
static int upload(void *arg)
{
    struct peer peer;
    filch_http_client *client = client_new();
    filch_http_request *request;
    filch_http_response *response;
    filch_task *task;
    int64_t taken = 0, held, sent, total;

    (void)arg;
    peer_open(&peer);
    task = spawn(hear_and_ignore, &peer);
    T_OK(filch_http_request_new(client, "PUT", peer.url, &request));
    T_OK(filch_http_request_reader(request, (filch_reader){.read = read_endless, .context = &taken},
                                   LENGTH));
    T_IS(filch_http_send(request, &response, NULL, WHILE), -ETIMEDOUT);
    T_OK(join(task));
    T_OK(filch_http_request_progress(request, &sent, &total));
    T_CHECK(sent <= taken && sent >= taken - OURS);
    T_IS(total, LENGTH);
    held = taken - count_to_end(peer.conn);
    T_CHECK(taken > OURS + OF_LIBCURL_TO_SEND);
    T_CHECK(held <= OURS + OF_LIBCURL_TO_SEND);
    filch_http_request_free(request);
    filch_http_client_close(client);
    peer_close(&peer);
    return 0;
}

Test(http_client_bounds, a_server_that_does_not_read_holds_the_reader_up)
{
    T_OK(run_in_runtime(0, upload, NULL));
}

/* ---- down ---- */

/* Gives the rest of the body out until nobody takes it any more. Return: how much. */
static int64_t pour(struct peer *peer)
{
    static char block[65536];
    filch_time until = WHILE;
    int64_t bytes = 0;
    size_t done;
    int r;

    do {
        r = filch_tcp_write_all(peer->conn, block, sizeof(block), &done, until);
        bytes += (int64_t)done;
        T_CHECK(bytes < LENGTH);
    } while (r == 0);
    T_IS(r, -ETIMEDOUT);
    return bytes;
}

static unsigned port_of(const char *addr)
{
    return (unsigned)strtoul(strrchr(addr, ':') + 1, NULL, 10);
}

/* What the kernel has of a connection, at the end @at: bytes that its peer has not taken, and those
 * that have come and nobody has read. */
static void look_at(unsigned at, unsigned peer, unsigned *ret_unsent, unsigned *ret_unread)
{
    FILE *file = fopen("/proc/net/tcp", "r");
    unsigned local, remote;
    char line[256];
    bool found = false;

    T_CHECK(file);
    while (!found && fgets(line, sizeof(line), file))
        found = sscanf(line, " %*d: %*x:%x %*x:%x %*x %x:%x", &local, &remote, ret_unsent,
                       ret_unread) == 4 &&
                local == at && remote == peer;
    fclose(file);
    T_CHECK(found);
}

/* Bytes on their way may count as unsent and as unread, so what was taken is that much or more. */
static int64_t taken_of(const struct peer *peer, int64_t poured)
{
    unsigned ours = port_of(peer->addr), theirs, unsent, unread, none;
    char addr[FILCH_ADDR_BYTES];

    T_OK(filch_tcp_peer_addr(peer->conn, addr));
    theirs = port_of(addr);
    look_at(ours, theirs, &unsent, &none);
    look_at(theirs, ours, &none, &unread);
    return poured - unsent - unread;
}

static int begin_answer(void *arg)
{
    char head[64];

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %" PRId64 "\r\n\r\n", LENGTH);
    peer_answer(arg, head);
    return 0;
}

static int download(void *arg)
{
    struct peer peer;
    filch_http_client *client = client_new();
    filch_http_request *request;
    filch_http_response *response;
    filch_task *task;
    int64_t poured, taken, now;

    (void)arg;
    peer_open(&peer);
    task = spawn(begin_answer, &peer);
    T_OK(filch_http_request_new(client, "GET", peer.url, &request));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_OK(join(task));
    poured = pour(&peer);
    taken = taken_of(&peer, poured);
    T_OK(filch_http_response_progress(response, &now, NULL));
    T_CHECK(now > 0 && now <= OURS);
    T_CHECK(taken <= OURS + OF_LIBCURL_RECEIVED);
    T_CHECK(poured > taken);
    filch_http_response_free(response);
    filch_http_request_free(request);
    filch_http_client_close(client);
    peer_close(&peer);
    return 0;
}

Test(http_client_bounds, who_does_not_read_holds_the_server_up)
{
    T_OK(run_in_runtime(0, download, NULL));
}

/* ---- threads ---- */

#define TRANSFERS 48

static int get_nothing(void *arg)
{
    struct {
        filch_http_client *client;
        const char *url;
    } *get = arg;
    filch_http_response *response;

    return filch_http_get(get->client, get->url, &response, NULL, FILCH_NEVER);
}

static int count_threads(void *arg)
{
    struct peer peer;
    struct {
        filch_http_client *client;
        const char *url;
    } get = {client_new(), peer.url};
    filch_task *tasks[TRANSFERS];
    filch_tcp *conns[TRANSFERS];
    unsigned with_one = 0;

    (void)arg;
    peer_open(&peer);
    for (int i = 0; i < TRANSFERS; i++) {
        tasks[i] = spawn(get_nothing, &get);
        T_OK(filch_listener_accept(peer.listener, &conns[i], T_LIMIT));
        with_one = i ? with_one : process_threads();
    }
    /* The runtime may have called a spare worker in meanwhile. */
    T_CHECK(process_threads() < with_one + TRANSFERS / 8);
    for (int i = 0; i < TRANSFERS; i++) {
        T_OK(filch_task_cancel(tasks[i]));
        T_IS(join(tasks[i]), -ECANCELED);
        T_OK(filch_tcp_close(conns[i]));
    }
    filch_http_client_close(get.client);
    peer_close(&peer);
    return 0;
}

Test(http_client_bounds, transfers_have_no_threads)
{
    T_OK(run_in_runtime(0, count_threads, NULL));
}
