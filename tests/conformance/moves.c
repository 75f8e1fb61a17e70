/* What moves bytes from one thing to another: writes out of the caller's buffer, parts of files,
 * copies in one direction and both: see conformance.h. */
#include <fcntl.h>

#include <filch/copy.h>
#include <filch/pipe.h>
#include <filch/unix.h>

#include "tests/conformance/conformance.h"

/* ---- zero copy ---- */

#define PIECE ((size_t)256 << 10) /* large enough for it */

static char piece[PIECE];

struct zero_copying {
    struct place *p;
    filch_time until;
    size_t filled; /* before */
};

static int zero_copy_one(void *arg)
{
    struct zero_copying *z = arg;

    return (int)filch_tcp_write_zero_copy(z->p->pair.server, piece, PIECE, z->until);
}

/* As much as the sockets take, without waiting. Return: what ended it. */
static long zero_copy_fill(struct zero_copying *z)
{
    ssize_t n;

    while ((n = filch_tcp_write_zero_copy(z->p->pair.server, piece, PIECE, FILCH_NOW)) > 0)
        z->filled += (size_t)n;
    return n;
}

/* Return: how many bytes came before the end. */
static int take_all(void *arg)
{
    struct place *p = arg;
    char buf[65536];
    int total = 0;
    ssize_t n;

    while ((n = filch_tcp_read(p->pair.client, buf, sizeof buf, T_LIMIT)) > 0)
        total += (int)n;
    return n < 0 ? (int)n : total;
}

static long zero_copy_ok(struct place *p)
{
    struct zero_copying z = {p, FILCH_NEVER, 0};
    filch_task *task = spawn(take_all, p);
    int r = zero_copy_one(&z);

    T_CHECK(r > 0);
    T_OK(filch_tcp_shutdown_write(p->pair.server));
    return join(task) == r;
}

static long zero_copy_nothing(struct place *p)
{
    return filch_tcp_write_zero_copy(p->pair.server, NULL, 0, FILCH_NEVER);
}

static long zero_copy_no_room(struct place *p)
{
    return zero_copy_fill(&(struct zero_copying){p, FILCH_NOW, 0});
}

/* Of a call that was given up: the kernel's last word comes when the peer has what was sent, if
 * there was some room. What the call says is what arrives. Return: @r, if nothing was sent. */
static long zero_copy_given_up(struct zero_copying *z, filch_task *task, int r)
{
    filch_task *taker = spawn(take_all, z->p);
    int sent = join(task);

    T_CHECK(sent == r || sent > 0);
    T_OK(filch_tcp_shutdown_write(z->p->pair.server));
    T_IS(join(taker), z->filled + (size_t)(sent > 0 ? sent : 0));
    return r;
}

static long zero_copy_times_out(struct place *p)
{
    struct zero_copying z = {.p = p};
    filch_task *task;

    (void)zero_copy_fill(&z);
    z.until = SHORT_LIMIT;
    task = spawn(zero_copy_one, &z);
    T_OK(filch_sleep(z.until));
    return zero_copy_given_up(&z, task, -ETIMEDOUT);
}

static long zero_copy_cancelled(struct place *p)
{
    struct zero_copying z = {.p = p, .until = FILCH_NEVER};
    filch_task *task;

    (void)zero_copy_fill(&z);
    task = spawn(zero_copy_one, &z);
    let_it_wait();
    T_OK(filch_task_cancel(task));
    return zero_copy_given_up(&z, task, -ECANCELED);
}

/* Late acknowledgements make some room. */
static long zero_copy_cancelled_before(struct place *p)
{
    struct zero_copying z = {.p = p, .until = FILCH_NEVER};
    filch_time limit = T_LIMIT;
    long r;

    do {
        T_CHECK(filch_now() < limit);
        (void)zero_copy_fill(&z);
        r = cancelled_before(zero_copy_one, &z);
    } while (r > 0);
    return r;
}

static long zero_copy_after_shutdown(struct place *p)
{
    T_OK(filch_tcp_shutdown_write(p->pair.server));
    return zero_copy_one(&(struct zero_copying){p, FILCH_NEVER, 0});
}

static long zero_copy_to_one_that_reset(struct place *p)
{
    char byte;

    reset_by_client(p);
    T_IS(filch_tcp_read(p->pair.server, &byte, 1, T_LIMIT), -ECONNRESET);
    return zero_copy_one(&(struct zero_copying){p, FILCH_NEVER, 0});
}

static long zero_copy_closed_handle(struct place *p)
{
    filch_tcp *closed = p->pair.server;

    T_OK(filch_tcp_close(closed));
    p->pair.server = NULL;
    return filch_tcp_write_zero_copy(closed, piece, PIECE, FILCH_NEVER);
}

static long zero_copy_bad_buffer(struct place *p)
{
    return filch_tcp_write_zero_copy(p->pair.server, NULL, PIECE, FILCH_NEVER);
}

/* ---- parts of files ---- */

static long send_part(struct place *p, int64_t offset, uint64_t bytes, uint64_t *done,
                      filch_time until)
{
    filch_file *file;
    int r;

    T_OK(filch_file_open(p->path, O_RDONLY, 0, &file, T_LIMIT));
    r = filch_send_file(filch_tcp_writer(p->pair.server), file, offset, bytes, done, until);
    T_OK(filch_file_close(file));
    return r;
}

/* @text is what the peer has got, and all of it. Return: @r. */
static long client_got(struct place *p, const char *text, long r)
{
    char buf[64];
    size_t bytes = strlen(text);

    T_OK(filch_tcp_shutdown_write(p->pair.server));
    T_OK(filch_tcp_read_exact(p->pair.client, buf, bytes, NULL, T_LIMIT));
    T_OK(memcmp(buf, text, bytes));
    T_IS(filch_tcp_read(p->pair.client, buf, sizeof buf, T_LIMIT), 0);
    return r;
}

static long send_file_ok(struct place *p)
{
    return client_got(p, "3456", send_part(p, 3, 4, NULL, T_LIMIT));
}

static long send_file_to_the_end(struct place *p)
{
    return client_got(p, "789", send_part(p, 7, FILCH_TO_END, NULL, T_LIMIT));
}

static long send_file_that_ends_before(struct place *p)
{
    uint64_t done = 0;
    long r = send_part(p, 5, 20, &done, T_LIMIT);

    T_IS(done, 5);
    return client_got(p, "56789", r);
}

static long send_file_of_nothing(struct place *p)
{
    return client_got(p, "", send_part(p, 0, 0, NULL, T_LIMIT));
}

static long send_file_from_nowhere(struct place *p)
{
    return send_part(p, -1, 4, NULL, T_LIMIT);
}

static int send_much(void *arg)
{
    struct place *p = arg;

    return (int)send_part(p, 0, MANY, NULL, FILCH_NEVER);
}

static void make_large(struct place *p)
{
    T_OK(truncate(p->path, (off_t)MANY));
}

static long send_file_times_out(struct place *p)
{
    make_large(p);
    return send_part(p, 0, MANY, NULL, SHORT_LIMIT);
}

static long send_file_cancelled(struct place *p)
{
    make_large(p);
    return cancelled_meanwhile(send_much, p);
}

static long send_file_after_shutdown(struct place *p)
{
    T_OK(filch_tcp_shutdown_write(p->pair.server));
    return send_part(p, 0, 4, NULL, T_LIMIT);
}

static long send_file_while_closed(struct place *p)
{
    filch_task *task;

    make_large(p);
    task = spawn(send_much, p);
    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    return join(task);
}

/* ---- copies ---- */

/* From the client to what is behind the server. */
struct copying {
    struct place *p;
    filch_unix *to, *far;
    filch_file *out, *in;
    filch_copier copier;
    char buffer[256];
    uint64_t bytes;
};

static void open_copying(struct copying *c, struct place *p)
{
    memset(c, 0, sizeof *c);
    c->p = p;
    c->copier = (filch_copier){.buffer = c->buffer, .room = sizeof c->buffer};
    T_OK(filch_unix_pair(&c->to, &c->far));
    T_OK(filch_pipe(0, &c->in, &c->out));
}

/* Return: @r. */
static long close_copying(struct copying *c, long r)
{
    T_OK(filch_unix_close(c->to));
    T_OK(filch_unix_close(c->far));
    T_OK(filch_file_close(c->in));
    T_OK(filch_file_close(c->out));
    return r;
}

static int copy_to_unix(void *arg)
{
    struct copying *c = arg;

    return filch_copy(filch_tcp_reader(c->p->pair.server), filch_unix_writer(c->to), &c->copier,
                      &c->bytes, FILCH_NEVER);
}

static int copy_to_pipe(void *arg)
{
    struct copying *c = arg;

    return filch_copy(filch_tcp_reader(c->p->pair.server), filch_file_writer(c->out), &c->copier,
                      &c->bytes, FILCH_NEVER);
}

static long copy_ok(struct place *p)
{
    struct copying c;
    char buf[8];

    open_copying(&c, p);
    client_writes(p, "abcde");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_OK(copy_to_unix(&c));
    T_IS(c.bytes, 5);
    return close_copying(&c, filch_unix_read(c.far, buf, sizeof buf, T_LIMIT));
}

static long copy_into_a_pipe(struct place *p)
{
    struct copying c;
    char buf[8];

    open_copying(&c, p);
    client_writes(p, "abcde");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_OK(copy_to_pipe(&c));
    return close_copying(&c, filch_file_read(c.in, buf, sizeof buf, T_LIMIT));
}

/* What it has moved arrives, and the same call goes on. */
static long copy_cancelled(struct place *p)
{
    struct copying c;
    char buf[8];
    long r;

    open_copying(&c, p);
    client_writes(p, "abc");
    r = cancelled_meanwhile(copy_to_unix, &c);
    client_writes(p, "def");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_OK(copy_to_unix(&c));
    T_IS(c.copier.bytes, 6);
    T_OK(filch_unix_read_exact(c.far, buf, 6, NULL, T_LIMIT));
    T_OK(memcmp(buf, "abcdef", 6));
    return close_copying(&c, r);
}

static long copy_into_a_pipe_cancelled(struct place *p)
{
    struct copying c;

    open_copying(&c, p);
    return close_copying(&c, cancelled_meanwhile(copy_to_pipe, &c));
}

static long copy_times_out(struct place *p)
{
    struct copying c;
    int r;

    open_copying(&c, p);
    r = filch_copy(filch_tcp_reader(p->pair.server), filch_unix_writer(c.to), &c.copier, NULL,
                   SHORT_LIMIT);
    return close_copying(&c, r);
}

static long copy_to_nobody(struct place *p)
{
    struct copying c;

    open_copying(&c, p);
    T_OK(filch_unix_close(c.far));
    c.far = NULL;
    client_writes(p, "abc");
    return close_copying(&c, copy_to_unix(&c));
}

static long copy_to_a_pipe_of_nobody(struct place *p)
{
    struct copying c;

    open_copying(&c, p);
    T_OK(filch_file_close(c.in));
    c.in = NULL;
    client_writes(p, "abc");
    return close_copying(&c, copy_to_pipe(&c));
}

static long copy_from_one_that_reset(struct place *p)
{
    struct copying c;
    filch_task *task;

    open_copying(&c, p);
    task = spawn(copy_to_unix, &c);
    let_it_wait();
    reset_by_client(p);
    return close_copying(&c, join(task));
}

static long copy_while_closed(struct place *p)
{
    struct copying c;
    filch_task *task;

    open_copying(&c, p);
    task = spawn(copy_to_unix, &c);
    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    return close_copying(&c, join(task));
}

static int copy_both_ways(void *arg)
{
    struct copying *c = arg;
    filch_copy_result result;
    int r = filch_copy_both(filch_tcp_io(c->p->pair.server), filch_unix_io(c->to), NULL, &result,
                            FILCH_NEVER);

    c->bytes = result.a_to_b.bytes + result.b_to_a.bytes;
    return r;
}

/* Each direction ends by itself, and its end is passed on. */
static long both_ok(struct place *p)
{
    struct copying c;
    filch_task *task;
    char buf[8];

    open_copying(&c, p);
    task = spawn(copy_both_ways, &c);
    client_writes(p, "abc");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_OK(filch_unix_read_exact(c.far, buf, 3, NULL, T_LIMIT));
    T_IS(filch_unix_read(c.far, buf, sizeof buf, T_LIMIT), 0);
    T_OK(filch_unix_write_all(c.far, "de", 2, NULL, T_LIMIT));
    T_OK(filch_unix_shutdown_write(c.far));
    T_OK(filch_tcp_read_exact(p->pair.client, buf, 2, NULL, T_LIMIT));
    T_IS(filch_tcp_read(p->pair.client, buf, sizeof buf, T_LIMIT), 0);
    T_OK(join(task));
    return close_copying(&c, (long)c.bytes);
}

static long both_cancelled(struct place *p)
{
    struct copying c;

    open_copying(&c, p);
    return close_copying(&c, cancelled_meanwhile(copy_both_ways, &c));
}

static long both_when_one_is_reset(struct place *p)
{
    struct copying c;
    filch_task *task;

    open_copying(&c, p);
    task = spawn(copy_both_ways, &c);
    let_it_wait();
    reset_by_client(p);
    return close_copying(&c, join(task));
}

const struct conformance_case move_cases[] = {
    CASE(zero_copy_ok, 1),
    CASE(zero_copy_nothing, 0),
    CASE(zero_copy_no_room, -ETIMEDOUT),
    CASE(zero_copy_times_out, -ETIMEDOUT),
    CASE(zero_copy_cancelled, -ECANCELED),
    CASE(zero_copy_cancelled_before, -ECANCELED),
    CASE(zero_copy_after_shutdown, -EPIPE),
    CASE(zero_copy_to_one_that_reset, -EPIPE),
    CASE(zero_copy_closed_handle, -EBADF),
    CASE(zero_copy_bad_buffer, -EINVAL),
    CASE(send_file_ok, 0),
    CASE(send_file_to_the_end, 0),
    CASE(send_file_that_ends_before, -ENODATA),
    CASE(send_file_of_nothing, 0),
    CASE(send_file_from_nowhere, -EINVAL),
    CASE(send_file_times_out, -ETIMEDOUT),
    CASE(send_file_cancelled, -ECANCELED),
    CASE(send_file_after_shutdown, -EPIPE),
    CASE(send_file_while_closed, -ECANCELED),
    CASE(copy_ok, 5),
    CASE(copy_into_a_pipe, 5),
    CASE(copy_cancelled, -ECANCELED),
    CASE(copy_into_a_pipe_cancelled, -ECANCELED),
    CASE(copy_times_out, -ETIMEDOUT),
    CASE(copy_to_nobody, -EPIPE),
    CASE(copy_to_a_pipe_of_nobody, -EPIPE),
    CASE(copy_from_one_that_reset, -ECONNRESET),
    CASE(copy_while_closed, -ECANCELED),
    CASE(both_ok, 5),
    CASE(both_cancelled, -ECANCELED),
    CASE(both_when_one_is_reset, -ECONNRESET),
    {0},
};
