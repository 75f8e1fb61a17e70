/* Description: descriptors that end while others use them (<filch/tcp.h>): numbers are reused at
 * once by whoever opens one next, and no call through an old handle ever reaches the new owner. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp_churn, .timeout = 120);

/* Takes every number that becomes free, and gives it up again: sockets of its own on which nothing
 * may ever arrive, so a byte there came through somebody else's handle. */
struct churn {
    atomic_int stop;
    atomic_ulong opened;
};

static void *churn_thread(void *arg)
{
    struct churn *churn = arg;

    while (!atomic_load(&churn->stop)) {
        int fds[6][2];

        for (int i = 0; i < 6; i++)
            T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]));
        sched_yield();
        for (int i = 0; i < 6; i++) {
            char byte;

            for (int k = 0; k < 2; k++) {
                /* Neither a byte, nor an end: nobody wrote, shut down or closed the other side. */
                T_IS(recv(fds[i][k], &byte, 1, MSG_DONTWAIT), -1);
                T_IS(errno, EAGAIN);
            }
        }
        for (int i = 0; i < 6; i++) {
            T_OK(close(fds[i][0]));
            T_OK(close(fds[i][1]));
        }
        atomic_fetch_add(&churn->opened, 12);
    }
    return NULL;
}

#define STALE 64
#define ROUNDS 3200

struct arena {
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];
    /* Handles that were closed, for everybody to try. */
    _Atomic(filch_tcp *) stale[STALE];
    atomic_uint next_stale;
    atomic_uint next_tag;
};

/* Sends its tag as long as it may. */
struct talker {
    filch_tcp *conn;
    unsigned char tag;
};

static int talk(void *arg)
{
    struct talker *talker = arg;
    unsigned char block[512];
    ssize_t n;

    memset(block, talker->tag, sizeof(block));
    while ((n = filch_tcp_write(talker->conn, block, sizeof(block), FILCH_NEVER)) > 0)
        filch_task_yield();
    T_CHECK(n == -ECANCELED || n == -EBADF || n == -EPIPE || n == -ECONNRESET);
    return 0;
}

static int listen_to(void *arg)
{
    struct talker *talker = arg;
    unsigned char block[512];
    ssize_t n;

    while ((n = filch_tcp_read(talker->conn, block, sizeof(block), FILCH_NEVER)) > 0)
        for (ssize_t i = 0; i < n; i++)
            T_IS(block[i], talker->tag); /* none of another connection's */
    T_CHECK(n == 0 || n == -ECANCELED || n == -EBADF || n == -ECONNRESET);
    return 0;
}

static void try_stale(struct arena *arena)
{
    char byte = 0;

    for (int i = 0; i < STALE; i++) {
        filch_tcp *old = atomic_load(&arena->stale[i]);
        struct iovec iov = {&byte, 1};
        int64_t value;

        if (!old)
            continue;
        T_IS(filch_tcp_read(old, &byte, 1, FILCH_NOW), -EBADF);
        T_IS(filch_tcp_write(old, &byte, 1, FILCH_NOW), -EBADF);
        T_IS(filch_tcp_readv(old, &iov, 1, FILCH_NEVER), -EBADF);
        T_IS(filch_tcp_writev(old, &iov, 1, FILCH_NEVER), -EBADF);
        T_IS(filch_tcp_shutdown_write(old), -EBADF);
        T_IS(filch_tcp_set(old, FILCH_TCP_NODELAY, 1), -EBADF);
        T_IS(filch_tcp_get(old, FILCH_TCP_NODELAY, &value), -EBADF);
        T_IS(filch_tcp_release(old, &(int){0}), -EBADF);
        T_IS(filch_tcp_close(old), -EBADF);
    }
}

static void retire(struct arena *arena, filch_tcp *conn)
{
    T_OK(filch_tcp_close(conn));
    atomic_store(&arena->stale[atomic_fetch_add(&arena->next_stale, 1) % STALE], conn);
}

/* Connects, talks both ways, and closes or cancels under way, in turn. */
static int live(void *arg)
{
    struct arena *arena = arg;

    for (int round = 0; round < ROUNDS / 8; round++) {
        struct talker out, in;
        filch_task *writer, *reader;

        T_OK(filch_tcp_connect(arena->addr, &out.conn, T_LIMIT));
        T_OK(filch_listener_accept(arena->listener, &in.conn, T_LIMIT));
        /* The first byte is the tag, and tells the other end, which need not be ours. */
        out.tag = (unsigned char)atomic_fetch_add(&arena->next_tag, 1);
        T_IS(filch_tcp_write(out.conn, &out.tag, 1, T_LIMIT), 1);
        T_IS(filch_tcp_read(in.conn, &in.tag, 1, T_LIMIT), 1);
        writer = spawn(talk, &out);
        reader = spawn(listen_to, &in);
        for (int i = 0; i < round % 5; i++)
            filch_task_yield();
        if (round % 3 == 0) {
            T_OK(filch_task_cancel(writer));
            T_OK(filch_task_cancel(reader));
        }
        try_stale(arena);
        retire(arena, round % 2 ? out.conn : in.conn);
        retire(arena, round % 2 ? in.conn : out.conn);
        T_OK(join(writer));
        T_OK(join(reader));
        try_stale(arena);
    }
    return 0;
}

static int churn_body(void *arg)
{
    struct arena *arena = arg;

    T_OK(filch_listener_open("127.0.0.1:0", NULL, &arena->listener));
    T_OK(filch_listener_addr(arena->listener, arena->addr));
    {
        FILCH_SCOPE(scope);

        for (int i = 0; i < 8; i++)
            T_OK(filch_scope_spawn(&scope, live, arena));
        T_OK(filch_scope_join(&scope, FILCH_NEVER));
    }
    return filch_listener_close(arena->listener);
}

Test(tcp_churn, old_handles_never_reach_whoever_got_the_number)
{
    struct arena arena = {.next_stale = 0};
    struct churn churn = {.stop = 0};
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, churn_thread, &churn));
    cr_assert_eq(run_in_runtime(0, churn_body, &arena), 0);
    atomic_store(&churn.stop, 1);
    T_OK(pthread_join(thread, NULL));
    cr_assert(atomic_load(&churn.opened) > 0);
}

/* A thousand tasks accept, and the listener closes. */

#define ACCEPTERS 1000

struct accepters {
    filch_listener *listener;
    atomic_int arrived;
    atomic_int closed;
    atomic_int accepted;
};

static int accept_until_closed(void *arg)
{
    struct accepters *accepters = arg;
    filch_tcp *conn;
    int r;

    atomic_fetch_add(&accepters->arrived, 1);
    while ((r = filch_listener_accept(accepters->listener, &conn, FILCH_NEVER)) == 0) {
        T_OK(filch_tcp_close(conn));
        atomic_fetch_add(&accepters->accepted, 1);
    }
    /* Those that waited, and those that came too late. */
    T_CHECK(r == -ECANCELED || r == -EBADF);
    if (r == -EBADF)
        T_CHECK(atomic_load(&accepters->closed));
    T_IS(filch_listener_accept(accepters->listener, &conn, FILCH_NEVER), -EBADF);
    return 0;
}

static int close_under_accepters_body(void *arg)
{
    bool all_wait = arg != NULL;
    struct accepters accepters = {.arrived = 0};
    char addr[FILCH_ADDR_BYTES];
    filch_tcp *client[10];
    FILCH_SCOPE(scope);

    T_OK(filch_listener_open("127.0.0.1:0", NULL, &accepters.listener));
    T_OK(filch_listener_addr(accepters.listener, addr));
    for (int i = 0; i < ACCEPTERS; i++)
        T_OK(filch_scope_spawn(&scope, accept_until_closed, &accepters));
    if (all_wait)
        T_WAIT_UNTIL(atomic_load(&accepters.arrived) == ACCEPTERS);
    for (int i = 0; i < 10; i++)
        T_OK(filch_tcp_connect(addr, &client[i], T_LIMIT));
    if (all_wait)
        T_WAIT_UNTIL(atomic_load(&accepters.accepted) == 10);
    atomic_store(&accepters.closed, 1);
    T_OK(filch_listener_close(accepters.listener));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    for (int i = 0; i < 10; i++)
        T_OK(filch_tcp_close(client[i]));
    return 0;
}

Test(tcp_churn, a_listener_closes_under_a_thousand_accepters)
{
    int all_wait = 1;

    for (int round = 0; round < 5; round++) {
        cr_assert_eq(run_in_runtime(0, close_under_accepters_body, &all_wait), 0);
        cr_assert_eq(run_in_runtime(0, close_under_accepters_body, NULL), 0);
    }
}

/* Connections that were reset before anybody accepted them, among good ones: the loop goes on. */
static int reset_storm_body(void *arg)
{
    struct tcp_pair pair;
    int good = 0;

    (void)arg;
    listen_any(&pair);
    for (int i = 0; i < 300; i++) {
        int fd = raw_socket();
        char byte = 0;

        raw_connect(fd, pair.addr);
        if (i % 3) {
            raw_reset(fd);
            continue;
        }
        T_IS(write(fd, "!", 1), 1);
        /* Some of the dead ones may come out, and say so at the first read. */
        do {
            T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
            if (filch_tcp_read(pair.server, &byte, 1, T_LIMIT) != 1)
                T_OK(filch_tcp_close(pair.server));
        } while (byte != '!');
        good++;
        T_OK(filch_tcp_close(pair.server));
        close(fd);
    }
    T_IS(good, 100);
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_churn, connections_reset_before_they_are_accepted)
{
    cr_assert_eq(run_in_runtime(0, reset_storm_body, NULL), 0);
    cr_assert_eq(reset_storm_body(NULL), 0);
}

/* The descriptor is closed behind our back. */
static int behind_body(void *arg)
{
    struct tcp_pair pair;
    filch_tcp *conn;
    int64_t value;
    char text[FILCH_ADDR_BYTES];
    int conn_fd, listen_fd = raw_bind(text);

    (void)arg;
    T_OK(listen(listen_fd, 5));
    connect_pair(&pair);
    T_OK(filch_tcp_release(pair.server, &conn_fd));
    T_OK(filch_tcp_adopt(conn_fd, &pair.server));
    T_OK(filch_listener_close(pair.listener));
    T_OK(filch_listener_adopt(listen_fd, &pair.listener));
    T_OK(close(conn_fd));
    T_OK(close(listen_fd));

    T_IS(filch_tcp_read(pair.server, text, 1, T_LIMIT), -EBADF);
    T_IS(filch_tcp_read(pair.server, text, 1, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_write(pair.server, text, 1, T_LIMIT), -EBADF);
    T_IS(filch_tcp_get(pair.server, FILCH_TCP_NODELAY, &value), -EBADF);
    T_IS(filch_tcp_shutdown_write(pair.server), -EBADF);
    T_IS(filch_listener_accept(pair.listener, &conn, T_LIMIT), -EBADF);
    T_IS(filch_listener_accept(pair.listener, &conn, FILCH_NOW), -EBADF);
    T_IS(filch_listener_addr(pair.listener, text), -EBADF);
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    T_OK(filch_tcp_close(pair.client));
    return 0;
}

Test(tcp_churn, a_descriptor_closed_behind_our_back)
{
    cr_assert_eq(run_in_runtime(0, behind_body, NULL), 0);
    cr_assert_eq(behind_body(NULL), 0);
}

/* A cancel and the completion race: the byte comes out of this read or of the next, never of none
 * or of both, and the buffer is whole when the call returns. */
struct race {
    struct tcp_pair pair;
    atomic_int begun;
    unsigned char got;
    ssize_t n;
};

static int read_racing(void *arg)
{
    struct race *race = arg;
    unsigned char buffer[16];

    atomic_store(&race->begun, 1);
    race->n = filch_tcp_read(race->pair.server, buffer, sizeof(buffer), FILCH_NEVER);
    race->got = buffer[0];
    return 0;
}

static int cancel_races_body(void *arg)
{
    struct race race;

    (void)arg;
    connect_pair(&race.pair);
    for (unsigned round = 0; round < 5000; round++) {
        unsigned char sent = (unsigned char)round, late;
        filch_task *reader;

        atomic_store(&race.begun, 0);
        reader = spawn(read_racing, &race);
        if (round % 4)
            T_WAIT_UNTIL(atomic_load(&race.begun));
        for (unsigned i = 0; i < round % 3; i++)
            filch_task_yield();
        if (round % 2) {
            T_OK(filch_task_cancel(reader));
            T_IS(filch_tcp_write(race.pair.client, &sent, 1, T_LIMIT), 1);
        } else {
            T_IS(filch_tcp_write(race.pair.client, &sent, 1, T_LIMIT), 1);
            T_OK(filch_task_cancel(reader));
        }
        T_OK(join(reader));
        if (race.n == 1) {
            T_IS(race.got, sent);
        } else {
            T_IS(race.n, -ECANCELED);
            T_IS(filch_tcp_read(race.pair.server, &late, 1, T_LIMIT), 1);
            T_IS(late, sent);
        }
        T_IS(filch_tcp_read(race.pair.server, &late, 1, FILCH_NOW), -ETIMEDOUT);
    }
    close_pair(&race.pair);
    return 0;
}

Test(tcp_churn, a_cancel_that_races_with_a_byte)
{
    cr_assert_eq(run_in_runtime(0, cancel_races_body, NULL), 0);
}

/* A task has left its accept in flight, by which connections come: a plain thread gets them, too.
 */
static int accepts_one(void *arg)
{
    struct tcp_pair *pair = arg;

    T_OK(filch_tcp_connect(pair->addr, &pair->client, T_LIMIT));
    T_OK(filch_listener_accept(pair->listener, &pair->server, T_LIMIT));
    T_OK(filch_tcp_close(pair->server));
    return filch_tcp_close(pair->client);
}

#define THREAD_ACCEPTS 30

static void *connects_now_and_then(void *arg)
{
    struct tcp_pair *pair = arg;
    char byte;

    for (int i = 0; i < THREAD_ACCEPTS; i++) {
        int fd = raw_socket();

        raw_connect(fd, pair->addr);
        T_IS(read(fd, &byte, 1), 0); /* until the other side has closed it */
        T_OK(close(fd));
    }
    return NULL;
}

Test(tcp_churn, a_plain_thread_accepts_beside_an_accept_that_a_task_left)
{
    filch_runtime *rt = start_runtime(0);
    struct tcp_pair pair;
    pthread_t thread;

    listen_any(&pair);
    T_OK(filch_runtime_block_on(rt, accepts_one, &pair, NULL, FILCH_NEVER));
    T_OK(pthread_create(&thread, NULL, connects_now_and_then, &pair));
    for (int i = 0; i < THREAD_ACCEPTS; i++) {
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        T_OK(filch_tcp_close(pair.server));
    }
    T_OK(pthread_join(thread, NULL));
    T_OK(filch_listener_close(pair.listener));
    stop_runtime(rt);
}
