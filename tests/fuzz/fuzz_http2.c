/* Description: any bytes as what a peer of the HTTP server sends once it has begun with HTTP/2.
 * Whatever they are, the server comes to an end, and what it sends are whole frames, of streams
 * that a client may begin.
 *
 * Built for libFuzzer by clang with -Dfuzz=enabled; otherwise linked with replay.c, which runs the
 * corpus as a test. The first byte says in what pieces the rest comes (the low four bits; 0: at
 * once), and whether handlers run in between (16), or before the end only. The preface is not a
 * part of it. */
#include "tests/runner/http_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_BYTES (sizeof(PREFACE) - 1)
#define INPUT_MAX 8192

/* ---- what is sent: frames ---- */

enum { FRAME_SETTINGS = 4, FRAME_HEAD_BYTES = 9, FRAME_BYTES_MAX = 16384 };

struct frames {
    uint8_t head[FRAME_HEAD_BYTES];
    unsigned head_bytes; /* that are there */
    size_t left;         /* of the payload */
    unsigned count;
};

static void look_at_head(struct frames *frames)
{
    const uint8_t *head = frames->head;

    frames->left = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    T_CHECK(frames->left <= FRAME_BYTES_MAX);
    T_CHECK(frames->count > 0 || head[3] == FRAME_SETTINGS);
    /* Nothing is pushed: streams have odd numbers. */
    T_CHECK(!(head[5] & 0x80) && (head[8] % 2 || !(head[5] | head[6] | head[7] | head[8])));
    frames->head_bytes = 0;
    frames->count++;
}

static void take_frames(struct frames *frames, const uint8_t *at, size_t bytes)
{
    for (; bytes; at++, bytes--) {
        if (frames->left) {
            size_t n = frames->left < bytes ? frames->left : bytes;

            frames->left -= n;
            at += n - 1;
            bytes -= n - 1;
            continue;
        }
        frames->head[frames->head_bytes++] = *at;
        if (frames->head_bytes == FRAME_HEAD_BYTES)
            look_at_head(frames);
    }
}

/* ---- the connection ---- */

struct peer {
    char in[PREFACE_BYTES + INPUT_MAX];
    size_t bytes, at, piece; /* 0: no limit */
    bool yields;
    struct frames frames;
};

static void let_handlers_run(int turns)
{
    while (turns--)
        filch_task_yield();
}

static ssize_t peer_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct peer *peer = context;
    size_t n = peer->bytes - peer->at;

    (void)until;
    if (n == 0) /* what was asked is answered, as far as it can be, before the end */
        let_handlers_run(16);
    else if (peer->yields)
        let_handlers_run(2);
    n = peer->piece && n > peer->piece ? peer->piece : n;
    n = n < bytes ? n : bytes;
    memcpy(buf, peer->in + peer->at, n);
    peer->at += n;
    return (ssize_t)n;
}

static ssize_t peer_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct peer *peer = context;

    (void)until;
    take_frames(&peer->frames, buf, bytes);
    return (ssize_t)bytes;
}

/* ---- the server ---- */

/* Sends the body and the trailers back. */
static int turn(filch_exchange *x, void *context)
{
    const char *name, *value;
    char buf[64];
    ssize_t n = 0;
    int r;

    (void)context;
    (void)!filch_exchange_set(x, "Trailer", filch_exchange_header(x, "Trailer") ?: "A");
    r = filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER);
    while (r == 0 && (n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        r = filch_exchange_write_all(x, buf, (size_t)n, NULL, FILCH_NEVER);
    for (unsigned i = 0; filch_exchange_trailer_at(x, i, &name, &value) == 0; i++)
        (void)!filch_exchange_set_trailer(x, name, value);
    return r < 0 ? r : (int)n;
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

/* Leaves the body where it is, and sends more than a window. */
static int pour(filch_exchange *x, void *context)
{
    static const char block[40000];
    int r = filch_exchange_begin(x, 200, NULL, (int64_t)3 * sizeof(block), FILCH_NEVER);

    (void)context;
    for (int i = 0; r == 0 && i < 3; i++)
        r = filch_exchange_write_all(x, block, sizeof(block), NULL, FILCH_NEVER);
    return r;
}

static filch_http_server *make_server(void)
{
    filch_http_server *server;

    T_OK(filch_http_server_new(&(filch_http_server_opts){.head_bytes_max = 1024,
                                                         .target_bytes_max = 256,
                                                         .fields_max = 10,
                                                         .body_bytes_max = 512},
                               &server));
    T_OK(filch_http_route_flags(server, NULL, "/take", take, NULL, FILCH_HTTP_PROMPT));
    T_OK(filch_http_route(server, NULL, "/pour", pour, NULL));
    T_OK(filch_http_route(server, NULL, "/{path...}", turn, NULL));
    return server;
}

/* ---- inputs ---- */

static filch_http_server *server;
static struct peer peer;

static int serve(void *arg)
{
    filch_http_server_stats stats;

    (void)arg;
    T_OK(filch_http_serve_io(
        server,
        (filch_io){.reader = {.read = peer_read, .context = &peer},
                   .writer = {.write = peer_write, .finish = memory_finish, .context = &peer}},
        T_LIMIT));
    T_OK(filch_http_server_stats_get(server, &stats));
    T_IS(stats.open, 0);
    T_CHECK(peer.frames.count > 0);
    T_IS(peer.frames.left, 0);
    T_IS(peer.frames.head_bytes, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static filch_runtime *rt;

    if (!bytes || bytes > INPUT_MAX)
        return 0;
    if (!rt) {
        T_OK(filch_runtime_start(&(filch_runtime_opts){.current_thread = true}, &rt));
        server = make_server();
    }
    memset(&peer, 0, sizeof(peer));
    peer.piece = data[0] % 16;
    peer.yields = data[0] & 16;
    memcpy(peer.in, PREFACE, PREFACE_BYTES);
    memcpy(peer.in + PREFACE_BYTES, data + 1, bytes - 1);
    peer.bytes = PREFACE_BYTES + bytes - 1;
    T_OK(filch_runtime_block_on(rt, serve, NULL, NULL, FILCH_NEVER));
    return 0;
}
