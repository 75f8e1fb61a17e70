/* See buffers.h.
 *
 * The ring's tail has one writer at a time, under `lock`, which also carries the memory of a buffer
 * from who has read it to who gets it next. The kernel reads the tail: its release is paired there.
 * `out` counts the buffers that are neither the kernel's nor free; the last one to come back after
 * the close frees everything.
 *
 *     free (a stack) --refill--> the kernel's: `given` of them, a queue --completion--> out
 *        ^-------------------------------- given back ------------------------------------'
 *
 * The kernel takes buffers in turn, so it goes through all that it has: with few of them what it
 * writes to is in the cache. It gets `depth`; more when it has run out although there were some.
 */
#include "io/uring/buffers.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "io/in_flight.h"
#include "io/uring/ring.h"
#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/base/spinlock.h"

#define COUNT_MAX 32768
#define BYTES_MIN 64
#define BYTES_MAX (1u << 20)
/* Buffers that the kernel has at first. */
#define DEPTH_FIRST 64

/* More than the buffer, so that not all of them begin in the same few sets of the cache. */
#define STRIDE_MORE FILCH_CACHELINE

struct filch__buffers {
    filch_spinlock lock;
    struct io_uring_buf_ring *ring;
    char *memory;
    size_t bytes; /* of each */
    unsigned count;
    /* Guarded by the lock, as is the ring's tail. */
    unsigned given;
    unsigned depth;
    unsigned out;
    bool closed;
    struct filch__piece *free;
    struct filch__piece piece[];
};

bool filch__buffers_fit(const filch_runtime_opts *opts)
{
    return opts->recv_buffers <= COUNT_MAX && opts->recv_buffer_bytes <= BYTES_MAX &&
           (!opts->recv_buffer_bytes || opts->recv_buffer_bytes >= BYTES_MIN);
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

static size_t stride(const struct filch__buffers *buffers)
{
    return round_up(buffers->bytes, FILCH_CACHELINE) + STRIDE_MORE;
}

static size_t ring_bytes(const struct filch__buffers *buffers)
{
    return round_up(buffers->count * sizeof(struct io_uring_buf), 4096);
}

static size_t map_bytes(const struct filch__buffers *buffers)
{
    return ring_bytes(buffers) + buffers->count * stride(buffers);
}

__attribute__((unused)) static bool is_valid(const struct filch__buffers *buffers)
{
    return buffers->given <= buffers->depth && buffers->depth <= buffers->count &&
           buffers->given + buffers->out <= buffers->count;
}

/* Gives the kernel what is free, up to `depth`. The lock is held, or nobody knows of the ring. */
static void refill_locked(struct filch__buffers *buffers)
{
    int n = 0;

    while (buffers->given < buffers->depth && buffers->free) {
        struct filch__piece *piece = buffers->free;

        buffers->free = piece->next;
        filch__in_flight_begin(piece->data, buffers->bytes);
        io_uring_buf_ring_add(buffers->ring, piece->data, (unsigned)buffers->bytes,
                              (unsigned short)(piece - buffers->piece),
                              io_uring_buf_ring_mask(buffers->count), n++);
        buffers->given++;
    }
    if (n)
        io_uring_buf_ring_advance(buffers->ring, n);
    filch_assert_state(is_valid(buffers));
}

static void push_free_locked(struct filch__buffers *buffers, struct filch__piece *piece)
{
    piece->next = buffers->free;
    buffers->free = piece;
}

static void free_all(struct filch__buffers *buffers)
{
    munmap(buffers->ring, map_bytes(buffers));
    free(buffers);
}

/* Addresses, of which only what is used costs memory. */
static bool map(struct filch__buffers *buffers)
{
    void *at = mmap(NULL, map_bytes(buffers), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return false;
    buffers->ring = at;
    buffers->memory = (char *)at + ring_bytes(buffers);
    return true;
}

struct filch__buffers *filch__buffers_open(const struct io_uring *ring, unsigned count,
                                           size_t bytes)
{
    struct filch__buffers *buffers = calloc(1, sizeof *buffers + count * sizeof *buffers->piece);
    struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = FILCH__BUFFER_GROUP};

    if (!buffers)
        return NULL;
    filch_spinlock_init(&buffers->lock);
    buffers->count = count;
    buffers->bytes = bytes;
    if (!map(buffers)) {
        free(buffers);
        return NULL;
    }
    io_uring_buf_ring_init(buffers->ring);
    reg.ring_addr = (uintptr_t)buffers->ring;
    if (filch__ring_register(ring, IORING_REGISTER_PBUF_RING, &reg, 1) < 0) {
        free_all(buffers);
        return NULL;
    }
    for (unsigned i = count; i-- > 0;) {
        buffers->piece[i].of = buffers;
        buffers->piece[i].data = buffers->memory + i * stride(buffers);
        push_free_locked(buffers, &buffers->piece[i]);
    }
    buffers->depth = count < DEPTH_FIRST ? count : DEPTH_FIRST;
    refill_locked(buffers);
    return buffers;
}

static void unpoison(struct filch__buffers *buffers)
{
    for (unsigned i = 0; i < buffers->count; i++)
        filch__in_flight_forget(buffers->piece[i].data, buffers->bytes);
}

void filch__buffers_close(struct filch__buffers *buffers)
{
    bool last;

    if (!buffers)
        return;
    filch_spinlock_lock(&buffers->lock);
    buffers->closed = true;
    last = !buffers->out;
    filch_spinlock_unlock(&buffers->lock);
    if (last) {
        unpoison(buffers);
        free_all(buffers);
    }
}

struct filch__piece *filch__buffers_take(struct filch__buffers *buffers, unsigned index,
                                         size_t bytes)
{
    struct filch__piece *piece = &buffers->piece[index];

    filch_spinlock_lock(&buffers->lock);
    buffers->out++;
    buffers->given--;
    if (buffers->given < buffers->depth / 2)
        refill_locked(buffers);
    filch_spinlock_unlock(&buffers->lock);
    filch_assert_state(index < buffers->count && bytes <= buffers->bytes);
    filch__in_flight_end(piece->data, buffers->bytes, (ssize_t)bytes);
    piece->next = NULL;
    piece->at = 0;
    piece->bytes = bytes;
    return piece;
}

bool filch__buffers_ran_out(struct filch__buffers *buffers)
{
    bool more;

    filch_spinlock_lock(&buffers->lock);
    /* Else they were refilled meanwhile: of many that ran out at once one is enough. */
    if (buffers->given < buffers->depth / 2 && buffers->depth < buffers->count)
        buffers->depth *= 2;
    refill_locked(buffers);
    more = buffers->given >= buffers->depth / 2 && buffers->given;
    filch_spinlock_unlock(&buffers->lock);
    return more;
}

struct filch__piece *filch__piece_new(size_t bytes)
{
    struct filch__piece *piece = malloc(sizeof *piece + bytes);

    if (piece)
        *piece = (struct filch__piece){.data = (char *)(piece + 1)};
    return piece;
}

void filch__piece_give_back(struct filch__piece *piece)
{
    struct filch__buffers *buffers = piece->of;
    bool last;

    if (!buffers) {
        free(piece);
        return;
    }
    filch_spinlock_lock(&buffers->lock);
    buffers->out--;
    last = buffers->closed && !buffers->out;
    push_free_locked(buffers, piece);
    if (!buffers->closed)
        refill_locked(buffers);
    filch_spinlock_unlock(&buffers->lock);
    if (last) {
        unpoison(buffers);
        free_all(buffers);
    }
}
