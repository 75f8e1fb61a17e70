/* Echo server on a bare epoll loop: the limit for a readiness-based runtime.
 *
 * Level-triggered, one thread. A connection is either reading or, after a short send, writing out
 * what is left of its buffer; it never does both, so that the buffer has one owner at a time. */
#include "peer.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

struct conn {
    int fd;
    size_t begin, end; /* what is still to be sent of buffer */
    char buffer[PEER_BUFFER_BYTES];
};

static int epoll_fd;

static void conn_watch(struct conn *c, int how, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, how, c->fd, &event) < 0)
        peer_die("epoll_ctl");
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    free(c);
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            peer_die("accept");
        struct conn *c = malloc(sizeof *c);
        if (!c)
            peer_die("malloc");
        c->fd = fd;
        c->begin = c->end = 0;
        conn_watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Returns false when the connection is gone. */
static bool conn_flush(struct conn *c)
{
    ssize_t n = send(c->fd, c->buffer + c->begin, c->end - c->begin, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return false;
    if (n > 0)
        c->begin += (size_t)n;
    return true;
}

static bool conn_serve(struct conn *c)
{
    bool was_writing = c->begin < c->end;
    if (!was_writing) {
        ssize_t n = recv(c->fd, c->buffer, sizeof c->buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        c->begin = 0;
        c->end = (size_t)n;
    }
    if (!conn_flush(c))
        return false;
    bool is_writing = c->begin < c->end;
    if (is_writing != was_writing)
        conn_watch(c, EPOLL_CTL_MOD, is_writing ? EPOLLOUT : EPOLLIN);
    return true;
}

int main(void)
{
    struct epoll_event events[256];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = peer_listen(SOCK_NONBLOCK);
    struct epoll_event on_listener = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &on_listener) < 0)
        peer_die("epoll_ctl");
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c)
                accept_all(listener);
            else if (!conn_serve(c))
                conn_close(c);
        }
    }
}
