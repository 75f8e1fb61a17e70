/* One piece that the kernel moves by itself: the calls, which know descriptors only. See
 * splice_piece.c. */
#ifndef FILCH_IO_SPLICE_PIECE_H
#define FILCH_IO_SPLICE_PIECE_H

#include <stdbool.h>
#include <sys/types.h>

#include <filch/base.h>

enum filch__splice_kind {
    FILCH__SPLICE_FILE, /* a regular one */
    FILCH__SPLICE_PIPE,
    FILCH__SPLICE_SOCKET, /* of a stream; non-blocking during the call */
};

struct filch__splice_piece {
    int from, to;
    enum filch__splice_kind from_kind, to_kind;
    off_t offset; /* in a file; FILCH_FILE_POSITION */
    size_t most;
    ssize_t n; /* of filch__splice_move() */
};

/* Moves bytes, and waits for neither end. Never raises SIGPIPE. Suspends for a disk.
 * Return: 0: it was tried, and `n` is how many; 0: there are no more; -EAGAIN: an end is not ready;
 * -EBUSY: copy this piece; -EOPNOTSUPP: copy all; what reads and writes say.
 * -ETIMEDOUT, -ECANCELED: it was not tried. */
int filch__splice_move(struct filch__splice_piece *piece, filch_time until);

/* How many can be read from a pipe or a socket? 0: none, or who knows. */
int filch__splice_bytes(const struct filch__splice_piece *piece);

/* What would a read say? Return: 1: there are bytes; 0: the end; -EAGAIN: nothing yet; -EBUSY: who
 * knows; the error. */
int filch__splice_peek(const struct filch__splice_piece *piece);

/* Would a write find room, or fail at once? */
bool filch__splice_has_room(const struct filch__splice_piece *piece);

#endif
