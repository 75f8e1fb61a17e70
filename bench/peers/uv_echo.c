/* Echo server on libuv, one loop.
 *
 * Each connection has one buffer. What was read is written back at once with uv_try_write(); when
 * the socket has no room, reading stops until uv_write() is done with the rest of the buffer. */
#include "peer.h"
#include <uv.h>

struct conn {
    uv_tcp_t tcp; /* first: a handle is cast to its connection */
    uv_write_t write;
    char buffer[PEER_BUFFER_BYTES];
};

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void conn_close(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_close);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    *buf = uv_buf_init(((struct conn *)handle)->buffer, PEER_BUFFER_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = (struct conn *)req->handle;
    if (status < 0)
        conn_close(c);
    else
        uv_read_start((uv_stream_t *)&c->tcp, give_buffer, on_read);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = (struct conn *)stream;
    if (n == 0)
        return;
    if (n < 0) {
        conn_close(c);
        return;
    }
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
    int written = uv_try_write(stream, &out, 1);
    if (written == n)
        return;
    if (written < 0 && written != UV_EAGAIN) {
        conn_close(c);
        return;
    }
    unsigned done = written > 0 ? (unsigned)written : 0;
    uv_buf_t rest = uv_buf_init(buf->base + done, (unsigned)n - done);
    uv_read_stop(stream);
    if (uv_write(&c->write, stream, &rest, 1, on_written) < 0)
        conn_close(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct conn *c = malloc(sizeof *c);
    if (!c)
        peer_die("malloc");
    uv_tcp_init(server->loop, &c->tcp);
    if (status < 0 || uv_accept(server, (uv_stream_t *)&c->tcp) < 0) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, give_buffer, on_read);
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    struct sockaddr_in addr;
    uv_os_fd_t fd;
    peer_raise_file_limit();
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (const struct sockaddr *)&addr, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, PEER_BACKLOG, on_connection) < 0 ||
        uv_fileno((uv_handle_t *)&server, &fd) < 0)
        peer_die("listen");
    peer_print_port(fd);
    return uv_run(loop, UV_RUN_DEFAULT);
}
