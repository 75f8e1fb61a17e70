/* Description: when one of several workers is sent away because they take the CPU from each other,
 * and when it is called back: the arithmetic with made-up periods, and a server beside its client.
 */
#include <criterion/criterion.h>
#include <filch/filch.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "runtime/base/cpu.h"
#include "runtime/base/valgrind.h"
#include "runtime/sched/crowd.h"
#include "tests/runner/tcp_pair.h"

TestSuite(crowd, .timeout = 60);

#define LOOKS 5u
#define LOOKS_FEWER 20u
#define LOOK_NS (10 * FILCH_MILLISECOND)
#define IN_THE_WAY 3
#define TRIAL 4
#define LIGHT 5
#define ROOM 3
#define CLIENTS_MAX 64

struct machine {
    unsigned workers;
    struct filch__crowd crowd;
    filch_time now;
    struct filch__crowd_use use;
    bool waits_asked; /* in the last period */
};

/* One period in which the workers have so many CPUs, wait for so many, and serve so much. */
static bool period(struct machine *m, double ran, double waited, uint64_t served)
{
    unsigned looks = 0, workers = m->workers - m->crowd.away;

    do {
        m->now += LOOK_NS;
        looks++;
    } while (!filch__crowd_is_over(&m->crowd, m->now));
    T_IS(looks, m->crowd.away && !m->crowd.trial ? LOOKS_FEWER : LOOKS);
    m->use.ran_ns += (uint64_t)(ran * looks * LOOK_NS);
    m->use.waited_ns += (uint64_t)(waited * looks * LOOK_NS);
    m->use.served += served * looks / LOOKS;
    m->waits_asked = filch__crowd_wants_waits(&m->crowd, m->now, &m->use, workers);
    m->use.waits_known = m->waits_asked;
    return filch__crowd_judge(&m->crowd, m->now, &m->use, workers);
}

/* @n periods; returns after the first that sends one away. */
static bool periods(struct machine *m, int n, double ran, double waited, uint64_t served)
{
    for (int i = 0; i < n; i++)
        if (period(m, ran, waited, served))
            return true;
    return false;
}

/* After the first periods: before them nothing is known of the use, nor of the waits. */
static struct machine begun(void)
{
    struct machine m = {.workers = 2};

    T_CHECK(!periods(&m, 2, 1.0, 0.5, 1000));
    return m;
}

/* Two workers that share a CPU, with one sent away. */
static struct machine crowded(void)
{
    struct machine m = begun();

    T_CHECK(!periods(&m, IN_THE_WAY - 1, 1.0, 0.5, 1000));
    T_CHECK(period(&m, 1.0, 0.5, 1000));
    T_IS(m.crowd.away, 1u);
    return m;
}

/* Exactly after @n such periods. */
static void comes_back(struct machine *m, int n, double ran, double waited, uint64_t served)
{
    T_CHECK(!periods(m, n - 1, ran, waited, served));
    T_IS(m->crowd.away, 1u);
    T_CHECK(!period(m, ran, waited, served));
    T_IS(m->crowd.away, 0u);
}

Test(crowd, two_that_share_one_cpu_become_one)
{
    struct machine m = crowded();

    T_CHECK(!periods(&m, 100, 1.0, 0.0, 1000));
    T_IS(m.crowd.away, 1u);
}

Test(crowd, a_period_that_is_different_sets_it_back_by_one)
{
    struct machine m = begun();

    T_CHECK(!periods(&m, IN_THE_WAY - 1, 1.0, 0.5, 1000));
    T_CHECK(!period(&m, 1.0, 0.0, 1000));
    T_CHECK(!period(&m, 1.0, 0.5, 1000));
    T_CHECK(period(&m, 1.0, 0.5, 1000));
}

Test(crowd, two_that_need_two_cpus_stay)
{
    struct machine m = begun();

    T_CHECK(!periods(&m, 100, 1.4, 0.6, 1000));
}

Test(crowd, two_that_wait_for_no_cpu_stay)
{
    struct machine m = begun();

    T_CHECK(!periods(&m, 100, 0.8, 0.0, 1000));
}

Test(crowd, two_that_serve_nothing_stay)
{
    struct machine m = begun();

    T_CHECK(!periods(&m, 100, 1.0, 1.0, 10));
}

Test(crowd, what_the_kernel_must_be_asked_for_is_not_asked_for_nothing)
{
    struct machine m = begun();

    T_CHECK(!period(&m, 1.0, 0.5, 1000));
    T_CHECK(m.waits_asked);
    T_CHECK(!period(&m, 1.4, 0.5, 1000));
    T_CHECK(!m.waits_asked);
    T_CHECK(!period(&m, 0.3, 0.0, 1000));
    T_CHECK(!m.waits_asked);
    T_CHECK(!period(&m, 1.0, 0.0, 10));
    T_CHECK(!m.waits_asked);
}

Test(crowd, workers_that_are_stuck_say_nothing)
{
    struct machine m = begun();

    for (int i = 0; i < 20; i++) {
        T_CHECK(!periods(&m, IN_THE_WAY - 1, 1.0, 0.5, 1000));
        filch__crowd_end(&m.crowd, m.now);
        T_CHECK(!periods(&m, 2, 1.0, 0.5, 1000));
    }
}

Test(crowd, those_that_are_left_and_have_to_wait_get_one_back)
{
    struct machine m = crowded();

    T_CHECK(!periods(&m, TRIAL, 1.0, 0.0, 1000));
    comes_back(&m, ROOM, 0.5, 0.5, 500);
    T_CHECK(!periods(&m, 10, 1.0, 1.0, 1000)); /* half a second */
}

Test(crowd, of_four_as_many_go_as_the_rest_can_do_without)
{
    struct machine m = {.workers = 4};

    for (unsigned away = 0; away < 3; away++) {
        double ran = 2.95 - away;

        T_CHECK(periods(&m, 20, ran, 0.6, 3000));
        T_IS(m.crowd.away, away + 1);
        T_CHECK(!periods(&m, TRIAL, ran, 0.0, 3000));
    }
    T_CHECK(!periods(&m, 20, 0.9, 0.1, 3000));
    T_IS(m.crowd.away, 3u);
}

Test(crowd, a_loss_calls_it_back_and_each_next_attempt_is_later)
{
    struct machine m = crowded();
    filch_time last = 0;

    for (int i = 0; i < 4; i++) {
        filch_time rest;

        T_CHECK(!periods(&m, 2, 0.5, 0.5, 500));
        T_IS(m.crowd.away, 0u);
        rest = m.crowd.rest_until - m.now;
        T_CHECK(rest >= FILCH_SECOND);
        T_CHECK(rest >= 2 * last);
        last = rest;
        while (m.now + LOOKS * LOOK_NS < m.crowd.rest_until)
            T_CHECK(!period(&m, 1.0, 1.0, 1000));
        T_CHECK(periods(&m, IN_THE_WAY + 1, 1.0, 1.0, 1000)); /* one to know the waits */
    }
}

Test(crowd, less_to_do_in_a_trial_is_no_loss)
{
    struct machine m = crowded();

    T_CHECK(!periods(&m, TRIAL, 0.6, 0.0, 500));
    T_IS(m.crowd.away, 1u);
}

Test(crowd, a_cpu_that_stays_idle_calls_it_back)
{
    struct machine m = crowded();

    T_CHECK(!periods(&m, TRIAL, 1.0, 0.0, 1000));
    m.use.roomy = true;
    comes_back(&m, ROOM, 1.0, 0.0, 1000);
}

Test(crowd, little_to_do_calls_it_back)
{
    struct machine m = crowded();

    T_CHECK(!periods(&m, TRIAL, 1.0, 0.0, 1000));
    comes_back(&m, LIGHT, 0.2, 0.0, 100);
}

Test(crowd, in_the_middle_of_a_trial_all_may_be_called_back)
{
    struct machine m = crowded();

    filch__crowd_end(&m.crowd, m.now);
    T_IS(m.crowd.away, 0u);
    T_CHECK(!periods(&m, TRIAL, 1.0, 1.0, 100));
    T_IS(m.crowd.away, 0u);
    T_CHECK(!periods(&m, 10, 1.0, 1.0, 1000)); /* half a second */
    T_CHECK(periods(&m, 10, 1.0, 1.0, 1000));
}

Test(crowd, a_period_in_which_nobody_looked_tells_nothing)
{
    struct machine m = begun();

    for (int i = 0; i < 10; i++) {
        m.now += FILCH_SECOND;
        m.use.ran_ns += FILCH_SECOND;
        m.use.waited_ns += FILCH_SECOND;
        m.use.served += 20000;
        T_CHECK(filch__crowd_is_over(&m.crowd, m.now));
        T_CHECK(!filch__crowd_wants_waits(&m.crowd, m.now, &m.use, 2));
        m.use.waits_known = true;
        T_CHECK(!filch__crowd_judge(&m.crowd, m.now, &m.use, 2));
    }
    T_IS(m.crowd.away, 0u);
}

/* With the thread that looks two more than there are CPUs, so that some wait. */
static void *compute(void *stop)
{
    while (!atomic_load((atomic_bool *)stop))
        ;
    return NULL;
}

Test(crowd, the_kernel_says_how_long_a_thread_has_waited)
{
    struct filch__crowd_use use = {0};
    uint32_t self = (uint32_t)gettid();
    filch_time limit = filch_after(20 * FILCH_SECOND);
    atomic_bool stop = false;
    pthread_t other[CLIENTS_MAX];
    unsigned n = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) + 1;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind runs one thread at a time: none waits for a CPU");
    if (n > CLIENTS_MAX)
        cr_skip_test("needs at most %d CPUs", CLIENTS_MAX - 1);
    if (!filch__crowd_add_waits(&use, self))
        cr_skip_test("the kernel does not tell how long threads wait (CONFIG_SCHED_INFO)");
    for (unsigned i = 0; i < n; i++)
        T_OK(pthread_create(&other[i], NULL, compute, &stop));
    do {
        use.waited_ns = 0;
        T_CHECK(filch__crowd_add_waits(&use, self));
    } while (use.waited_ns < FILCH_MILLISECOND && filch_now() < limit);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < n; i++)
        T_OK(pthread_join(other[i], NULL));
    if (use.waited_ns == 0)
        cr_skip_test("the kernel counts no time that threads wait");
    T_CHECK(use.waited_ns >= FILCH_MILLISECOND);
    T_CHECK(!filch__crowd_add_waits(&use, 0x7fffffff));
}

/* A server of two workers, and as many threads of its clients as there are CPUs, but one. */

#define CONNS 20

static atomic_bool clients_stop;

static int echo(void *arg)
{
    filch_tcp *conn = arg;
    char buf[64];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buf, sizeof buf, FILCH_NEVER)) > 0)
        T_OK(filch_tcp_write_all(conn, buf, (size_t)n, NULL, FILCH_NEVER));
    T_OK(filch_tcp_close(conn));
    return (int)n;
}

static int serve(void *arg)
{
    filch_tcp *conn;

    while (filch_listener_accept(arg, &conn, FILCH_NEVER) == 0)
        T_OK(filch_spawn(echo, conn));
    return 0;
}

/* One message under way on each connection, until told to stop. */
static void *keep_asking(void *addr)
{
    struct pollfd fds[CONNS];
    char buf[64] = "x";

    for (int i = 0; i < CONNS; i++) {
        fds[i] = (struct pollfd){.fd = raw_socket(), .events = POLLIN};
        raw_connect(fds[i].fd, addr);
        T_IS((int)write(fds[i].fd, buf, sizeof buf), (int)sizeof buf);
    }
    while (!atomic_load(&clients_stop)) {
        T_CHECK(poll(fds, CONNS, -1) > 0);
        for (int i = 0; i < CONNS; i++)
            if (fds[i].revents && read(fds[i].fd, buf, sizeof buf) > 0)
                T_CHECK(write(fds[i].fd, buf, sizeof buf) > 0);
    }
    for (int i = 0; i < CONNS; i++)
        close(fds[i].fd);
    return NULL;
}

static unsigned active_workers(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats.workers_active;
}

/* Return: did it come to that? */
static bool is_down_to(filch_runtime *rt, unsigned workers, filch_time within)
{
    filch_time limit = filch_after(within);

    while (active_workers(rt) != workers && filch_now() < limit)
        (void)poll(NULL, 0, 10);
    return active_workers(rt) == workers;
}

struct server {
    filch_runtime *rt;
    struct tcp_pair pair;
    filch_task *task;
    pthread_t client[CLIENTS_MAX];
    unsigned clients;
};

static int open_listener(void *arg)
{
    listen_any(arg);
    return 0;
}

static void begin_server(struct server *server, bool keep_workers)
{
    filch_runtime_opts opts = {.workers = 2, .keep_workers = keep_workers};

    server->clients = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    if (server->clients < 1 || server->clients > CLIENTS_MAX)
        cr_skip_test("needs 2 to %d CPUs", CLIENTS_MAX + 1);
    if (filch__cpu_count() <= server->clients)
        cr_skip_test("needs a process that may use all CPUs");
    T_OK(filch_runtime_start(&opts, &server->rt));
    T_OK(filch_runtime_block_on(server->rt, open_listener, &server->pair, NULL, T_LIMIT));
    T_OK(filch_runtime_spawn(server->rt, serve, server->pair.listener, NULL, &server->task));
    atomic_store(&clients_stop, false);
    for (unsigned i = 0; i < server->clients; i++)
        T_OK(pthread_create(&server->client[i], NULL, keep_asking, server->pair.addr));
}

static int end_listener(void *arg)
{
    struct server *server = arg;

    T_OK(filch_task_cancel(server->task));
    T_OK(filch_task_join(server->task, NULL, T_LIMIT));
    T_OK(filch_listener_close(server->pair.listener));
    return 0;
}

static void stop_clients(struct server *server)
{
    atomic_store(&clients_stop, true);
    for (unsigned i = 0; i < server->clients; i++)
        T_OK(pthread_join(server->client[i], NULL));
}

static void end_server(struct server *server)
{
    T_OK(filch_runtime_block_on(server->rt, end_listener, server, NULL, T_LIMIT));
    T_OK(filch_runtime_shutdown(server->rt, T_LIMIT));
}

/* Other programs may keep the CPUs too busy for it to be of use, so one that is not sent away is no
 * failure; that it comes back when the clients are gone is certain. */
Test(crowd, a_server_beside_its_client_serves_with_one_worker_and_later_with_two)
{
    struct server server;
    bool was_sent;

    begin_server(&server, false);
    was_sent = is_down_to(server.rt, 1, 5 * FILCH_SECOND);

    stop_clients(&server);
    T_CHECK(is_down_to(server.rt, 2, 10 * FILCH_SECOND));
    end_server(&server);
    if (!was_sent)
        cr_skip_test("no worker was sent away: other programs want the CPUs, too");
}

Test(crowd, all_go_on_where_the_options_say_so)
{
    struct server server;

    begin_server(&server, true);
    T_CHECK(!is_down_to(server.rt, 1, FILCH_SECOND));
    stop_clients(&server);
    end_server(&server);
}
