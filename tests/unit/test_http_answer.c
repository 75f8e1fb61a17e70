/* Description: what the HTTP server answers: routes, bodies whole and bit by bit, files with ranges
 * and conditions, failures of handlers; byte for byte, on connections in memory. */
#include <sys/stat.h>
#include <utime.h>

#include <criterion/criterion.h>

#include "tests/runner/http_memory.h"
#include "tests/runner/temp_dir.h"

TestSuite(http_answer, .timeout = 120);

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct memory_io m;

/* Asks for @target and gives all that is answered, without dates. */
static const char *ask(filch_http_server *server, const char *method, const char *target,
                       const char *fields)
{
    static char text[4096];
    int n = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target,
                     fields ?: "");

    memory_serve(server, &m, text, (size_t)n);
    memory_without_dates(&m);
    return m.out;
}

static void check_answer(const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        fprintf(stderr, "want: %s\ngot: %s\n", want, got);
    T_CHECK(strcmp(got, want) == 0);
}

static bool has(const char *text)
{
    return strstr(m.out, text);
}

static const char *body(void)
{
    const char *end = strstr(m.out, "\r\n\r\n");

    T_CHECK(end);
    return end + 4;
}

/* ---- routes ---- */

static int say(filch_exchange *x, void *context)
{
    char text[512];
    const char *id = filch_exchange_param(x, "id"), *path = filch_exchange_param(x, "path");
    int n =
        snprintf(text, sizeof(text), "%s id=%s path=%s", (char *)context, id ?: "-", path ?: "-");

    return filch_exchange_reply(x, 200, NULL, text, (size_t)n, T_LIMIT);
}

static const struct {
    const char *method, *pattern;
} patterns[] = {
    {"GET", "/"},
    {"GET", "/users"},
    {"POST", "/users"},
    {"GET", "/users/new"},
    {"GET", "/users/{id}"},
    {"DELETE", "/users/{id}"},
    {"GET", "/users/{id}/posts"},
    {NULL, "/any"},
    {"GET", "/files/{path...}"},
    {"GET", "/files/special"},
    {"GET", "/a/{id}/c"},
    {"GET", "/a/b/d"},
    {"HEAD", "/head"},
    {"OPTIONS", "/options"},
};

static const struct {
    const char *method, *target, *answer; /* a number: the status */
} asked[] = {
    {"GET", "/", "GET / id=- path=-"},
    {"GET", "/users", "GET /users id=- path=-"},
    {"GET", "/users?x=1", "GET /users id=- path=-"},
    {"POST", "/users", "POST /users id=- path=-"},
    {"PUT", "/users", "405"},
    {"GET", "/users/", "404"},
    {"GET", "//users", "404"},
    {"GET", "/users/new", "GET /users/new id=- path=-"},
    {"DELETE", "/users/new", "DELETE /users/{id} id=new path=-"},
    {"GET", "/users/7", "GET /users/{id} id=7 path=-"},
    {"GET", "/users/a%2Fb%20c", "GET /users/{id} id=a/b c path=-"},
    {"GET", "/%75sers/7", "GET /users/{id} id=7 path=-"},
    {"GET", "/users/new/posts", "GET /users/{id}/posts id=new path=-"},
    {"GET", "/users/..", "404"},
    {"GET", "/users/%2e%2E/x", "404"},
    {"PATCH", "/any", "any /any id=- path=-"},
    {"OPTIONS", "/any", "any /any id=- path=-"},
    {"GET", "/files", "GET /files/{path...} id=- path="},
    {"GET", "/files/", "GET /files/{path...} id=- path="},
    {"GET", "/files/special", "GET /files/special id=- path=-"},
    {"GET", "/files/special/x", "GET /files/{path...} id=- path=special/x"},
    {"GET", "/files/a/b%20c/d/", "GET /files/{path...} id=- path=a/b c/d/"},
    {"GET", "/files/a%2f..%2fb", "404"},
    {"GET", "/files/a/../b", "404"},
    {"GET", "/a/b/c", "GET /a/{id}/c id=b path=-"}, /* back from the literal */
    {"GET", "/a/b/d", "GET /a/b/d id=- path=-"},
    {"GET", "/head", "405"},
    {"GET", "/none", "404"},
    {"OPTIONS", "/options", "OPTIONS /options id=- path=-"},
    {"OPTIONS", "/none", "404"},
    {"GET",
     "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/"
     "7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0",
     "404"},
};

static int find_routes(void *arg)
{
    static char names[COUNT(patterns)][64];
    filch_http_server *server;

    (void)arg;
    T_OK(filch_http_server_new(NULL, &server));
    for (size_t i = 0; i < COUNT(patterns); i++) {
        snprintf(names[i], sizeof(names[i]), "%s %s", patterns[i].method ?: "any",
                 patterns[i].pattern);
        T_OK(filch_http_route(server, patterns[i].method, patterns[i].pattern, say, names[i]));
    }
    for (size_t i = 0; i < COUNT(asked); i++) {
        ask(server, asked[i].method, asked[i].target, NULL);
        if (*asked[i].answer >= '0' && *asked[i].answer <= '9')
            T_IS(memory_last_status(&m), atoi(asked[i].answer));
        else
            check_answer(body(), asked[i].answer);
    }
    ask(server, "PUT", "/users/7", NULL);
    T_CHECK(has("\r\nAllow: OPTIONS, GET, HEAD, DELETE\r\n"));
    check_answer(ask(server, "OPTIONS", "/users", NULL),
                 "HTTP/1.1 204 No Content\r\nAllow: OPTIONS, GET, HEAD, POST\r\n\r\n");
    check_answer(ask(server, "OPTIONS", "*", NULL), "HTTP/1.1 204 No Content\r\n\r\n");
    check_answer(ask(server, "HEAD", "/", NULL), "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n");
    filch_http_server_free(server);
    return 0;
}

Test(http_answer, paths_and_methods_find_their_routes)
{
    T_OK(run_in_runtime(0, find_routes, NULL));
}

/* ---- bodies ---- */

#define LARGE 40000

static int stream(filch_exchange *x, void *context)
{
    int64_t length = *(int64_t *)context;
    int r = filch_exchange_begin(x, 200, "text/plain", length, T_LIMIT);

    for (int i = 0; i < 5 && r == 0; i++)
        r = filch_exchange_write_all(x, "0123456789", 10, NULL, T_LIMIT);
    return r;
}

static int stream_flushed(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, -1, T_LIMIT));
    T_OK(filch_exchange_write_all(x, "first", 5, NULL, T_LIMIT));
    T_OK(filch_exchange_flush(x, T_LIMIT));
    T_CHECK(has("0005\r\nfirst\r\n"));
    T_OK(filch_exchange_flush(x, T_LIMIT));
    T_OK(filch_exchange_write_all(x, "second", 6, NULL, T_LIMIT));
    return 0;
}

static int large(filch_exchange *x, void *context)
{
    static char text[LARGE];
    bool chunks = *(bool *)context;
    size_t done = 0;

    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)('a' + i % 26);
    if (!chunks)
        return filch_exchange_reply(x, 200, NULL, text, LARGE, T_LIMIT);
    T_OK(filch_exchange_begin(x, 200, NULL, -1, T_LIMIT));
    T_OK(filch_exchange_write_all(x, text, LARGE, &done, T_LIMIT));
    T_IS(done, LARGE);
    return 0;
}

/* Reads and answers in turn. */
static int echo(filch_exchange *x, void *context)
{
    char buf[7];
    ssize_t n;

    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, filch_exchange_body_bytes(x), T_LIMIT));
    while ((n = filch_exchange_read(x, buf, sizeof(buf), T_LIMIT)) > 0)
        T_OK(filch_exchange_write_all(x, buf, (size_t)n, NULL, T_LIMIT));
    return (int)n;
}

static int with_fields(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_set(x, "X-One", "1"));
    T_OK(filch_exchange_set(x, "Set-Cookie", "a=b"));
    T_OK(filch_exchange_set(x, "Set-Cookie", "c=d"));
    return filch_exchange_reply(x, 201, "text/plain", "made", 4, T_LIMIT);
}

static int return_it(filch_exchange *x, void *context)
{
    (void)x;
    return *(int *)context;
}

static int begin_and_fail(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, -1, T_LIMIT));
    T_OK(filch_exchange_write_all(x, "half", 4, NULL, T_LIMIT));
    return -EIO;
}

/* Puts chunks together. */
static size_t join_chunks(char *to)
{
    const char *at = body();
    size_t bytes = 0, size;

    while ((size = strtoul(at, NULL, 16))) {
        at = strstr(at, "\r\n") + 2;
        memcpy(to + bytes, at, size);
        bytes += size;
        at += size;
        T_CHECK(memcmp(at, "\r\n", 2) == 0);
        at += 2;
    }
    T_CHECK(strcmp(at, "0\r\n\r\n") == 0);
    return bytes;
}

static void check_large(const char *text)
{
    for (size_t i = 0; i < LARGE; i++)
        T_IS(text[i], 'a' + i % 26);
}

static int answer_bodies(void *arg)
{
    static char joined[LARGE + 1];
    static bool yes = true, no = false;
    static int64_t unknown = -1, fifty = 50, sixty = 60, forty = 40;
    static int zero, failure = -EIO, status = 418, bad_status = 7;
    filch_http_server *server;

    (void)arg;
    T_OK(filch_http_server_new(&(filch_http_server_opts){.server_name = "filch"}, &server));
    T_OK(filch_http_route(server, NULL, "/chunks", stream, &unknown));
    T_OK(filch_http_route(server, NULL, "/fixed", stream, &fifty));
    T_OK(filch_http_route(server, NULL, "/short", stream, &sixty));
    T_OK(filch_http_route(server, NULL, "/long", stream, &forty));
    T_OK(filch_http_route(server, NULL, "/flushed", stream_flushed, NULL));
    T_OK(filch_http_route(server, NULL, "/large", large, &no));
    T_OK(filch_http_route(server, NULL, "/large-chunks", large, &yes));
    T_OK(filch_http_route(server, NULL, "/echo", echo, NULL));
    T_OK(filch_http_route(server, NULL, "/fields", with_fields, NULL));
    T_OK(filch_http_route(server, NULL, "/zero", return_it, &zero));
    T_OK(filch_http_route(server, NULL, "/failure", return_it, &failure));
    T_OK(filch_http_route(server, NULL, "/status", return_it, &status));
    T_OK(filch_http_route(server, NULL, "/bad-status", return_it, &bad_status));
    T_OK(filch_http_route(server, NULL, "/half", begin_and_fail, NULL));

#define SERVER "Server: filch\r\n"
#define FIFTY "01234567890123456789012345678901234567890123456789"
    check_answer(ask(server, "GET", "/chunks", NULL),
                 "HTTP/1.1 200 OK\r\n" SERVER "Content-Type: text/plain\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n0032\r\n" FIFTY "\r\n0\r\n\r\n");
    T_IS(m.writes, 1);
    check_answer(ask(server, "HEAD", "/chunks", NULL),
                 "HTTP/1.1 200 OK\r\n" SERVER
                 "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
    check_answer(ask(server, "GET", "/fixed", NULL),
                 "HTTP/1.1 200 OK\r\n" SERVER
                 "Content-Type: text/plain\r\nContent-Length: 50\r\n\r\n" FIFTY);
    check_answer(ask(server, "HEAD", "/fixed", NULL),
                 "HTTP/1.1 200 OK\r\n" SERVER
                 "Content-Type: text/plain\r\nContent-Length: 50\r\n\r\n");
    /* Too little, too much: the connection ends where the handler did. */
    ask(server, "GET", "/short", "Connection: keep-alive\r\n");
    T_IS(memory_answers(&m), 0); /* not even what is buffered */
    ask(server, "GET", "/long", NULL);
    T_IS(memory_answers(&m), 0);
    ask(server, "GET", "/half", NULL);
    T_CHECK(!has("\r\n0\r\n"));
    ask(server, "GET", "/flushed", NULL);
    check_answer(body(), "0005\r\nfirst\r\n0006\r\nsecond\r\n0\r\n\r\n");
    ask(server, "GET", "/large", NULL);
    T_IS(strlen(body()), LARGE);
    check_large(body());
    ask(server, "GET", "/large-chunks", NULL);
    T_IS(join_chunks(joined), LARGE);
    check_large(joined);
    check_answer(ask(server, "GET", "/fields", NULL),
                 "HTTP/1.1 201 Created\r\n" SERVER
                 "Content-Type: text/plain\r\nContent-Length: 4\r\n"
                 "X-One: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nmade");
    check_answer(ask(server, "GET", "/zero", NULL), "HTTP/1.1 204 No Content\r\n" SERVER "\r\n");
    ask(server, "GET", "/failure", NULL);
    T_IS(memory_last_status(&m), 500);
    ask(server, "GET", "/status", NULL);
    T_IS(memory_last_status(&m), 418);
    ask(server, "GET", "/bad-status", NULL);
    T_IS(memory_last_status(&m), 500);

    static const char http10[] = "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

    memory_serve(server, &m, http10, sizeof(http10) - 1);
    memory_without_dates(&m);
    check_answer(m.out, "HTTP/1.1 200 OK\r\n" SERVER
                        "Content-Type: text/plain\r\nConnection: close\r\n\r\n" FIFTY);

    static const char echoed[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabcdefghijklmnopqrstuvwxyz1234"
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";

    for (m.piece = 1; m.piece < 50; m.piece++) {
        memory_serve(server, &m, echoed, sizeof(echoed) - 1);
        T_CHECK(has("abcdefghijklmnopqrstuvwxyz1234HTTP/1.1 200 OK"));
        T_IS(memory_answers(&m), 2);
        memmove(m.out, strstr(m.out, "1234HTTP") + 4, strlen(strstr(m.out, "1234HTTP") + 4) + 1);
        T_IS(join_chunks(joined), 19);
        T_CHECK(memcmp(joined, "abc0123456789abcdef", 19) == 0);
    }
    m.piece = 0;
    filch_http_server_free(server);
    return 0;
}

Test(http_answer, bodies_whole_and_bit_by_bit)
{
    T_OK(run_in_runtime(0, answer_bodies, NULL));
}

/* ---- what a handler may ask ---- */

static int ask_all(filch_exchange *x, void *context)
{
    char text[16];
    const char *name, *value;
    unsigned n = 0;

    (void)context;
    T_CHECK(strcmp(filch_exchange_target(x), "/q?a=1&b=x+y%21&c&long=0123456789abcdef&=e") == 0);
    T_OK(filch_exchange_query_param(x, "a", text, sizeof(text)));
    T_CHECK(strcmp(text, "1") == 0);
    T_OK(filch_exchange_query_param(x, "b", text, sizeof(text)));
    T_CHECK(strcmp(text, "x y!") == 0);
    T_OK(filch_exchange_query_param(x, "b", text, 5));
    T_IS(filch_exchange_query_param(x, "b", text, 4), -ERANGE);
    T_OK(filch_exchange_query_param(x, "c", text, sizeof(text)));
    T_CHECK(strcmp(text, "") == 0);
    T_IS(filch_exchange_query_param(x, "long", text, sizeof(text)), -ERANGE);
    T_OK(filch_exchange_query_param(x, "", text, sizeof(text)));
    T_IS(filch_exchange_query_param(x, "d", text, sizeof(text)), -ENOENT);
    T_CHECK(strcmp(filch_exchange_header(x, "x-FIELD"), "value") == 0);
    T_CHECK(!filch_exchange_header(x, "x-fiel"));
    while (filch_exchange_header_at(x, n, &name, &value) == 0)
        n++;
    T_IS(n, 2);
    T_IS(filch_exchange_version(x), 11);
    T_CHECK(!filch_exchange_conn(x));
    T_IS(filch_exchange_body_bytes(x), 0);
    return 0;
}

static unsigned told;

static void note_access(void *context, const filch_http_access *access)
{
    char line[256];
    const char *want = ((const char *const *)context)[told++];

    snprintf(line, sizeof(line), "%s %s %d %d %llu %d", access->method, access->target,
             access->version, access->status, (unsigned long long)access->body_bytes,
             access->complete);
    check_answer(line, want);
    T_CHECK(!access->conn);
}

static int tell_access(void *arg)
{
    static const char *const lines[] = {"GET /q?a=1&b=x+y%21&c&long=0123456789abcdef&=e 11 204 0 1",
                                        "HEAD /none 11 404 0 1", "  11 400 16 1",
                                        "GET /half 11 200 4 0"};
    static const char bad[] = "nonsense\r\n\r\n";
    filch_http_server *server;

    (void)arg;
    T_OK(filch_http_server_new(
        &(filch_http_server_opts){.access = note_access, .access_context = (void *)lines},
        &server));
    T_OK(filch_http_route(server, "GET", "/q", ask_all, NULL));
    T_OK(filch_http_route(server, "GET", "/half", begin_and_fail, NULL));
    ask(server, "GET", "/q?a=1&b=x+y%21&c&long=0123456789abcdef&=e", "X-Field:  value \r\n");
    T_IS(memory_last_status(&m), 204);
    ask(server, "HEAD", "/none", NULL);
    memory_serve(server, &m, bad, sizeof(bad) - 1);
    ask(server, "GET", "/half", NULL);
    T_IS(told, COUNT(lines));
    filch_http_server_free(server);
    return 0;
}

Test(http_answer, handlers_ask_and_the_log_is_told)
{
    T_OK(run_in_runtime(0, tell_access, NULL));
}

/* ---- many requests at once ---- */

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "hello", 5, T_LIMIT);
}

static int pipeline(void *arg)
{
    static char text[50 * 64];
    size_t bytes = 0;
    filch_http_server *server;

    (void)arg;
    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route_flags(server, NULL, "/prompt", hello, NULL, FILCH_HTTP_PROMPT));
    T_OK(filch_http_route(server, NULL, "/other", hello, NULL));
    for (int i = 0; i < 50; i++)
        bytes += (size_t)sprintf(text + bytes, "GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n");
    memory_serve(server, &m, text, bytes);
    T_IS(memory_answers(&m), 50);
    T_IS(m.writes, 1);
    bytes = 0;
    for (int i = 0; i < 50; i++)
        bytes += (size_t)sprintf(text + bytes, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    memory_serve(server, &m, text, bytes);
    T_IS(memory_answers(&m), 50);
    T_IS(m.writes, 50);
    /* A peer that goes away takes nothing more. */
    m.refuse_after = 1;
    memory_serve(server, &m, text, bytes);
    T_IS(memory_answers(&m), 1);
    m.refuse_after = 0;
    filch_http_server_free(server);

    T_OK(filch_http_server_new(&(filch_http_server_opts){.requests_max = 3}, &server));
    T_OK(filch_http_route(server, NULL, "/other", hello, NULL));
    memory_serve(server, &m, text, bytes);
    T_IS(memory_answers(&m), 3);
    T_CHECK(has("Connection: close"));
    filch_http_server_free(server);
    return 0;
}

Test(http_answer, answers_of_prompt_handlers_leave_together)
{
    T_OK(run_in_runtime(0, pipeline, NULL));
}

/* ---- leaving HTTP ---- */

static int shout(filch_exchange *x, void *context)
{
    char buf[64];
    filch_io io;
    ssize_t n;
    int r;

    (void)context;
    T_OK(filch_exchange_set(x, "X-Key", "k"));
    r = filch_exchange_upgrade(x, "shout", &io, T_LIMIT);
    if (r < 0)
        return 400;
    while ((n = io.reader.read(io.reader.context, buf, sizeof(buf), T_LIMIT)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            buf[i] = (char)(buf[i] & ~0x20);
        T_IS(io.writer.write(io.writer.context, buf, (size_t)n, T_LIMIT), n);
    }
    return io.writer.finish(io.writer.context, T_LIMIT);
}

static int upgrade(void *arg)
{
    static const char text[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: x, upgrade\r\nUpgrade: shout\r\n\r\nabc";
    filch_http_server *server;

    (void)arg;
    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route(server, NULL, "/", shout, NULL));
    for (m.piece = 0; m.piece < 20; m.piece++) {
        memory_serve(server, &m, text, sizeof(text) - 1);
        check_answer(m.out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
                            "shout\r\nX-Key: k\r\n\r\nABC");
    }
    m.piece = 0;
    ask(server, "GET", "/", "Upgrade: shout\r\n");
    T_IS(memory_last_status(&m), 400);
    filch_http_server_free(server);
    return 0;
}

Test(http_answer, a_connection_goes_on_with_another_protocol)
{
    T_OK(run_in_runtime(0, upgrade, NULL));
}

/* ---- files ---- */

#define ETAG "\"%llx-a\""

static void put_file(const struct temp_dir *dir, const char *name, const char *text)
{
    FILE *file = fopen(in_dir(dir, name), "w");

    T_CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    T_OK(utime(in_dir(dir, name), &(struct utimbuf){1000000000, 1000000000}));
}

#define LAST "Sun, 09 Sep 2001 01:46:40 GMT" /* 1,000,000,000 s */
#define BEFORE "Sun, 09 Sep 2001 01:46:39 GMT"

static const struct {
    const char *fields;
    int status;
    const char *body;
} conditions[] = {
    {"", 200, "0123456789"},
    {"Range: bytes=0-0\r\n", 206, "0"},
    {"Range: bytes=2-4\r\n", 206, "234"},
    {"Range: bytes=7-\r\n", 206, "789"},
    {"Range: bytes=7-99\r\n", 206, "789"},
    {"Range: bytes=-3\r\n", 206, "789"},
    {"Range: bytes=-30\r\n", 206, "0123456789"},
    {"Range: bytes=10-\r\n", 416, NULL},
    {"Range: bytes=-0\r\n", 416, NULL},
    {"Range: bytes=4-2\r\n", 200, "0123456789"},
    {"Range: bytes=-\r\n", 200, "0123456789"},
    {"Range: lines=0-1\r\n", 200, "0123456789"},
    {"Range: bytes=99999999999999999999-\r\n", 200, "0123456789"},
    {"If-Modified-Since: " LAST "\r\n", 304, ""},
    {"If-Modified-Since: " BEFORE "\r\n", 200, "0123456789"},
    {"If-Modified-Since: nonsense\r\n", 200, "0123456789"},
    {"If-Unmodified-Since: " LAST "\r\n", 200, "0123456789"},
    {"If-Unmodified-Since: " BEFORE "\r\n", 412, NULL},
    {"If-None-Match: *\r\n", 304, ""},
    {"If-None-Match: \"a\", W/" ETAG "\r\n", 304, ""},
    {"If-None-Match: \"a\"\r\nIf-Modified-Since: " LAST "\r\n", 200, "0123456789"},
    {"If-Match: " ETAG "\r\n", 200, "0123456789"},
    {"If-Match: W/" ETAG "\r\n", 412, NULL},
    {"If-Match: \"a\"\r\n", 412, NULL},
    {"If-Range: " ETAG "\r\nRange: bytes=0-1\r\n", 206, "01"},
    {"If-Range: \"a\"\r\nRange: bytes=0-1\r\n", 200, "0123456789"},
    {"If-Range: " LAST "\r\nRange: bytes=0-1\r\n", 206, "01"},
    {"If-Range: " BEFORE "\r\nRange: bytes=0-1\r\n", 200, "0123456789"},
};

static int serve_files(void *arg)
{
    static char big[100001];
    filch_http_server *server;
    struct temp_dir dir;
    char fields[512];

    (void)arg;
    temp_dir_make(&dir);
    put_file(&dir, "ten.txt", "0123456789");
    put_file(&dir, ".hidden", "no");
    memset(big, 'x', sizeof(big) - 1);
    put_file(&dir, "big.bin", big);
    T_OK(mkdir(in_dir(&dir, "sub"), 0755));
    put_file(&dir, "sub/index.html", "<p>");
    T_OK(mkfifo(in_dir(&dir, "fifo"), 0644));
    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route_files(server, "/f/", dir.path));
    for (size_t i = 0; i < COUNT(conditions); i++) {
        snprintf(fields, sizeof(fields), conditions[i].fields, 1000000000ull * 1000000000ull);
        ask(server, "GET", "/f/ten.txt", fields);
        if (memory_last_status(&m) != conditions[i].status)
            fprintf(stderr, "%s: %s\n", fields, m.out);
        T_IS(memory_last_status(&m), conditions[i].status);
        if (conditions[i].body)
            check_answer(body(), conditions[i].body);
    }
    ask(server, "GET", "/f/ten.txt", "Range: bytes=2-4\r\n");
    T_CHECK(has("Content-Range: bytes 2-4/10\r\n") && has("Content-Length: 3\r\n"));
    T_CHECK(has("Content-Type: text/plain; charset=utf-8\r\n") && has("Last-Modified: " LAST));
    ask(server, "GET", "/f/ten.txt", "Range: bytes=10-\r\n");
    T_CHECK(has("Content-Range: bytes */10\r\n"));
    ask(server, "HEAD", "/f/ten.txt", "Range: bytes=2-4\r\n");
    T_CHECK(has("Content-Length: 10\r\n") && *body() == '\0');
    ask(server, "GET", "/f/sub/", NULL);
    check_answer(body(), "<p>");
    ask(server, "GET", "/f/big.bin", NULL);
    T_CHECK(strcmp(body(), big) == 0 && has("Content-Type: application/octet-stream\r\n"));

    static const char *const missing[] = {
        "/f/none",   "/f/sub",      "/f/.hidden",          "/f/", "/f/ten.txt/x", "/f/../f",
        "/f/sub/..", "/f/%2e%2e/x", "/f/sub%2findex.html", "/f"};

    for (size_t i = 0; i < COUNT(missing); i++) {
        ask(server, "GET", missing[i], NULL);
        T_IS(memory_last_status(&m), 404);
    }
    ask(server, "GET", "/f/fifo", NULL);
    T_IS(memory_last_status(&m), 403);
    ask(server, "POST", "/f/ten.txt", NULL);
    T_IS(memory_last_status(&m), 405);
    filch_http_server_free(server);
    temp_dir_remove(&dir);
    return 0;
}

Test(http_answer, files_with_ranges_and_conditions)
{
    T_OK(run_in_runtime(0, serve_files, NULL));
}
