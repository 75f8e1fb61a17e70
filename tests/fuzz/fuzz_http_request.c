/* Description: any bytes as what a peer of the HTTP server sends. Whatever they are, the server
 * comes to an end, and the same bytes in pieces are answered as when they come at once.
 *
 * Built for libFuzzer by clang with -Dfuzz=enabled; otherwise linked with replay.c, which runs the
 * corpus as a test. The first byte says in what pieces the rest comes. */
#include "tests/runner/http_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Sends the trailers of the request back, as far as they may be sent. Return: bytes of them. */
static size_t turn_trailers(filch_exchange *x)
{
    const char *name, *value;
    size_t bytes = 0;

    for (unsigned i = 0; filch_exchange_trailer_at(x, i, &name, &value) == 0; i++) {
        int r = filch_exchange_set_trailer(x, name, value);

        T_CHECK(r == 0 || r == -EPROTO || r == -ENOENT || r == -EOPNOTSUPP || r == -ENOBUFS);
        bytes += strlen(name) + strlen(value);
    }
    return bytes;
}

/* What was answered. */
static struct told {
    unsigned answers;
    int last_status;
    uint64_t bytes;
    size_t trailers; /* bytes of them, of requests */
    bool cut_off;    /* how much had left then depends on the pieces */
} told;

static int answer(filch_exchange *x, void *context)
{
    char buf[64];
    ssize_t n;
    int r;

    (void)context;
    if (filch_exchange_query(x))
        (void)!filch_exchange_query_param(x, "a", buf, sizeof(buf));
    (void)!filch_exchange_set(x, "Trailer", filch_exchange_header(x, "Trailer") ?: "A");
    r = filch_exchange_begin(x, 200, NULL, filch_exchange_body_bytes(x), FILCH_NEVER);
    while (r == 0 && (n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) != 0)
        r = n < 0 ? (int)n : filch_exchange_write_all(x, buf, (size_t)n, NULL, FILCH_NEVER);
    told.trailers += turn_trailers(x);
    return r;
}

static int take(filch_exchange *x, void *context)
{
    void *body;
    size_t n;
    int r = filch_exchange_read_all(x, 0, &body, &n, FILCH_NEVER);

    (void)context;
    if (r < 0)
        return r;
    r = filch_exchange_reply(x, 200, "text/plain", body, n, FILCH_NEVER);
    free(body);
    return r;
}

static int ignore(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_param(x, "id") ? 404 : 0;
}

static void note(void *context, const filch_http_access *access)
{
    (void)context;
    told.answers++;
    /* A head that is wrong in several ways may be refused for any of them. */
    told.last_status = access->status < 400 ? access->status : 400;
    told.bytes += access->status < 400 ? access->body_bytes : 0;
    told.cut_off |= !access->complete;
}

static filch_http_server *make_server(void)
{
    filch_http_server *server;

    T_OK(filch_http_server_new(&(filch_http_server_opts){.head_bytes_max = 1024,
                                                         .target_bytes_max = 256,
                                                         .fields_max = 10,
                                                         .body_bytes_max = 512,
                                                         .access = note},
                               &server));
    T_OK(filch_http_route(server, NULL, "/echo/{path...}", answer, NULL));
    T_OK(filch_http_route_flags(server, NULL, "/take", take, NULL, FILCH_HTTP_PROMPT));
    T_OK(filch_http_route(server, NULL, "/", ignore, NULL));
    T_OK(filch_http_route(server, "GET", "/ignore/{id}/x", ignore, NULL));
    return server;
}

struct input {
    filch_http_server *server;
    const uint8_t *data;
    size_t bytes;
};

static struct told serve_once(const struct input *input, size_t piece)
{
    static struct memory_io m;

    told = (struct told){0};
    m.piece = piece;
    memory_serve(input->server, &m, (const char *)input->data + 1, input->bytes - 1);
    return told;
}

static int serve_input(void *arg)
{
    const struct input *input = arg;
    struct told whole = serve_once(input, 0);
    struct told pieces = serve_once(input, input->data[0] % 16 + 1u);

    T_IS(pieces.answers, whole.answers);
    T_IS(pieces.last_status, whole.last_status);
    T_IS(pieces.trailers, whole.trailers);
    T_IS(pieces.cut_off, whole.cut_off);
    if (!whole.cut_off)
        T_IS(pieces.bytes, whole.bytes);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static filch_runtime *rt;
    static struct input input;

    if (!bytes || bytes > 8192)
        return 0;
    if (!rt) {
        T_OK(filch_runtime_start(&(filch_runtime_opts){.current_thread = true}, &rt));
        input.server = make_server();
    }
    input.data = data;
    input.bytes = bytes;
    T_OK(filch_runtime_block_on(rt, serve_input, &input, NULL, FILCH_NEVER));
    return 0;
}
