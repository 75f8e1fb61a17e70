/* See stress_cancel.c: messages, numbered from 1; the last one is 0. Datagrams, which have a limit
 * on how many wait; and messages that pass a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <filch/unix.h>

#include "tests/stress/cancel.h"

struct post {
    filch_unix_dgram *dgram[2];
    filch_unix *conn[2];
    uint64_t sent, got;
};

struct message {
    struct attempt attempt; /* first */
    struct post *post;
    uint64_t number;
    int null_fd;
};

static long send_datagram(struct attempt *attempt)
{
    struct message *m = (struct message *)attempt;

    return filch_unix_dgram_send(m->post->dgram[1], &m->number, sizeof m->number, NULL, NULL, 0,
                                 attempt->until);
}

static long recv_datagram(struct attempt *attempt)
{
    struct message *m = (struct message *)attempt;

    return filch_unix_dgram_recv(m->post->dgram[0], &m->number, sizeof m->number, NULL, NULL, NULL,
                                 attempt->until);
}

static long send_descriptor(struct attempt *attempt)
{
    struct message *m = (struct message *)attempt;

    return filch_unix_send_fds(m->post->conn[1], &m->number, sizeof m->number, &m->null_fd, 1,
                               attempt->until);
}

static long recv_descriptor(struct attempt *attempt)
{
    struct message *m = (struct message *)attempt;
    int fd[2];
    filch_unix_fds fds = {.fds = fd, .room = 2};
    long n =
        filch_unix_recv_fds(m->post->conn[0], &m->number, sizeof m->number, &fds, attempt->until);

    if (n > 0) {
        T_CHECK(!fds.lost);
        T_IS(fds.count, 1);
        T_OK(close(fd[0]));
    }
    return n;
}

static int send_posts(struct post *post, long (*fn)(struct attempt *))
{
    struct message m = {.post = post};
    long n;

    m.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    T_CHECK(m.null_fd >= 0);
    attempt_init(&m.attempt, MESSAGE);
    while (!is_over()) {
        m.number = post->sent + 1;
        n = attempted(&m.attempt, fn);
        if (!is_given_up(n)) {
            T_IS(n, sizeof m.number);
            post->sent++;
        }
    }
    /* The last one says that it is. */
    m.number = 0;
    m.attempt.until = T_LIMIT;
    T_IS(fn(&m.attempt), sizeof m.number);
    T_OK(close(m.null_fd));
    return 0;
}

static void recv_posts(struct post *post, long (*fn)(struct attempt *))
{
    struct message m = {.post = post};
    long n;

    attempt_init(&m.attempt, MESSAGE);
    for (;;) {
        bool over = is_over();

        m.attempt.until = T_LIMIT;
        n = over ? fn(&m.attempt) : attempted(&m.attempt, fn);
        if (!over && is_given_up(n))
            continue;
        T_IS(n, sizeof m.number);
        if (m.number == 0)
            break;
        T_IS(m.number, ++post->got);
    }
}

static int send_datagrams(void *arg)
{
    return send_posts(arg, send_datagram);
}

static int recv_datagrams(void *arg)
{
    struct post *post = arg;

    recv_posts(post, recv_datagram);
    atomic_fetch_add(&world.messages, post->got);
    return 0;
}

static int send_descriptors(void *arg)
{
    return send_posts(arg, send_descriptor);
}

static int recv_descriptors(void *arg)
{
    struct post *post = arg;

    recv_posts(post, recv_descriptor);
    atomic_fetch_add(&world.descriptors, post->got);
    return 0;
}

int messages_part(void *arg)
{
    struct post mail = {0}, parcels = {0};
    FILCH_SCOPE(scope);

    (void)arg;
    T_OK(filch_unix_dgram_pair(&mail.dgram[0], &mail.dgram[1]));
    T_OK(filch_unix_pair(&parcels.conn[0], &parcels.conn[1]));
    T_OK(filch_scope_spawn(&scope, send_datagrams, &mail));
    T_OK(filch_scope_spawn(&scope, recv_datagrams, &mail));
    T_OK(filch_scope_spawn(&scope, send_descriptors, &parcels));
    T_OK(filch_scope_spawn(&scope, recv_descriptors, &parcels));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(mail.got, mail.sent);
    T_IS(parcels.got, parcels.sent);
    for (int i = 0; i < 2; i++) {
        T_OK(filch_unix_dgram_close(mail.dgram[i]));
        T_OK(filch_unix_close(parcels.conn[i]));
    }
    return 0;
}
