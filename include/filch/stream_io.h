/* Streams of what comes from outside: accepted connections, lines of text, the entries of a
 * directory, changes of files.
 *
 * Each fetches by a task that it starts when it is asked for an
 * item and has none; that one goes on when the call that asked has given up, and what it brings is
 * kept for the next call: FILCH_NOW finds what was fetched before. So they are read in tasks and
 * spawned futures: elsewhere, reading gives -EPERM. To be dropped in tasks and plain threads: the
 * drop ends the fetching and waits for it: it suspends, and is no cancellation point.
 */
#ifndef FILCH_STREAM_IO_H
#define FILCH_STREAM_IO_H

#include <filch/base.h>
#include <filch/buffered.h>
#include <filch/file.h>
#include <filch/file_watch.h>
#include <filch/future.h>
#include <filch/io.h>
#include <filch/stream.h>
#include <filch/task.h>
#include <filch/tcp.h>

FILCH_BEGIN_DECLS

/* Who fetches. The fields are private. */
struct filch_stream_helper {
    filch_task *task;
    filch_join_task_future join;
};

/* ---- connections ---- */

/* The fields but base are private. */
typedef struct filch_listener_stream {
    filch_stream base;
    filch_listener *listener;
    filch_tcp *conn; /* the helper's, or one that could not be given back */
    struct filch_stream_helper helper;
} filch_listener_stream;

/**
 * filch_listener_stream_init() - the connections of a listener (items: filch_tcp *), which are the
 * reader's to close
 * @listener: borrowed until the drop
 *
 * The end comes when the listener was closed. An error (see filch_listener_accept()) is not the
 * end. No connection is lost: one that was accepted for the stream when it is dropped goes back to
 * the listener, for whoever accepts next, or, if that was closed, is closed.
 * Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_stream_init(filch_listener_stream *stream,
                                                          filch_listener *listener);

/* ---- lines ---- */

/* The fields but base are private. */
typedef struct filch_lines_stream {
    filch_stream base;
    filch_buf_reader reader;
    bool over; /* the reader has ended */
    struct filch_stream_helper helper;
} filch_lines_stream;

/**
 * filch_lines_stream_init() - the lines of what a reader gives (items: filch_line)
 * @reader: copied; its context is borrowed until the drop
 * @buffer: borrowed until the drop
 * @bytes:  of @buffer, 2 or more: a line with its end has @bytes - 1 bytes at most
 *
 * Lines end with LF or CRLF; the last one may do without. For a line that is too long there is
 * -EMSGSIZE, once, and the stream goes on with the next one. A reader's error is given as it is,
 * and the next call reads on; what was read before stays, also the beginning of a line. -EIO: the
 * reader claims to have read more than there was room for. What was read ahead is lost with the
 * drop. Return: 0; -EINVAL (NULL; @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_lines_stream_init(filch_lines_stream *stream,
                                                       filch_reader reader, char *buffer,
                                                       size_t bytes);

/* ---- directories ---- */

struct filch__dir_batch;

/* The fields but base are private. */
typedef struct filch_dir_stream {
    filch_stream base;
    struct filch__dir_batch *batch;
    struct filch_stream_helper helper;
} filch_dir_stream;

/**
 * filch_dir_stream_init() - the entries of a directory but "." and "..", in no order (items:
 * const filch_dir_entry *, until the next one is asked for)
 * @path: copied
 *
 * It is opened when the first entry is asked for, and read in batches. What filch_dir_open() or
 * filch_dir_read() says is given once for each call, and the next one tries again; -ENOMEM also
 * when no blocking thread can be had. The drop closes it.
 * Return: 0; -EINVAL (NULL); -ENAMETOOLONG (PATH_MAX); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_dir_stream_init(filch_dir_stream *stream, const char *path);

/* ---- changes of files ---- */

/* The fields but base are private. */
typedef struct filch_file_watch_stream {
    filch_stream base;
    filch_file_watch *watch;
    filch_file_change change; /* the helper's while it runs, else the reader's */
    struct filch_stream_helper helper;
} filch_file_watch_stream;

/**
 * filch_file_watch_stream_init() - the changes that a watch tells of (items: const
 * filch_file_change *, until the next one is asked for)
 * @watch: borrowed until the drop; nobody else takes its changes meanwhile
 *
 * The end comes when the watch was closed. A change that was fetched for the stream when it is
 * dropped is lost. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_file_watch_stream_init(filch_file_watch_stream *stream,
                                                            filch_file_watch *watch);

FILCH_END_DECLS

#endif
