/* load - closed-loop load generator for echo servers: one thread, epoll, depth 1.
 *
 *     load ADDR PORT CONNS BYTES SECONDS [--pid PID] [--cpu N] [--warmup S] [--reconnect] [--curve]
 *                                          [--udp] [--idle N]
 *
 * Each of CONNS connections sends a message of BYTES, waits for all of it back, checks every byte,
 * and sends the next one. The client's own cost is kept small and equal for every server:
 *   - messages are windows into one random pattern, so that nothing is generated while it measures:
 *     the message number k of connection c starts at pattern[(c * 31 + k) % OFFSETS];
 *   - checking is one memcmp against the same window;
 *   - latencies go to a log-linear histogram (64 steps an octave: 1.6 % resolution).
 *
 * With --pid it also reports the CPU time that the server spent per message, from the schedstat of
 * all its threads (io_uring's workers are among them). Threads that end in between are not seen.
 *
 * With --reconnect each connection carries one message: connect, message, answer, close, and again;
 * the latency runs from before the connect. A connection comes from a loopback address of its own
 * (127.0.0.2 onward), for one address would run out of ports while closed connections linger.
 *
 * With --udp each connection is a socket of its own that sends datagrams to the one port; a message
 * is one datagram, which must come back whole. On a loopback none gets lost at depth 1.
 *
 * With --idle it measures twice: alone, and beside N connections that have had a message each and
 * say nothing more, from several loopback addresses. In between it reads what they cost the server
 * (--pid) in resident memory and page tables, each. As many as descriptors allow, if that is fewer.
 *
 * With --curve it prints a second line, percentile:microseconds, for a plot.
 *
 * A wrong byte, a closed connection or STALL_MS without any answer is a failure: exit 1. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    OFFSETS = 4096,
    STALL_MS = 10000,
    SETTLE_MS = 1500,        /* the server may give memory back that it does not need */
    SPARE_DESCRIPTORS = 256, /* of server and client, beside connections */
    PORTS = 20000,           /* that one address has for sure */
    EVENTS = 256,
    STEP_BITS = 6,
    STEPS = 1 << STEP_BITS,
    BUCKETS = 64 * STEPS,
};

struct conn {
    int fd;
    uint32_t index;
    uint32_t message;
    size_t sent, received;
    bool wants_out; /* EPOLLOUT is armed: the last send was short */
    uint64_t sent_at_ns;
};

struct options {
    struct sockaddr_in addr;
    unsigned conns;
    size_t bytes;
    double seconds, warmup;
    int pid, cpu;
    bool reconnect, curve, udp;
    unsigned idle;
};

/* What the server has of it. */
struct memory {
    uint64_t rss, page_tables;
};

struct histogram {
    uint64_t count;
    uint64_t buckets[BUCKETS];
};

static struct options opt;
static struct histogram latencies;
static unsigned char *pattern, *inbox;
static int epoll_fd;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)((ns >> shift) - STEPS);
}

/* Middle of the bucket: the inverse of bucket_of(). */
static double bucket_ns(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return ((double)(bucket % STEPS + STEPS) + 0.5) * (double)(1ull << shift);
}

static void histogram_add(struct histogram *h, uint64_t ns)
{
    h->buckets[bucket_of(ns)]++;
    h->count++;
}

static double histogram_quantile_us(const struct histogram *h, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)h->count), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank)
            return bucket_ns(i) / 1e3;
    }
    return 0;
}

/* CPU time of all threads of @pid, in ns; -1 when it cannot be read. */
static double process_cpu_ns(int pid)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    double sum = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long ran = 0;
        if (file) {
            if (fscanf(file, "%llu", &ran) == 1)
                sum += (double)ran;
            fclose(file);
        }
    }
    closedir(dir);
    return sum;
}

/* Bytes behind @key in a process's status; 0 when there are none. */
static uint64_t status_bytes(int pid, const char *key)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtoull(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return kib * 1024;
}

static struct memory memory_of(int pid)
{
    return (struct memory){status_bytes(pid, "VmRSS:"), status_bytes(pid, "VmPTE:")};
}

static const unsigned char *message_of(const struct conn *c)
{
    return pattern + (c->index * 31 + c->message) % OFFSETS;
}

static void want_out(struct conn *c, bool wanted)
{
    if (c->wants_out == wanted)
        return;
    c->wants_out = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void send_rest(struct conn *c)
{
    ssize_t n = send(c->fd, message_of(c) + c->sent, opt.bytes - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        fail("connection %u: send: %s", c->index, strerror(errno));
    if (n > 0)
        c->sent += (size_t)n;
    want_out(c, c->sent < opt.bytes);
}

static void send_message(struct conn *c)
{
    c->sent = c->received = 0;
    send_rest(c);
}

static void connect_one(struct conn *c, unsigned index);

static void begin_message(struct conn *c)
{
    uint64_t start = now_ns();
    if (opt.reconnect)
        connect_one(c, c->index);
    send_message(c);
    c->sent_at_ns = start;
}

static void receive(struct conn *c)
{
    ssize_t n = recv(c->fd, inbox, opt.bytes - c->received, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        fail("connection %u, message %u: %s", c->index, c->message,
             n ? strerror(errno) : "closed by the server");
    if (memcmp(inbox, message_of(c) + c->received, (size_t)n) != 0)
        fail("connection %u, message %u: wrong bytes in [%zu, %zu)", c->index, c->message,
             c->received, c->received + (size_t)n);
    if (opt.udp && (size_t)n < opt.bytes)
        fail("connection %u, message %u: cut to %zd bytes", c->index, c->message, n);
    c->received += (size_t)n;
    if (c->received == opt.bytes) {
        histogram_add(&latencies, now_ns() - c->sent_at_ns);
        c->message++;
        if (opt.reconnect)
            close(c->fd);
        begin_message(c);
    }
}

/* Serve events until @end_ns. */
static void run_until(uint64_t end_ns)
{
    struct epoll_event events[EVENTS];
    while (now_ns() < end_ns) {
        int n = epoll_wait(epoll_fd, events, EVENTS, STALL_MS);
        if (n == 0)
            fail("no answer for %d ms", STALL_MS);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_rest(c);
            if (events[i].events & ~EPOLLOUT)
                receive(c);
        }
    }
}

static void bind_to_own_address(const struct conn *c)
{
    int one = 1;
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + c->index)};
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&own, sizeof own) < 0)
        fail("connection %u: bind: %s", c->index, strerror(errno));
}

static void connect_one(struct conn *c, unsigned index)
{
    int one = 1;
    c->index = index;
    c->wants_out = false;
    c->fd = socket(AF_INET, (opt.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && opt.reconnect)
        bind_to_own_address(c);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&opt.addr, sizeof opt.addr) < 0)
        fail("connection %u: %s", index, strerror(errno));
    if (!opt.udp)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* Return: how many descriptors there may be. */
static unsigned raise_file_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur < 1u << 30 ? (unsigned)files.rlim_cur : 1u << 30;
}

static struct conn *connect_all(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct conn *conns = calloc(opt.conns, sizeof *conns);
    if (!conns || epoll_fd < 0)
        fail("out of memory or descriptors");
    for (unsigned i = 0; i < opt.conns; i++)
        if (opt.reconnect)
            conns[i].index = i;
        else
            connect_one(&conns[i], i);
    return conns;
}

static void make_pattern(void)
{
    size_t size = opt.bytes + OFFSETS;
    pattern = malloc(size);
    inbox = malloc(opt.bytes);
    if (!pattern || !inbox)
        fail("out of memory");
    uint64_t x = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        pattern[i] = (unsigned char)(x >> 24);
    }
}

/* Percentiles that enough messages stand behind. */
static void print_curve(void)
{
    static const double percents[] = {0,     10,    25,    50,     75,     90,
                                      95,    98,    99,    99.5,   99.8,   99.9,
                                      99.95, 99.98, 99.99, 99.995, 99.998, 99.999};
    fputs("curve", stdout);
    for (unsigned i = 0; i < sizeof percents / sizeof percents[0]; i++)
        if ((1 - percents[i] / 100) * (double)latencies.count >= 1)
            printf(" %g:%.1f", percents[i], histogram_quantile_us(&latencies, percents[i] / 100));
    putchar('\n');
}

/* Messages for the time that the options say, after a warm-up. Return: seconds it took. */
static double measure(void)
{
    run_until(now_ns() + (uint64_t)(opt.warmup * 1e9));
    memset(&latencies, 0, sizeof latencies);
    uint64_t start = now_ns();
    run_until(start + (uint64_t)(opt.seconds * 1e9));
    if (latencies.count == 0)
        fail("no message was answered");
    return (double)(now_ns() - start) / 1e9;
}

static void measure_and_print(void)
{
    double cpu = opt.pid ? process_cpu_ns(opt.pid) : -1;
    double elapsed_s = measure();
    double cpu_end = opt.pid ? process_cpu_ns(opt.pid) : -1;
    printf("load conns=%u bytes=%zu msgs_s=%.0f p50_us=%.1f p99_us=%.1f p999_us=%.1f", opt.conns,
           opt.bytes, (double)latencies.count / elapsed_s, histogram_quantile_us(&latencies, 0.5),
           histogram_quantile_us(&latencies, 0.99), histogram_quantile_us(&latencies, 0.999));
    if (cpu >= 0 && cpu_end >= 0)
        printf(" server_cpu_us=%.3f", (cpu_end - cpu) / 1e3 / (double)latencies.count);
}

/* A connection that has been served once. Not in the epoll: nothing comes. */
static void connect_idle(unsigned index)
{
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index / PORTS)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        fail("idle connection %u: %s", index, strerror(errno));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        connect(fd, (struct sockaddr *)&opt.addr, sizeof opt.addr) < 0)
        fail("idle connection %u: %s", index, strerror(errno));
    if (send(fd, pattern, opt.bytes, MSG_NOSIGNAL) != (ssize_t)opt.bytes ||
        recv(fd, inbox, opt.bytes, MSG_WAITALL) != (ssize_t)opt.bytes ||
        memcmp(inbox, pattern, opt.bytes) != 0)
        fail("idle connection %u: no answer, or a wrong one", index);
}

static void measure_beside_idle(void)
{
    unsigned limit = raise_file_limit(), most = limit - opt.conns - SPARE_DESCRIPTORS;
    if (limit < 2 * SPARE_DESCRIPTORS + opt.conns)
        fail("a limit of %u descriptors is too low", limit);
    if (opt.idle > most)
        opt.idle = most;
    measure();
    double alone_us = histogram_quantile_us(&latencies, 0.99);
    struct memory before = memory_of(opt.pid), after;
    for (unsigned i = 0; i < opt.idle; i++)
        connect_idle(i);
    run_until(now_ns() + SETTLE_MS * 1000000ull);
    after = memory_of(opt.pid);
    if (!before.rss || after.rss < before.rss)
        fail("the memory of process %d is not to be read", opt.pid);
    measure_and_print();
    printf(" idle=%u alone_p99_us=%.1f beyond_us=%.1f rss_b=%.0f page_tables_b=%.0f", opt.idle,
           alone_us, histogram_quantile_us(&latencies, 0.99) - alone_us,
           (double)(after.rss - before.rss) / opt.idle,
           ((double)after.page_tables - (double)before.page_tables) / opt.idle);
}

static void parse_options(int argc, char **argv)
{
    if (argc < 6)
        fail("usage: load ADDR PORT CONNS BYTES SECONDS [--pid PID] [--cpu N] [--warmup S] "
             "[--reconnect] [--curve] [--udp] [--idle N]");
    opt = (struct options){.cpu = -1, .warmup = 0.3};
    opt.addr.sin_family = AF_INET;
    opt.addr.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &opt.addr.sin_addr) != 1)
        fail("%s is not an IPv4 address", argv[1]);
    opt.conns = (unsigned)atoi(argv[3]);
    opt.bytes = (size_t)atol(argv[4]);
    opt.seconds = atof(argv[5]);
    for (int i = 6; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--reconnect") == 0)
            opt.reconnect = true;
        else if (strcmp(argv[i], "--udp") == 0)
            opt.udp = true;
        else if (strcmp(argv[i], "--curve") == 0)
            opt.curve = true;
        else if (strcmp(argv[i], "--pid") == 0)
            opt.pid = atoi(value), i++;
        else if (strcmp(argv[i], "--idle") == 0)
            opt.idle = (unsigned)atoi(value), i++;
        else if (strcmp(argv[i], "--cpu") == 0)
            opt.cpu = atoi(value), i++;
        else if (strcmp(argv[i], "--warmup") == 0)
            opt.warmup = atof(value), i++;
        else
            fail("unknown option %s", argv[i]);
    }
    if (opt.conns == 0 || opt.bytes == 0)
        fail("CONNS and BYTES must be at least 1");
    if (opt.idle && (!opt.pid || opt.udp || opt.reconnect))
        fail("--idle needs --pid, and connections that stay");
}

static void pin_to_cpu(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        fail("cannot run on cpu %d: %s", cpu, strerror(errno));
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    if (opt.cpu >= 0)
        pin_to_cpu(opt.cpu);
    raise_file_limit();
    make_pattern();
    struct conn *conns = connect_all();
    for (unsigned i = 0; i < opt.conns; i++)
        begin_message(&conns[i]);
    if (opt.idle)
        measure_beside_idle();
    else
        measure_and_print();
    putchar('\n');
    if (opt.curve)
        print_curve();
    return 0;
}
