/* Bytes that the kernel moves by itself from one descriptor to another: see splice.c. */
#ifndef FILCH_IO_SPLICE_H
#define FILCH_IO_SPLICE_H

#include <filch/file.h>
#include <filch/io.h>

/* From a regular file to a stream socket. */
struct filch__splice {
    filch_file *from;
    void *to;       /* a handle of a socket */
    int64_t offset; /* in the file, counted on; FILCH_FILE_POSITION */
    bool writing;   /* set with an error: it is the socket's */
};

/* Can the kernel do it? @offset: as in the struct. */
bool filch__splice_init(struct filch__splice *s, filch_file *from, int64_t offset,
                        filch_writer writer);

/* Moves some bytes, @most at most. Never raises SIGPIPE. Suspends. Cancellation point; then nothing
 * was moved. Return: how many; 0: the end of the file; -EOPNOTSUPP: not between these two, or not
 * now: copy; the errors of reads and writes. */
ssize_t filch__splice_some(struct filch__splice *s, uint64_t most, filch_time until);

/* Does it pay for so many bytes? */
bool filch__splice_pays(uint64_t bytes);

#endif
