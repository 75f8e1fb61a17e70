/* Streams in memory: two ends, each of which reads what the other writes. For tests of protocols,
 * and between parts of one program.
 *
 * A buffer between them is bounded: who writes faster than the other reads waits. What was written
 * before an end was closed can be read, then comes the end; writing to an end that is closed is
 * -EPIPE. An end is used from tasks and from plain threads, by one reader and one writer at a time,
 * or more: bytes of two writers may alternate.
 */
#ifndef FILCH_DUPLEX_H
#define FILCH_DUPLEX_H

#include <filch/base.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

/* One end. */
typedef struct filch_duplex filch_duplex;

/**
 * filch_duplex_new() - two ends
 * @bytes: what fits between them in each direction, one at least
 * @ret_a, @ret_b: each ended by filch_duplex_free()
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EINVAL (NULL, no bytes); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_duplex_new(size_t bytes, filch_duplex **ret_a,
                                                filch_duplex **ret_b);

/** filch_duplex_free() - end one side: the other one reads the end after what was written, and its
 * writes give -EPIPE. @end: consumed; NULL is allowed; nobody uses it any more. Suspends: no. */
FILCH_API void filch_duplex_free(filch_duplex *end);

/** filch_duplex_read() - read what is there, waiting for one byte at least. Suspends: yes.
 * Cancellation point: yes; then no byte was taken. Return: bytes read; 0 (the other side has ended,
 * or @bytes is 0); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_duplex_read(filch_duplex *end, void *buf, size_t bytes,
                                                     filch_time until);

/** filch_duplex_write() - write some bytes, waiting for room for one at least. Suspends: yes.
 * Cancellation point: yes; then nothing was written. Return: bytes written; -EPIPE (nobody will
 * read them, or our side was finished); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_duplex_write(filch_duplex *end, const void *buf,
                                                      size_t bytes, filch_time until);

/** filch_duplex_shutdown_write() - end our side: the other one reads the end; reading goes on.
 * Suspends: no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_duplex_shutdown_write(filch_duplex *end);

/** filch_duplex_io() - an end, which is borrowed, as a reader and a writer; finish is
 * filch_duplex_shutdown_write(). Of NULL all calls give -EINVAL. */
FILCH_API filch_io filch_duplex_io(filch_duplex *end);

FILCH_END_DECLS

#endif
