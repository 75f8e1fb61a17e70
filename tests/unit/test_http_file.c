/* Description: files that the HTTP server answers with over TCP, where the kernel sends them: whole
 * and in ranges, between other answers, to peers that stop reading, and files that shrink. */
#include <errno.h>
#include <fcntl.h>

#include <criterion/criterion.h>

#include <filch/http_server.h>

#include "tests/runner/tcp_pair.h"
#include "tests/runner/temp_dir.h"

TestSuite(http_file, .timeout = 120);

#define BYTES ((size_t)3 * 1024 * 1024 + 17)
#define SPARSE ((size_t)256 * 1024 * 1024)

struct site {
    struct temp_dir dir;
    filch_http_server *server;
    filch_listener *listener;
    filch_task *task;
    char addr[FILCH_ADDR_BYTES];
};

static unsigned char data[BYTES], got[BYTES];

static void put_file(const struct temp_dir *dir, const char *name, size_t bytes)
{
    int fd = open(in_dir(dir, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    T_CHECK(fd >= 0);
    for (size_t done = 0; done < bytes && bytes <= BYTES;) {
        ssize_t n = write(fd, data + done, bytes - done);

        T_CHECK(n > 0);
        done += (size_t)n;
    }
    if (bytes > BYTES)
        T_OK(ftruncate(fd, (off_t)bytes));
    T_OK(close(fd));
}

static int serve(void *arg)
{
    struct site *site = arg;

    return filch_http_serve(site->server, site->listener, FILCH_NEVER);
}

static void site_open(struct site *site, const filch_http_server_opts *opts)
{
    temp_dir_make(&site->dir);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    put_file(&site->dir, "big", BYTES);
    put_file(&site->dir, "small", 100);
    put_file(&site->dir, "sparse", SPARSE);
    T_OK(filch_http_server_new(opts, &site->server));
    T_OK(filch_http_route_files(site->server, "/", site->dir.path));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &site->listener));
    T_OK(filch_listener_addr(site->listener, site->addr));
    site->task = spawn(serve, site);
}

static filch_http_server_stats stats_of(const struct site *site)
{
    filch_http_server_stats stats;

    T_OK(filch_http_server_stats_get(site->server, &stats));
    return stats;
}

static void site_close(struct site *site)
{
    T_WAIT_UNTIL(stats_of(site).open == 0);
    T_OK(filch_http_drain(site->server, T_LIMIT));
    T_OK(join(site->task));
    T_OK(filch_listener_close(site->listener));
    filch_http_server_free(site->server);
    temp_dir_remove(&site->dir);
}

static filch_tcp *visit(const struct site *site)
{
    filch_tcp *conn;

    T_OK(filch_tcp_connect(site->addr, &conn, T_LIMIT));
    return conn;
}

static void ask(filch_tcp *conn, const char *method, const char *path, const char *fields)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path,
                     fields ? fields : "");

    T_OK(filch_tcp_write_all(conn, text, (size_t)n, NULL, T_LIMIT));
}

/* Return: the status; the length that it says. */
static int read_head(filch_tcp *conn, size_t *ret_length)
{
    char text[1024];
    size_t n = 0;
    const char *length;

    while (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0) {
        T_CHECK(n < sizeof(text) - 1);
        T_OK(filch_tcp_read_exact(conn, text + n++, 1, NULL, T_LIMIT));
    }
    text[n] = '\0';
    length = strstr(text, "Content-Length: ");
    T_CHECK(length);
    *ret_length = strtoul(length + 16, NULL, 10);
    return atoi(text + 9);
}

static void expect(filch_tcp *conn, int status, size_t first, size_t bytes)
{
    size_t length;

    T_IS(read_head(conn, &length), status);
    T_IS(length, bytes);
    T_OK(filch_tcp_read_exact(conn, got, bytes, NULL, T_LIMIT));
    T_CHECK(memcmp(got, data + first, bytes) == 0);
}

static int whole_and_ranges(void *arg)
{
    static const size_t spans[][2] = {{0, 1},           {0, 65536},     {1, 65536},
                                      {4095, 65537},    {0, 70000},     {BYTES - 100000, 100000},
                                      {12345, 1234567}, {1, BYTES - 1}, {BYTES - 1, 1}};
    struct site site;
    filch_tcp *conn;
    size_t length;
    char fields[64];

    (void)arg;
    site_open(&site, NULL);
    conn = visit(&site);
    for (int round = 0; round < 3; round++) {
        ask(conn, "GET", "/big", NULL);
        expect(conn, 200, 0, BYTES);
    }
    for (size_t i = 0; i < sizeof(spans) / sizeof(*spans); i++) {
        snprintf(fields, sizeof(fields), "Range: bytes=%zu-%zu\r\n", spans[i][0],
                 spans[i][0] + spans[i][1] - 1);
        ask(conn, "GET", "/big", fields);
        expect(conn, 206, spans[i][0], spans[i][1]);
    }
    /* What is asked for at once is answered in its order. */
    for (int round = 0; round < 3; round++) {
        ask(conn, "GET", "/small", NULL);
        ask(conn, "HEAD", "/big", NULL);
        ask(conn, "GET", "/big", NULL);
        ask(conn, "GET", "/big", "Range: bytes=100-200099\r\n");
    }
    for (int round = 0; round < 3; round++) {
        expect(conn, 200, 0, 100);
        T_IS(read_head(conn, &length), 200);
        T_IS(length, BYTES);
        expect(conn, 200, 0, BYTES);
        expect(conn, 206, 100, 200000);
    }
    /* HTTP/1.0 has no other end than this one. */
    T_OK(filch_tcp_write_all(conn, "GET /big HTTP/1.0\r\n\r\n", 21, NULL, T_LIMIT));
    expect(conn, 200, 0, BYTES);
    T_IS(filch_tcp_read(conn, got, 1, T_LIMIT), 0);
    T_OK(filch_tcp_close(conn));
    site_close(&site);
    return 0;
}

Test(http_file, files_come_whole_and_in_ranges_between_other_answers)
{
    T_OK(run_in_runtime(0, whole_and_ranges, NULL));
}

static int shrinks(void *arg)
{
    struct site site;
    filch_tcp *conn;
    size_t length, n = 0;
    ssize_t r;

    (void)arg;
    site_open(&site, NULL);
    conn = visit(&site);
    ask(conn, "GET", "/sparse", NULL);
    ask(conn, "GET", "/small", NULL); /* is not answered behind a body that was cut off */
    T_IS(read_head(conn, &length), 200);
    T_IS(length, SPARSE);
    T_OK(truncate(in_dir(&site.dir, "sparse"), 100));
    while ((r = filch_tcp_read(conn, got, sizeof(got), T_LIMIT)) > 0)
        n += (size_t)r;
    T_CHECK(r == 0 || r == -ECONNRESET);
    T_CHECK(n < SPARSE);
    T_OK(filch_tcp_close(conn));
    conn = visit(&site); /* others are served */
    ask(conn, "GET", "/sparse", NULL);
    T_IS(read_head(conn, &length), 200);
    T_IS(length, 100);
    T_OK(filch_tcp_close(conn));
    site_close(&site);
    return 0;
}

Test(http_file, a_file_that_shrinks_cuts_its_answer_off)
{
    T_OK(run_in_runtime(0, shrinks, NULL));
}

static int stalls(void *arg)
{
    const filch_http_server_opts opts = {.stall_ns = 30 * FILCH_MILLISECOND};
    struct site site;
    filch_tcp *conn, *other;
    size_t length;

    (void)arg;
    site_open(&site, &opts);
    conn = visit(&site);
    ask(conn, "GET", "/sparse", NULL);
    T_IS(read_head(conn, &length), 200);
    T_WAIT_UNTIL(stats_of(&site).timeouts == 1);
    T_WAIT_UNTIL(stats_of(&site).open == 0);
    /* One that goes in the middle. */
    other = visit(&site);
    ask(other, "GET", "/sparse", NULL);
    T_IS(read_head(other, &length), 200);
    T_OK(filch_tcp_close(other));
    T_OK(filch_tcp_close(conn));
    site_close(&site);
    return 0;
}

Test(http_file, a_peer_that_does_not_read_loses_its_connection)
{
    T_OK(run_in_runtime(0, stalls, NULL));
}
