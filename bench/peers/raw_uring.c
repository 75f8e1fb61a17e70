/* Echo server on a bare io_uring loop: the limit for a completion-based runtime.
 *
 * One thread, multishot accept. Two ways to receive:
 *   default       one recv, then one send, per connection, in the connection's own buffer;
 *   --multishot   one recv per connection that stays armed and takes buffers from a ring.
 * and two ways to run completions:
 *   default       COOP_TASKRUN | TASKRUN_FLAG;
 *   --defer       DEFER_TASKRUN | SINGLE_ISSUER.
 *
 * With --multishot a connection may get its next piece while the last one is being sent. The pieces
 * wait in a list threaded through `next_piece`, and only one send is in flight: else a send that
 * had to wait for room would be overtaken. A buffer returns to the ring when its send is done. */
#include "peer.h"
#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <unistd.h>

enum {
    RING_ENTRIES = 4096,
    PIECES = 1024, /* buffers in the ring, a power of two */
    /* One cache line more than the buffer: else all buffers begin in the same few cache sets. */
    PIECE_STRIDE = PEER_BUFFER_BYTES + 64,
    GROUP = 1,
    NONE = -1,
};

enum op { OP_ACCEPT, OP_RECV, OP_SEND, OP_MASK = 3 };

struct conn {
    int fd;
    int in_flight; /* operations that the kernel still holds: freed when 0 and closing */
    bool closing;
    int first_piece,
        last_piece; /* --multishot: received and not yet sent; the first is in flight */
    size_t length;  /* single-shot: bytes to echo */
    char buffer[];  /* single-shot: PEER_BUFFER_BYTES */
};

static struct io_uring ring;
static struct io_uring_buf_ring *pieces;
static char *piece_memory;
static int next_piece[PIECES];
static unsigned piece_length[PIECES];
static bool multishot;

static struct io_uring_sqe *new_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

/* After the prep function, which clears user_data in some versions of liburing. */
static void tag(struct io_uring_sqe *sqe, struct conn *c, enum op op)
{
    io_uring_sqe_set_data64(sqe, (uintptr_t)c | op);
    if (c)
        c->in_flight++;
}

static void start_accept(int listener)
{
    struct io_uring_sqe *sqe = new_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, NULL, OP_ACCEPT);
}

static void start_recv(struct conn *c)
{
    struct io_uring_sqe *sqe = new_sqe();
    if (multishot) {
        io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP;
    } else {
        io_uring_prep_recv(sqe, c->fd, c->buffer, PEER_BUFFER_BYTES, 0);
    }
    tag(sqe, c, OP_RECV);
}

static void start_send(struct conn *c, const void *data, size_t length)
{
    struct io_uring_sqe *sqe = new_sqe();
    io_uring_prep_send(sqe, c->fd, data, length, MSG_NOSIGNAL | MSG_WAITALL);
    tag(sqe, c, OP_SEND);
}

static char *piece_data(int piece)
{
    return piece_memory + (size_t)piece * PIECE_STRIDE;
}

static void give_piece(int piece)
{
    io_uring_buf_ring_add(pieces, piece_data(piece), PEER_BUFFER_BYTES, (unsigned short)piece,
                          io_uring_buf_ring_mask(PIECES), 0);
    io_uring_buf_ring_advance(pieces, 1);
}

static void make_pieces(void)
{
    piece_memory = malloc((size_t)PIECES * PIECE_STRIDE);
    if (!piece_memory ||
        posix_memalign((void **)&pieces, 4096, PIECES * sizeof(struct io_uring_buf)) != 0)
        peer_die("malloc");
    io_uring_buf_ring_init(pieces);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)pieces, .ring_entries = PIECES, .bgid = GROUP};
    int err = io_uring_register_buf_ring(&ring, &reg, 0);
    if (err) {
        errno = -err;
        peer_die("io_uring_register_buf_ring");
    }
    for (int i = 0; i < PIECES; i++)
        give_piece(i);
}

static void send_first_piece(struct conn *c)
{
    start_send(c, piece_data(c->first_piece), piece_length[c->first_piece]);
}

static void push_piece(struct conn *c, int piece, unsigned length)
{
    next_piece[piece] = NONE;
    piece_length[piece] = length;
    if (c->first_piece != NONE) {
        next_piece[c->last_piece] = piece;
        c->last_piece = piece;
        return;
    }
    c->first_piece = c->last_piece = piece;
    send_first_piece(c);
}

static void pop_piece(struct conn *c)
{
    int piece = c->first_piece;
    c->first_piece = next_piece[piece];
    give_piece(piece);
}

static void on_accept(int listener, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_accept(listener);
    if (cqe->res < 0)
        return;
    struct conn *c = calloc(1, sizeof *c + (multishot ? 0 : PEER_BUFFER_BYTES));
    if (!c)
        peer_die("calloc");
    c->fd = cqe->res;
    c->first_piece = NONE;
    start_recv(c);
}

static void on_recv_multishot(struct conn *c, const struct io_uring_cqe *cqe)
{
    if (cqe->res > 0)
        push_piece(c, (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT), (unsigned)cqe->res);
    if (cqe->flags & IORING_CQE_F_MORE)
        return;
    if (cqe->res > 0 || cqe->res == -ENOBUFS)
        start_recv(c);
    else
        c->closing = true;
}

static void on_recv(struct conn *c, const struct io_uring_cqe *cqe)
{
    if (cqe->res > 0)
        start_send(c, c->buffer, c->length = (size_t)cqe->res);
    else
        c->closing = true;
}

static void on_send(struct conn *c, const struct io_uring_cqe *cqe)
{
    size_t wanted = multishot ? piece_length[c->first_piece] : c->length;
    bool failed = cqe->res < 0 || (size_t)cqe->res != wanted;
    if (failed && !c->closing) {
        c->closing = true;
        shutdown(c->fd, SHUT_RDWR); /* ends the armed recv */
    }
    if (multishot) {
        pop_piece(c);
        if (c->first_piece != NONE)
            send_first_piece(c);
    } else if (!c->closing) {
        start_recv(c);
    }
}

static void on_completion(int listener, const struct io_uring_cqe *cqe)
{
    struct conn *c = (struct conn *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);
    enum op op = (enum op)(cqe->user_data & OP_MASK);
    if (op == OP_ACCEPT) {
        on_accept(listener, cqe);
        return;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        c->in_flight--;
    if (op == OP_SEND)
        on_send(c, cqe);
    else if (multishot)
        on_recv_multishot(c, cqe);
    else
        on_recv(c, cqe);
    if (c->closing && c->in_flight == 0) {
        close(c->fd);
        free(c);
    }
}

static void make_ring(bool defer)
{
    struct io_uring_params params = {
        .flags = defer ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
                       : IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG};
    int err = io_uring_queue_init_params(RING_ENTRIES, &ring, &params);
    if (err) {
        errno = -err;
        peer_die("io_uring_queue_init");
    }
}

int main(int argc, char **argv)
{
    multishot = peer_has_option(argc, argv, "--multishot");
    make_ring(peer_has_option(argc, argv, "--defer"));
    if (multishot)
        make_pieces();
    int listener = peer_listen(0);
    start_accept(listener);
    for (;;) {
        int err = io_uring_submit_and_wait(&ring, 1);
        if (err < 0 && err != -EINTR && err != -EBUSY) {
            errno = -err;
            peer_die("io_uring_submit_and_wait");
        }
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            on_completion(listener, cqe);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
