/* Files and paths.
 *
 *     filch_file *file;
 *     int r = filch_file_open("data", O_RDWR | O_CREAT, 0644, &file, FILCH_NEVER);
 *     ...
 *     n = filch_file_pread(file, buf, sizeof buf, 4096, until);
 *     r = filch_file_sync(file, until);
 *     r = filch_file_close(file);
 *
 * What can be done without waiting is done at once, in the caller: reading what the page cache has,
 * opening what the name cache knows. The rest is the kernel's, by the ring, or is done by a
 * blocking thread: the task sleeps meanwhile and its worker does not. How many of these run at a
 * time is bounded by filch_runtime_opts.io_threads_bounded and blocking_threads; the rest wait
 * their turn.
 *
 * Time and cancel. What the kernel has begun on a disk cannot be stopped: it is waited for, and its
 * result returned, whatever the time; so -ETIMEDOUT and -ECANCELED mean that nothing was done,
 * unless a function says otherwise. In pipes, terminals and the like waiting ends at once.
 * FILCH_NOW does what can be done without waiting, else returns -ETIMEDOUT. A plain thread, a
 * blocking job and a future's poll make the system call themselves and wait in it; there `until`
 * and a cancel count in pipes and the like only.
 *
 * All descriptors are close-on-exec. Paths are borrowed for the call; relative ones begin in the
 * working directory of the process. Times are nanoseconds since 1970.
 */
#ifndef FILCH_FILE_H
#define FILCH_FILE_H

#include <fcntl.h>
#include <sys/uio.h>

#include <filch/base.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

typedef struct filch_file filch_file;

enum filch_file_type {
    FILCH_FILE_UNKNOWN,
    FILCH_FILE_REGULAR,
    FILCH_FILE_DIRECTORY,
    FILCH_FILE_SYMLINK,
    FILCH_FILE_FIFO,
    FILCH_FILE_SOCKET,
    FILCH_FILE_CHAR_DEVICE,
    FILCH_FILE_BLOCK_DEVICE,
};

typedef struct filch_file_info {
    enum filch_file_type type;
    uint32_t mode; /* permission bits: 07777 */
    uint32_t uid, gid;
    uint64_t bytes;
    uint64_t blocks; /* of 512 bytes, that are allocated */
    uint64_t links;
    uint64_t device, inode; /* together: which file it is */
    int64_t accessed_ns, modified_ns, changed_ns;
    int64_t created_ns; /* 0: unknown */
} filch_file_info;

/* As an offset: at the file's own position, which moves. Pipes and the like have no other. */
#define FILCH_FILE_POSITION ((int64_t)-1)

/**
 * filch_file_open() - open a file
 * @flags:    as for open(2): O_RDONLY, O_CREAT, O_APPEND, O_EXCL, O_TRUNC, ...
 * @mode:     permissions of a file that is created; the umask applies
 * @ret_file: gets the file; ended by filch_file_close()
 *
 * A FIFO opened for reading is there when somebody has written or gone; for writing, when there is
 * a reader. Thread-safety: any. Suspends: yes. Cancellation point: yes; no descriptor is lost: what
 * was opened in spite of a cancel is given.
 * Return: 0; -EINVAL (NULL, flags); -ETIMEDOUT; -ECANCELED; -EMFILE; -ENFILE; -ENOMEM; -ENOENT,
 * -EACCES, -EEXIST, -EISDIR, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -EROFS and what else open(2) says.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_open(const char *path, int flags, unsigned mode,
                                               filch_file **ret_file, filch_time until);

/** filch_file_temp() - open a new file for reading and writing, without a name: its bytes are freed
 * when it is closed. @dir: where; NULL: /tmp. Return: 0; -EINVAL (NULL); -ETIMEDOUT; -ECANCELED;
 * -EMFILE; -ENFILE; -ENOMEM; -EAGAIN (no blocking thread can be had); -ENOENT, -EACCES, -ENOTDIR,
 * -ELOOP, -ENAMETOOLONG, -EROFS and what else open(2) says of a directory. */
FILCH_API FILCH_MUST_CHECK int filch_file_temp(const char *dir, filch_file **ret_file,
                                               filch_time until);

/**
 * filch_file_adopt() - take over a descriptor: of a file, a pipe, a terminal
 * @fd: consumed on success only; becomes close-on-exec
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EBADF; -EINVAL (NULL); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_adopt(int fd, filch_file **ret_file);

/**
 * filch_file_stdio() - a handle for a standard descriptor of the process
 * @number: 0 (input), 1 (output) or 2 (errors)
 *
 * Of a duplicate: closing it leaves the descriptor as it is, which others use, too; nor is that
 * put into another mode. Waiting for a terminal or a pipe holds no worker up, and ends by time,
 * cancel and shutdown. What a program writes by stdio itself is buffered there: flush it first.
 * Thread-safety: any. Suspends: no. Return: 0; -EBADF (it is closed); -EMFILE; -EINVAL (NULL,
 * another number); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_stdio(int number, filch_file **ret_file);

/** filch_file_reader() - a reader of a file, which is borrowed, at its position. NULL: a reader
 * whose reads give -EINVAL. */
FILCH_API filch_reader filch_file_reader(filch_file *file);

/** filch_file_writer() - a writer of a file, which is borrowed, at its position. It has no finish:
 * the other side of a pipe is told by the close. NULL: a writer whose calls give -EINVAL. */
FILCH_API filch_writer filch_file_writer(filch_file *file);

/** filch_file_fd() - the descriptor behind a file, which keeps it: for calls that are not here. Do
 * not close it. Suspends: no. Return: it; -EBADF (closed); -EINVAL (NULL). */
FILCH_API int filch_file_fd(filch_file *file);

/**
 * filch_file_close() - close a file
 * @file: consumed; NULL is allowed
 *
 * Calls that wait in it in other tasks end first: with -ECANCELED in pipes and the like, with their
 * results in files. May suspend until they have left; never a cancellation point. The descriptor is
 * gone also when an error is returned. Return: 0; -EBADF (already closed); -EIO, -ENOSPC, -EDQUOT:
 * what was written earlier may be lost.
 */
FILCH_API int filch_file_close(filch_file *file);

/**
 * filch_file_read() - read from the file's position on, which moves
 * @bytes: at most 0x7ffff000 are read at a time
 *
 * Of a regular file as many as there are; of a pipe what is there, at least one. Thread-safety:
 * any; of a regular file one at a time at the position, any number at offsets. Suspends: yes.
 * Cancellation point: yes; then no byte was taken. What can be read without waiting is read also
 * when the time is up or the caller is cancelled. Return: bytes read; 0 (the end of the file, or
 * @bytes is 0); -ETIMEDOUT; -ECANCELED (also: it was closed meanwhile); -EBADF (closed, or not open
 * for reading); -EINVAL (NULL); -EISDIR; -EIO and what else read(2) says.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_read(filch_file *file, void *buf, size_t bytes,
                                                   filch_time until);

/** filch_file_pread() - the same at an offset; the position stays. Return: as filch_file_read();
 * -ESPIPE (it has no offsets); -EINVAL (a negative offset). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_pread(filch_file *file, void *buf, size_t bytes,
                                                    int64_t offset, filch_time until);

/**
 * filch_file_readv() - the same into several buffers, one after the other
 * @count:  at most IOV_MAX (1,024)
 * @offset: FILCH_FILE_POSITION, or as for filch_file_pread()
 *
 * May read less than there is. Return: as filch_file_pread(); -EINVAL (too many; a buffer that is
 * NULL and not empty).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_readv(filch_file *file, const struct iovec *iov,
                                                    size_t count, int64_t offset, filch_time until);

/**
 * filch_file_write() - write at the file's position, which moves, or at the end with O_APPEND
 *
 * Suspends: yes. Cancellation point: yes; then nothing was written. Never raises SIGPIPE.
 * Return: bytes written; -ETIMEDOUT; -ECANCELED (also: it was closed meanwhile); -EBADF (closed, or
 * not open for writing); -EINVAL (NULL); -ENOSPC, -EFBIG, -EDQUOT, -EIO, -EPIPE and what else
 * write(2) says.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_write(filch_file *file, const void *buf, size_t bytes,
                                                    filch_time until);

/** filch_file_pwrite() - the same at an offset; the position stays. With O_APPEND the kernel writes
 * at the end all the same. Return: as filch_file_write(); -ESPIPE; -EINVAL (a negative offset). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_pwrite(filch_file *file, const void *buf,
                                                     size_t bytes, int64_t offset,
                                                     filch_time until);

/** filch_file_writev() - the same of several buffers; see filch_file_readv(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_file_writev(filch_file *file, const struct iovec *iov,
                                                     size_t count, int64_t offset,
                                                     filch_time until);

/** filch_file_write_all() - write all of it at the position. @ret_done: bytes written, set also on
 * failure; may be NULL. Return: 0; else as filch_file_write(). */
FILCH_API FILCH_MUST_CHECK int filch_file_write_all(filch_file *file, const void *buf, size_t bytes,
                                                    size_t *ret_done, filch_time until);

/** filch_file_seek() - move the position. @whence: SEEK_SET, SEEK_CUR, SEEK_END. @ret_offset: the
 * new one; may be NULL. Suspends: no. Return: 0; -EINVAL; -ESPIPE; -EBADF. */
FILCH_API int filch_file_seek(filch_file *file, int64_t offset, int whence, int64_t *ret_offset);

/** filch_file_sync() - have everything on the disk: bytes and metadata. Suspends: yes. Cancellation
 * point: yes, until the kernel has begun. Return: 0; -EIO, -ENOSPC, -EDQUOT (what was written may
 * be lost); -EINVAL (it has no disk; NULL); -EBADF; -ETIMEDOUT; -ECANCELED. */
FILCH_API FILCH_MUST_CHECK int filch_file_sync(filch_file *file, filch_time until);

/** filch_file_sync_data() - the bytes, and what is needed to read them again: the size, not the
 * times. Return: as filch_file_sync(). */
FILCH_API FILCH_MUST_CHECK int filch_file_sync_data(filch_file *file, filch_time until);

/** filch_file_allocate() - reserve room on the disk; the file grows if the range ends beyond it.
 * Return: 0; -ENOSPC; -EFBIG; -EOPNOTSUPP (the file system cannot); -EINVAL (a negative offset, no
 * bytes); -ENODEV, -ESPIPE (no regular file); -EBADF; -EIO; -ETIMEDOUT; -ECANCELED. */
FILCH_API FILCH_MUST_CHECK int filch_file_allocate(filch_file *file, int64_t offset, int64_t bytes,
                                                   filch_time until);

/** filch_file_truncate() - cut the file, or have it grow by zeroes, to @bytes. Return: 0; -EINVAL
 * (negative, no regular file, not open for writing); -EFBIG; -EBADF; -EIO; -EPERM; -ETIMEDOUT;
 * -ECANCELED; -EAGAIN (no blocking thread can be had). */
FILCH_API FILCH_MUST_CHECK int filch_file_truncate(filch_file *file, int64_t bytes,
                                                   filch_time until);

/** filch_file_stat() - what the file is. Return: 0; -EBADF; -EINVAL; -EIO; -ETIMEDOUT; -ECANCELED.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_stat(filch_file *file, filch_file_info *ret_info,
                                               filch_time until);

/* What reads and writes of a file opened with O_DIRECT must be multiples of. */
typedef struct filch_direct_align {
    uint32_t memory_bytes; /* addresses of buffers */
    uint32_t offset_bytes; /* offsets and lengths */
} filch_direct_align;

/** filch_file_direct_align() - what O_DIRECT asks of this file. Return: 0; -EOPNOTSUPP (it cannot,
 * or the kernel does not tell: before 6.1); -EBADF; -EINVAL; -EIO; -EAGAIN (no blocking thread can
 * be had); -ETIMEDOUT; -ECANCELED. */
FILCH_API FILCH_MUST_CHECK int
filch_file_direct_align(filch_file *file, filch_direct_align *ret_align, filch_time until);

/** filch_direct_buffer() - memory that O_DIRECT takes: @bytes of it, or as many more as make a
 * whole number of @align->offset_bytes. @ret_buffer: for free(3). @ret_bytes: how many; may be
 * NULL. Thread-safety: any. Suspends: no. Return: 0; -EINVAL (NULL, no bytes, too many, an
 * alignment that is no power of two); -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_direct_buffer(const filch_direct_align *align, size_t bytes,
                                                   void **ret_buffer, size_t *ret_bytes);

/**
 * filch_file_lock() - lock a file against others who do: flock(2)
 * @exclusive: for one; else shared with others who share
 *
 * The lock is the open file's, not the task's: the same file opened twice excludes itself. A lock
 * that is held is changed, not atomically. There is no queue: who waits tries again, at least each
 * 50 ms. Ends with filch_file_unlock() or the close. Suspends: yes. Cancellation point: yes; then
 * it is not held, unless it was before and could not be changed.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EBADF; -EINVAL; -ENOLCK.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_lock(filch_file *file, bool exclusive, filch_time until);

/** filch_file_unlock() - end the lock, if there is one. Suspends: no. Return: 0; -EBADF; -EINVAL.
 */
FILCH_API int filch_file_unlock(filch_file *file);

/**
 * filch_file_lock_range() - lock bytes of a file against others who do, in this process or another
 * @exclusive: for one, and the file is open for writing; else shared, and it is open for reading
 * @offset:    of the range, which may lie beyond the end
 * @bytes:     0: to the end of the file, however it grows
 *
 * Open file description locks: as filch_file_lock() they are the open file's, which replaces what
 * it had of the range; they and the classic locks of fcntl(2) exclude each other. The kernel sees
 * no deadlocks between them. Waiting, time and cancel are as for filch_file_lock(). Return: 0;
 * -ETIMEDOUT; -ECANCELED; -EBADF (closed, or not open for that); -EINVAL (NULL, a negative range, a
 * file without ranges); -EOVERFLOW (it ends beyond the largest offset); -ENOLCK.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_lock_range(filch_file *file, bool exclusive,
                                                     int64_t offset, int64_t bytes,
                                                     filch_time until);

/** filch_file_unlock_range() - end locks on these bytes, also in the middle of a range. Suspends:
 * no. Return: 0; -EBADF; -EINVAL; -EOVERFLOW; -ENOLCK. */
FILCH_API int filch_file_unlock_range(filch_file *file, int64_t offset, int64_t bytes);

/* ---- whole files ---- */

/**
 * filch_read_file() - read all of a file
 * @bytes_max: a longer file is refused; 0: no limit
 * @ret_data:  gets the bytes and a zero behind them, from malloc(3): the caller's to free
 * @ret_bytes: how many, without that zero; may be NULL
 *
 * Works on what has no size (/proc, pipes), too. Suspends: yes. Cancellation point: yes; what was
 * read is dropped. Return: 0; -EFBIG (longer than @bytes_max); -ENOMEM; -EISDIR; else as
 * filch_file_open() and filch_file_read().
 */
FILCH_API FILCH_MUST_CHECK int filch_read_file(const char *path, size_t bytes_max, void **ret_data,
                                               size_t *ret_bytes, filch_time until);

/**
 * filch_write_file() - replace a file by one with these bytes, or create it
 * @mode: permissions of the new file; the umask does not apply
 *
 * Atomic and durable: the bytes go into a new file beside it, to the disk, and then get the name,
 * and the directory goes to the disk. Whoever opens @path finds the old bytes or the new ones,
 * whole, also after a crash. A symbolic link is replaced, not followed. Suspends: yes. Cancellation
 * point: yes; the new name comes last, so nothing has changed then and no other file is left.
 * Return: 0; -EINVAL (NULL); -ETIMEDOUT; -ECANCELED; -EAGAIN (no blocking thread can be had);
 * what open(2), write(2), fsync(2) and rename(2) say. When
 * only the directory could not be synced the new file is there all the same.
 */
FILCH_API FILCH_MUST_CHECK int filch_write_file(const char *path, const void *data, size_t bytes,
                                                unsigned mode, filch_time until);

/**
 * filch_copy_file() - copy a file's bytes and permissions
 *
 * @to is replaced as by filch_write_file(), but nothing is synced. The file system copies, or
 * shares the blocks, where it can. Cancellation point: yes, also in the middle; @to is unchanged
 * then. Return: 0; -EISDIR, -EINVAL (@from is no regular file); else as filch_write_file().
 */
FILCH_API FILCH_MUST_CHECK int filch_copy_file(const char *from, const char *to, filch_time until);

/* ---- paths. All suspend, and are cancellation points until the kernel or a thread has begun: then
 * their result is returned. Each returns 0; -EINVAL (NULL); -ETIMEDOUT; -ECANCELED; -ENOENT,
 * -EACCES, -EPERM, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -EROFS, -EIO, -ENOSPC, -EDQUOT, -ENOMEM and
 * what else the system call of the same name says. Those marked (*) need a blocking thread: -EAGAIN
 * (none can be had). ---- */

/** filch_path_stat() - what a path leads to. @follow: what a symbolic link leads to, else the link.
 */
FILCH_API FILCH_MUST_CHECK int filch_path_stat(const char *path, bool follow,
                                               filch_file_info *ret_info, filch_time until);

/** filch_path_rename() - give another name; what has it is replaced. Also: -EXDEV, -ENOTEMPTY,
 * -EISDIR, -EBUSY. */
FILCH_API FILCH_MUST_CHECK int filch_path_rename(const char *from, const char *to,
                                                 filch_time until);

/** filch_path_link() - give one more name. Also: -EEXIST, -EXDEV, -EMLINK. */
FILCH_API FILCH_MUST_CHECK int filch_path_link(const char *from, const char *to, filch_time until);

/** filch_path_symlink() - make a symbolic link. @target: its text. Also: -EEXIST. */
FILCH_API FILCH_MUST_CHECK int filch_path_symlink(const char *target, const char *path,
                                                  filch_time until);

/** filch_path_readlink() - the text of a symbolic link, with a zero behind it (*). @bytes: of
 * @ret_text; PATH_MAX suffices. Also: -EINVAL (no link); -ERANGE (too long). */
FILCH_API FILCH_MUST_CHECK int filch_path_readlink(const char *path, char *ret_text, size_t bytes,
                                                   filch_time until);

/** filch_path_unlink() - remove a name of anything but a directory. Also: -EISDIR, -EBUSY. */
FILCH_API FILCH_MUST_CHECK int filch_path_unlink(const char *path, filch_time until);

/** filch_path_mkdir() - make a directory. @parents: those above it, too, and no error if it is
 * there; after a failure some may be there. Also: -EEXIST, -EMLINK. */
FILCH_API FILCH_MUST_CHECK int filch_path_mkdir(const char *path, unsigned mode, bool parents,
                                                filch_time until);

/** filch_path_rmdir() - remove an empty directory. Also: -ENOTEMPTY, -EBUSY. */
FILCH_API FILCH_MUST_CHECK int filch_path_rmdir(const char *path, filch_time until);

/** filch_path_chmod() - set permissions (*). */
FILCH_API FILCH_MUST_CHECK int filch_path_chmod(const char *path, unsigned mode, filch_time until);

/** filch_path_chown() - set the owner (*). UINT32_MAX: stays. @follow: as for filch_path_stat(). */
FILCH_API FILCH_MUST_CHECK int filch_path_chown(const char *path, uint32_t uid, uint32_t gid,
                                                bool follow, filch_time until);

/** filch_path_utimes() - set the times of access and modification (*). INT64_MIN: now. */
FILCH_API FILCH_MUST_CHECK int filch_path_utimes(const char *path, int64_t accessed_ns,
                                                 int64_t modified_ns, filch_time until);

/** filch_path_access() - may this process? (*) @mode: F_OK, or R_OK, W_OK, X_OK. */
FILCH_API FILCH_MUST_CHECK int filch_path_access(const char *path, int mode, filch_time until);

/* ---- extended attributes. As the calls on paths, all marked (*). @follow: as for
 * filch_path_stat(). Also: -EOPNOTSUPP (the file system has none, or not of that namespace);
 * -ENODATA (no such attribute). ---- */

/** filch_path_get_xattr() - the value of an attribute. @name: "user.x". @bytes: of @ret_value; 0:
 * only how many there are. Return: bytes of the value; -ERANGE (more than @bytes). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_path_get_xattr(const char *path, bool follow,
                                                        const char *name, void *ret_value,
                                                        size_t bytes, filch_time until);

/** filch_path_list_xattrs() - the names of all attributes, each with a zero behind it. Return: as
 * filch_path_get_xattr(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_path_list_xattrs(const char *path, bool follow,
                                                          char *ret_names, size_t bytes,
                                                          filch_time until);

/** filch_path_set_xattr() - set or replace an attribute. Also: -E2BIG, -ERANGE (the name). */
FILCH_API FILCH_MUST_CHECK int filch_path_set_xattr(const char *path, bool follow, const char *name,
                                                    const void *value, size_t bytes,
                                                    filch_time until);

/** filch_path_remove_xattr() - remove an attribute. */
FILCH_API FILCH_MUST_CHECK int filch_path_remove_xattr(const char *path, bool follow,
                                                       const char *name, filch_time until);

/* ---- directories ---- */

typedef struct filch_dir filch_dir;

typedef struct filch_dir_entry {
    uint64_t inode;
    enum filch_file_type type; /* unknown on some file systems */
    char name[256];
} filch_dir_entry;

/** filch_dir_open() - begin to read a directory. Suspends: yes. Return: 0; -EINVAL (NULL);
 * -ETIMEDOUT; -ECANCELED; -EMFILE; -ENFILE; -ENOMEM; -ENOENT, -EACCES, -ENOTDIR, -ELOOP,
 * -ENAMETOOLONG and what else open(2) says. */
FILCH_API FILCH_MUST_CHECK int filch_dir_open(const char *path, filch_dir **ret_dir,
                                              filch_time until);

/**
 * filch_dir_read() - the next entries, without "." and "..", in no order
 * @max: room for so many; at least 1
 *
 * Thread-safety: one at a time. Suspends: yes. Cancellation point: yes; no entry is lost. Return:
 * their number; 0 at the end; -EINVAL; -ETIMEDOUT; -ECANCELED; -ENOENT (it was removed); -EIO;
 * -EAGAIN (no blocking thread can be had).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_dir_read(filch_dir *dir, filch_dir_entry *entries,
                                                  size_t max, filch_time until);

/** filch_dir_close() - NULL is allowed. Suspends: no. */
FILCH_API void filch_dir_close(filch_dir *dir);

/* Limits of a walk. 0: none, but for depth_max: 64. */
typedef struct filch_walk_opts {
    unsigned depth_max;   /* directories below the first that are entered */
    uint64_t entries_max; /* that are shown */
} filch_walk_opts;

/**
 * filch_dir_walk() - show everything below a directory
 * @opts: borrowed; NULL for defaults
 * @fn:   called in the caller's task for each entry, before what is below it; @path begins with
 *        the walk's own and is borrowed for the call. Returns 0; 1 (do not enter it); or an error,
 *        which ends the walk. May suspend.
 *
 * Symbolic links are not followed. Directories that vanish meanwhile are left out. Return: 0; what
 * @fn returned; -E2BIG (entries_max; directories at depth_max are shown, not entered, silently);
 * -ENAMETOOLONG; -ENOMEM; else as filch_dir_open() and filch_dir_read().
 */
FILCH_API FILCH_MUST_CHECK int filch_dir_walk(const char *path, const filch_walk_opts *opts,
                                              int (*fn)(void *context, const char *path,
                                                        const filch_dir_entry *entry),
                                              void *context, filch_time until);

FILCH_END_DECLS

#endif
