/* Bytes that the kernel moves by itself from one end to another: see splice.c. */
#ifndef FILCH_IO_SPLICE_H
#define FILCH_IO_SPLICE_H

#include <filch/io.h>

#include "io/splice_piece.h"

struct filch__splice_end {
    void *handle;
    enum filch__splice_kind kind;
};

struct filch__splice {
    struct filch__splice_end from, to;
    int64_t offset; /* in the file, counted on; FILCH_FILE_POSITION */
    bool able;      /* between these two, as far as is known */
    bool next;      /* what comes next is for the kernel; else it is to be copied */
    bool writing;   /* set with an error: it is the writer's */
};

/* @offset: as in the struct. */
void filch__splice_init(struct filch__splice *s, filch_reader reader, int64_t offset,
                        filch_writer writer);

/* With `next`: moves some bytes, @most at most. Never raises SIGPIPE. Suspends. Cancellation point;
 * then nothing was moved. Return: how many; 0: the reader has ended; -EBUSY: copy the next piece;
 * the errors of reads and writes. */
ssize_t filch__splice_some(struct filch__splice *s, uint64_t most, filch_time until);

/* A piece was copied. @full: there may have been more. */
void filch__splice_copied(struct filch__splice *s, size_t bytes, bool full);

/* Does it pay for so many bytes? */
bool filch__splice_pays(uint64_t bytes);

#endif
