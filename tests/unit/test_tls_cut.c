/* Description: TLS over a stream that is bad: cut off after any byte of a handshake and of what
 * follows, one byte at a time, calls that give up at any moment. Both ends come to an end, and
 * nothing is lost that was taken. */
#include <errno.h>

#include <criterion/criterion.h>

#include "io/tls/tls.h"
#include "tests/runner/gate.h"
#include "tests/runner/tls_pair.h"

TestSuite(tls_cut, .timeout = 120);

/* One end of a stream in memory. */
struct end {
    filch_duplex *duplex;
    size_t most;     /* bytes of a call; 0: any */
    size_t cut;      /* what may be read before the end comes */
    size_t was_read; /* bytes */
    bool was_cut;
    unsigned calls;                   /* of reads and writes */
    unsigned give_up;                 /* each so manieth call is -ECANCELED; 0: none */
    bool refuses;                     /* writes: -ECANCELED */
    unsigned cancel;                  /* at this call the running task is cancelled; 0: never */
    unsigned reads, writes;           /* calls */
    unsigned read_fails, write_fails; /* the so manieth, with -EIO and -EPIPE; 0: none */
};

static size_t at_most(size_t bytes, size_t most)
{
    return bytes < most ? bytes : most;
}

static int before_call(struct end *end)
{
    end->calls++;
    if (end->calls == end->cancel)
        T_OK(filch_task_cancel(filch_task_self()));
    return end->give_up && end->calls % end->give_up == 0 ? -ECANCELED : 0;
}

static ssize_t end_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct end *end = context;
    int r = before_call(end);
    ssize_t n;

    if (r < 0)
        return r;
    if (++end->reads == end->read_fails)
        return -EIO;
    bytes = at_most(bytes, end->most ? end->most : bytes);
    bytes = at_most(bytes, end->cut - end->was_read);
    end->was_cut = bytes == 0;
    if (bytes == 0)
        return 0;
    n = filch_duplex_read(end->duplex, buf, bytes, until);
    end->was_read += n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t end_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct end *end = context;
    int r = end->refuses ? -ECANCELED : before_call(end);

    if (++end->writes == end->write_fails)
        return -EPIPE;
    return r < 0 ? r
                 : filch_duplex_write(end->duplex, buf,
                                      end->most ? at_most(bytes, end->most) : bytes, until);
}

static filch_io end_io(struct end *end)
{
    return (filch_io){.reader = {.read = end_read, .context = end},
                      .writer = {.write = end_write, .context = end}};
}

/* ---- a conversation: a question, its echo, and both ends ---- */

#define QUESTION 3000

struct talk {
    filch_tls_context *client, *server;
    struct end ends[2]; /* the client's, the server's */
    int accepted;       /* what the server's handshake said */
    size_t step;        /* bytes of a call of TLS */
    size_t question;    /* bytes of it */
    char sent[QUESTION], got[QUESTION];
};

/* A call that was given up is made again. */
static ssize_t again(struct end *end, ssize_t r)
{
    return r == -ECANCELED && end->give_up ? 1 : r;
}

static int put(struct talk *talk, struct end *end, filch_tls *tls, const char *from)
{
    ssize_t n = 0;

    for (size_t done = 0; n >= 0 && done < talk->question;) {
        n = filch_tls_write(tls, from + done, at_most(talk->step, talk->question - done), T_LIMIT);
        done += n > 0 ? (size_t)n : 0;
        n = again(end, n);
    }
    while (n >= 0 && (n = filch_tls_finish(tls, T_LIMIT)) < 0 && again(end, n) > 0)
        n = 0;
    return n < 0 ? (int)n : 0;
}

static int get(struct talk *talk, struct end *end, filch_tls *tls, char *to)
{
    size_t done = 0;
    ssize_t n;
    char more;

    do {
        n = done < talk->question
                ? filch_tls_read(tls, to + done, at_most(talk->step, talk->question - done),
                                 T_LIMIT)
                : filch_tls_read(tls, &more, 1, T_LIMIT);
        done += n > 0 ? (size_t)n : 0;
        T_CHECK(done <= talk->question);
        n = again(end, n);
    } while (n > 0);
    T_CHECK(n < 0 || done == talk->question);
    return (int)n;
}

static int talk_client(void *arg)
{
    struct talk *talk = arg;
    struct end *end = &talk->ends[0];
    filch_tls *tls = NULL;
    unsigned give_up = end->give_up;
    int r;

    end->give_up = 0; /* a handshake that is given up has failed */
    r = filch_tls_connect(talk->client, end_io(end), "localhost", &tls, NULL, T_LIMIT);
    end->give_up = give_up;
    if (r == 0)
        r = put(talk, end, tls, talk->sent);
    if (r == 0)
        r = get(talk, end, tls, talk->got);
    filch_tls_free(tls);
    filch_duplex_free(end->duplex);
    return r;
}

static int talk_server(void *arg)
{
    struct talk *talk = arg;
    struct end *end = &talk->ends[1];
    filch_tls *tls = NULL;
    unsigned give_up = end->give_up;
    char heard[QUESTION];
    int r;

    end->give_up = 0;
    r = talk->accepted = filch_tls_accept(talk->server, end_io(end), &tls, NULL, T_LIMIT);
    T_CHECK(!tls == (r < 0));
    end->give_up = give_up;
    if (r == 0)
        r = get(talk, end, tls, heard);
    if (r == 0)
        r = put(talk, end, tls, heard);
    filch_tls_free(tls);
    filch_duplex_free(end->duplex);
    return r;
}

static void talk_init(struct talk *talk, bool resumes)
{
    struct identity identity;

    memset(talk, 0, sizeof *talk);
    make_identity(&identity, "DNS:localhost", 0, 3600);
    talk->server = new_context(
        true, &(filch_tls_opts){.cert = {.text = identity.cert}, .key = {.text = identity.key}});
    talk->client = new_context(
        false, &(filch_tls_opts){.ca = {.text = identity.cert}, .no_resumption = !resumes});
    for (int i = 0; i < QUESTION; i++)
        talk->sent[i] = (char)(i * 7 + i / 251);
    talk->step = talk->question = QUESTION;
    talk->ends[0].cut = talk->ends[1].cut = SIZE_MAX;
}

static void talk_fini(struct talk *talk)
{
    filch_tls_context_unref(talk->client);
    filch_tls_context_unref(talk->server);
}

static void talk_once(struct talk *talk, int *client, int *server)
{
    filch_task *tasks[2];

    talk->ends[0].was_read = talk->ends[1].was_read = 0;
    talk->ends[0].calls = talk->ends[1].calls = 0;
    talk->ends[0].was_cut = talk->ends[1].was_cut = false;
    memset(talk->got, 0, QUESTION);
    T_OK(filch_duplex_new(65536, &talk->ends[0].duplex, &talk->ends[1].duplex));
    tasks[1] = spawn(talk_server, talk);
    tasks[0] = spawn(talk_client, talk);
    *client = join(tasks[0]);
    *server = join(tasks[1]);
}

static bool talk_went_well(struct talk *talk)
{
    int client, server;

    talk_once(talk, &client, &server);
    T_OK(client);
    T_OK(server);
    return memcmp(talk->sent, talk->got, talk->question) == 0;
}

/* ---- cut off ---- */

/* @each: at each byte; else at less and less of them. */
static void cut_one(struct talk *talk, int reader, bool each)
{
    size_t all = talk->ends[reader].was_read;
    int r[2], cuts = 0;

    /* Some talks are shorter: signatures differ by some bytes, and a client that failed before it
     * read has no session for the next one. */
    for (size_t cut = 0; cut < all; cut += each ? 1 : 1 + cut / 25) {
        talk->ends[reader].cut = cut;
        talk_once(talk, &r[0], &r[1]);
        if (!talk->ends[reader].was_cut) {
            T_IS(r[0] || r[1], 0);
            continue;
        }
        cuts++;
        T_IS(r[reader], -ECONNRESET);
        if (reader == 1) /* a client that has got nothing to the end */
            T_CHECK(r[0] == -ECONNRESET || r[0] == -EPIPE);
        else
            T_CHECK(r[1] == 0 || r[1] == -ECONNRESET || r[1] == -EPIPE);
    }
    T_CHECK(cuts > 100);
    talk->ends[reader].cut = SIZE_MAX;
}

static int cut_anywhere(void *arg)
{
    struct talk talk;

    (void)arg;
    for (int i = 0; i < 8; i++) {
        int reader = i % 2;

        talk_init(&talk, i / 2 % 2);
        if (i < 4)
            talk.question = 50;
        T_CHECK(talk_went_well(&talk));
        T_CHECK(talk_went_well(&talk)); /* continues the session, if it may */
        cut_one(&talk, reader, i < 4);
        T_CHECK(talk_went_well(&talk));
        talk_fini(&talk);
    }
    return 0;
}

Test(tls_cut, a_stream_that_is_cut_anywhere_ends_both_sides)
{
    T_OK(run_in_runtime(0, cut_anywhere, NULL));
}

/* ---- small, and given up ---- */

static int small_pieces(void *arg)
{
    struct talk talk;

    (void)arg;
    talk_init(&talk, true);
    talk.step = 1; /* records of one byte */
    T_CHECK(talk_went_well(&talk));
    talk.step = QUESTION;
    talk.ends[0].most = talk.ends[1].most = 1;
    T_CHECK(talk_went_well(&talk));
    talk_fini(&talk);
    return 0;
}

Test(tls_cut, bytes_come_one_at_a_time)
{
    T_OK(run_in_runtime(0, small_pieces, NULL));
}

static int given_up(void *arg)
{
    struct talk talk;

    (void)arg;
    talk_init(&talk, true);
    for (unsigned each = 2; each < 6; each++) {
        talk.ends[0].give_up = talk.ends[1].give_up = each;
        talk.ends[0].most = talk.ends[1].most = 37;
        talk.step = 500;
        T_CHECK(talk_went_well(&talk));
    }
    talk_fini(&talk);
    return 0;
}

Test(tls_cut, calls_that_are_given_up_lose_nothing)
{
    T_OK(run_in_runtime(0, given_up, NULL));
}

struct shake {
    struct talk *talk;
    filch_tls *tls;
};

static int shake_server(void *arg)
{
    struct shake *shake = arg;

    return filch_tls_accept(shake->talk->server, end_io(&shake->talk->ends[1]), &shake->tls, NULL,
                            T_LIMIT);
}

/* What was taken when the stream below gave up is sent by the next call, also by a read: one that
 * must wait for the peer, who waits for that; and one that need not wait, and is the last. */
static int taken_and_not_sent(void *arg)
{
    struct talk talk;
    struct shake shake = {.talk = &talk};
    struct end *end = &talk.ends[0];
    filch_tls *tls = NULL;
    filch_task *task;
    char got[4];

    (void)arg;
    talk_init(&talk, true);
    T_OK(filch_duplex_new(65536, &talk.ends[0].duplex, &talk.ends[1].duplex));
    task = spawn(shake_server, &shake);
    T_OK(filch_tls_connect(talk.client, end_io(end), "localhost", &tls, NULL, T_LIMIT));
    T_OK(join(task));
    end->refuses = true;
    T_IS(filch_tls_write(tls, "ping", 4, T_LIMIT), 4);
    T_IS(filch_tls_write(tls, "lost", 4, T_LIMIT), -ECANCELED);
    end->refuses = false;
    T_IS(filch_tls_read(tls, got, 1, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_tls_read_exact(shake.tls, got, 4, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "ping", 4) == 0);
    T_OK(filch_tls_write_all(shake.tls, "pong", 4, NULL, T_LIMIT));
    T_OK(filch_tls_read_exact(tls, got, 1, NULL, T_LIMIT)); /* the rest is there, decrypted */
    end->refuses = true;
    T_IS(filch_tls_write(tls, "more", 4, T_LIMIT), 4);
    end->refuses = false;
    T_OK(filch_tls_read_exact(tls, got + 1, 3, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "pong", 4) == 0);
    T_OK(filch_tls_read_exact(shake.tls, got, 4, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "more", 4) == 0);
    filch_tls_free(tls);
    filch_tls_free(shake.tls);
    filch_duplex_free(talk.ends[0].duplex);
    filch_duplex_free(talk.ends[1].duplex);
    talk_fini(&talk);
    return 0;
}

Test(tls_cut, what_was_taken_is_sent_by_the_next_call)
{
    T_OK(run_in_runtime(0, taken_and_not_sent, NULL));
}

/* ---- streams that fail ---- */

static void begin_shake(struct talk *talk, struct shake *shake, filch_tls **ret_tls)
{
    filch_task *task;

    T_OK(filch_duplex_new(65536, &talk->ends[0].duplex, &talk->ends[1].duplex));
    task = spawn(shake_server, shake);
    T_OK(filch_tls_connect(talk->client, end_io(&talk->ends[0]), "localhost", ret_tls, NULL,
                           T_LIMIT));
    T_OK(join(task));
}

static void end_shake(struct talk *talk, struct shake *shake, filch_tls *tls)
{
    filch_tls_free(tls);
    filch_tls_free(shake->tls);
    filch_duplex_free(talk->ends[0].duplex);
    filch_duplex_free(talk->ends[1].duplex);
    talk_fini(talk);
}

/* The tickets that a server sends last find nobody, or a client that does not read any more. */
static int gone_client(void *arg)
{
    struct talk talk;
    struct shake shake = {.talk = &talk};
    filch_tls *tls = NULL;
    char got[8];

    (void)arg;
    talk_init(&talk, true);
    talk.ends[1].write_fails = 2; /* the first one is the server's part of the handshake */
    begin_shake(&talk, &shake, &tls);
    T_OK(filch_tls_write_all(tls, "request", 7, NULL, T_LIMIT));
    T_OK(filch_tls_finish(tls, T_LIMIT));
    T_OK(filch_tls_read_exact(shake.tls, got, 7, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "request", 7) == 0);
    T_IS(filch_tls_read(shake.tls, got, 1, T_LIMIT), 0);
    T_IS(filch_tls_write(shake.tls, "x", 1, T_LIMIT), -EPIPE);
    T_IS(filch_tls_finish(shake.tls, T_LIMIT), -EPIPE);
    T_IS(filch_tls_read(shake.tls, got, 1, T_LIMIT), 0);
    end_shake(&talk, &shake, tls);
    return 0;
}

Test(tls_cut, a_client_that_has_gone_when_it_is_accepted_is_read)
{
    T_OK(run_in_runtime(0, gone_client, NULL));
}

static int failed_reads(void *arg)
{
    struct talk talk;
    struct shake shake = {.talk = &talk};
    filch_tls *tls = NULL;
    filch_error error;
    char got[4];

    (void)arg;
    talk_init(&talk, true);
    begin_shake(&talk, &shake, &tls);
    T_OK(filch_tls_write_all(tls, "ping", 4, NULL, T_LIMIT));
    talk.ends[1].read_fails = talk.ends[1].reads + 1;
    for (int i = 0; i < 3; i++) /* also where the stream would go on */
        T_IS(filch_tls_read(shake.tls, got, 4, T_LIMIT), -EIO);
    T_IS(filch_tls_failure(shake.tls, &error), -EIO);
    T_OK(filch_tls_write_all(shake.tls, "pong", 4, NULL, T_LIMIT));
    T_OK(filch_tls_read_exact(tls, got, 4, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "pong", 4) == 0);
    end_shake(&talk, &shake, tls);
    return 0;
}

Test(tls_cut, a_read_that_failed_fails_for_good)
{
    T_OK(run_in_runtime(0, failed_reads, NULL));
}

/* At each call of the stream below, in the handshake and behind it. */
static int cancelled(void *arg)
{
    struct talk talk;
    int r[2], cancels, accepts_cancelled = 0;

    (void)arg;
    talk_init(&talk, true);
    talk.ends[0].most = talk.ends[1].most = 100;
    for (int side = 0; side < 2; side++) {
        cancels = 0;
        for (unsigned at = 1; at < 60; at++) {
            talk.ends[side].cancel = at;
            talk_once(&talk, &r[0], &r[1]);
            if (r[side] == -ECANCELED) {
                T_CHECK(r[!side] == 0 || r[!side] == -ECONNRESET || r[!side] == -EPIPE);
                cancels++;
                accepts_cancelled += side == 1 && talk.accepted == -ECANCELED;
            } else {
                T_OK(r[side]); /* it was over when the cancel came */
            }
        }
        /* What has come, a server that was cancelled reads and answers without waiting. */
        T_CHECK(cancels > (side ? 5 : 30));
        talk.ends[side].cancel = 0;
        T_CHECK(talk_went_well(&talk));
    }
    T_CHECK(accepts_cancelled > 5);
    talk_fini(&talk);
    return 0;
}

Test(tls_cut, a_cancel_at_any_moment_ends_both_sides)
{
    T_OK(run_in_runtime(0, cancelled, NULL));
}

/* ---- handshakes that are computed elsewhere ---- */

/* OpenSSL asks for the certificate within a handshake's computation. */
static int compute(SSL *ssl, void *gate)
{
    (void)ssl;
    pass_gate(gate);
    return 1;
}

static filch_blocking_stats stats_of(const filch_blocking_class *jobs)
{
    filch_blocking_stats stats;

    T_OK(filch_blocking_class_stats(filch_runtime_self(), jobs, &stats));
    return stats;
}

/* A client that has said its first word and goes on to nothing, and a server that has heard it. */
static filch_task *shake_half(struct talk *talk, struct shake *shake)
{
    filch_tls *tls = NULL;

    T_OK(filch_duplex_new(65536, &talk->ends[0].duplex, &talk->ends[1].duplex));
    T_IS(
        filch_tls_connect(talk->client, end_io(&talk->ends[0]), "localhost", &tls, NULL, FILCH_NOW),
        -ETIMEDOUT);
    return spawn(shake_server, shake);
}

static void end_half(struct talk *talk)
{
    filch_duplex_free(talk->ends[0].duplex);
    filch_duplex_free(talk->ends[1].duplex);
    talk_fini(talk);
}

/* While its job computes: that is waited for, and the handshake ends behind it. */
static int cancelled_within(void *arg)
{
    static struct gate gate = GATE_INIT;
    filch_blocking_class *jobs;
    struct talk talk;
    struct shake shake = {.talk = &talk};
    filch_task *task;
    uint64_t computed;

    (void)arg;
    T_OK(filch_blocking_class_new(filch_runtime_self(),
                                  &(filch_blocking_class_opts){.name = "handshakes"}, &jobs));
    talk_init(&talk, false);
    talk.server->setup->handshake_class = jobs;
    SSL_CTX_set_cert_cb(talk.server->setup->ctx, compute, &gate);
    task = shake_half(&talk, &shake);
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 1);
    computed = stats_of(jobs).jobs;
    T_OK(filch_task_cancel(task));
    let_others_run();
    T_CHECK(!filch_task_is_finished(task)); /* OpenSSL is at work on what it would free */
    open_gate(&gate);
    T_IS(join(task), -ECANCELED);
    T_CHECK(!shake.tls);
    T_IS(stats_of(jobs).jobs, computed);
    T_WAIT_UNTIL(stats_of(jobs).running == 0);
    end_half(&talk);
    return 0;
}

Test(tls_cut, a_cancel_while_a_job_computes_the_handshake)
{
    T_OK(run_in_runtime(0, cancelled_within, NULL));
}

/* While its job waits for a thread: it is taken back, and never computes. */
static int cancelled_before(void *arg)
{
    static struct gate held = GATE_INIT, gate = GATE_INIT;
    filch_task_opts opts = {0};
    struct talk talk;
    struct shake shake = {.talk = &talk};
    filch_task *holder, *task;
    filch_blocking_class *jobs;

    (void)arg;
    T_OK(filch_blocking_class_new(
        filch_runtime_self(), &(filch_blocking_class_opts){.name = "handshakes", .threads_max = 1},
        &jobs));
    opts.blocking_class = jobs;
    T_OK(filch_blocking_spawn(pass_gate, &held, &opts, &holder));
    T_WAIT_UNTIL(atomic_load(&held.inside) == 1);
    talk_init(&talk, false);
    talk.server->setup->handshake_class = jobs;
    SSL_CTX_set_cert_cb(talk.server->setup->ctx, compute, &gate);
    open_gate(&gate);
    task = shake_half(&talk, &shake);
    T_WAIT_UNTIL(stats_of(jobs).queued == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_CHECK(!shake.tls);
    open_gate(&held);
    T_OK(join(holder));
    T_WAIT_UNTIL(stats_of(jobs).running == 0 && stats_of(jobs).queued == 0);
    T_IS(atomic_load(&gate.done), 0);
    end_half(&talk);
    return 0;
}

Test(tls_cut, a_cancel_before_a_job_computes_the_handshake)
{
    T_OK(run_in_runtime(0, cancelled_before, NULL));
}

static int silent_peer(void *arg)
{
    filch_duplex *ours, *theirs;
    filch_tls_context *client, *server;
    filch_tls *tls = NULL;
    filch_error error = FILCH_ERROR_INIT;

    (void)arg;
    make_contexts("DNS:localhost", 0, 3600, &client, &server);
    T_OK(filch_duplex_new(4096, &ours, &theirs));
    T_IS(filch_tls_connect(client, filch_duplex_io(ours), "localhost", &tls, &error,
                           filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(error.code, -ETIMEDOUT);
    T_IS(filch_duplex_write(theirs, "HTTP/1.1 400 Bad\r\n\r\n", 20, T_LIMIT), 20);
    T_IS(filch_tls_connect(client, filch_duplex_io(ours), "localhost", &tls, &error, T_LIMIT),
         -EPROTO);
    T_CHECK(strstr(error.text, "wrong version number"));
    T_CHECK(!tls);
    filch_duplex_free(ours);
    filch_duplex_free(theirs);
    filch_tls_context_unref(client);
    filch_tls_context_unref(server);
    return 0;
}

Test(tls_cut, a_peer_that_is_silent_or_speaks_something_else)
{
    T_OK(run_in_runtime(0, silent_peer, NULL));
}
