/* Description: an event loop in a task, as the HTTP client's is: it selects between a notification,
 * an epoll instance and a time, while tasks ask it by the first and by the second, and each waits
 * for its answer before it asks again. So a wake that is lost on the way is a standstill, which the
 * tests' limit ends. FILCH_TEST_ROUNDS sets how often each asks. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(select_loop, .timeout = 600);

#define ASKERS 3
#define SENDERS 3

/* One who waits for its answer before it asks again. */
struct client {
    struct loop *loop;
    atomic_uint asked, answered;
    filch_notify changed;
    uint32_t random;
    int ours, theirs; /* a sender's: what it writes to, and what the loop reads from */
};

struct loop {
    filch_notify wake;
    int epoll;
    filch_fd *ready;
    filch_time timer;
    struct client client[ASKERS + SENDERS];
    unsigned rounds;
    unsigned by_wake, by_socket, by_time;
    atomic_uint left; /* clients */
};

static unsigned choose(uint32_t *random, unsigned of)
{
    *random = *random * 747796405u + 1;
    return (unsigned)(((uint64_t)*random * of) >> 32);
}

/* ---- who asks ---- */

static int ask(void *arg)
{
    struct client *client = arg;
    struct loop *loop = client->loop;

    for (unsigned i = 1; i <= loop->rounds; i++) {
        atomic_store(&client->asked, i);
        if (client->ours >= 0)
            T_IS(write(client->ours, "x", 1), 1);
        else
            T_OK(filch_notify_one(&loop->wake));
        if (choose(&client->random, 4) == 0)
            filch_task_yield();
        while (atomic_load(&client->answered) != i)
            T_OK(filch_notify_wait(&client->changed, T_LIMIT));
        for (unsigned turns = choose(&client->random, 3); turns; turns--)
            filch_task_yield();
    }
    if (atomic_fetch_sub(&loop->left, 1) == 1)
        T_OK(filch_notify_one(&loop->wake));
    return 0;
}

/* ---- the loop ---- */

static void answer(struct client *client)
{
    atomic_store(&client->answered, atomic_load(&client->asked));
    T_OK(filch_notify_one(&client->changed));
}

static void look_at_asks(struct loop *loop)
{
    for (int i = 0; i < ASKERS; i++) {
        struct client *client = &loop->client[i];

        if (atomic_load(&client->asked) != atomic_load(&client->answered))
            answer(client);
    }
}

static bool look_at_sockets(struct loop *loop)
{
    struct epoll_event events[SENDERS];
    int n = epoll_wait(loop->epoll, events, SENDERS, 0);

    for (int i = 0; i < n; i++) {
        struct client *client = events[i].data.ptr;
        char byte;

        T_IS(read(client->theirs, &byte, 1), 1);
        answer(client);
    }
    return n > 0;
}

static int run_loop(void *arg)
{
    struct loop *loop = arg;
    uint32_t random = 1;

    while (atomic_load(&loop->left)) {
        filch_case cases[] = {filch_case_notified(&loop->wake),
                              filch_case_fd(loop->ready, FILCH_FD_READABLE, NULL)};
        int r;

        look_at_asks(loop);
        if (look_at_sockets(loop))
            continue;
        loop->timer = choose(&random, 4) ? FILCH_NEVER
                                         : filch_after(choose(&random, 100) * FILCH_MICROSECOND);
        r = filch_select(cases, 2, 0, loop->timer);
        T_CHECK(r >= 0 || r == -ETIMEDOUT);
        loop->by_wake += r == 0;
        loop->by_socket += r == 1;
        loop->by_time += r < 0;
    }
    return 0;
}

/* ---- both ---- */

static void open_client(struct loop *loop, struct client *client, bool sends)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int fds[2] = {-1, -1};

    client->loop = loop;
    client->random = (uint32_t)(client - loop->client) + 1;
    filch_notify_init(&client->changed);
    if (sends)
        T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    client->ours = fds[0];
    client->theirs = fds[1];
    if (sends)
        T_OK(epoll_ctl(loop->epoll, EPOLL_CTL_ADD, client->theirs, &event));
}

static void close_client(struct client *client)
{
    filch_notify_fini(&client->changed);
    if (client->ours >= 0) {
        T_OK(close(client->ours));
        T_OK(close(client->theirs));
    }
}

static int serve(void *arg)
{
    static struct loop loop;
    const char *text = getenv("FILCH_TEST_ROUNDS");
    filch_task *server, *tasks[ASKERS + SENDERS];

    (void)arg;
    loop.rounds = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)T_MANY(3000);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    T_CHECK(loop.epoll >= 0);
    T_OK(filch_fd_borrow(loop.epoll, &loop.ready));
    filch_notify_init(&loop.wake);
    atomic_store(&loop.left, ASKERS + SENDERS);
    for (int i = 0; i < ASKERS + SENDERS; i++)
        open_client(&loop, &loop.client[i], i >= ASKERS);
    server = spawn(run_loop, &loop);
    for (int i = 0; i < ASKERS + SENDERS; i++)
        tasks[i] = spawn(ask, &loop.client[i]);
    for (int i = 0; i < ASKERS + SENDERS; i++)
        T_OK(filch_task_join(tasks[i], NULL, FILCH_NEVER));
    T_OK(filch_task_join(server, NULL, FILCH_NEVER));
    T_CHECK(loop.by_wake && loop.by_socket);
    for (int i = 0; i < ASKERS + SENDERS; i++)
        close_client(&loop.client[i]);
    T_OK(filch_fd_close(loop.ready));
    T_OK(close(loop.epoll));
    filch_notify_fini(&loop.wake);
    return 0;
}

Test(select_loop, an_event_loop_misses_nothing)
{
    T_OK(run_in_runtime(0, serve, NULL));
}
