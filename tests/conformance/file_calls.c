/* Calls on files and paths beyond reading and writing: whole files, batches, locks, directories,
 * what paths are and may: see conformance.h. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filch/file.h>
#include <filch/file_batch.h>

#include "tests/conformance/conformance.h"

static filch_file *open_file(const char *path, int flags)
{
    filch_file *file;

    T_OK(filch_file_open(path, flags, 0600, &file, T_LIMIT));
    return file;
}

/* Return: @r. */
static long close_file(filch_file *file, long r)
{
    T_OK(filch_file_close(file));
    return r;
}

static filch_file_info stat_of(const char *path)
{
    filch_file_info info;

    T_OK(filch_path_stat(path, false, &info, T_LIMIT));
    return info;
}

/* ---- whole files ---- */

static long read_whole(const char *path, size_t most, const char *want)
{
    void *data = NULL;
    size_t bytes = 0;
    int r = filch_read_file(path, most, &data, &bytes, T_LIMIT);

    if (r == 0) {
        T_IS(bytes, strlen(want));
        T_OK(memcmp(data, want, bytes));
    }
    free(data);
    return r;
}

static long whole_read(struct place *p)
{
    return read_whole(p->path, 0, "0123456789");
}

static long whole_too_long(struct place *p)
{
    T_OK(read_whole(p->path, 10, "0123456789"));
    return read_whole(p->path, 9, "");
}

static long whole_of_nothing(struct place *p)
{
    return read_whole(p->none, 0, "");
}

static long whole_directory(struct place *p)
{
    return read_whole(p->dir, 0, "");
}

static long whole_replaced(struct place *p)
{
    T_OK(filch_write_file(p->path, "new", 3, 0640, T_LIMIT));
    T_IS(stat_of(p->path).mode, 0640);
    T_OK(filch_write_file(p->none, NULL, 0, 0600, T_LIMIT));
    T_OK(read_whole(p->none, 0, ""));
    return read_whole(p->path, 0, "new");
}

static int write_whole(void *arg)
{
    struct place *p = arg;

    return filch_write_file(p->path, "new", 3, 0600, FILCH_NEVER);
}

/* Nothing is changed, nor left. */
static long whole_write_cancelled_before(struct place *p)
{
    long r = cancelled_before(write_whole, p);

    T_OK(whole_read(p));
    return r;
}

static long whole_write_too_late(struct place *p)
{
    long r = filch_write_file(p->path, "new", 3, 0600, FILCH_NOW);

    T_OK(whole_read(p));
    return r;
}

static long whole_write_nowhere(struct place *p)
{
    char path[96];

    snprintf(path, sizeof path, "%s/x", p->none);
    return filch_write_file(path, "new", 3, 0600, T_LIMIT);
}

static long whole_write_without_descriptors(struct place *p)
{
    long r = without_descriptors(write_whole, p);

    T_OK(whole_read(p));
    return r;
}

static long whole_bad_argument(struct place *p)
{
    T_IS(filch_read_file(NULL, 0, NULL, NULL, T_LIMIT), -EINVAL);
    return filch_write_file(p->path, NULL, 3, 0600, T_LIMIT);
}

static long whole_copied(struct place *p)
{
    T_OK(filch_copy_file(p->path, p->none, T_LIMIT));
    return read_whole(p->none, 0, "0123456789");
}

static long whole_copy_of_nothing(struct place *p)
{
    return filch_copy_file(p->none, p->path, T_LIMIT);
}

static long whole_copy_of_a_directory(struct place *p)
{
    return filch_copy_file(p->dir, p->none, T_LIMIT);
}

/* ---- files ---- */

static long temp_ok(struct place *p)
{
    filch_file *file;

    T_OK(filch_file_temp(p->dir, &file, T_LIMIT));
    T_IS(filch_file_pwrite(file, "abc", 3, 0, T_LIMIT), 3);
    return close_file(file, (long)stat_of(p->dir).links == 2 ? 0 : -1);
}

static long temp_nowhere(struct place *p)
{
    filch_file *file;

    return filch_file_temp(p->none, &file, T_LIMIT);
}

static long temp_too_late(struct place *p)
{
    filch_file *file;

    return filch_file_temp(p->dir, &file, FILCH_NOW);
}

static long appended(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR | O_APPEND);

    T_IS(filch_file_write(file, "ab", 2, T_LIMIT), 2);
    T_IS(filch_file_pwrite(file, "cd", 2, 0, T_LIMIT), 2); /* goes to the end all the same */
    T_OK(filch_file_close(file));
    return read_whole(p->path, 0, "0123456789abcd");
}

/* What the call says of a file of ten bytes that is open with @flags. */
static long allocated(struct place *p, int flags, int64_t offset, int64_t bytes)
{
    filch_file *file = open_file(p->path, flags);

    return close_file(file, filch_file_allocate(file, offset, bytes, T_LIMIT));
}

/* Not all file systems can. */
static long allocate_ok(struct place *p)
{
    long r = allocated(p, O_RDWR, 0, 4096);

    T_CHECK(r == -EOPNOTSUPP || (r == 0 && stat_of(p->path).bytes == 4096));
    return 0;
}

static long allocate_nothing(struct place *p)
{
    return allocated(p, O_RDWR, 0, 0);
}

static long allocate_nowhere(struct place *p)
{
    return allocated(p, O_RDWR, -1, 10);
}

static long allocate_read_only(struct place *p)
{
    return allocated(p, O_RDONLY, 0, 10);
}

static long truncated(struct place *p, int flags, int64_t bytes)
{
    filch_file *file = open_file(p->path, flags);

    return close_file(file, filch_file_truncate(file, bytes, T_LIMIT));
}

static long truncate_ok(struct place *p)
{
    T_OK(truncated(p, O_RDWR, 3));
    return read_whole(p->path, 0, "012");
}

static long truncate_negative(struct place *p)
{
    return truncated(p, O_RDWR, -1);
}

static long truncate_read_only(struct place *p)
{
    return truncated(p, O_RDONLY, 3);
}

static int truncate_it(void *arg)
{
    return filch_file_truncate(arg, 0, FILCH_NEVER);
}

static long truncate_cancelled_before(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);
    long r = close_file(file, cancelled_before(truncate_it, file));

    T_OK(whole_read(p));
    return r;
}

static long sync_closed_handle(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);

    T_OK(filch_file_close(file));
    T_IS(filch_file_truncate(file, 0, T_LIMIT), -EBADF);
    T_IS(filch_file_allocate(file, 0, 1, T_LIMIT), -EBADF);
    T_IS(filch_file_lock(file, true, T_LIMIT), -EBADF);
    return filch_file_sync(file, T_LIMIT);
}

static long sync_of_a_pipe(struct place *p)
{
    filch_file *reader, *writer;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &reader, &writer));
    r = filch_file_sync(writer, T_LIMIT);
    T_OK(filch_file_close(reader));
    return close_file(writer, r);
}

static long sync_too_late(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);

    return close_file(file, filch_file_sync(file, FILCH_NOW));
}

/* Aligned, and not. File systems that do not tell what they ask for are left alone. */
static long direct(struct place *p)
{
    filch_direct_align align;
    filch_file *file;
    size_t bytes;
    void *buf;
    long r = filch_file_open(p->path, O_RDWR | O_DIRECT, 0, &file, T_LIMIT);

    if (r == -EINVAL)
        return 1;
    T_OK(r);
    r = filch_file_direct_align(file, &align, T_LIMIT);
    if (r == -EOPNOTSUPP)
        return close_file(file, 1);
    T_OK(r);
    bytes = align.offset_bytes;
    T_OK(posix_memalign(&buf, align.memory_bytes < 16 ? 16 : align.memory_bytes, bytes));
    memset(buf, 'd', bytes);
    T_IS(filch_file_pwrite(file, buf, bytes, (int64_t)bytes, T_LIMIT), bytes);
    r = filch_file_pread(file, buf, bytes, (int64_t)bytes, T_LIMIT) == (ssize_t)bytes;
    T_IS(filch_file_pread(file, buf, bytes, 1, T_LIMIT), -EINVAL);
    free(buf);
    return close_file(file, r);
}

/* ---- locks ---- */

struct locking {
    filch_file *a, *b; /* the same file, opened twice */
    bool range;
};

static struct locking open_locking(struct place *p, bool range)
{
    struct locking l = {open_file(p->path, O_RDWR), open_file(p->path, O_RDWR), range};

    if (range)
        T_OK(filch_file_lock_range(l.a, true, 0, 10, T_LIMIT));
    else
        T_OK(filch_file_lock(l.a, true, T_LIMIT));
    return l;
}

/* Return: @r. */
static long close_locking(struct locking *l, long r)
{
    T_OK(filch_file_close(l->a));
    T_OK(filch_file_close(l->b));
    return r;
}

static int lock_b(struct locking *l, filch_time until)
{
    return l->range ? filch_file_lock_range(l->b, true, 5, 1, until)
                    : filch_file_lock(l->b, true, until);
}

static int lock_second(void *arg)
{
    return lock_b(arg, FILCH_NEVER);
}

static long locked_now(struct place *p, bool range)
{
    struct locking l = open_locking(p, range);

    return close_locking(&l, lock_b(&l, FILCH_NOW));
}

static long locked_in_time(struct place *p, bool range)
{
    struct locking l = open_locking(p, range);

    return close_locking(&l, lock_b(&l, SHORT_LIMIT));
}

static long locked_cancelled(struct place *p, bool range)
{
    struct locking l = open_locking(p, range);
    long r = cancelled_meanwhile(lock_second, &l);

    return close_locking(&l, r);
}

static long locked_until_unlocked(struct place *p, bool range)
{
    struct locking l = open_locking(p, range);
    filch_task *task = spawn(lock_second, &l);

    let_it_wait();
    T_OK(range ? filch_file_unlock_range(l.a, 0, 0) : filch_file_unlock(l.a));
    return close_locking(&l, join(task));
}

static long lock_now(struct place *p)
{
    return locked_now(p, false);
}

static long lock_times_out(struct place *p)
{
    return locked_in_time(p, false);
}

static long lock_cancelled(struct place *p)
{
    return locked_cancelled(p, false);
}

static long lock_that_waits(struct place *p)
{
    return locked_until_unlocked(p, false);
}

static long range_now(struct place *p)
{
    return locked_now(p, true);
}

static long range_times_out(struct place *p)
{
    return locked_in_time(p, true);
}

static long range_cancelled(struct place *p)
{
    return locked_cancelled(p, true);
}

static long range_that_waits(struct place *p)
{
    return locked_until_unlocked(p, true);
}

static long range_nowhere(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);

    T_IS(filch_file_lock_range(file, true, INT64_MAX, 2, T_LIMIT), -EOVERFLOW);
    return close_file(file, filch_file_lock_range(file, true, -1, 2, T_LIMIT));
}

/* ---- batches ---- */

#define BATCH 100 /* more than are in flight at a time */

struct batching {
    filch_file_op ops[BATCH];
    filch_file_info infos[BATCH];
    char bytes[BATCH];
    filch_time until;
};

static int run_batch(void *arg)
{
    struct batching *b = arg;

    return filch_file_batch(b->ops, BATCH, b->until);
}

/* Looks at a file again and again. Return: what the batch said; each operation must say so, too. */
static long batch_of_looks(struct place *p, filch_time until, bool cancelled)
{
    struct batching *b = calloc(1, sizeof *b);
    long r;

    T_CHECK(b);
    b->until = until;
    for (int i = 0; i < BATCH; i++)
        b->ops[i] = filch_file_op_stat(p->path, true, &b->infos[i]);
    r = cancelled ? cancelled_before(run_batch, b) : run_batch(b);
    for (int i = 0; i < BATCH; i++)
        T_IS(b->ops[i].result, r);
    free(b);
    return r;
}

static long batch_ok(struct place *p)
{
    return batch_of_looks(p, T_LIMIT, false);
}

static long batch_too_late(struct place *p)
{
    return batch_of_looks(p, FILCH_NOW, false);
}

static long batch_cancelled_before(struct place *p)
{
    return batch_of_looks(p, FILCH_NEVER, true);
}

static long batch_of_reads(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);
    struct batching *b = calloc(1, sizeof *b);

    T_CHECK(b);
    for (int i = 0; i < BATCH; i++)
        b->ops[i] = filch_file_op_pread(file, &b->bytes[i], 1, i % 12);
    T_OK(filch_file_batch(b->ops, BATCH, T_LIMIT));
    for (int i = 0; i < BATCH; i++) {
        T_IS(b->ops[i].result, i % 12 < 10);
        T_CHECK(i % 12 >= 10 || b->bytes[i] == '0' + i % 12);
    }
    free(b);
    return close_file(file, 0);
}

static long batch_of_writes(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);
    filch_file_op ops[] = {
        filch_file_op_pwrite(file, "ab", 2, 0),
        filch_file_op_pwrite(file, "cd", 2, 2),
        filch_file_op_pwrite(file, NULL, 0, 4),
    };

    T_OK(filch_file_batch(ops, 3, T_LIMIT));
    T_IS(ops[0].result, 2);
    T_IS(ops[1].result, 2);
    T_OK(ops[2].result);
    T_OK(filch_file_close(file));
    return read_whole(p->path, 0, "abcd456789");
}

/* Each has its own result, whatever the others say. */
static long batch_of_errors(struct place *p)
{
    filch_file *closed = open_file(p->path, O_RDONLY), *file = open_file(p->path, O_RDONLY), *made;
    filch_file_info info;
    char byte;
    filch_file_op ops[] = {
        filch_file_op_open(p->none, O_RDONLY, 0, &made),
        filch_file_op_stat(p->none, true, &info),
        filch_file_op_unlink(p->dir),
        filch_file_op_pread(closed, &byte, 1, 0),
        filch_file_op_pwrite(file, "x", 1, 0),
        filch_file_op_pread(file, &byte, 1, -1),
        filch_file_op_sync(file),
    };
    const ssize_t want[] = {-ENOENT, -ENOENT, -EISDIR, -EBADF, -EBADF, -EINVAL, 0};

    T_OK(filch_file_close(closed));
    T_OK(filch_file_batch(ops, sizeof ops / sizeof *ops, T_LIMIT));
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        T_IS(ops[i].result, want[i]);
    return close_file(file, filch_file_batch(NULL, 1, T_LIMIT));
}

/* ---- paths ---- */

static long mode_set(struct place *p)
{
    T_OK(filch_path_chmod(p->path, 0640, T_LIMIT));
    T_IS(stat_of(p->path).mode, 0640);
    return filch_path_chmod(p->none, 0640, T_LIMIT);
}

/* Another one may be given by root only; its own by everybody. */
static long owner_set(struct place *p)
{
    T_OK(filch_path_chown(p->path, UINT32_MAX, UINT32_MAX, true, T_LIMIT));
    T_OK(filch_path_chown(p->path, getuid(), getgid(), false, T_LIMIT));
    T_IS(stat_of(p->path).uid, getuid());
    return filch_path_chown(p->none, UINT32_MAX, getgid(), true, T_LIMIT);
}

static long times_set(struct place *p)
{
    T_OK(filch_path_utimes(p->path, 1000000007, 2000000009, T_LIMIT));
    T_IS(stat_of(p->path).modified_ns, 2000000009);
    return filch_path_utimes(p->none, 0, 0, T_LIMIT);
}

static long access_asked(struct place *p)
{
    T_OK(filch_path_access(p->path, R_OK | W_OK, T_LIMIT));
    T_IS(filch_path_access(p->path, X_OK, T_LIMIT), -EACCES);
    return filch_path_access(p->none, F_OK, T_LIMIT);
}

static long link_read(struct place *p)
{
    char text[PATH_MAX];

    T_OK(filch_path_symlink("somewhere", p->none, T_LIMIT));
    T_OK(filch_path_readlink(p->none, text, sizeof text, T_LIMIT));
    T_OK(strcmp(text, "somewhere"));
    T_IS(filch_path_readlink(p->none, text, 9, T_LIMIT), -ERANGE);
    return filch_path_readlink(p->path, text, sizeof text, T_LIMIT);
}

static int make_dir(void *arg)
{
    struct place *p = arg;

    return filch_path_mkdir(p->none, 0700, false, FILCH_NEVER);
}

static long change_cancelled_before(struct place *p)
{
    long r = cancelled_before(make_dir, p);

    T_IS(filch_path_access(p->none, F_OK, T_LIMIT), -ENOENT); /* it was not made */
    return r;
}

static long changes_too_late(struct place *p)
{
    T_IS(filch_path_chmod(p->path, 0, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_path_rename(p->path, p->none, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_path_unlink(p->path, FILCH_NOW), -ETIMEDOUT);
    T_OK(whole_read(p));
    return filch_path_mkdir(p->none, 0700, true, FILCH_NOW);
}

/* Not all file systems have attributes. */
static long attributes(struct place *p)
{
    char buf[32];
    long r = filch_path_set_xattr(p->path, true, "user.x", "abc", 3, T_LIMIT);

    if (r == -EOPNOTSUPP)
        return -ENODATA;
    T_OK(r);
    T_IS(filch_path_get_xattr(p->path, true, "user.x", buf, sizeof buf, T_LIMIT), 3);
    T_IS(filch_path_get_xattr(p->path, true, "user.x", buf, 2, T_LIMIT), -ERANGE);
    T_IS(filch_path_list_xattrs(p->path, true, buf, sizeof buf, T_LIMIT), 7);
    T_OK(filch_path_remove_xattr(p->path, true, "user.x", T_LIMIT));
    return filch_path_get_xattr(p->path, true, "user.x", buf, sizeof buf, T_LIMIT);
}

static long attribute_of_nothing(struct place *p)
{
    return filch_path_set_xattr(p->none, true, "user.x", "abc", 3, T_LIMIT);
}

/* ---- directories ---- */

static long dir_read(struct place *p)
{
    filch_dir_entry entries[4];
    filch_dir *dir;
    long r;

    T_OK(filch_dir_open(p->dir, &dir, T_LIMIT));
    T_IS(filch_dir_read(dir, entries, 4, FILCH_NOW), -ETIMEDOUT); /* and nothing is lost */
    T_IS(filch_dir_read(dir, entries, 0, T_LIMIT), -EINVAL);
    T_IS(filch_dir_read(dir, entries, 4, T_LIMIT), 1);
    T_OK(strcmp(entries[0].name, "file"));
    r = filch_dir_read(dir, entries, 4, T_LIMIT);
    filch_dir_close(dir);
    return r;
}

static long dir_of(const char *path)
{
    filch_dir *dir;
    int r = filch_dir_open(path, &dir, T_LIMIT);

    if (r == 0)
        filch_dir_close(dir);
    return r;
}

static long dir_of_nothing(struct place *p)
{
    return dir_of(p->none);
}

static long dir_of_a_file(struct place *p)
{
    return dir_of(p->path);
}

static int open_dir(void *arg)
{
    struct place *p = arg;

    return (int)dir_of(p->dir);
}

static long dir_beyond_the_limit(struct place *p)
{
    return without_descriptors(open_dir, p);
}

static int show(void *context, const char *path, const filch_dir_entry *entry)
{
    (void)path;
    ++*(int *)context;
    return strcmp(entry->name, "stop") == 0 ? -ELOOP : 0;
}

static long walk_ok(struct place *p)
{
    char inner[80];
    int shown = 0;

    snprintf(inner, sizeof inner, "%s/a", p->none);
    T_OK(filch_path_mkdir(inner, 0700, true, T_LIMIT));
    T_OK(filch_dir_walk(p->dir, NULL, show, &shown, T_LIMIT));
    T_IS(filch_dir_walk(p->dir, &(filch_walk_opts){.entries_max = 2}, show, &(int){0}, T_LIMIT),
         -E2BIG);
    T_OK(filch_path_rmdir(inner, T_LIMIT));
    T_OK(filch_path_rmdir(p->none, T_LIMIT));
    return shown;
}

static long walk_stopped(struct place *p)
{
    char inner[80];
    int shown = 0;
    long r;

    snprintf(inner, sizeof inner, "%s/stop", p->none);
    T_OK(filch_path_mkdir(inner, 0700, true, T_LIMIT));
    r = filch_dir_walk(p->dir, NULL, show, &shown, T_LIMIT);
    T_OK(filch_path_rmdir(inner, T_LIMIT));
    T_OK(filch_path_rmdir(p->none, T_LIMIT));
    return r;
}

static int walk_it(void *arg)
{
    struct place *p = arg;

    return filch_dir_walk(p->dir, NULL, show, &(int){0}, FILCH_NEVER);
}

static long walk_cancelled_before(struct place *p)
{
    return cancelled_before(walk_it, p);
}

static long walk_too_late(struct place *p)
{
    return filch_dir_walk(p->dir, NULL, show, &(int){0}, FILCH_NOW);
}

const struct conformance_case file_call_cases[] = {
    CASE(whole_read, 0),
    CASE(whole_too_long, -EFBIG),
    CASE(whole_of_nothing, -ENOENT),
    CASE(whole_directory, -EISDIR),
    CASE(whole_replaced, 0),
    CASE(whole_write_cancelled_before, -ECANCELED),
    CASE(whole_write_too_late, -ETIMEDOUT),
    CASE(whole_write_nowhere, -ENOENT),
    CASE(whole_write_without_descriptors, -EMFILE),
    CASE(whole_bad_argument, -EINVAL),
    CASE(whole_copied, 0),
    CASE(whole_copy_of_nothing, -ENOENT),
    CASE(whole_copy_of_a_directory, -EISDIR),
    CASE(temp_ok, 0),
    CASE(temp_nowhere, -ENOENT),
    CASE(temp_too_late, -ETIMEDOUT),
    CASE(appended, 0),
    CASE(allocate_ok, 0),
    CASE(allocate_nothing, -EINVAL),
    CASE(allocate_nowhere, -EINVAL),
    CASE(allocate_read_only, -EBADF),
    CASE(truncate_ok, 0),
    CASE(truncate_negative, -EINVAL),
    CASE(truncate_read_only, -EINVAL),
    CASE(truncate_cancelled_before, -ECANCELED),
    CASE(sync_closed_handle, -EBADF),
    CASE(sync_of_a_pipe, -EINVAL),
    CASE(sync_too_late, -ETIMEDOUT),
    CASE(direct, 1),
    CASE(lock_now, -ETIMEDOUT),
    CASE(lock_times_out, -ETIMEDOUT),
    CASE(lock_cancelled, -ECANCELED),
    CASE(lock_that_waits, 0),
    CASE(range_now, -ETIMEDOUT),
    CASE(range_times_out, -ETIMEDOUT),
    CASE(range_cancelled, -ECANCELED),
    CASE(range_that_waits, 0),
    CASE(range_nowhere, -EINVAL),
    CASE(batch_ok, 0),
    CASE(batch_too_late, -ETIMEDOUT),
    CASE(batch_cancelled_before, -ECANCELED),
    CASE(batch_of_reads, 0),
    CASE(batch_of_writes, 0),
    CASE(batch_of_errors, -EINVAL),
    CASE(mode_set, -ENOENT),
    CASE(owner_set, -ENOENT),
    CASE(times_set, -ENOENT),
    CASE(access_asked, -ENOENT),
    CASE(link_read, -EINVAL),
    CASE(change_cancelled_before, -ECANCELED),
    CASE(changes_too_late, -ETIMEDOUT),
    CASE(attributes, -ENODATA),
    CASE(attribute_of_nothing, -ENOENT),
    CASE(dir_read, 0),
    CASE(dir_of_nothing, -ENOENT),
    CASE(dir_of_a_file, -ENOTDIR),
    CASE(dir_beyond_the_limit, -EMFILE),
    CASE(walk_ok, 3),
    CASE(walk_stopped, -ELOOP),
    CASE(walk_cancelled_before, -ECANCELED),
    CASE(walk_too_late, -ETIMEDOUT),
    {0},
};
