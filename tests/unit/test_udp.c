/* Description: datagrams: in tasks and plain threads; of no bytes and cut ones; connected, and what
 * the network says; several at a time; segments; groups; options; cancel, time and close with
 * conservation; adopting and releasing. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(udp, .timeout = 120);

struct ends {
    filch_udp *a, *b;
    filch_addr a_addr, b_addr;
};

static void open_on(const char *text, filch_udp **ret_udp, filch_addr *ret_addr)
{
    T_OK(filch_udp_open(text, NULL, ret_udp));
    T_OK(filch_udp_local_addr(*ret_udp, ret_addr));
}

static void open_ends(struct ends *ends)
{
    open_on("127.0.0.1:0", &ends->a, &ends->a_addr);
    open_on("127.0.0.1:0", &ends->b, &ends->b_addr);
}

static void close_ends(struct ends *ends)
{
    T_OK(filch_udp_close(ends->a));
    T_OK(filch_udp_close(ends->b));
}

/* ---- addresses ---- */

static void check_text(const char *text, const char *want)
{
    char got[FILCH_ADDR_BYTES];
    filch_addr addr, again;

    T_OK(filch_addr_parse(text, &addr));
    T_OK(filch_addr_text(&addr, got));
    if (strcmp(got, want) != 0)
        fprintf(stderr, "%s became %s\n", text, got);
    T_CHECK(strcmp(got, want) == 0);
    T_OK(filch_addr_parse(got, &again));
    T_CHECK(filch_addr_equal(&addr, &again));
}

Test(udp, addresses_to_text_and_back)
{
    static const char *const wrong[] = {"",        "1.2.3.4",       "1.2.3:80",     "[::1]",
                                        "::1:1",   "1.2.3.4:65536", "[::g]:1",      "1.2.3.4:-1",
                                        "[]:1",    "host:80",       "[1.2.3.4]:80", " 1.2.3.4:1",
                                        "[::1:80", "[::1]:80 ",     "300.1.1.1:1"};
    filch_addr a, b;

    check_text("1.2.3.4:80", "1.2.3.4:80");
    check_text("[::1]:65535", "[::1]:65535");
    check_text(":7", "[::]:7");
    check_text("[::ffff:127.0.0.1]:5", "127.0.0.1:5");
    check_text("[fe80::1%lo]:9", "[fe80::1%1]:9");
    check_text("[fe80::1%77]:9", "[fe80::1%77]:9");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        T_IS(filch_addr_parse(wrong[i], &a), -EINVAL);
    T_IS(filch_addr_parse("[fe80::1%nosuch]:9", &a), -ENODEV);
    T_OK(filch_addr_parse("1.2.3.4:80", &a));
    T_OK(filch_addr_parse("1.2.3.4:81", &b));
    T_CHECK(!filch_addr_equal(&a, &b));
    T_CHECK(!filch_addr_equal(&a, NULL));
    T_CHECK(filch_addr_equal(NULL, NULL));
}

/* ---- one at a time ---- */

static int back_and_forth(void *arg)
{
    const char *host = arg;
    char buf[16] = "";
    struct ends ends;
    filch_addr from = {.family = 0};
    size_t size = 99;

    open_on(host, &ends.a, &ends.a_addr);
    open_on(host, &ends.b, &ends.b_addr);
    T_IS(filch_udp_send(ends.a, "hello", 5, &ends.b_addr, T_LIMIT), 5);
    T_IS(filch_udp_recv(ends.b, buf, sizeof buf, &from, &size, T_LIMIT), 5);
    T_CHECK(memcmp(buf, "hello", 5) == 0 && size == 5);
    T_CHECK(filch_addr_equal(&from, &ends.a_addr));
    T_IS(filch_udp_send(ends.b, "back", 4, &from, T_LIMIT), 4);
    T_IS(filch_udp_recv(ends.a, buf, sizeof buf, NULL, NULL, T_LIMIT), 4);
    /* None is a datagram, too, and no end. */
    T_IS(filch_udp_send(ends.a, NULL, 0, &ends.b_addr, T_LIMIT), 0);
    T_IS(filch_udp_send(ends.a, "x", 1, &ends.b_addr, T_LIMIT), 1);
    from.family = 0;
    T_IS(filch_udp_recv(ends.b, buf, sizeof buf, &from, &size, T_LIMIT), 0);
    T_IS(size, 0);
    T_CHECK(filch_addr_equal(&from, &ends.a_addr));
    T_IS(filch_udp_recv(ends.b, buf, sizeof buf, &from, &size, T_LIMIT), 1);
    /* What does not fit is lost, and said. */
    T_IS(filch_udp_send(ends.a, "0123456789", 10, &ends.b_addr, T_LIMIT), 10);
    buf[4] = '#';
    T_IS(filch_udp_recv(ends.b, buf, 4, &from, &size, T_LIMIT), 4);
    T_IS(size, 10);
    T_CHECK(memcmp(buf, "0123#", 5) == 0);
    T_IS(filch_udp_send(ends.a, "abc", 3, &ends.b_addr, T_LIMIT), 3);
    T_IS(filch_udp_recv(ends.b, NULL, 0, &from, &size, T_LIMIT), 0);
    T_IS(size, 3);
    T_IS(filch_udp_recv(ends.b, buf, 4, &from, &size, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_udp_recv(ends.b, buf, 4, &from, &size, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    close_ends(&ends);
    return 0;
}

Test(udp, back_and_forth_in_a_task)
{
    T_OK(run_in_runtime(0, back_and_forth, "127.0.0.1:0"));
    T_OK(run_in_runtime(0, back_and_forth, "[::1]:0"));
}

Test(udp, back_and_forth_in_a_plain_thread)
{
    T_OK(back_and_forth("127.0.0.1:0"));
    T_OK(back_and_forth("[::1]:0"));
}

static int too_long(void *arg)
{
    static char bytes[FILCH_UDP_BYTES_MAX + 1];
    struct ends ends;
    filch_addr both;
    filch_udp *dual;
    size_t size;

    (void)arg;
    open_ends(&ends);
    T_IS(filch_udp_send(ends.a, bytes, sizeof bytes, &ends.b_addr, T_LIMIT), -EMSGSIZE);
    T_IS(filch_udp_send(ends.a, "x", 1, NULL, T_LIMIT), -EDESTADDRREQ);
    T_IS(filch_udp_send(ends.a, bytes, 60000, &ends.b_addr, T_LIMIT), 60000);
    T_IS(filch_udp_recv(ends.b, bytes, sizeof bytes, NULL, &size, T_LIMIT), 60000);
    T_IS(size, 60000);
    /* A socket of both families names its IPv4 peers as such, and reaches them. */
    open_on(":0", &dual, &both);
    T_OK(filch_addr_parse("127.0.0.1:0", &ends.b_addr));
    both.family = 4;
    memcpy(both.ip, ends.b_addr.ip, sizeof both.ip);
    T_IS(filch_udp_send(ends.a, "4", 1, &both, T_LIMIT), 1);
    T_IS(filch_udp_recv(dual, bytes, 1, &both, NULL, T_LIMIT), 1);
    T_CHECK(filch_addr_equal(&both, &ends.a_addr));
    T_IS(filch_udp_send(dual, "5", 1, &both, T_LIMIT), 1);
    T_IS(filch_udp_recv(ends.a, bytes, 1, &both, NULL, T_LIMIT), 1);
    T_OK(filch_udp_close(dual));
    close_ends(&ends);
    return 0;
}

Test(udp, too_long_without_an_address_and_of_both_families)
{
    T_OK(run_in_runtime(0, too_long, NULL));
}

/* ---- connected ---- */

static int connected(void *arg)
{
    struct ends ends;
    filch_udp *other;
    filch_addr addr, peer;
    char byte = 0;
    int r;

    (void)arg;
    open_ends(&ends);
    open_on("127.0.0.1:0", &other, &addr);
    T_IS(filch_udp_peer_addr(ends.a, &peer), -ENOTCONN);
    T_OK(filch_udp_connect(ends.a, &ends.b_addr));
    T_OK(filch_udp_peer_addr(ends.a, &peer));
    T_CHECK(filch_addr_equal(&peer, &ends.b_addr));
    T_IS(filch_udp_send(ends.a, "1", 1, NULL, T_LIMIT), 1);
    T_IS(filch_udp_recv(ends.b, &byte, 1, &peer, NULL, T_LIMIT), 1);
    /* Nothing from others. */
    T_IS(filch_udp_send(other, "2", 1, &ends.a_addr, T_LIMIT), 1);
    T_IS(filch_udp_send(ends.b, "3", 1, &ends.a_addr, T_LIMIT), 1);
    T_IS(filch_udp_recv(ends.a, &byte, 1, NULL, NULL, T_LIMIT), 1);
    T_IS(byte, '3');
    /* Nobody there: the next call is told, once. */
    T_OK(filch_udp_close(ends.b));
    T_IS(filch_udp_send(ends.a, "4", 1, NULL, T_LIMIT), 1);
    T_IS(filch_udp_recv(ends.a, &byte, 1, NULL, NULL, T_LIMIT), -ECONNREFUSED);
    T_IS(filch_udp_recv(ends.a, &byte, 1, NULL, NULL, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_udp_connect(ends.a, NULL));
    T_IS(filch_udp_peer_addr(ends.a, &peer), -ENOTCONN);
    T_IS(filch_udp_send(ends.a, "5", 1, NULL, T_LIMIT), -EDESTADDRREQ);
    r = filch_udp_connect(other, &addr);
    T_OK(r);
    T_OK(filch_udp_close(ends.a));
    T_OK(filch_udp_close(other));
    return 0;
}

Test(udp, a_connected_socket_has_one_peer_and_hears_that_it_is_gone)
{
    T_OK(run_in_runtime(0, connected, NULL));
    T_OK(connected(NULL));
}

/* ---- several at a time ---- */

enum { MANY = 100 };

static int many(void *arg)
{
    static char bufs[MANY][8];
    filch_datagram out[MANY], in[MANY];
    struct ends ends;
    ssize_t sent, n, seen = 0;

    (void)arg;
    open_ends(&ends);
    for (int i = 0; i < MANY; i++) {
        snprintf(bufs[i], sizeof bufs[i], "%d", i);
        out[i] = (filch_datagram){.buf = bufs[i], .bytes = strlen(bufs[i]), .addr = ends.b_addr};
    }
    out[50].bytes = 0;
    sent = filch_udp_send_many(ends.a, out, MANY, T_LIMIT);
    T_IS(sent, MANY);
    while (seen < sent) {
        char got[MANY][8];

        for (int i = 0; i < MANY; i++)
            in[i] = (filch_datagram){.buf = got[i], .bytes = 1};
        n = filch_udp_recv_many(ends.b, in, MANY, T_LIMIT);
        T_CHECK(n > 0 && n <= 32);
        for (ssize_t i = 0; i < n; i++, seen++) {
            T_IS(in[i].size, out[seen].bytes);
            T_CHECK(in[i].size == 0 || got[i][0] == bufs[seen][0]);
            T_CHECK(filch_addr_equal(&in[i].addr, &ends.a_addr));
            T_IS(in[i].segment, 0);
        }
    }
    T_IS(filch_udp_recv_many(ends.b, in, MANY, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_udp_recv_many(ends.b, in, MANY, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_udp_recv_many(ends.b, in, 0, FILCH_NEVER), 0);
    T_IS(filch_udp_send_many(ends.a, out, 0, FILCH_NEVER), 0);
    /* The one that is refused tells why by itself. */
    out[3].addr.family = 9;
    T_IS(filch_udp_send_many(ends.a, out, MANY, T_LIMIT), 3);
    T_IS(filch_udp_send_many(ends.a, &out[3], 1, T_LIMIT), -EINVAL);
    T_OK(filch_udp_connect(ends.a, &ends.b_addr));
    out[3].addr.family = 0;
    T_IS(filch_udp_send_many(ends.a, &out[3], 1, T_LIMIT), 1);
    close_ends(&ends);
    return 0;
}

Test(udp, many_at_a_time)
{
    T_OK(run_in_runtime(0, many, NULL));
    T_OK(many(NULL));
}

/* A socket of all addresses answers from the one that it was asked at. */
static void answers_from(const char *all, const char *from, const char *at, bool v6)
{
    char text[FILCH_ADDR_BYTES], byte;
    filch_datagram in = {.buf = &byte, .bytes = 1}, back;
    filch_addr addr, to, got, want;
    filch_udp *server, *client;

    T_OK(filch_udp_open(all, NULL, &server));
    T_OK(filch_udp_open(from, NULL, &client));
    T_OK(filch_udp_local_addr(server, &addr));
    snprintf(text, sizeof text, at, addr.port);
    T_OK(filch_addr_parse(text, &to));
    /* Not asked for: not told. */
    T_IS(filch_udp_send(client, "a", 1, &to, T_LIMIT), 1);
    T_IS(filch_udp_recv_many(server, &in, 1, T_LIMIT), 1);
    T_IS(in.local.family, 0);
    T_OK(filch_udp_set(server, FILCH_UDP_LOCAL_ADDR, true));
    T_IS(filch_udp_send(client, "b", 1, &to, T_LIMIT), 1);
    T_IS(filch_udp_recv_many(server, &in, 1, T_LIMIT), 1);
    want = to;
    want.port = 0;
    T_CHECK(filch_addr_equal(&in.local, &want));
    T_IS(in.local.family, v6 ? 6 : 4);
    back = in;
    back.bytes = 1;
    T_IS(filch_udp_send_many(server, &back, 1, T_LIMIT), 1);
    T_IS(filch_udp_recv(client, &byte, 1, &got, NULL, T_LIMIT), 1);
    T_CHECK(byte == 'b' && filch_addr_equal(&got, &to));
    /* From what is none of ours, and from none at all. */
    back.local.family = 5;
    T_IS(filch_udp_send_many(server, &back, 1, T_LIMIT), -EINVAL);
    T_OK(filch_udp_close(server));
    T_OK(filch_udp_close(client));
}

static int answers(void *arg)
{
    filch_udp *udp;

    (void)arg;
    answers_from("0.0.0.0:0", "127.0.0.1:0", "127.0.0.77:%u", false);
    if (filch_udp_open("[::1]:0", NULL, &udp) < 0)
        return 0; /* no IPv6 */
    T_OK(filch_udp_close(udp));
    answers_from("[::]:0", "[::1]:0", "[::1]:%u", true);
    answers_from("[::]:0", "127.0.0.1:0", "127.0.0.78:%u", false);
    return 0;
}

Test(udp, answers_come_from_where_was_asked)
{
    T_OK(run_in_runtime(0, answers, NULL));
    T_OK(answers(NULL));
}

static int segments(void *arg)
{
    static char bytes[10 * 1000 + 7], buf[FILCH_UDP_BYTES_MAX];
    struct ends ends;
    filch_datagram out = {.buf = bytes, .bytes = sizeof bytes, .segment = 1000};
    size_t seen = 0;
    int64_t on = 0;
    int r;

    (void)arg;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 1000);
    open_ends(&ends);
    out.addr = ends.b_addr;
    r = (int)filch_udp_send_many(ends.a, &out, 1, T_LIMIT);
    if (r == -EINVAL || r == -EIO || r == -EOPNOTSUPP) {
        fprintf(stderr, "skipped: this kernel has no UDP_SEGMENT\n");
        close_ends(&ends);
        return 0;
    }
    T_IS(r, 1);
    for (int i = 0; i < 11; i++, seen += 1000) {
        ssize_t n = filch_udp_recv(ends.b, buf, sizeof buf, NULL, NULL, T_LIMIT);

        T_IS(n, i < 10 ? 1000 : 7);
        T_CHECK(memcmp(buf, bytes + seen, (size_t)n) == 0);
    }
    /* And received in pieces, whose segments are told. */
    T_OK(filch_udp_set(ends.b, FILCH_UDP_GRO, 1));
    T_OK(filch_udp_get(ends.b, FILCH_UDP_GRO, &on));
    T_IS(on, 1);
    T_IS(filch_udp_send_many(ends.a, &out, 1, T_LIMIT), 1);
    for (seen = 0; seen < sizeof bytes;) {
        filch_datagram in = {.buf = buf, .bytes = sizeof buf};

        T_IS(filch_udp_recv_many(ends.b, &in, 1, T_LIMIT), 1);
        T_CHECK(memcmp(buf, bytes + seen, in.size) == 0);
        T_CHECK(in.size <= 1000 ? in.segment == 0 : in.segment == 1000);
        seen += in.size;
    }
    T_IS(seen, sizeof bytes);
    out.segment = 65536;
    T_IS(filch_udp_send_many(ends.a, &out, 1, T_LIMIT), -EINVAL);
    close_ends(&ends);
    return 0;
}

Test(udp, the_kernel_splits_and_joins_segments)
{
    T_OK(run_in_runtime(0, segments, NULL));
}

/* ---- time, cancel, close ---- */

struct waiting {
    struct ends ends;
    atomic_int waits;
    int result;
};

static int waits_for_one(void *arg)
{
    struct waiting *waiting = arg;
    char byte;

    atomic_fetch_add(&waiting->waits, 1);
    return (int)filch_udp_recv(waiting->ends.b, &byte, 1, NULL, NULL, FILCH_NEVER);
}

static int waits_for_several(void *arg)
{
    struct waiting *waiting = arg;
    filch_datagram in[4] = {{.buf = NULL}};

    atomic_fetch_add(&waiting->waits, 1);
    return (int)filch_udp_recv_many(waiting->ends.b, in, 4, FILCH_NEVER);
}

static int waits_in_a_select(void *arg)
{
    struct waiting *waiting = arg;
    int r = -EIO;

    atomic_fetch_add(&waiting->waits, 1);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_udp_readable(waiting->ends.b)), 0);
    return r;
}

static const filch_fn waiters[] = {waits_for_one, waits_for_several, waits_in_a_select};

static int closed_meanwhile(void *arg)
{
    for (int i = 0; i < 30; i++) {
        struct waiting waiting = {.waits = 0};
        filch_task *tasks[3];

        open_ends(&waiting.ends);
        if (arg)
            T_OK(filch_udp_connect(waiting.ends.b, &waiting.ends.a_addr));
        for (int n = 0; n < 3; n++)
            tasks[n] = spawn(waiters[n], &waiting);
        T_WAIT_UNTIL(atomic_load(&waiting.waits) == 3 || i % 3 == 0);
        if (i % 2)
            let_others_run();
        T_OK(filch_udp_close(waiting.ends.b));
        for (int n = 0; n < 3; n++) {
            int r = join(tasks[n]);

            T_CHECK(r == -ECANCELED || r == -EBADF);
        }
        T_IS(filch_udp_close(waiting.ends.b), -EBADF);
        T_OK(filch_udp_close(waiting.ends.a));
    }
    return 0;
}

Test(udp, a_close_sends_away_all_who_wait)
{
    char yes;

    T_OK(run_in_runtime(0, closed_meanwhile, NULL));
    T_OK(run_in_runtime(0, closed_meanwhile, &yes));
}

static void *thread_waits(void *arg)
{
    struct waiting *waiting = arg;

    waiting->result = waits_for_one(waiting);
    return NULL;
}

Test(udp, a_close_sends_away_a_plain_thread)
{
    struct waiting waiting = {.waits = 0};
    pthread_t thread;

    open_ends(&waiting.ends);
    T_OK(pthread_create(&thread, NULL, thread_waits, &waiting));
    T_WAIT_UNTIL(atomic_load(&waiting.waits));
    T_OK(filch_udp_close(waiting.ends.b));
    T_OK(pthread_join(thread, NULL));
    T_CHECK(waiting.result == -ECANCELED || waiting.result == -EBADF);
    T_OK(filch_udp_close(waiting.ends.a));
}

/* Each datagram is received by somebody, once, whoever is cancelled meanwhile. */
static int conserved(void *arg)
{
    struct waiting waiting = {.waits = 0};
    int got = 0;
    char byte;

    (void)arg;
    open_ends(&waiting.ends);
    for (int i = 0; i < 200; i++) {
        filch_task *task = spawn(waiters[i % 2], &waiting);
        int r;

        if (i % 3)
            let_others_run();
        T_IS(filch_udp_send(waiting.ends.a, "x", 1, &waiting.ends.b_addr, T_LIMIT), 1);
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r > 0 || r == -ECANCELED); /* several take what others have left, too */
        got += r > 0 ? r : 0;
    }
    while (filch_udp_recv(waiting.ends.b, &byte, 1, NULL, NULL, FILCH_NOW) == 1)
        got++;
    T_IS(got, 200);
    close_ends(&waiting.ends);
    return 0;
}

Test(udp, a_cancel_loses_no_datagram)
{
    T_OK(run_in_runtime(0, conserved, NULL));
}

/* ---- groups and options ---- */

static int groups(void *arg)
{
    filch_addr group, from, addr;
    filch_udp *member, *sender;
    unsigned lo = if_nametoindex("lo");
    char byte = 0;

    (void)arg;
    T_CHECK(lo > 0);
    open_on("0.0.0.0:0", &member, &addr);
    open_on("127.0.0.1:0", &sender, &from);
    T_OK(filch_addr_parse("239.255.7.7:0", &group));
    group.port = addr.port;
    T_OK(filch_udp_join(member, &group, NULL, lo));
    T_IS(filch_udp_join(member, &group, NULL, lo), -EADDRINUSE);
    T_OK(filch_udp_multicast_interface(sender, lo));
    T_OK(filch_udp_set(sender, FILCH_UDP_MULTICAST_TTL, 0));
    T_IS(filch_udp_send(sender, "g", 1, &group, T_LIMIT), 1);
    T_IS(filch_udp_recv(member, &byte, 1, &addr, NULL, T_LIMIT), 1);
    T_IS(byte, 'g');
    T_CHECK(filch_addr_equal(&addr, &from));
    T_OK(filch_udp_leave(member, &group, NULL, lo));
    T_IS(filch_udp_leave(member, &group, NULL, lo), -EADDRNOTAVAIL);
    /* From one sender only. */
    T_OK(filch_udp_join(member, &group, &from, lo));
    T_IS(filch_udp_send(sender, "s", 1, &group, T_LIMIT), 1);
    T_IS(filch_udp_recv(member, &byte, 1, &addr, NULL, T_LIMIT), 1);
    T_IS(byte, 's');
    T_OK(filch_udp_leave(member, &group, &from, lo));
    T_OK(filch_addr_parse("127.0.0.1:1", &addr));
    T_IS(filch_udp_join(member, &addr, NULL, lo), -EINVAL);
    T_IS(filch_udp_join(member, &group, NULL, 12345678), -ENODEV);
    T_OK(filch_udp_close(member));
    T_OK(filch_udp_close(sender));
    return 0;
}

Test(udp, groups_are_joined_and_left)
{
    T_OK(run_in_runtime(0, groups, NULL));
}

static void check_option(filch_udp *udp, enum filch_udp_option option, int64_t value)
{
    int64_t got = -1;

    T_OK(filch_udp_set(udp, option, value));
    T_OK(filch_udp_get(udp, option, &got));
    if (got != value)
        fprintf(stderr, "option %d: %lld, not %lld\n", (int)option, (long long)got,
                (long long)value);
    T_CHECK(got == value);
}

static void options_on(const char *host)
{
    const filch_udp_setting settings[] = {{FILCH_UDP_REUSE_PORT, 1}, {FILCH_UDP_TTL, 9}};
    const filch_udp_opts opts = {.settings = settings, .setting_count = 2};
    const filch_udp_opts wrong = {.settings = NULL, .setting_count = 1};
    char text[FILCH_ADDR_BYTES];
    filch_udp *udp, *second;
    filch_addr addr;
    int64_t value = 0;

    T_OK(filch_udp_open(host, &opts, &udp));
    T_OK(filch_udp_local_addr(udp, &addr));
    T_OK(filch_addr_text(&addr, text));
    T_IS(filch_udp_open(text, NULL, &second), -EADDRINUSE);
    T_IS(filch_udp_open(host, &wrong, &second), -EINVAL);
    T_OK(filch_udp_open(text, &opts, &second));
    T_OK(filch_udp_close(second));
    T_OK(filch_udp_get(udp, FILCH_UDP_TTL, &value));
    T_IS(value, 9);
    check_option(udp, FILCH_UDP_TTL, 17);
    check_option(udp, FILCH_UDP_BROADCAST, 1);
    check_option(udp, FILCH_UDP_BROADCAST, 0);
    check_option(udp, FILCH_UDP_MULTICAST_TTL, 3);
    check_option(udp, FILCH_UDP_MULTICAST_LOOP, 0);
    check_option(udp, FILCH_UDP_MULTICAST_LOOP, 1);
    check_option(udp, FILCH_UDP_MTU_DISCOVER, 2);
    check_option(udp, FILCH_UDP_TOS, 0x20);
    check_option(udp, FILCH_UDP_PRIORITY, 3);
    check_option(udp, FILCH_UDP_REUSE_ADDR, 1);
    T_OK(filch_udp_set(udp, FILCH_UDP_RECV_BUFFER, 32768));
    T_OK(filch_udp_get(udp, FILCH_UDP_RECV_BUFFER, &value));
    T_IS(value, 65536);
    T_OK(filch_udp_get(udp, FILCH_UDP_ERROR, &value));
    T_IS(value, 0);
    T_IS(filch_udp_set(udp, FILCH_UDP_ERROR, 0), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_TTL, 256), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_BROADCAST, 2), -EINVAL);
    T_IS(filch_udp_set(udp, (enum filch_udp_option)99, 1), -EINVAL);
    T_OK(filch_udp_close(udp));
}

Test(udp, options)
{
    options_on("127.0.0.1:0");
    options_on("[::1]:0");
}

Test(udp, adopting_and_releasing)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    int pipes[2];
    filch_udp *udp;

    T_OK(pipe(pipes));
    T_IS(filch_udp_adopt(tcp, &udp), -EPROTOTYPE);
    T_IS(filch_udp_adopt(pipes[0], &udp), -ENOTSOCK);
    T_OK(filch_udp_adopt(fd, &udp));
    T_CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    T_CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    T_OK(filch_udp_release(udp, &fd));
    T_IS(filch_udp_release(udp, &fd), -EBADF);
    T_OK(filch_udp_adopt(fd, &udp));
    T_OK(filch_udp_close(udp));
    T_CHECK(fcntl(fd, F_GETFD) < 0);
    T_OK(close(tcp));
    T_OK(close(pipes[0]));
    T_OK(close(pipes[1]));
}
