/* Moving bytes from readers to writers until they end, and parts of files to writers.
 *
 *     filch_copy_result result;
 *     int r = filch_copy_both(filch_tcp_io(client), filch_tcp_io(server), NULL, &result, until);
 *     ...
 *     filch_tcp_close(client);
 *     filch_tcp_close(server);
 */
#ifndef FILCH_COPY_H
#define FILCH_COPY_H

#include <filch/base.h>
#include <filch/file.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

/* How far a copy is. All zero but for the buffer at first; it can be looked at between calls. */
typedef struct filch_copier {
    void *buffer;      /* borrowed */
    size_t room;       /* of buffer, one byte at least */
    size_t begin, end; /* bytes of buffer that were read and are not yet written */
    uint64_t bytes;    /* written so far */
    bool ended;        /* the reader has */
    bool writing;      /* after a failure: it was the writer's, else the reader's */
} filch_copier;

/**
 * filch_copy() - write all that a reader gives, until it ends
 * @copier:    where to go on; NULL: a buffer of 64 KiB for this call, and what was read but not
 *             written is lost when the call fails
 * @ret_bytes: bytes written, by all calls with this copier; set also on failure; may be NULL
 *
 * The writer is not finished: more may follow. A regular file goes into a socket or a pipe as by
 * filch_send_file(), without the buffer; so do large pieces out of a pipe into a pipe or a Unix
 * socket, and out of a stream socket into a pipe, which then holds fewer bytes if they came in
 * small packets. (Pipes: of filch_pipe(), of children, and FIFOs opened here.) Thread-safety: as
 * reader and writer; one caller at a time. Suspends: yes. Cancellation point: yes; with a copier
 * the same call again goes on, and nothing is lost or doubled. Return: 0 (the reader has ended, and
 * all is written); the errors of reader and writer, as -ETIMEDOUT, -ECANCELED, -EPIPE; -EIO (one of
 * them claims more than there was, or the writer nothing); -ENOMEM (no copier); -EINVAL (NULL, no
 * room).
 */
FILCH_API FILCH_MUST_CHECK int filch_copy(filch_reader reader, filch_writer writer,
                                          filch_copier *copier, uint64_t *ret_bytes,
                                          filch_time until);

/* As a number of bytes: as many as there are. */
#define FILCH_TO_END UINT64_MAX

/**
 * filch_send_file() - write a part of a file
 * @writer: of a socket or a pipe: the kernel takes the bytes out of its page cache, and no copy is
 *          made; of anything else: by reads and writes of 64 KiB
 * @file:   borrowed; its position neither matters nor moves
 * @offset: of the part; at least 0
 * @bytes:  of the part; FILCH_TO_END: to the end of the file
 * @done:   bytes of the part that are written already; counted up, also on failure. NULL: none are
 *
 * Where no copy is made, bytes that are changed in the file until the peer, or whoever reads the
 * pipe, has them go out as they were or as they are. What is not in the page cache is read by a
 * blocking thread, or copied. Thread-safety: as filch_file_pread() and the writer. Suspends: yes.
 * Cancellation point: yes; the same call again goes on behind @done, and nothing is lost or
 * doubled. Return: 0; -ENODATA (the file ends before that; never with FILCH_TO_END); the errors of
 * filch_file_pread() and of the writer, as -EPIPE, -ETIMEDOUT, -ECANCELED; -ENOMEM; -EINVAL (NULL,
 * a negative offset, beyond the largest one, @done beyond @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_send_file(filch_writer writer, filch_file *file,
                                               int64_t offset, uint64_t bytes, uint64_t *done,
                                               filch_time until);

typedef struct filch_copy_opts {
    size_t buffer_bytes; /* for each direction; 0: 64 KiB */
} filch_copy_opts;

/* One direction of two. */
typedef struct filch_copy_side {
    uint64_t bytes; /* written */
    int error;      /* 0: it has ended; else what stopped it; -ECANCELED: the other one's failure */
    bool writing;   /* with an error: the writer's, else the reader's */
} filch_copy_side;

typedef struct filch_copy_result {
    filch_copy_side a_to_b;
    filch_copy_side b_to_a;
} filch_copy_result;

/**
 * filch_copy_both() - connect two streams: what comes from each goes to the other
 * @a, @b:     both are used by two tasks of ours until the return
 * @opts:      borrowed; NULL for defaults
 * @ret_result: set also on failure; may be NULL
 *
 * When one direction ends the writer of the other side is finished (a half-close), and the other
 * direction goes on; the call returns when both have ended. When one fails the other is cancelled:
 * what was read and not yet written is lost, so close both then. They stay the caller's.
 *
 * Where to run: in a task. Suspends: yes. Cancellation point: yes; both directions have stopped
 * then. Return: 0; the error of the direction that failed first; -ETIMEDOUT; -ECANCELED; -EPERM (no
 * task); -ENOMEM; -ESHUTDOWN; -EINVAL (NULL functions).
 */
FILCH_API FILCH_MUST_CHECK int filch_copy_both(filch_io a, filch_io b, const filch_copy_opts *opts,
                                               filch_copy_result *ret_result, filch_time until);

FILCH_END_DECLS

#endif
