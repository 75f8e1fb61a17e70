/* Buffers of a lane, out of which the kernel takes one when there is something to receive: so a
 * connection that waits has none.
 *
 *     ring: FREE --the kernel fills it--> with a piece of a stream --given back--> FREE
 *
 * They belong to one ring, but a piece goes wherever its task goes, and comes back from any thread;
 * the lane may have ended by then.
 */
#ifndef FILCH_IO_URING_BUFFERS_H
#define FILCH_IO_URING_BUFFERS_H

#include <stddef.h>

#include <filch/runtime.h>

struct io_uring;
struct filch__buffers;

/* What was received in one go. By whom it belongs to, which hands it over under a lock. */
struct filch__piece {
    struct filch__piece *next;
    struct filch__buffers *of; /* NULL: memory of its own */
    char *data;
    size_t at; /* so much of it was taken */
    size_t bytes;
};

/* The group of buffers in a ring, for submission entries. */
#define FILCH__BUFFER_GROUP 0

/* Options for buffers: as filch_runtime_opts says. Return: false: out of range. */
bool filch__buffers_fit(const filch_runtime_opts *opts);

/* Makes the buffers of a ring. Return: NULL: there is no memory, or the kernel refuses. */
struct filch__buffers *filch__buffers_open(const struct io_uring *ring, unsigned count,
                                           size_t bytes);

/* After the ring's end. The memory goes with the last piece. */
void filch__buffers_close(struct filch__buffers *buffers);

/* A completion has brought @bytes (0 or more) in the buffer of this index. By who reaps. */
struct filch__piece *filch__buffers_take(struct filch__buffers *buffers, unsigned index,
                                         size_t bytes);

/* A completion says that the kernel had none left: it gets more. By who reaps. Return: are there
 * some now? */
bool filch__buffers_ran_out(struct filch__buffers *buffers);

/* A piece with memory of its own. Return: NULL: there is none. */
struct filch__piece *filch__piece_new(size_t bytes);

/* The piece was taken, or is not wanted. Any thread. */
void filch__piece_give_back(struct filch__piece *piece);

#endif
