/* "Hello, World!" over HTTP/1.1, with keep-alive and pipelining. The parser is Debian's
 * http_parser.
 *
 *     http_hello ADDR [WORKERS]       http_hello 127.0.0.1:8080
 *
 * The parser calls back in the middle of its work, and the callback may write to the connection: a
 * task suspends anywhere, so push parsers and pull I/O fit together without a state machine of
 * ours. Replies to pipelined requests are gathered and leave in one write. SIGTERM and SIGINT stop
 * the server: connections are cancelled and waited for. */
#include <filch/filch.h>

#include <errno.h>
#include <http_parser.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
#define BODY "Hello, World!"
#define BAD_REQUEST "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
/* How long a refused peer may take to read its answer. */
#define LINGER_NS FILCH_SECOND

struct client {
    filch_tcp *conn;
    http_parser parser;
    int error;    /* first error of a write */
    bool closing; /* the last reply said so */
    size_t out_bytes;
    char out[4096];
};

static int client_flush(struct client *client)
{
    if (client->error == 0 && client->out_bytes > 0)
        client->error =
            filch_tcp_write_all(client->conn, client->out, client->out_bytes, NULL, FILCH_NEVER);
    client->out_bytes = 0;
    return client->error;
}

static void client_put(struct client *client, const char *text, size_t bytes)
{
    if (client->out_bytes + bytes > sizeof client->out)
        client_flush(client);
    memcpy(client->out + client->out_bytes, text, bytes);
    client->out_bytes += bytes;
}

#define CLIENT_PUT(client, literal) client_put((client), (literal), sizeof(literal) - 1)

/* A server may ignore an offer to change the protocol, and this one does. CONNECT must not get a
 * 2xx answer. */
static int on_headers_complete(http_parser *parser)
{
    parser->upgrade = 0;
    return parser->method == HTTP_CONNECT ? -1 : 0;
}

static int on_message_complete(http_parser *parser)
{
    struct client *client = parser->data;
    bool keep = http_should_keep_alive(parser) != 0;

    CLIENT_PUT(client, HEAD_OK);
    if (!keep)
        CLIENT_PUT(client, "Connection: close\r\n");
    else if (parser->http_minor == 0) /* 1.0 keeps connections only on request */
        CLIENT_PUT(client, "Connection: keep-alive\r\n");
    CLIENT_PUT(client, "\r\n");
    if (parser->method != HTTP_HEAD)
        CLIENT_PUT(client, BODY);
    if (!keep) {
        client->closing = true;
        http_parser_pause(parser, 1); /* what the peer sent after it gets no answer */
    }
    return client->error;
}

/* Closing a socket with unread input resets it, and the peer may lose the answer: so end our side
 * and read to its end. */
static void client_linger(struct client *client)
{
    filch_time until = filch_after(LINGER_NS);

    if (filch_tcp_shutdown_write(client->conn) < 0)
        return;
    while (filch_tcp_read(client->conn, client->out, sizeof client->out, until) > 0)
        ;
}

static int serve_client(void *arg)
{
    static const http_parser_settings settings = {
        .on_headers_complete = on_headers_complete,
        .on_message_complete = on_message_complete,
    };
    struct client client;
    char buf[8192];
    ssize_t n;

    client.conn = arg; /* the task owns it */
    client.error = 0;
    client.closing = false;
    client.out_bytes = 0;
    http_parser_init(&client.parser, HTTP_REQUEST);
    client.parser.data = &client;

    while ((n = filch_tcp_read(client.conn, buf, sizeof buf, FILCH_NEVER)) > 0) {
        size_t parsed = http_parser_execute(&client.parser, &settings, buf, (size_t)n);
        bool bad = !client.closing && client.error == 0 &&
                   (parsed != (size_t)n || HTTP_PARSER_ERRNO(&client.parser) != HPE_OK);

        if (bad)
            CLIENT_PUT(&client, BAD_REQUEST);
        if (client_flush(&client) < 0)
            break;
        if (bad || client.closing) {
            client_linger(&client);
            break;
        }
    }
    filch_tcp_close(client.conn);
    return n < 0 ? (int)n : client.error;
}

static int serve(void *arg)
{
    filch_listener *ln = arg;
    filch_tcp *conn;
    int r;

    FILCH_SCOPE(clients);
    while ((r = filch_listener_accept(ln, &conn, FILCH_NEVER)) == 0)
        if (filch_scope_spawn(&clients, serve_client, conn) < 0)
            filch_tcp_close(conn);
    filch_scope_cancel_join(&clients);
    if (r != -ECANCELED)
        kill(getpid(), SIGTERM); /* main waits for signals only */
    return r;
}

/* Serves until a signal comes. */
static int run(filch_runtime *rt, filch_listener *ln, const sigset_t *stop)
{
    filch_task *server;
    int signal_number, result = 0;
    int r = filch_runtime_spawn(rt, serve, ln, NULL, &server);

    if (r < 0)
        return r;
    sigwait(stop, &signal_number);
    filch_task_cancel(server);
    r = filch_task_join(server, &result, FILCH_NEVER);
    if (r == 0 && result != -ECANCELED)
        r = result;
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {0};
    char addr[FILCH_ADDR_BYTES];
    filch_runtime *rt;
    filch_listener *ln;
    sigset_t stop;
    int r;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s ADDR [WORKERS]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        opts.workers = (unsigned)strtoul(argv[2], NULL, 10);

    /* Blocked before any thread is started, so that only sigwait() sees them. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    r = filch_runtime_start(&opts, &rt);
    if (r < 0) {
        fprintf(stderr, "http_hello: %s\n", filch_strerror(r));
        return 1;
    }
    r = filch_listener_open(argv[1], NULL, &ln);
    if (r == 0) {
        if (filch_listener_addr(ln, addr) == 0)
            printf("listening on %s\n", addr);
        fflush(stdout);
        r = run(rt, ln, &stop);
        filch_listener_close(ln);
    }
    filch_runtime_shutdown(rt, FILCH_NEVER);
    if (r < 0)
        fprintf(stderr, "http_hello: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
