/* Description: what each public function of the HTTP library says to wrong calls; see
 * test_misuse.c. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include <filch/http_server.h>

#include "tests/runner/http_memory.h"
#include "tests/runner/misuse.h"

TestSuite(misuse_http, .timeout = 120);

static int answer(filch_exchange *x, void *context)
{
    (void)x;
    (void)context;
    return 0;
}

/* Inside of a handler. */
static int wrong_exchange(filch_exchange *x, void *context)
{
    static char long_name[5000];
    const char *name, *value;
    char text[8];
    void *data;

    (void)context;
    memset(long_name, 'a', sizeof(long_name) - 1);
    ROW(filch_exchange_header_at(x, 2, &name, &value), -ENOENT);
    ROW(filch_exchange_header_at(x, 0, NULL, &value), -EINVAL);
    ROW(filch_exchange_header(x, NULL) != NULL, false);
    ROW(filch_exchange_trailer_at(x, 0, &name, &value), -ENOENT);
    ROW(filch_exchange_trailer_at(x, 0, NULL, &value), -EINVAL);
    ROW(filch_exchange_trailer(x, NULL) != NULL, false);
    ROW(filch_exchange_param(x, NULL) != NULL, false);
    ROW(filch_exchange_param(x, "none") != NULL, false);
    ROW(filch_exchange_query_param(x, "a", text, 0), -EINVAL);
    ROW(filch_exchange_query_param(x, "none", text, 8), -ENOENT);
    ROW(filch_exchange_query_param(x, "long", text, 8), -ERANGE);
    ROW(filch_exchange_query_param(x, "bad", text, 8), -EINVAL);
    ROW(filch_exchange_read(x, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_read_all(x, 0, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_read_all(x, 2, &data, NULL, FILCH_NOW), -EMSGSIZE);
    ROW(filch_exchange_set(x, NULL, "b"), -EINVAL);
    ROW(filch_exchange_set(x, "a", NULL), -EINVAL);
    ROW(filch_exchange_set(x, "a b", "c"), -EINVAL);
    ROW(filch_exchange_set(x, "", "c"), -EINVAL);
    ROW(filch_exchange_set(x, "a", "b\r\nc: d"), -EINVAL);
    ROW(filch_exchange_set(x, "content-length", "1"), -EINVAL);
    ROW(filch_exchange_set(x, "Transfer-Encoding", "chunked"), -EINVAL);
    ROW(filch_exchange_set(x, "connection", "close"), -EINVAL);
    ROW(filch_exchange_set(x, "a", long_name), -ENOBUFS);
    ROW(filch_exchange_set_trailer(x, NULL, "b"), -EINVAL);
    ROW(filch_exchange_set_trailer(x, "a", NULL), -EINVAL);
    ROW(filch_exchange_set_trailer(x, "a", "b\r\nc: d"), -EINVAL);
    ROW(filch_exchange_set_trailer(x, "a", "b"), -EPROTO);
    ROW(filch_exchange_write(x, "a", 1, FILCH_NOW), -EPROTO);
    ROW(filch_exchange_flush(x, FILCH_NOW), -EPROTO);
    ROW(filch_exchange_begin(x, 99, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(x, 100, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(x, 600, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(x, 200, "a\nb", 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(x, 200, long_name, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(x, 200, NULL, -2, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_reply(x, 200, NULL, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_reply_file(x, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_reply_file(x, "/nonexistent", NULL, FILCH_NEVER), -ENOENT);
    ROW(filch_exchange_reply_file(x, "/", NULL, FILCH_NEVER), -EISDIR);
    ROW(filch_exchange_upgrade(x, "a\r\n", &(filch_io){0}, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_upgrade(x, "a", &(filch_io){0}, FILCH_NOW), -EPROTO);
    ROW(filch_exchange_begin(x, 200, NULL, 3, FILCH_NOW), 0);
    ROW(filch_exchange_begin(x, 200, NULL, 3, FILCH_NOW), -EALREADY);
    ROW(filch_exchange_set(x, "a", "b"), -EALREADY);
    ROW(filch_exchange_reply(x, 200, NULL, NULL, 0, FILCH_NOW), -EALREADY);
    ROW(filch_exchange_reply_file(x, "/", NULL, FILCH_NOW), -EALREADY);
    ROW(filch_exchange_upgrade(x, "a", &(filch_io){0}, FILCH_NOW), -EALREADY);
    ROW(filch_exchange_write(x, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_write_all(x, "abcd", 4, NULL, FILCH_NOW), -EMSGSIZE);
    ROW(filch_exchange_write_all(x, "abc", 3, NULL, FILCH_NOW), 0);
    ROW(filch_exchange_write(x, "d", 1, FILCH_NOW), -EMSGSIZE);
    return 0;
}

static void wrong_everywhere(void)
{
    filch_http_server *server;
    filch_http_server_stats stats;
    filch_io io = {0};
    void *data;
    char text[8];
    const char *name;

    ROW(filch_http_server_new(NULL, NULL), -EINVAL);
    ROW(filch_http_server_new(&(filch_http_server_opts){.head_bytes_max = 1 << 20}, &server),
        -EINVAL);
    ROW(filch_http_server_new(&(filch_http_server_opts){.fields_max = 5000}, &server), -EINVAL);
    ROW(filch_http_server_new(&(filch_http_server_opts){.server_name = "a\n"}, &server), -EINVAL);
    ROW(filch_http_server_new(&(filch_http_server_opts){.wrap = &(filch_http_wrap){0}}, &server),
        -EINVAL);
    ROW_VOID(filch_http_server_free(NULL));
    ROW(filch_http_route(NULL, "GET", "/", answer, NULL), -EINVAL);
    ROW(filch_http_route_flags(NULL, "GET", "/", answer, NULL, 0), -EINVAL);
    ROW(filch_http_route_files(NULL, "/", "/"), -EINVAL);
    ROW(filch_http_serve(NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_serve_io(NULL, io, FILCH_NOW), -EINVAL);
    ROW(filch_http_drain(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_server_stats_get(NULL, &stats), -EINVAL);
    ROW(*filch_exchange_method(NULL), 0);
    ROW(*filch_exchange_target(NULL), 0);
    ROW(*filch_exchange_path(NULL), 0);
    ROW(filch_exchange_query(NULL) != NULL, false);
    ROW(filch_exchange_version(NULL), 0);
    ROW(*filch_exchange_host(NULL), 0);
    ROW(filch_exchange_header(NULL, "a") != NULL, false);
    ROW(filch_exchange_header_at(NULL, 0, &name, &name), -EINVAL);
    ROW(filch_exchange_trailer_at(NULL, 0, &name, &name), -EINVAL);
    ROW(filch_exchange_trailer(NULL, "a") != NULL, false);
    ROW(filch_exchange_set_trailer(NULL, "a", "b"), -EINVAL);
    ROW(filch_exchange_param(NULL, "a") != NULL, false);
    ROW(filch_exchange_query_param(NULL, "a", text, 8), -EINVAL);
    ROW(filch_exchange_conn(NULL) != NULL, false);
    ROW(filch_exchange_body_bytes(NULL), 0);
    ROW(filch_exchange_read(NULL, text, 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_read_all(NULL, 0, &data, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_reader(NULL).read(NULL, text, 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_set(NULL, "a", "b"), -EINVAL);
    ROW(filch_exchange_reply(NULL, 200, NULL, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_begin(NULL, 200, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_write(NULL, "a", 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_write_all(NULL, "a", 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_flush(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_writer(NULL).write(NULL, "a", 1, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_reply_file(NULL, "/", NULL, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_upgrade(NULL, "a", &io, FILCH_NOW), -EINVAL);
}

static const struct {
    const char *method, *pattern;
    int want;
} patterns[] = {
    {"GET", "/", 0},
    {"GET", "/", -EEXIST},
    {"POST", "/", 0},
    {NULL, "/", 0},
    {NULL, "/", -EEXIST},
    {"GET", NULL, -EINVAL},
    {"GET", "", -EINVAL},
    {"GET", "a", -EINVAL},
    {"G T", "/", -EINVAL},
    {"GET", "/{}", -EINVAL},
    {"GET", "/{a", -EINVAL},
    {"GET", "/a}", -EINVAL},
    {"GET", "/a{b}", -EINVAL},
    {"GET", "/{a...}/b", -EINVAL},
    {"GET", "/{a{b}", -EINVAL},
    {"GET", "/{a}", 0},
    {"GET", "/{b}", -EEXIST},
    {"GET", "/{a...}", 0},
    {"GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", -EINVAL},
};

static int wrong_in_task(void *arg)
{
    static struct memory_io m;
    static const char request[] =
        "POST /?long=123456789&bad=%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    filch_http_server *server;
    filch_listener *listener;

    (void)arg;
    wrong_everywhere();
    T_OK(filch_http_server_new(NULL, &server));
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
        ROW(filch_http_route(server, patterns[i].method, patterns[i].pattern, answer, NULL),
            patterns[i].want);
    ROW(filch_http_route(server, "GET", "/x", NULL, NULL), -EINVAL);
    ROW(filch_http_route_flags(server, "GET", "/x", answer, NULL, 64), -EINVAL);
    ROW(filch_http_route_files(server, NULL, "/"), -EINVAL);
    ROW(filch_http_route_files(server, "/f", NULL), -EINVAL);
    ROW(filch_http_route_files(server, "f", "/"), -EINVAL);
    ROW(filch_http_server_stats_get(server, NULL), -EINVAL);
    ROW(filch_http_serve_io(server, (filch_io){0}, FILCH_NOW), -EINVAL);
    filch_http_server_free(server);

    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route(server, NULL, "/", wrong_exchange, NULL));
    memory_serve(server, &m, request, sizeof(request) - 1);
    T_IS(memory_last_status(&m), 200);
    ROW(filch_http_route(server, "GET", "/x", answer, NULL), -EBUSY);
    ROW(filch_http_route_files(server, "/f", "/"), -EBUSY);
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_close(listener));
    ROW(filch_http_serve(server, listener, FILCH_NEVER), -EBADF);
    ROW(filch_http_drain(server, FILCH_NEVER), 0);
    ROW(filch_http_drain(server, FILCH_NEVER), 0);
    ROW(filch_http_serve_io(server, memory_io_of(&m), FILCH_NEVER), -ESHUTDOWN);
    filch_http_server_free(server);
    return 0;
}

Test(misuse_http, wrong_calls_of_a_task)
{
    T_OK(run_in_runtime(0, wrong_in_task, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_http, wrong_calls_of_a_plain_thread)
{
    static struct memory_io m;
    filch_http_server *server;
    filch_listener *listener;

    wrong_everywhere();
    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    ROW(filch_http_serve(server, listener, FILCH_NOW), -EPERM);
    ROW(filch_http_serve_io(server, memory_io_of(&m), FILCH_NOW), -EPERM);
    ROW(filch_http_drain(server, FILCH_NOW), -EPERM);
    T_OK(filch_listener_close(listener));
    filch_http_server_free(server);
    cr_assert_eq(misuse_wrong, 0);
}
