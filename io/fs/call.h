/* System calls on files and paths, made where they may wait: see call.c. */
#ifndef FILCH_IO_FS_CALL_H
#define FILCH_IO_FS_CALL_H

#include <filch/file.h>

#include "io/fd.h"
#include "io/op_list.h"

struct io_uring_sqe;

/* One call with its arguments; what each means is up to the two functions. */
struct filch__fs_call {
    /* As a ring operation; NULL: there is none, a blocking thread makes the call. */
    void (*prep)(struct io_uring_sqe *sqe, const struct filch__fs_call *call);
    /* As a system call. Return: -1, and errno says why. */
    int (*direct)(const struct filch__fs_call *call);
    const char *path, *path2;
    int fd, flags;
    unsigned mode;
    int64_t first, second;
    void *out;
};

/* Makes the call. Return: its result, or -errno; -ETIMEDOUT, -ECANCELED (it was not made); of a
 * blocking thread also -EAGAIN. */
int filch__fs_call(const struct filch__fs_call *call, filch_time until);

/* Runs @job, which looks at filch_task_is_cancelled() now and then, on a blocking thread; in a
 * plain thread, a blocking job or a future's poll at once. Return: its result, with -ETIMEDOUT for
 * -ECANCELED when the time was the reason. */
int filch__fs_job(filch_fn job, void *arg, filch_time until);

/* What a handle stands for. */
struct filch_file {
    struct filch__fd fd;
    /* Written at the open. */
    bool waits; /* a pipe, a terminal, a socket, ...: a read or write may wait for somebody */
    /* The end of a pipe, which no other process has, so it may be made non-blocking for the length
     * of a call; with `waits`. */
    bool pipe;
    bool writable;
    /* Bit 0: the kernel does not know how to read without waiting; bit 1: to write. Relaxed: only
     * advice. */
    filch_atomic_u32 refused;
    struct filch__op_list ops; /* of a file that waits */
};

/* Makes a file of a descriptor, which stays the caller's on failure. @flags: of its open. */
int filch__file_wrap(int fd, int flags, bool waits, filch_file **ret_file);

/* The same with an end of a pipe that was made or opened here. */
int filch__pipe_wrap(int fd, int flags, filch_file **ret_file);

/* Opens, and waits for the other side of a FIFO. Return: the descriptor; -errno. */
int filch__file_open_fd(const char *path, int flags, unsigned mode, bool *ret_waits,
                        filch_time until);

/* Closes a descriptor. Not a cancellation point. @slow: it may have to wait. Return: 0; -errno. */
int filch__fs_close(int fd, bool slow);

/* For a user of a file that waits: until it is ready, or in error. Return: 0; -ETIMEDOUT;
 * -ECANCELED, also when it is being closed. */
int filch__file_wait(struct filch_file *file, short events, filch_time until);

/* Is it filch_file_reader()'s, filch_file_writer()'s? Its file is the context. */
bool filch__reader_is_file(filch_reader reader);
bool filch__writer_is_file(filch_writer writer);

enum filch_file_type filch__file_type(unsigned mode);

struct statx;
void filch__file_info_of(const struct statx *x, filch_file_info *ret_info);

#endif
