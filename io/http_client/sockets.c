/* libcurl's sockets and its timer.
 *
 * libcurl says what it waits for of a socket, and forgets it at the end of each transfer, though
 * the connection stays and the next transfer waits for the same. So a socket that was opened for it
 * stays in the epoll instance as it is until that is wrong: until libcurl wants something else, or
 * closes it, or something happens that nobody waits for (the peer has closed it: it is taken out,
 * and libcurl sees that when it wants to use it). A request costs no call of epoll_ctl(2) then.
 *
 * Other descriptors, as those that tell of a name that was looked up, libcurl closes without a word
 * to us; they are taken out at once. */
#include "io/http_client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <filch/time.h>

#define EVENTS 64

/* NULL: it was not opened by us. */
static struct http_socket *socket_of(struct http_shard *shard, curl_socket_t fd)
{
    struct http_socket *s = (size_t)fd < shard->sockets_room ? &shard->sockets[fd] : NULL;

    return s && s->open ? s : NULL;
}

/* Return: false: no memory. */
static bool make_room(struct http_shard *shard, curl_socket_t fd)
{
    size_t room = shard->sockets_room ?: 64;
    struct http_socket *more;

    if ((size_t)fd < shard->sockets_room)
        return true;
    while (room <= (size_t)fd)
        room *= 2;
    more = realloc(shard->sockets, room * sizeof(*more));
    if (!more)
        return false;
    memset(more + shard->sockets_room, 0, (room - shard->sockets_room) * sizeof(*more));
    shard->sockets = more;
    shard->sockets_room = room;
    return true;
}

curl_socket_t http_socket_open(struct http_shard *shard, const struct curl_sockaddr *addr)
{
    int fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);

    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (!make_room(shard, fd)) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    shard->sockets[fd] = (struct http_socket){.open = true};
    return fd;
}

int http_socket_close(void *context, curl_socket_t fd)
{
    struct http_shard *shard = context;
    struct http_socket *s = socket_of(shard, fd);

    if (s && s->in_epoll)
        epoll_ctl(shard->epoll, EPOLL_CTL_DEL, fd, NULL);
    if (s)
        *s = (struct http_socket){0};
    return close(fd);
}

/* Return: 0; -1. */
static int wait_for(struct http_shard *shard, curl_socket_t fd, uint32_t events, bool known)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    int r = epoll_ctl(shard->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);

    /* The number may have been closed and used again without a word. */
    if (r < 0)
        r = epoll_ctl(shard->epoll, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    return r;
}

static int want(struct http_shard *shard, curl_socket_t fd, uint32_t events, bool known)
{
    struct http_socket *s = socket_of(shard, fd);

    if (!s)
        return wait_for(shard, fd, events, known);
    s->wanted = true;
    if (s->in_epoll == events)
        return 0;
    if (wait_for(shard, fd, events, s->in_epoll) < 0)
        return -1;
    s->in_epoll = events;
    return 0;
}

static void want_no_more(struct http_shard *shard, curl_socket_t fd)
{
    struct http_socket *s = socket_of(shard, fd);

    if (s)
        s->wanted = false;
    else
        epoll_ctl(shard->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int http_on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
    struct http_shard *shard = context;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

    if (!(what & CURL_POLL_IN))
        http_transfer_reads_no_more(easy, what == CURL_POLL_OUT);
    if (what == CURL_POLL_REMOVE) {
        want_no_more(shard, fd);
        return 0;
    }
    if (want(shard, fd, events, known) < 0) {
        http_transfer_fail(easy); /* an error from here would end libcurl as a whole, for good */
        return 0;
    }
    if (!known && !socket_of(shard, fd))
        curl_multi_assign(shard->multi, fd, shard);
    return 0;
}

int http_on_timer(CURLM *multi, long ms, void *context)
{
    struct http_shard *shard = context;

    (void)multi;
    shard->timer = ms < 0 ? FILCH_NEVER : filch_after((filch_time)ms * FILCH_MILLISECOND);
    return 0;
}

static void handle_event(struct http_shard *shard, const struct epoll_event *event)
{
    curl_socket_t fd = event->data.fd;
    struct http_socket *s = socket_of(shard, fd);
    int what = (event->events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
               (event->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (event->events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    int running;

    if (s && !s->wanted) {
        epoll_ctl(shard->epoll, EPOLL_CTL_DEL, fd, NULL);
        s->in_epoll = 0;
        return;
    }
    curl_multi_socket_action(shard->multi, fd, what, &running);
}

bool http_handle_sockets(struct http_shard *shard)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(shard->epoll, events, EVENTS, 0);

    for (int i = 0; i < n; i++)
        handle_event(shard, &events[i]);
    return n > 0;
}

void http_handle_timer(struct http_shard *shard)
{
    int running;

    if (shard->timer == FILCH_NEVER || filch_now() < shard->timer)
        return;
    shard->timer = FILCH_NEVER;
    curl_multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}
