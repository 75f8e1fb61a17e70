/* Streams whose byte i is a function of i, in both directions, which end one after the other or at
 * the same time; then datagrams that are numbered. */
#include "tests/lossy/traffic.h"

#include <filch/filch.h>

#include "tests/runner/run.h"

/* The kernel's patience with a bad line has to fit: it may double its time to retry many times. */
#define PATIENCE filch_after(300 * FILCH_SECOND)
/* Ports of namespaces in which there is nobody else. */
#define SERVER "10.77.0.1:7777"
#define SERVER_UDP "10.77.0.1:7778"
#define CLIENT_UDP "10.77.0.2:7778"

static uint32_t roll(uint64_t *random, uint32_t n)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % n;
}

/* ---- streams ---- */

/* Who sends before it has read all: both, the client only, the server only. */
enum order { BOTH, CLIENT_FIRST, SERVER_FIRST };

struct talk {
    filch_tcp *conn;
    filch_tcp_stream *stream; /* NULL: read without one */
    uint32_t number;
    int end;
    uint64_t random;
};

static unsigned char pattern(uint32_t number, int end, size_t i)
{
    return (unsigned char)(i * 131 + i / 253 + number * 17 + (size_t)end * 101);
}

/* All of it in pieces, most of which are given little time, and then our end. */
static int send_all(void *arg)
{
    struct talk *talk = arg;
    unsigned char piece[9000];
    uint64_t random = talk->random + 1;

    for (size_t sent = 0; sent < STREAM_BYTES;) {
        size_t bytes = 1 + roll(&random, sizeof(piece)), done = 0;
        int r = -ETIMEDOUT;

        if (bytes > STREAM_BYTES - sent)
            bytes = STREAM_BYTES - sent;
        for (size_t i = 0; i < bytes; i++)
            piece[i] = pattern(talk->number, talk->end, sent + i);
        while (r == -ETIMEDOUT) {
            size_t part = 0;
            filch_time until =
                roll(&random, 4) ? filch_after(roll(&random, 3000) * FILCH_MICROSECOND) : PATIENCE;

            r = filch_tcp_write_all(talk->conn, piece + done, bytes - done, &part, until);
            done += part;
        }
        T_OK(r);
        T_IS(done, bytes);
        sent += bytes;
    }
    return filch_tcp_shutdown_write(talk->conn);
}

/* All of it in pieces, and the end. Reads that are given little time are tried again. */
static void recv_all(struct talk *talk)
{
    unsigned char piece[5000];
    size_t got = 0;
    ssize_t n;

    do {
        size_t bytes = 1 + roll(&talk->random, sizeof(piece));
        filch_time until = roll(&talk->random, 4)
                               ? filch_after(roll(&talk->random, 3000) * FILCH_MICROSECOND)
                               : PATIENCE;

        n = talk->stream ? filch_tcp_stream_read(talk->stream, piece, bytes, until)
                         : filch_tcp_read(talk->conn, piece, bytes, until);
        if (n == -ETIMEDOUT)
            continue;
        T_CHECK(n >= 0);
        for (size_t i = 0; i < (size_t)n; i++, got++)
            T_IS(piece[i], pattern(talk->number, 1 - talk->end, got));
    } while (n != 0);
    T_IS(got, STREAM_BYTES);
}

static void converse(struct talk *talk)
{
    enum order order = (enum order)(talk->number % 3);

    if (talk->number % 2)
        T_OK(filch_tcp_stream_open(talk->conn, NULL, &talk->stream));
    if (order == BOTH) {
        filch_task *sender = spawn(send_all, talk);
        int result;

        recv_all(talk);
        T_OK(filch_task_join(sender, &result, PATIENCE));
        T_OK(result);
    } else if ((order == CLIENT_FIRST) == (talk->end == 1)) {
        T_OK(send_all(talk));
        recv_all(talk);
    } else {
        recv_all(talk);
        T_OK(send_all(talk));
    }
    if (talk->stream)
        T_OK(filch_tcp_stream_close(talk->stream));
    T_OK(filch_tcp_close(talk->conn));
    free(talk);
}

static struct talk *talk_new(const struct traffic *traffic, uint32_t number)
{
    struct talk *talk = calloc(1, sizeof(*talk));

    T_CHECK(talk);
    talk->number = number;
    talk->end = traffic->end;
    talk->random = traffic->seed * 1000 + number * 2 + (uint64_t)traffic->end;
    return talk;
}

static int client(void *arg)
{
    struct talk *talk = arg;
    int r;

    while ((r = filch_tcp_connect(SERVER, &talk->conn, PATIENCE)) == -ETIMEDOUT)
        ; /* the kernel's patience */
    T_OK(r);
    T_OK(filch_tcp_write_all(talk->conn, &talk->number, sizeof(talk->number), NULL, PATIENCE));
    converse(talk);
    return 0;
}

static int server(void *arg)
{
    struct talk *talk = arg;

    T_OK(filch_tcp_read_exact(talk->conn, &talk->number, sizeof(talk->number), NULL, PATIENCE));
    T_CHECK(talk->number < CONNECTIONS);
    converse(talk);
    return 0;
}

static void stream(const struct traffic *traffic, filch_listener *listener)
{
    FILCH_SCOPE(scope);

    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct talk *talk = talk_new(traffic, i);

        if (traffic->end == 0)
            T_OK(filch_listener_accept(listener, &talk->conn, PATIENCE));
        T_OK(filch_scope_spawn(&scope, traffic->end == 0 ? server : client, talk));
    }
    T_OK(filch_scope_join(&scope, PATIENCE));
}

/* ---- datagrams ---- */

struct datagram {
    uint32_t number;
    uint32_t from;
    unsigned char data[1300];
};

struct inbox {
    filch_udp *udp;
    int end;
    uint32_t times[DATAGRAMS];
    atomic_uint got;
    atomic_bool finished; /* all that was delivered has come */
    uint64_t random;
};

static size_t datagram_bytes(uint32_t number)
{
    return offsetof(struct datagram, data) + number * 37 % sizeof(((struct datagram *)NULL)->data);
}

static int send_datagrams(void *arg)
{
    const struct inbox *inbox = arg;
    struct datagram datagram = {.from = (uint32_t)inbox->end};
    filch_addr to;

    T_OK(filch_addr_parse(inbox->end == 0 ? CLIENT_UDP : SERVER_UDP, &to));
    for (uint32_t i = 0; i < DATAGRAMS; i++) {
        size_t bytes = datagram_bytes(i);

        datagram.number = i;
        for (size_t at = 0; at < sizeof(datagram.data); at++)
            datagram.data[at] = pattern(i, inbox->end, at);
        T_IS(filch_udp_send(inbox->udp, &datagram, bytes, &to, PATIENCE), bytes);
    }
    return 0;
}

/* Until it is cancelled: each that comes is whole, and is counted. */
static int recv_datagrams(void *arg)
{
    struct inbox *inbox = arg;
    struct datagram datagram;
    ssize_t n;

    for (;;) {
        size_t size = 0;

        n = filch_udp_recv(inbox->udp, &datagram, sizeof(datagram), NULL, &size,
                           filch_after(roll(&inbox->random, 5000) * FILCH_MICROSECOND));
        if (n == -ETIMEDOUT)
            continue;
        if (n == -ECANCELED)
            return 0;
        T_CHECK(n >= (ssize_t)offsetof(struct datagram, data));
        T_IS(size, n);
        T_IS(datagram.from, 1 - inbox->end);
        T_CHECK(datagram.number < DATAGRAMS);
        T_IS(n, datagram_bytes(datagram.number));
        for (size_t i = 0; i < (size_t)n - offsetof(struct datagram, data); i++)
            T_IS(datagram.data[i], pattern(datagram.number, 1 - inbox->end, i));
        inbox->times[datagram.number]++;
        atomic_fetch_add(&inbox->got, 1);
    }
}

static void tell(filch_unix *notes, struct note note)
{
    T_OK(filch_unix_write_all(notes, &note, sizeof(note), NULL, PATIENCE));
}

static void exchange_datagrams(const struct traffic *traffic, filch_unix *notes)
{
    struct inbox inbox = {.end = traffic->end, .random = traffic->seed};
    struct note note, taken = {.kind = NOTE_DATAGRAMS_TAKEN};
    filch_task *receiver;

    T_OK(filch_udp_adopt(traffic->udp_fd, &inbox.udp));
    receiver = spawn(recv_datagrams, &inbox);
    T_OK(send_datagrams(&inbox));
    tell(notes, (struct note){.kind = NOTE_DATAGRAMS_SENT, .count = DATAGRAMS});
    T_OK(filch_unix_read_exact(notes, &note, sizeof(note), NULL, PATIENCE));
    T_IS(note.kind, NOTE_DELIVERED);
    while (atomic_load(&inbox.got) < note.count)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_task_cancel(receiver));
    T_OK(join(receiver));
    T_IS(atomic_load(&inbox.got), note.count);
    for (int i = 0; i < DATAGRAMS; i++) {
        taken.count += inbox.times[i] > 0;
        taken.twice += inbox.times[i] > 1;
        T_CHECK(inbox.times[i] <= 2);
    }
    tell(notes, taken);
    T_OK(filch_udp_close(inbox.udp));
}

int traffic_main(void *arg)
{
    const struct traffic *traffic = arg;
    filch_listener *listener = NULL;
    filch_unix *notes;
    char byte;

    T_OK(filch_unix_adopt(traffic->notes, &notes));
    if (traffic->end == 0)
        T_OK(filch_listener_adopt(traffic->listen_fd, &listener));
    stream(traffic, listener);
    tell(notes, (struct note){.kind = NOTE_STREAMS_DONE, .count = CONNECTIONS});
    exchange_datagrams(traffic, notes);
    /* The other end may still need our kernel: it goes with us. */
    T_IS(filch_unix_read(notes, &byte, 1, PATIENCE), 0);
    T_OK(filch_listener_close(listener));
    T_OK(filch_unix_close(notes));
    return 0;
}
