/* Pipes: their ends are files. A named pipe is opened by filch_file_open(). */
#ifndef FILCH_PIPE_H
#define FILCH_PIPE_H

#include <filch/base.h>
#include <filch/file.h>

FILCH_BEGIN_DECLS

/**
 * filch_pipe() - a pipe of the kernel's, for this process and those that inherit an end
 * @bytes: what fits into it, rounded up by the kernel; 0: its default (64 KiB)
 * @ret_reader, @ret_writer: each ended by filch_file_close()
 *
 * Both are close-on-exec. Closing the writer is the end for the reader; writing without a reader is
 * -EPIPE, and no SIGPIPE. Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (NULL); -EPERM (more than /proc/sys/fs/pipe-max-size); -EMFILE; -ENFILE;
 * -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_pipe(size_t bytes, filch_file **ret_reader,
                                          filch_file **ret_writer);

FILCH_END_DECLS

#endif
