/* Description: files that the HTTP server answers with over TCP, where the kernel sends them: whole
 * and in ranges, one or several (curl asks for some, too), between other answers, to peers that
 * stop reading, and files that shrink. What the kernel sends is counted: sendfile(2) is wrapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/sendfile.h>

#include <criterion/criterion.h>

#include <filch/http_server.h>
#include <filch/process.h>

#include "io/http/ranges.h"
#include "tests/runner/http_site.h"
#include "tests/runner/tcp_pair.h"
#include "tests/runner/temp_dir.h"

TestSuite(http_file, .timeout = 120);

#define BYTES ((size_t)3 * 1024 * 1024 + 17)
#define SPARSE ((size_t)256 * 1024 * 1024)

struct site {
    struct http_site http;
    struct temp_dir dir;
};

static unsigned char data[BYTES], got[BYTES];
static atomic_size_t by_kernel; /* bytes that the kernel has sent */

ssize_t __real_sendfile64(int to, int from, off_t *offset, size_t bytes);
ssize_t __wrap_sendfile64(int to, int from, off_t *offset, size_t bytes);

ssize_t __wrap_sendfile64(int to, int from, off_t *offset, size_t bytes)
{
    ssize_t n = __real_sendfile64(to, from, offset, bytes);

    if (n > 0)
        atomic_fetch_add(&by_kernel, (size_t)n);
    return n;
}

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

static void site_open(struct site *site, const filch_http_server_opts *opts)
{
    temp_dir_make(&site->dir);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    put_file(&site->dir, "big", BYTES);
    put_file(&site->dir, "small", 100);
    put_file(&site->dir, "sparse", SPARSE);
    http_site_new(&site->http, opts);
    T_OK(filch_http_route_files(site->http.server, "/", site->dir.path));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    T_WAIT_UNTIL(http_site_stats(&site->http).open == 0);
    http_site_close(&site->http);
    temp_dir_remove(&site->dir);
}

static filch_tcp *visit(const struct site *site)
{
    filch_tcp *conn;

    T_OK(filch_tcp_connect(site->http.addr, &conn, T_LIMIT));
    return conn;
}

static void ask(filch_tcp *conn, const char *method, const char *path, const char *fields)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path,
                     fields ? fields : "");

    T_OK(filch_tcp_write_all(conn, text, (size_t)n, NULL, T_LIMIT));
}

static char head[1024];

/* Return: the status; the length that it says. */
static int read_head(filch_tcp *conn, size_t *ret_length)
{
    char *text = head;
    size_t n = 0;
    const char *length;

    while (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0) {
        T_CHECK(n < sizeof(head) - 1);
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
    T_WAIT_UNTIL(atomic_load(&by_kernel) == 3 * BYTES); /* the count comes behind the bytes */
    for (size_t i = 0; i < sizeof(spans) / sizeof(*spans); i++) {
        atomic_store(&by_kernel, 0);
        snprintf(fields, sizeof(fields), "Range: bytes=%zu-%zu\r\n", spans[i][0],
                 spans[i][0] + spans[i][1] - 1);
        ask(conn, "GET", "/big", fields);
        expect(conn, 206, spans[i][0], spans[i][1]);
        T_WAIT_UNTIL(atomic_load(&by_kernel) == (spans[i][1] < 65536 ? 0 : spans[i][1]));
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
    T_WAIT_UNTIL(http_site_stats(&site.http).timeouts == 1);
    T_WAIT_UNTIL(http_site_stats(&site.http).open == 0);
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

/* ---- several ranges ---- */

/* As text, "0+2 5+2": first and bytes; "416", "200". */
static void ranges_text(const char *field, uint64_t size, char *to)
{
    struct http_ranges ranges;
    int status = http_ranges_parse(&ranges, field, size);

    if (status != 206)
        sprintf(to, "%d", status);
    for (size_t i = 0; status == 206 && i < ranges.count; i++)
        to += sprintf(to, "%s%llu+%llu", i ? " " : "", (unsigned long long)ranges.at[i].first,
                      (unsigned long long)ranges.at[i].bytes);
}

Test(http_file, fields_of_ranges)
{
    static const struct {
        const char *field, *ranges;
    } cases[] = {
        {NULL, "200"},
        {"bytes=", "200"},
        {"bytes=,", "200"},
        {"bytes", "200"},
        {"items=0-1", "200"},
        {"bytes=0-1", "0+2"},
        {"BYTES=0-1", "0+2"},
        {"bytes=0-1,5-6", "0+2 5+2"},
        {"bytes= 0-1 ,\t5-6 ,, ", "0+2 5+2"},
        {"bytes=5-6,0-1", "5+2 0+2"},
        {"bytes=90-,-1", "90+10"},
        {"bytes=-200", "0+100"},
        {"bytes=99-,0-0", "99+1 0+1"},
        {"bytes=0-999999999999999999", "0+100"},
        {"bytes=0-9999999999999999999", "200"},
        /* Those behind the end are left out, unless all are. */
        {"bytes=100-,5-6", "5+2"},
        {"bytes=-0,5-6", "5+2"},
        {"bytes=100-,200-300,-0", "416"},
        /* What overlaps, or touches, is one, in the place of the first. */
        {"bytes=0-10,5-20", "0+21"},
        {"bytes=0-4,5-9", "0+10"},
        {"bytes=5-9,0-4", "0+10"},
        {"bytes=0-4,6-9", "0+5 6+4"},
        {"bytes=50-60,0-4,55-70", "50+21 0+5"},
        {"bytes=0-1,10-11,20-21,1-20", "0+22"},
        {"bytes=80-81,0-1,10-11,20-21,1-20", "80+2 0+22"},
        {"bytes=0-,0-,0-,0-", "0+100"},
        /* Sixteen, and one more. */
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30",
         "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30,32-32",
         "200"},
        {"bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", "200"},
        /* One that is wrong spoils all. */
        {"bytes=0-1,x", "200"},
        {"bytes=0-1,-", "200"},
        {"bytes=0-1;5-6", "200"},
        {"bytes=0-1 5-6", "200"},
        {"bytes=5-4", "200"},
        {"bytes=0-1,5-4", "200"},
        {"bytes=--5", "200"},
        {"bytes=0 - 1", "200"},
        {"bytes=+0-1", "200"},
        {"bytes=0x0-1", "200"},
    };
    char text[256];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ranges_text(cases[i].field, 100, text);
        if (strcmp(text, cases[i].ranges) != 0)
            fprintf(stderr, "%s: %s\n", cases[i].field, text);
        T_CHECK(strcmp(text, cases[i].ranges) == 0);
    }
    ranges_text("bytes=0-", 0, text);
    T_CHECK(strcmp(text, "416") == 0);
    ranges_text("bytes=-5", 0, text);
    T_CHECK(strcmp(text, "416") == 0);
}

/* Puts together what @spans are, with the boundary of the head that was read, and compares. */
static void expect_parts(filch_tcp *conn, const size_t spans[][2], size_t count, size_t size)
{
    static char want[BYTES + 4096];
    const char *boundary;
    size_t length, n = 0;

    T_IS(read_head(conn, &length), 206);
    T_CHECK(!strstr(head, "\r\nContent-Range: "));
    boundary = strstr(head, "\r\nContent-Type: multipart/byteranges; boundary=");
    T_CHECK(boundary);
    boundary = strchr(boundary, '=') + 1;
    for (size_t i = 0; i < count; i++) {
        n += (size_t)sprintf(want + n,
                             "%s--%.32s\r\nContent-Type: application/octet-stream\r\n"
                             "Content-Range: bytes %zu-%zu/%zu\r\n\r\n",
                             i ? "\r\n" : "", boundary, spans[i][0], spans[i][0] + spans[i][1] - 1,
                             size);
        memcpy(want + n, data + spans[i][0], spans[i][1]);
        n += spans[i][1];
    }
    n += (size_t)sprintf(want + n, "\r\n--%.32s--\r\n", boundary);
    T_IS(length, n);
    T_OK(filch_tcp_read_exact(conn, got, n, NULL, T_LIMIT));
    T_CHECK(memcmp(got, want, n) == 0);
}

static int parts(void *arg)
{
    static const size_t few[][2] = {{0, 2}, {5, 2}},
                        large[][2] = {{1000000, 200000}, {7, 65536}, {BYTES - 1, 1}};
    struct site site;
    filch_tcp *conn;
    size_t length;

    (void)arg;
    site_open(&site, NULL);
    conn = visit(&site);
    for (int round = 0; round < 2; round++) {
        ask(conn, "GET", "/small", "Range: bytes=0-1,5-6\r\n");
        ask(conn, "GET", "/big", "Range: bytes=1000000-1199999,7-65542,-1\r\n");
        ask(conn, "GET", "/small", "Range: bytes=0-9,5-19\r\n");
        ask(conn, "HEAD", "/small", "Range: bytes=0-1,5-6\r\n");
    }
    for (int round = 0; round < 2; round++) {
        expect_parts(conn, few, 2, 100);
        expect_parts(conn, large, 3, BYTES);
        expect(conn, 206, 0, 20);
        T_CHECK(strstr(head, "\r\nContent-Range: bytes 0-19/100\r\n"));
        T_IS(read_head(conn, &length), 200);
        T_IS(length, 100);
    }
    ask(conn, "GET", "/small", "Range: bytes=0-1,5-6\r\nIf-Range: \"another\"\r\n");
    expect(conn, 200, 0, 100);
    ask(conn, "GET", "/small", "Range: bytes=100-,200-\r\n");
    T_IS(read_head(conn, &length), 416);
    T_CHECK(strstr(head, "\r\nContent-Range: bytes */100\r\n"));
    T_OK(filch_tcp_read_exact(conn, got, length, NULL, T_LIMIT));
    ask(conn, "GET", "/small", "Connection: close\r\n");
    expect(conn, 200, 0, 100);
    T_IS(filch_tcp_read(conn, got, 1, T_LIMIT), 0);
    T_OK(filch_tcp_close(conn));
    site_close(&site);
    return 0;
}

Test(http_file, several_ranges_come_as_parts_of_one_body)
{
    T_OK(run_in_runtime(0, parts, NULL));
}

static int curl_parts(void *arg)
{
    static const char *const versions[] = {"--http1.1", "--http2-prior-knowledge"};
    struct site site;
    filch_process_output output;
    char url[128];

    (void)arg;
    site_open(&site, NULL);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)('a' + i % 26);
    put_file(&site.dir, "text", 100);
    snprintf(url, sizeof(url), "http://%s/text", site.http.addr);
    for (int i = 0; i < 2; i++) {
        const char *const argv[] = {"curl",    "-sS",         "--noproxy",
                                    "*",       versions[i],   "-r",
                                    "0-1,5-6", "--write-out", "|%{http_code} %{content_type}",
                                    url,       NULL};

        T_OK(filch_process_run(argv, NULL, &output, T_LIMIT));
        T_IS(output.status.code, 0);
        T_CHECK(strstr(output.out, "Content-Range: bytes 0-1/100\r\n\r\nab\r\n--"));
        T_CHECK(strstr(output.out, "Content-Range: bytes 5-6/100\r\n\r\nfg\r\n--"));
        T_CHECK(strstr(output.out, "--\r\n|206 multipart/byteranges; boundary="));
        free(output.out);
        free(output.err);
    }
    site_close(&site);
    return 0;
}

Test(http_file, curl_gets_several_ranges)
{
    T_OK(run_in_runtime(0, curl_parts, NULL));
}
