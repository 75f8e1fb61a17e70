/* Streams in memory: two bounded rings of bytes, under one lock.
 *
 *     end a  --write-->  ring[0]  --read-->  end b
 *            <--read---  ring[1]  <-write--
 *
 * A ring's `changed` is signalled to all whenever bytes or room came, or a side went: who waits
 * looks for itself. Readers and writers of one ring never wait at the same time, for it is empty or
 * full, and not both.
 *
 * Read first: sync/mutex.c, sync/cond.c.
 */
#include <filch/duplex.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/cond.h>
#include <filch/mutex.h>

struct ring {
    filch_cond changed;
    char *bytes;
    size_t room, begin, count;
    bool ended;  /* nobody writes any more */
    bool unread; /* nobody reads any more */
};

struct shared;

struct filch_duplex {
    struct shared *shared;
    struct ring *in, *out;
};

struct shared {
    filch_mutex lock; /* guards all */
    struct ring ring[2];
    struct filch_duplex end[2];
    unsigned ends; /* that are not freed */
};

int filch_duplex_new(size_t bytes, filch_duplex **ret_a, filch_duplex **ret_b)
{
    struct shared *shared;

    if (!ret_a || !ret_b || !bytes || bytes > SIZE_MAX / 4)
        return -EINVAL;
    shared = calloc(1, sizeof *shared + 2 * bytes);
    if (!shared)
        return -ENOMEM;
    filch_mutex_init(&shared->lock);
    for (int i = 0; i < 2; i++) {
        struct ring *ring = &shared->ring[i];

        filch_cond_init(&ring->changed);
        ring->bytes = (char *)(shared + 1) + (size_t)i * bytes;
        ring->room = bytes;
        shared->end[i] =
            (struct filch_duplex){.shared = shared, .out = ring, .in = &shared->ring[1 - i]};
    }
    shared->ends = 2;
    *ret_a = &shared->end[0];
    *ret_b = &shared->end[1];
    return 0;
}

void filch_duplex_free(filch_duplex *end)
{
    struct shared *shared;
    bool last = false;

    if (!end)
        return;
    shared = end->shared;
    FILCH_LOCKED(&shared->lock)
    {
        end->out->ended = true;
        end->in->unread = true;
        filch_cond_broadcast(&end->out->changed);
        filch_cond_broadcast(&end->in->changed);
        last = --shared->ends == 0;
    }
    if (!last)
        return;
    filch_cond_fini(&shared->ring[0].changed);
    filch_cond_fini(&shared->ring[1].changed);
    filch_mutex_fini(&shared->lock);
    free(shared);
}

/* In two pieces where the ring's end is. */
static void take_out(struct ring *ring, char *to, size_t bytes)
{
    size_t first = ring->room - ring->begin;

    if (first > bytes)
        first = bytes;
    memcpy(to, ring->bytes + ring->begin, first);
    memcpy(to + first, ring->bytes, bytes - first);
    ring->begin = (ring->begin + bytes) % ring->room;
    ring->count -= bytes;
}

static void put_in(struct ring *ring, const char *from, size_t bytes)
{
    size_t at = (ring->begin + ring->count) % ring->room;
    size_t first = ring->room - at;

    if (first > bytes)
        first = bytes;
    memcpy(ring->bytes + at, from, first);
    memcpy(ring->bytes, from + first, bytes - first);
    ring->count += bytes;
}

ssize_t filch_duplex_read(filch_duplex *end, void *buf, size_t bytes, filch_time until)
{
    ssize_t n = 0;

    if (!end || (!buf && bytes))
        return -EINVAL;
    if (!bytes)
        return 0;
    FILCH_LOCKED(&end->shared->lock)
    {
        struct ring *ring = end->in;

        while (!ring->count && !ring->ended && n == 0)
            n = filch_cond_wait(&ring->changed, &end->shared->lock, until);
        if (ring->count) {
            n = (ssize_t)(bytes < ring->count ? bytes : ring->count);
            take_out(ring, buf, (size_t)n);
            filch_cond_broadcast(&ring->changed);
        } else if (ring->ended) {
            n = 0;
        }
    }
    return n;
}

ssize_t filch_duplex_write(filch_duplex *end, const void *buf, size_t bytes, filch_time until)
{
    ssize_t n = 0;

    if (!end || (!buf && bytes))
        return -EINVAL;
    FILCH_LOCKED(&end->shared->lock)
    {
        struct ring *ring = end->out;

        while (bytes && ring->count == ring->room && !ring->unread && !ring->ended && n == 0)
            n = filch_cond_wait(&ring->changed, &end->shared->lock, until);
        if (ring->unread || ring->ended) {
            n = -EPIPE;
        } else if (bytes && ring->count < ring->room) {
            size_t room = ring->room - ring->count;

            n = (ssize_t)(bytes < room ? bytes : room);
            put_in(ring, buf, (size_t)n);
            filch_cond_broadcast(&ring->changed);
        }
    }
    return n;
}

int filch_duplex_shutdown_write(filch_duplex *end)
{
    if (!end)
        return -EINVAL;
    FILCH_LOCKED(&end->shared->lock)
    {
        end->out->ended = true;
        filch_cond_broadcast(&end->out->changed);
    }
    return 0;
}

static ssize_t read_end(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_duplex_read(context, buf, bytes, until);
}

static ssize_t write_end(void *context, const void *buf, size_t bytes, filch_time until)
{
    return filch_duplex_write(context, buf, bytes, until);
}

static int finish_end(void *context, filch_time until)
{
    (void)until;
    return filch_duplex_shutdown_write(context);
}

filch_io filch_duplex_io(filch_duplex *end)
{
    return (filch_io){
        .reader = {.read = read_end, .context = end},
        .writer = {.write = write_end, .finish = finish_end, .context = end},
    };
}
