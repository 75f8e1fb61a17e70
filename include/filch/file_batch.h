/* Many operations on files in one call.
 *
 *     filch_file_op ops[] = {
 *         filch_file_op_stat("a", true, &info),
 *         filch_file_op_open("b", O_RDONLY, 0, &file),
 *         filch_file_op_unlink("c"),
 *     };
 *     int r = filch_file_batch(ops, 3, FILCH_NEVER);
 *     ... ops[1].result
 *
 * They are submitted together and run side by side, in no order: what must come after something
 * else goes into another batch, and each read has a buffer of its own. So the cost of a submission,
 * and on a ring of a system call, is shared, and a directory of a thousand files is looked at in
 * the time of a few.
 */
#ifndef FILCH_FILE_BATCH_H
#define FILCH_FILE_BATCH_H

#include <filch/base.h>
#include <filch/file.h>

FILCH_BEGIN_DECLS

/* One operation, made by a function below: a plain value that borrows what it names until the
 * batch's end. Made of wrong arguments, its result is the error. */
typedef struct filch_file_op {
    /* Set by the batch: what the function of the same name would return; -ETIMEDOUT or -ECANCELED:
     * it was not made. */
    ssize_t result;
    /* Private. */
    unsigned kind;
    int flags;
    unsigned mode;
    const char *path;
    filch_file *file;
    void *data;
    size_t bytes;
    int64_t offset;
} filch_file_op;

/** filch_file_op_open() - as filch_file_open(), but a FIFO's other side is not waited for: reading
 * begins without a writer, and writing fails with -ENXIO. */
FILCH_API filch_file_op filch_file_op_open(const char *path, int flags, unsigned mode,
                                           filch_file **ret_file);

/** filch_file_op_stat() - as filch_path_stat(). */
FILCH_API filch_file_op filch_file_op_stat(const char *path, bool follow,
                                           filch_file_info *ret_info);

/** filch_file_op_unlink() - as filch_path_unlink(). */
FILCH_API filch_file_op filch_file_op_unlink(const char *path);

/** filch_file_op_pread() - as filch_file_pread(). -ESPIPE: a pipe or the like. */
FILCH_API filch_file_op filch_file_op_pread(filch_file *file, void *buf, size_t bytes,
                                            int64_t offset);

/** filch_file_op_pwrite() - as filch_file_pwrite(). -ESPIPE: a pipe or the like. */
FILCH_API filch_file_op filch_file_op_pwrite(filch_file *file, const void *buf, size_t bytes,
                                             int64_t offset);

/** filch_file_op_sync() - as filch_file_sync(). */
FILCH_API filch_file_op filch_file_op_sync(filch_file *file);

/**
 * filch_file_batch() - make many operations, and wait until all have ended
 * @ops:   borrowed; each one's result is set on return, whatever is returned
 * @count: any number; 64 of them are in flight at a time
 *
 * Thread-safety: any; the array is the caller's alone meanwhile. A plain thread, a blocking job and
 * a future's poll make them one after the other. Suspends: yes. Cancellation point: yes: what has
 * begun is waited for, and its result kept, so that no descriptor and no byte is lost; the others
 * are not made. FILCH_NOW makes none.
 * Return: 0: all were made, whatever their results; -ETIMEDOUT, -ECANCELED: some were not; -ENOMEM,
 * -EINVAL (NULL): none was, and the results are untouched.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_batch(filch_file_op *ops, size_t count, filch_time until);

FILCH_END_DECLS

#endif
