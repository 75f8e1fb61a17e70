/* Streams and datagrams between two processes over a line that loses, doubles, delays and reorders
 * packets, or is slow, on both engines: each byte of a stream comes once and in order, whatever the
 * line does, and of datagrams exactly those come that the line let through.
 *
 *     lossy [SEED]     default: from the clock. It is printed first
 *
 *     namespace 10.77.0.1           this process             namespace 10.77.0.2
 *     server --- tun device --- relay.c, with its dice --- tun device --- client
 *
 * The accounts of a line are settled when it has carried all datagrams: their senders say how many
 * there were, the relay knows what became of each, and the receivers wait for what must come. */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lossy/relay.h"
#include "tests/lossy/traffic.h"
#include "tests/runner/run.h"

#define EXIT_SKIPPED 77

static const struct relay_faults lines[] = {
    {.delay_us = 500},
    {.drop = 100, .duplicate = 100, .late = 300, .delay_us = 1000, .late_us = 5000},
    {.drop = 500, .duplicate = 300, .late = 1000, .delay_us = 1000, .late_us = 8000},
    {.delay_us = 1000, .rate = 3000000},
    {.drop = 100,
     .duplicate = 100,
     .late = 300,
     .delay_us = 1000,
     .late_us = 5000,
     .rate = 2000000},
    {.drop = 1500, .duplicate = 500, .late = 1500, .delay_us = 2000, .late_us = 20000},
};

/* What this process knows of one end. */
struct end {
    pid_t pid;
    int notes;
    uint64_t streams, sent, taken, twice;
    bool told;     /* how many datagrams were delivered to it */
    bool has_told; /* how many it took */
};

static int udp_socket(int end)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(TRAFFIC_UDP_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int bytes = 8 << 20;

    T_CHECK(fd >= 0);
    addr.sin_addr.s_addr = htonl(0x0a4d0001 + (uint32_t)end);
    T_OK(bind(fd, (struct sockaddr *)&addr, sizeof addr));
    T_OK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes));
    return fd;
}

static int listening_socket(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(TRAFFIC_TCP_PORT)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    T_CHECK(fd >= 0);
    T_OK(bind(fd, (struct sockaddr *)&addr, sizeof addr));
    T_OK(listen(fd, 100));
    return fd;
}

static void be_end(struct traffic *traffic, filch_engine_choice engine)
{
    filch_runtime *rt;
    int result = -1;

    T_OK(prctl(PR_SET_PDEATHSIG, SIGKILL));
    rt = test_start(&(filch_runtime_opts){.workers = test_workers(), .engine = engine});
    T_OK(filch_runtime_block_on(rt, traffic_main, traffic, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
    exit(0);
}

/* In the namespace that was made last. */
static void end_start(struct end *end, int number, filch_engine_choice engine, uint64_t seed)
{
    struct traffic traffic = {.end = number, .listen_fd = -1, .seed = seed};
    int pair[2];

    T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    traffic.notes = pair[1];
    traffic.udp_fd = udp_socket(number);
    if (number == 0)
        traffic.listen_fd = listening_socket();
    fflush(stdout);
    *end = (struct end){.pid = fork(), .notes = pair[0]};
    T_CHECK(end->pid >= 0);
    if (end->pid == 0) {
        close(pair[0]);
        be_end(&traffic, engine);
    }
    close(pair[1]);
    close(traffic.udp_fd);
    if (traffic.listen_fd >= 0)
        close(traffic.listen_fd);
}

static void note_read(struct end *end)
{
    struct note note;
    ssize_t n = recv(end->notes, &note, sizeof note, MSG_WAITALL);

    T_CHECK(n == sizeof note && "an end has ended before its time");
    switch (note.kind) {
    case NOTE_STREAMS_DONE:
        end->streams = note.count;
        break;
    case NOTE_DATAGRAMS_SENT:
        end->sent = note.count;
        break;
    case NOTE_DATAGRAMS_TAKEN:
        end->taken = note.count;
        end->twice = note.twice;
        end->has_told = true;
        break;
    default:
        T_CHECK(!"such a note");
    }
}

/* Has the line done with all datagrams that @sender sent? Then their receiver is told. */
static void settle(const struct relay_counts *udp, const struct end *sender, struct end *receiver)
{
    struct note note = {.kind = NOTE_DELIVERED, .count = udp->delivered};

    if (receiver->told || !sender->sent || udp->seen < sender->sent ||
        udp->delivered < udp->seen - udp->dropped + udp->duplicated)
        return;
    T_IS(send(receiver->notes, &note, sizeof note, MSG_NOSIGNAL), sizeof note);
    receiver->told = true;
}

static void check(const struct relay *relay, const struct end *ends, int number)
{
    const struct relay_counts *udp = &relay->udp[1 - number];
    const struct end *end = &ends[number];

    T_IS(end->streams, CONNECTIONS);
    T_IS(udp->seen, ends[1 - number].sent);
    T_IS(end->taken, udp->seen - udp->dropped);
    T_IS(end->twice, udp->duplicated);
}

/* One line, from its making to its end. Return: 0; -errno and a reason: it cannot be made. */
static int run_line(const struct relay_faults *faults, filch_engine_choice engine, uint64_t seed,
                    const char **ret_reason)
{
    struct relay relay = {.faults = *faults, .random = seed};
    filch_time begun = filch_now(), limit = filch_after(240 * FILCH_SECOND);
    struct end ends[2];

    for (int i = 0; i < 2; i++) {
        relay.tun[i] = relay_end_open(i, ret_reason);
        if (relay.tun[i] < 0)
            return relay.tun[i];
        end_start(&ends[i], i, engine, seed);
    }
    while (!ends[0].has_told || !ends[1].has_told) {
        unsigned ready = relay_turn(&relay, (int[]){ends[0].notes, ends[1].notes}, 2);

        for (int i = 0; i < 2; i++)
            if (ready & 1u << i)
                note_read(&ends[i]);
        for (int i = 0; i < 2; i++)
            settle(&relay.udp[i], &ends[i], &ends[1 - i]);
        T_CHECK(filch_now() < limit);
    }
    for (int i = 0; i < 2; i++)
        check(&relay, ends, i);
    T_CHECK(relay.held || !faults->rate);
    for (int i = 0; i < 2; i++)
        close(ends[i].notes);
    for (int i = 0; i < 2; i++) {
        int status;

        T_IS(waitpid(ends[i].pid, &status, 0), ends[i].pid);
        T_OK(status);
    }
    printf("%s: %llu packets, of which %llu were lost; %d streams of %d bytes each way are whole; "
           "%llu of %d datagrams were lost and %llu came twice; %.1f s\n",
           engine == FILCH_ENGINE_EPOLL ? "epoll" : "io_uring", (unsigned long long)relay.packets,
           (unsigned long long)relay.dropped, CONNECTIONS, STREAM_BYTES,
           (unsigned long long)(relay.udp[0].dropped + relay.udp[1].dropped), 2 * DATAGRAMS,
           (unsigned long long)(ends[0].twice + ends[1].twice),
           (double)(filch_now() - begun) / FILCH_SECOND);
    fflush(stdout);
    relay_fini(&relay);
    return 0;
}

/* Is there io_uring here? */
static bool has_uring(void)
{
    int status;
    pid_t pid = fork();

    T_CHECK(pid >= 0);
    if (pid == 0) {
        const char *reason;
        filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = 1});
        int r = strcmp(filch_engine(rt, &reason), "io_uring");

        if (r != 0)
            printf("without io_uring: %s\n", reason);
        fflush(stdout);
        T_OK(filch_runtime_shutdown(rt, T_LIMIT));
        _exit(r != 0);
    }
    T_IS(waitpid(pid, &status, 0), pid);
    return status == 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : filch_now();
    const filch_engine_choice engines[] = {FILCH_ENGINE_EPOLL, FILCH_ENGINE_URING};
    const char *reason;
    int count;

    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    (void)signal(SIGPIPE, SIG_IGN);
    if (geteuid() != 0)
        (void)unshare(CLONE_NEWUSER); /* whose root may make network namespaces */
    unsetenv("FILCH_ENGINE");
    count = has_uring() ? 2 : 1;
    for (int i = 0; i < count; i++)
        for (size_t line = 0; line < sizeof lines / sizeof *lines; line++) {
            int r = run_line(&lines[line], engines[i], seed + line, &reason);

            if (r < 0) {
                printf("skipped: %s: %s\n", reason, strerror(-r));
                return EXIT_SKIPPED;
            }
        }
    return 0;
}
