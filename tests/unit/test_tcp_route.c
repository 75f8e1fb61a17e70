/* Description: TCP over a network that swallows packets, refuses them, goes down and up, or takes
 * only small ones. Two network namespaces, and this process as the line between them, which does to
 * packets what it is told; where that is not allowed, it is skipped.
 *
 *     10.88.0.1, listens --- tun --- relay thread --- tun --- 10.88.0.2, connects */
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"
#include "tests/runner/tun.h"

TestSuite(tcp_route, .timeout = 120);

#define SKIPPED 77
#define SERVER "10.88.0.1"
#define CLIENT "10.88.0.2"

/* What becomes of TCP's packets on their way to the server; else the code of an ICMP message that
 * it cannot be reached. */
enum { CARRY = -1, SWALLOW = -2 };

static struct network {
    int tun[2];  /* the server's, the client's */
    int control; /* a socket in the client's namespace */
    int listen_fd;
    char addr[FILCH_ADDR_BYTES]; /* where it listens */
    pthread_t relay;
    int stop;
    atomic_int does;
    atomic_uint most;  /* larger packets are lost; 0: none */
    atomic_bool tells; /* those who sent them are told what is the most */
    atomic_uint lost;
} net;

/* ---- the line ---- */

struct message {
    struct iphdr ip;
    struct icmphdr icmp;
    unsigned char about[sizeof(struct iphdr) + 8]; /* the packet it is about */
};

static uint16_t checksum(const void *data, size_t bytes)
{
    const unsigned char *at = data;
    uint32_t sum = 0;

    for (size_t i = 0; i < bytes; i += 2)
        sum += (uint32_t)at[i] << 8 | at[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

/* Tells whoever sent the packet that it does not get there. */
static void tell(int tun, const struct iphdr *packet, int code, unsigned mtu)
{
    struct message m = {
        .ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP},
        .icmp = {.type = ICMP_DEST_UNREACH, .code = (uint8_t)code},
    };

    m.ip.tot_len = htons(sizeof m);
    m.ip.saddr = packet->daddr;
    m.ip.daddr = packet->saddr;
    m.ip.check = checksum(&m.ip, sizeof m.ip);
    m.icmp.un.frag.mtu = htons((uint16_t)mtu);
    memcpy(m.about, packet, sizeof m.about);
    m.icmp.checksum = checksum(&m.icmp, sizeof m - sizeof m.ip);
    T_IS(write(tun, &m, sizeof m), sizeof m);
}

static void carry(int from, const struct iphdr *packet, size_t bytes)
{
    int does = from == 1 ? atomic_load(&net.does) : CARRY;
    unsigned most = atomic_load(&net.most);

    if (bytes < sizeof *packet + 8 || packet->version != 4 || packet->protocol != IPPROTO_TCP)
        return;
    if (does == CARRY && (!most || bytes <= most)) {
        (void)!write(net.tun[1 - from], packet, bytes); /* is lost if that one is down */
        return;
    }
    atomic_fetch_add(&net.lost, 1);
    if (does >= 0)
        tell(net.tun[from], packet, does, 0);
    else if (does == CARRY && atomic_load(&net.tells))
        tell(net.tun[from], packet, ICMP_FRAG_NEEDED, most);
}

static void *relay_main(void *arg)
{
    struct pollfd fds[3] = {
        {net.tun[0], POLLIN, 0}, {net.tun[1], POLLIN, 0}, {net.stop, POLLIN, 0}};
    _Alignas(struct iphdr) char packet[2048];

    (void)arg;
    while (!fds[2].revents) {
        T_CHECK(poll(fds, 3, -1) > 0 || errno == EINTR);
        for (int i = 0; i < 2; i++) {
            ssize_t n;

            while ((n = read(net.tun[i], packet, sizeof packet)) > 0)
                carry(i, (const struct iphdr *)packet, (size_t)n);
        }
    }
    return NULL;
}

/* ---- the network ---- */

static int listen_there(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t bytes = sizeof addr;
    int fd = raw_socket();

    T_IS(inet_pton(AF_INET, SERVER, &addr.sin_addr), 1);
    T_OK(bind(fd, (struct sockaddr *)&addr, sizeof addr));
    T_OK(listen(fd, 16));
    T_OK(getsockname(fd, (struct sockaddr *)&addr, &bytes));
    snprintf(net.addr, sizeof net.addr, SERVER ":%u", ntohs(addr.sin_port));
    return fd;
}

/* Return: 0; SKIPPED, having said why. */
static int run_there(filch_fn fn)
{
    const char *reason = "a user namespace of one's own is refused";
    uint64_t one = 1;

    if (geteuid() == 0 || unshare(CLONE_NEWUSER) == 0)
        net.tun[0] = tun_open(SERVER, CLIENT, &reason);
    else
        net.tun[0] = -errno;
    if (net.tun[0] < 0) {
        fprintf(stderr, "%s: %s\n", reason, strerror(-net.tun[0]));
        return SKIPPED;
    }
    net.listen_fd = listen_there();
    net.tun[1] = tun_open(CLIENT, SERVER, &reason);
    net.control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    net.stop = eventfd(0, EFD_CLOEXEC);
    T_CHECK(net.tun[1] >= 0 && net.control >= 0 && net.stop >= 0);
    atomic_store(&net.does, CARRY);
    T_OK(pthread_create(&net.relay, NULL, relay_main, NULL));
    T_OK(run_in_runtime(0, fn, NULL));
    T_IS(write(net.stop, &one, sizeof one), sizeof one);
    T_OK(pthread_join(net.relay, NULL));
    return 0;
}

/* In a process of its own, whose namespaces end with it. */
static void run_in_network(filch_fn fn)
{
    int status, child;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind follows no namespaces");
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0)
        _exit(run_there(fn));
    T_IS(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        cr_skip_test("network namespaces with tun devices are not allowed");
    T_OK(status);
}

static filch_listener *open_listener(void)
{
    filch_listener *listener;

    T_OK(filch_listener_adopt(net.listen_fd, &listener));
    return listener;
}

/* ---- nobody answers, and somebody refuses ---- */

static int connect_for_ever(void *arg)
{
    filch_tcp *conn;

    (void)arg;
    return filch_tcp_connect(net.addr, &conn, FILCH_NEVER);
}

static int swallowed_body(void *arg)
{
    filch_listener *listener = open_listener();
    filch_time least = FILCH_NEVER;
    filch_task *task;
    filch_tcp *conn;

    (void)arg;
    atomic_store(&net.does, SWALLOW);
    for (int i = 0; i < 5; i++) {
        filch_time until = filch_after(30 * FILCH_MILLISECOND), now;

        T_IS(filch_tcp_connect(net.addr, &conn, until), -ETIMEDOUT);
        now = filch_now();
        T_CHECK(now >= until);
        least = now - until < least ? now - until : least;
    }
    T_CHECK(least < (T_IS_SLOW ? 200 : 10) * FILCH_MILLISECOND);
    task = spawn(connect_for_ever, NULL);
    T_WAIT_UNTIL(atomic_load(&net.lost) >= 6);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    /* It was the network. */
    atomic_store(&net.does, CARRY);
    T_OK(filch_tcp_connect(net.addr, &conn, T_LIMIT));
    T_OK(filch_tcp_close(conn));
    return filch_listener_close(listener);
}

Test(tcp_route, a_connect_into_nothing_ends_at_its_time)
{
    run_in_network(swallowed_body);
}

enum { REFUSALS = 100 };

static int refused_body(void *arg)
{
    static const struct {
        int code, want;
    } answers[] = {
        {ICMP_HOST_UNREACH, -EHOSTUNREACH}, {ICMP_NET_UNREACH, -ENETUNREACH},
        {ICMP_PORT_UNREACH, -ECONNREFUSED}, {ICMP_PKT_FILTERED, -EHOSTUNREACH},
        {ICMP_NET_ANO, -ENETUNREACH},
    };
    filch_listener *listener = open_listener();
    filch_tcp *conn;

    (void)arg;
    /* Often: the kernel tells of a message before it has made an error of it. */
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        atomic_store(&net.does, answers[i].code);
        for (int turn = 0; turn < REFUSALS; turn++)
            T_IS(filch_tcp_connect(net.addr, &conn, T_LIMIT), answers[i].want);
    }
    atomic_store(&net.does, CARRY);
    T_IS(filch_tcp_connect("10.99.0.1:7", &conn, T_LIMIT), -ENETUNREACH); /* no route */
    T_OK(filch_listener_close(listener));
    T_IS(filch_tcp_connect(net.addr, &conn, T_LIMIT), -ECONNREFUSED); /* by the other kernel */
    return 0;
}

Test(tcp_route, a_connect_hears_who_refuses_it)
{
    run_in_network(refused_body);
}

/* A job is one. */
static int refused_in_a_job(void *arg)
{
    int r = -1;

    T_OK(filch_blocking_run(refused_body, arg, NULL, &r, FILCH_NEVER));
    return r;
}

Test(tcp_route, a_plain_thread_hears_it_too)
{
    run_in_network(refused_in_a_job);
}

/* ---- connections ---- */

static void open_over(filch_listener *listener, const filch_tcp_opts *opts, struct tcp_pair *pair)
{
    T_OK(filch_tcp_connect_opts(net.addr, opts, &pair->client, T_LIMIT));
    T_OK(filch_listener_accept(listener, &pair->server, T_LIMIT));
}

static void close_over(struct tcp_pair *pair)
{
    T_OK(filch_tcp_close(pair->client));
    T_OK(filch_tcp_close(pair->server));
}

static void expect_bytes(filch_tcp *from, const char *text)
{
    char buf[16];

    T_OK(filch_tcp_read_exact(from, buf, strlen(text), NULL, T_LIMIT));
    T_OK(memcmp(buf, text, strlen(text)));
}

/* What was written meanwhile arrives when it is up again, in both directions. */
static int down_body(void *arg)
{
    filch_listener *listener = open_listener();
    struct tcp_pair pair;
    filch_tcp *conn;
    char byte;

    (void)arg;
    open_over(listener, NULL, &pair);
    T_OK(filch_tcp_write_all(pair.client, "before", 6, NULL, T_LIMIT));
    expect_bytes(pair.server, "before");
    T_OK(tun_set_up(net.control, false));
    T_OK(filch_tcp_write_all(pair.client, "there", 5, NULL, T_LIMIT));
    T_OK(filch_tcp_write_all(pair.server, "back", 4, NULL, T_LIMIT));
    T_IS(filch_tcp_read(pair.server, &byte, 1, filch_after(20 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_tcp_read(pair.client, &byte, 1, filch_after(20 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_tcp_connect(net.addr, &conn, T_LIMIT), -ENETUNREACH);
    T_OK(tun_set_up(net.control, true));
    expect_bytes(pair.server, "there");
    expect_bytes(pair.client, "back");
    close_over(&pair);
    open_over(listener, NULL, &pair);
    close_over(&pair);
    return filch_listener_close(listener);
}

Test(tcp_route, a_device_that_goes_down_and_up_loses_no_byte)
{
    run_in_network(down_body);
}

enum { MUCH = 50000, MOST = 600 };

static int send_much(void *conn)
{
    static char much[MUCH];

    return filch_tcp_write_all(conn, much, MUCH, NULL, T_LIMIT);
}

static void expect_much(filch_tcp *from, filch_tcp *to)
{
    static char got[MUCH];
    filch_task *task = spawn(send_much, from);

    T_OK(filch_tcp_read_exact(to, got, MUCH, NULL, T_LIMIT));
    T_OK(join(task));
}

static int large_body(void *arg)
{
    const filch_tcp_setting timeout = {FILCH_TCP_USER_TIMEOUT, 300 * (int64_t)FILCH_MILLISECOND};
    const filch_tcp_setting segment = {FILCH_TCP_MAX_SEGMENT, 400};
    filch_listener *listener = open_listener();
    filch_time limit;
    struct tcp_pair pair;
    char byte;

    (void)arg;
    atomic_store(&net.most, MOST);
    /* Small ones pass, so that it is connected; large ones do not, and nobody is told. */
    open_over(listener, &(filch_tcp_opts){.settings = &timeout, .setting_count = 1}, &pair);
    T_OK(filch_tcp_write_all(pair.client, "small", 5, NULL, T_LIMIT));
    expect_bytes(pair.server, "small");
    T_OK(send_much(pair.client));
    limit = T_LIMIT;
    T_IS(filch_tcp_read(pair.client, &byte, 1, limit), -ETIMEDOUT);
    T_CHECK(filch_now() < limit); /* by the connection's own limit */
    T_CHECK(atomic_load(&net.lost) > 0);
    T_IS(filch_tcp_read(pair.server, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    close_over(&pair);
    /* Segments that are small pass. */
    open_over(listener, &(filch_tcp_opts){.settings = &segment, .setting_count = 1}, &pair);
    expect_much(pair.client, pair.server);
    expect_much(pair.server, pair.client);
    close_over(&pair);
    /* And so they are once the kernel is told. */
    atomic_store(&net.tells, true);
    open_over(listener, NULL, &pair);
    expect_much(pair.client, pair.server);
    expect_much(pair.server, pair.client);
    close_over(&pair);
    return filch_listener_close(listener);
}

Test(tcp_route, a_path_that_swallows_large_packets)
{
    run_in_network(large_body);
}
