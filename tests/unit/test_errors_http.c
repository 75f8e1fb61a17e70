/* Description: errors that <filch/http_server.h> promises and that other tests have no cause to
 * provoke: of memory, which wrappers refuse that the linker puts in (--wrap), of peers that take
 * nothing, have gone or were reset, of handlers that are cancelled, and of bodies that are none. */
#include <sys/stat.h>

#include <criterion/criterion.h>

#include <filch/duplex.h>
#include <filch/file.h>

#include "io/http/h1.h"
#include "tests/runner/http_memory.h"
#include "tests/runner/http_site.h"
#include "tests/runner/refused_memory.h"
#include "tests/runner/temp_dir.h"

TestSuite(errors_http, .timeout = 60);

#define FOLDER "/nonexistent"
#define FIELDS "HTTP/1.1\r\nHost: x\r\n"

/* Copies of texts: any, those of the names of parameters, and that of the folder. */
enum refused { TEXT = REFUSED_NEXT, NAME, FOLDER_TEXT };

WRAPPED(char *, strdup, (const char *text))
{
    if (refuses(TEXT) || (refuses(FOLDER_TEXT) && strcmp(text, FOLDER) == 0))
        return NULL;
    return __real_strdup(text);
}

WRAPPED(char *, strndup, (const char *text, size_t bytes))
{
    return refuses(NAME) ? NULL : __real_strndup(text, bytes);
}

/* ---- what is made ---- */

static int never_called(filch_exchange *x, void *context)
{
    (void)x, (void)context;
    T_CHECK(!"it is called");
    return 0;
}

/* What was refused can be said again. */
Test(errors_http, of_servers_and_routes)
{
    filch_http_server *server;

    SAYS(MEMORY, filch_http_server_new(NULL, &server), -ENOMEM);
    T_OK(filch_http_server_new(NULL, &server));
    SAYS(MEMORY, filch_http_route(server, "GET", "/a/{b}", never_called, NULL), -ENOMEM);
    SAYS(TEXT, filch_http_route(server, "GET", "/a/{b}", never_called, NULL), -ENOMEM);
    SAYS(NAME, filch_http_route(server, "GET", "/a/{b}", never_called, NULL), -ENOMEM);
    T_OK(filch_http_route(server, "GET", "/a/{b}", never_called, NULL));
    T_IS(filch_http_route(server, "GET", "/a/{c}", never_called, NULL), -EEXIST);
    SAYS(MEMORY, filch_http_route_files(server, "/files", FOLDER), -ENOMEM);
    SAYS(TEXT, filch_http_route_files(server, "/files", FOLDER), -ENOMEM);
    SAYS(FOLDER_TEXT, filch_http_route_files(server, "/files", FOLDER), -ENOMEM);
    T_OK(filch_http_route_files(server, "/files", FOLDER));
    T_IS(filch_http_route_files(server, "/files/", FOLDER), -EEXIST);
    filch_http_server_free(server);
}

/* ---- serving ---- */

static int serves_cancelled(void *arg)
{
    struct http_site *site = arg;
    filch_duplex *end, *other;

    T_OK(filch_duplex_new(1, &end, &other));
    SAYS(MEMORY, filch_http_serve_io(site->server, filch_duplex_io(end), T_LIMIT), -ENOMEM);
    T_IS(filch_http_serve_io(site->server, filch_duplex_io(end), FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_http_serve_until_signal(site->server, site->listener, FILCH_SECOND, FILCH_NOW),
         -ETIMEDOUT);
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_http_serve(site->server, site->listener, T_LIMIT), -ECANCELED);
    T_IS(filch_http_serve_io(site->server, filch_duplex_io(end), T_LIMIT), -ECANCELED);
    T_IS(filch_http_serve_until_signal(site->server, site->listener, FILCH_SECOND, T_LIMIT),
         -ECANCELED);
    filch_duplex_free(end);
    filch_duplex_free(other);
    return 0;
}

Test(errors_http, of_serving)
{
    struct http_site site;

    http_site_new(&site, NULL);
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &site.listener));
    T_IS(filch_http_serve_until_signal(site.server, site.listener, FILCH_SECOND, T_LIMIT), -EPERM);
    T_OK(run_in_runtime(1, serves_cancelled, &site));
    http_site_free(&site);
}

static atomic_bool handled;

static int hangs(filch_exchange *x, void *context)
{
    (void)x, (void)context;
    atomic_store(&handled, true);
    return filch_sleep(FILCH_NEVER);
}

static int serve_hanging(void *server)
{
    static const char request[] = "GET / " FIELDS "\r\n";
    static struct memory_io m = {.in = request, .in_bytes = sizeof(request) - 1};

    return filch_http_serve_io(server, memory_io_of(&m), T_LIMIT);
}

/* Who drains is cancelled, and so is the connection. */
static int drain_cancelled(void *arg)
{
    filch_http_server *server;
    filch_task *serving;

    (void)arg;
    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route(server, "GET", "/", hangs, NULL));
    serving = spawn(serve_hanging, server);
    T_WAIT_UNTIL(atomic_load(&handled));
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_http_drain(server, T_LIMIT), -ECANCELED);
    FILCH_SHIELD(FILCH_NEVER)
    {
        T_OK(join(serving));
    }
    filch_http_server_free(server);
    return 0;
}

Test(errors_http, of_draining)
{
    T_OK(run_in_runtime(0, drain_cancelled, NULL));
}

/* ---- answers ---- */

/* Who has asked, and takes the answer through a hole of one byte, or not at all. */
static struct peer {
    int error; /* what a call of the handler is to say */
    struct memory_io asks;
    filch_duplex *end, *other;
} peer;

static ssize_t peer_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)context;
    if (peer.error == -ECONNRESET)
        return -ECONNRESET;
    return filch_duplex_write(peer.end, buf, bytes, until);
}

static int leaves(void)
{
    filch_duplex_free(peer.other);
    peer.other = NULL;
    return -EIO;
}

/* What there is to happen before the call. Return: its limit. */
static filch_time happens(void)
{
    if (peer.error == -ECANCELED)
        T_OK(filch_task_cancel(filch_task_self()));
    if (peer.error == -EPIPE)
        leaves();
    return peer.error == -ETIMEDOUT ? FILCH_NOW : T_LIMIT;
}

static char block[H1_OUT_BYTES];

/* The answer before, which leaves no room for the head of another one. */
static int fills(filch_exchange *x, void *context)
{
    size_t left = H1_OUT_BYTES - 512;

    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, (int64_t)left, T_LIMIT));
    for (size_t n; left; left -= n) {
        n = left < 4000 ? left : 4000;
        T_OK(filch_exchange_write_all(x, block, n, NULL, T_LIMIT));
    }
    return 0;
}

static int begins(filch_exchange *x, void *context)
{
    (void)context;
    T_IS(filch_exchange_begin(x, 200, NULL, 1, happens()), peer.error);
    return leaves();
}

static int replies(filch_exchange *x, void *context)
{
    (void)context;
    T_IS(filch_exchange_reply(x, 200, NULL, "x", 1, happens()), peer.error);
    return leaves();
}

static int upgrades(filch_exchange *x, void *context)
{
    filch_io io;

    (void)context;
    T_IS(filch_exchange_upgrade(x, "p", &io, happens()), peer.error);
    return leaves();
}

static int replies_with_file(filch_exchange *x, void *path)
{
    T_IS(filch_exchange_reply_file(x, path, NULL, happens()), peer.error);
    return leaves();
}

static int writes(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, sizeof(block), T_LIMIT));
    T_IS(filch_exchange_write(x, block, sizeof(block), happens()), peer.error);
    return leaves();
}

static int writes_all(filch_exchange *x, void *context)
{
    size_t done = 1;

    (void)context;
    T_IS(filch_exchange_write_all(x, block, 1, NULL, T_LIMIT), -EPROTO); /* it has not begun */
    T_OK(filch_exchange_begin(x, 200, NULL, sizeof(block), T_LIMIT));
    T_IS(filch_exchange_write_all(x, block, sizeof(block), &done, happens()), peer.error);
    T_IS(done, 0);
    return leaves();
}

static int flushes(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, 1, T_LIMIT));
    T_IS(filch_exchange_flush(x, happens()), peer.error);
    return leaves();
}

/* Asks for a page, and for one before it. */
static void visit(filch_http_server *server, const char *before, const char *page, int error)
{
    char text[256];
    filch_io io = {.writer = {.write = peer_write}};

    memset(&peer, 0, sizeof(peer));
    peer.error = error;
    snprintf(text, sizeof(text), "%sGET %s " FIELDS "Connection: Upgrade\r\nUpgrade: p\r\n\r\n",
             before, page);
    peer.asks.in = text;
    peer.asks.in_bytes = strlen(text);
    T_OK(filch_duplex_new(1, &peer.end, &peer.other));
    io.reader = memory_io_of(&peer.asks).reader;
    T_OK(filch_http_serve_io(server, io, T_LIMIT));
    T_CHECK(!peer.other); /* the handler was called */
    filch_duplex_free(peer.end);
}

static int answers(void *path)
{
    static const int errors[] = {-ETIMEDOUT, -ECANCELED, -EPIPE, -ECONNRESET};
    static const char *const heads[] = {"/begin", "/reply", "/upgrade", "/file"};
    static const char *const bodies[] = {"/write", "/write-all", "/flush"};
    const unsigned prompt = FILCH_HTTP_PROMPT;
    filch_http_server *server;

    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route_flags(server, "GET", "/fill", fills, NULL, prompt));
    T_OK(filch_http_route_flags(server, "GET", "/begin", begins, NULL, prompt));
    T_OK(filch_http_route_flags(server, "GET", "/reply", replies, NULL, prompt));
    T_OK(filch_http_route_flags(server, "GET", "/upgrade", upgrades, NULL, prompt));
    T_OK(filch_http_route_flags(server, "GET", "/file", replies_with_file, path, prompt));
    T_OK(filch_http_route(server, "GET", "/write", writes, NULL));
    T_OK(filch_http_route(server, "GET", "/write-all", writes_all, NULL));
    T_OK(filch_http_route(server, "GET", "/flush", flushes, NULL));
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        for (size_t k = 0; k < sizeof(heads) / sizeof(*heads); k++)
            visit(server, "GET /fill " FIELDS "\r\n", heads[k], errors[i]);
        for (size_t k = 0; k < sizeof(bodies) / sizeof(*bodies); k++)
            visit(server, "", bodies[k], errors[i]);
    }
    filch_http_server_free(server);
    return 0;
}

Test(errors_http, of_answers)
{
    struct temp_dir dir;
    char path[256];

    temp_dir_make(&dir);
    snprintf(path, sizeof(path), "%s", in_dir(&dir, "page"));
    T_OK(filch_write_file(path, "x", 1, 0644, T_LIMIT));
    T_OK(run_in_runtime(0, answers, path));
    temp_dir_remove(&dir);
}

static int answers_wrongly(filch_exchange *x, void *fifo)
{
    T_IS(filch_exchange_reply_file(x, fifo, NULL, T_LIMIT), -EACCES);
    T_OK(filch_exchange_set(x, "Trailer", "X-Sum"));
    T_OK(filch_exchange_begin(x, 200, NULL, -1, T_LIMIT));
    T_IS(filch_exchange_set_trailer(x, "X-Sum", "1"), -EOPNOTSUPP); /* nobody asked for them */
    return 0;
}

static int serve_wrongly(void *fifo)
{
    static const char request[] = "GET / " FIELDS "\r\n";
    static struct memory_io m;
    filch_http_server *server;

    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route(server, "GET", "/", answers_wrongly, fifo));
    memory_serve(server, &m, request, sizeof(request) - 1);
    T_IS(memory_last_status(&m), 200);
    filch_http_server_free(server);
    return 0;
}

Test(errors_http, of_what_cannot_be_answered)
{
    struct temp_dir dir;
    char fifo[256];

    temp_dir_make(&dir);
    snprintf(fifo, sizeof(fifo), "%s", in_dir(&dir, "fifo"));
    T_OK(mkfifo(fifo, 0600));
    T_OK(run_in_runtime(0, serve_wrongly, fifo));
    temp_dir_remove(&dir);
}

/* ---- bodies of requests ---- */

/* Reads until there is an error. */
static int reads(filch_exchange *x, void *error)
{
    char buf[64];
    ssize_t n;

    while ((n = filch_exchange_read(x, buf, sizeof(buf), T_LIMIT)) > 0)
        ;
    T_IS(n, *(int *)error);
    T_IS(filch_exchange_read(x, buf, sizeof(buf), T_LIMIT), n); /* it stays */
    return (int)n;
}

static int reads_without_memory(filch_exchange *x, void *context)
{
    size_t bytes;
    void *data;

    (void)context;
    SAYS(MEMORY, filch_exchange_read_all(x, 0, &data, &bytes, T_LIMIT), -ENOMEM);
    T_OK(filch_exchange_read_all(x, 0, &data, &bytes, T_LIMIT));
    T_CHECK(bytes == 2 && memcmp(data, "ab", 2) == 0);
    free(data);
    return 0;
}

/* The peer sends nothing for now. */
static int waits(filch_exchange *x, void *context)
{
    char byte;

    (void)context;
    T_IS(filch_exchange_read(x, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_exchange_read(x, &byte, 1, T_LIMIT), -ECANCELED);
    return -ECANCELED;
}

#define POST(path) "POST " path " " FIELDS
#define CHUNKS POST("/") "Transfer-Encoding: chunked\r\n\r\n"

static int read_bodies(void *arg)
{
    static char large[2 * H1_TRAILER_BYTES] = CHUNKS "0\r\nX-Large: ";
    static const struct {
        const char *request;
        int error, status;
    } bodies[] = {
        {large, -E2BIG, 431},
        {CHUNKS "5\r\nabcde\r\n0\r\n\r\n", -EMSGSIZE, 413},
        {CHUNKS "1\r\na\r\nnone\r\n", -EPROTO, 400},
        {POST("/") "Content-Length: 2\r\n\r\na", -EPIPE, 400},
    };
    static const char head[] = POST("/wait") "Content-Length: 2\r\n\r\n",
                      whole[] = POST("/memory") "Content-Length: 2\r\n\r\nab";
    static struct memory_io m;
    filch_http_server *server;
    filch_duplex *end, *other;
    int error;

    (void)arg;
    memset(large + strlen(large), 'x', H1_TRAILER_BYTES);
    T_OK(filch_http_server_new(&(filch_http_server_opts){.body_bytes_max = 4}, &server));
    T_OK(filch_http_route(server, "POST", "/", reads, &error));
    T_OK(filch_http_route(server, "POST", "/memory", reads_without_memory, NULL));
    T_OK(filch_http_route(server, "POST", "/wait", waits, NULL));
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        error = bodies[i].error;
        memory_serve(server, &m, bodies[i].request, strlen(bodies[i].request));
        T_IS(memory_last_status(&m), bodies[i].status);
    }
    memory_serve(server, &m, whole, sizeof(whole) - 1);
    T_IS(memory_last_status(&m), 204);
    T_OK(filch_duplex_new(4096, &end, &other));
    T_IS(filch_duplex_write(other, head, sizeof(head) - 1, T_LIMIT), sizeof(head) - 1);
    T_OK(filch_http_serve_io(server, filch_duplex_io(end), T_LIMIT));
    filch_duplex_free(end);
    filch_duplex_free(other);
    filch_http_server_free(server);
    return 0;
}

Test(errors_http, of_bodies)
{
    T_OK(run_in_runtime(0, read_bodies, NULL));
}
