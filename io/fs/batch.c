/* Many operations on files in one submission: see <filch/file_batch.h>.
 *
 *     stage op 0 .. 63           one submission, or two
 *     wait for op 0, stage op 64
 *     wait for op 1, stage op 65 ...
 *
 * Each op in flight has a slot, which is on the heap: a task's stack may be small. Slots are waited
 * for in order; the completions of others come meanwhile, and their wake-ups do no harm. When the
 * time is up or the caller is cancelled nothing more is staged, the kernel is asked to end what it
 * has not begun, and everything in flight is waited for.
 *
 * What the kernel gave up by itself, and what it has moved in part only, is finished by the
 * function for one operation, so that results are the same. */
#include <filch/file_batch.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/fs/call.h"
#include "io/in_flight.h"
#include "io/lane.h"
#include "io/net/socket.h"
#include "runtime/task/task.h"

#define IN_FLIGHT ((size_t)64)
/* As in move.c. */
#define BYTES_MAX ((size_t)0x7ffff000)
#define INLINE_BYTES ((size_t)512 << 10)

enum kind { WRONG, OPEN, STAT, UNLINK, PREAD, PWRITE, SYNC };

struct slot {
    struct filch__op op;
    struct filch__fd *object; /* of an operation on a file: the call's use of it */
    struct statx x;
};

/* ---- what they are made of ---- */

filch_file_op filch_file_op_open(const char *path, int flags, unsigned mode, filch_file **ret_file)
{
    return (filch_file_op){.kind = path && ret_file ? OPEN : WRONG,
                           .path = path,
                           .flags = flags,
                           .mode = mode,
                           .data = ret_file};
}

filch_file_op filch_file_op_stat(const char *path, bool follow, filch_file_info *ret_info)
{
    return (filch_file_op){.kind = path && ret_info ? STAT : WRONG,
                           .path = path,
                           .flags = follow ? 0 : AT_SYMLINK_NOFOLLOW,
                           .data = ret_info};
}

filch_file_op filch_file_op_unlink(const char *path)
{
    return (filch_file_op){.kind = path ? UNLINK : WRONG, .path = path};
}

static filch_file_op move_op(enum kind kind, filch_file *file, void *buf, size_t bytes,
                             int64_t offset)
{
    return (filch_file_op){.kind = offset >= 0 && (buf || !bytes) ? kind : WRONG,
                           .file = file,
                           .data = buf,
                           .bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX,
                           .offset = offset};
}

filch_file_op filch_file_op_pread(filch_file *file, void *buf, size_t bytes, int64_t offset)
{
    return move_op(PREAD, file, buf, bytes, offset);
}

filch_file_op filch_file_op_pwrite(filch_file *file, const void *buf, size_t bytes, int64_t offset)
{
    return move_op(PWRITE, file, (void *)buf, bytes, offset);
}

filch_file_op filch_file_op_sync(filch_file *file)
{
    return (filch_file_op){.kind = SYNC, .file = file};
}

/* ---- one at a time ---- */

static bool is_on_file(const filch_file_op *o)
{
    return o->kind == PREAD || o->kind == PWRITE || o->kind == SYNC;
}

/* Return: 0; why it cannot be staged. Then with the object as the caller's to leave. */
static int enter(const filch_file_op *o, struct filch__fd **ret_object)
{
    struct filch_file *file;
    int r = filch__fd_enter(o->file, ret_object);

    if (r < 0)
        return r;
    file = filch_container_of(*ret_object, struct filch_file, fd);
    if (o->kind == SYNC || !file->waits)
        return 0;
    filch__fd_leave(*ret_object);
    return -ESPIPE;
}

/* The other side of a FIFO is not waited for, but what is read later is. */
static ssize_t wrap_opened(const filch_file_op *o, int fd)
{
    bool waits = false;
    struct stat stat;
    int r = 0;

    if (!(o->flags & O_PATH)) {
        if (fstat(fd, &stat) < 0)
            r = -errno;
        waits =
            r == 0 && !S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode) && !S_ISBLK(stat.st_mode);
        if (waits && !(o->flags & O_NONBLOCK))
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    }
    if (r == 0)
        r = filch__file_wrap(fd, o->flags, waits, o->data);
    if (r < 0)
        close(fd);
    return r;
}

static ssize_t make_open(const filch_file_op *o, filch_time until)
{
    bool waits;
    int fd = filch__file_open_fd(o->path, o->flags | O_NONBLOCK, o->mode, &waits, until);

    return fd < 0 ? fd : wrap_opened(o, fd);
}

static ssize_t make_one(const filch_file_op *o, filch_time until)
{
    switch (o->kind) {
    case OPEN:
        return make_open(o, until);
    case STAT:
        return filch_path_stat(o->path, !o->flags, o->data, until);
    case UNLINK:
        return filch_path_unlink(o->path, until);
    case PREAD:
        return filch_file_pread(o->file, o->data, o->bytes, o->offset, until);
    case PWRITE:
        return filch_file_pwrite(o->file, o->data, o->bytes, o->offset, until);
    case SYNC:
        return filch_file_sync(o->file, until);
    default:
        return -EINVAL;
    }
}

static void make_all(filch_file_op *ops, size_t count, filch_time until)
{
    for (size_t i = 0; i < count; i++) {
        struct filch__fd *object;
        int r = is_on_file(&ops[i]) ? enter(&ops[i], &object) : 0;

        ops[i].result = r < 0 ? r : make_one(&ops[i], until);
        if (is_on_file(&ops[i]) && r == 0)
            filch__fd_leave(object);
    }
}

/* ---- by the ring ---- */

static void prep(struct io_uring_sqe *sqe, const filch_file_op *o, struct slot *slot)
{
    int fd = slot->object ? slot->object->fd : -1;
    int flags = o->flags | O_CLOEXEC | O_NONBLOCK;
    bool makes = o->flags & O_CREAT || (o->flags & O_TMPFILE) == O_TMPFILE;

    switch (o->kind) {
    case OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, o->path, flags, makes ? o->mode : 0);
        break;
    case STAT:
        slot->x = (struct statx){0}; /* Valgrind does not see what the kernel fills in later */
        io_uring_prep_statx(sqe, AT_FDCWD, o->path, o->flags, STATX_BASIC_STATS | STATX_BTIME,
                            &slot->x);
        break;
    case UNLINK:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, o->path, 0);
        break;
    case PREAD:
        io_uring_prep_read(sqe, fd, o->data, (unsigned)o->bytes, (uint64_t)o->offset);
        break;
    case PWRITE:
        io_uring_prep_write(sqe, fd, o->data, (unsigned)o->bytes, (uint64_t)o->offset);
        break;
    default:
        io_uring_prep_fsync(sqe, fd, 0);
        break;
    }
    if (o->bytes > INLINE_BYTES)
        sqe->flags |= IOSQE_ASYNC; /* a thread of the kernel's copies it */
}

/* Return: is it in flight? Else its result is there. */
static bool stage(filch_file_op *o, struct slot *slot)
{
    struct filch__lane *lane;
    struct io_uring_sqe *sqe;
    int r = o->kind == WRONG ? -EINVAL : 0;

    slot->object = NULL;
    if (r == 0 && is_on_file(o))
        r = enter(o, &slot->object);
    if (r < 0) {
        o->result = r;
        return false;
    }
    sqe = filch__op_begin(&slot->op, &lane);
    prep(sqe, o, slot);
    if (o->kind == PREAD)
        filch__in_flight_begin(o->data, o->bytes);
    filch__lane_commit(lane, &slot->op);
    return true;
}

static ssize_t finish_read(const filch_file_op *o, ssize_t n, filch_time until)
{
    ssize_t more = 0;

    if (n > 0 && (size_t)n < o->bytes)
        more = filch_file_pread(o->file, (char *)o->data + n, o->bytes - (size_t)n, o->offset + n,
                                until);
    return more > 0 ? n + more : n;
}

/* Did the kernel give it up, or cannot it without waiting? Of a directory the ring does not say
 * what it is. */
static bool is_undone(const filch_file_op *o, int res)
{
    return res == -EINTR || res == -EAGAIN || (res == -EINVAL && o->kind == PREAD);
}

static void settle(filch_file_op *o, struct slot *slot, int res, filch_time until)
{
    if (o->kind == PREAD)
        filch__in_flight_end(o->data, o->bytes, res);
    if (is_undone(o, res))
        o->result = make_one(o, until);
    else if (o->kind == OPEN && res >= 0)
        o->result = wrap_opened(o, res);
    else if (o->kind == PREAD)
        o->result = finish_read(o, res, until);
    else
        o->result = res;
    if (o->kind == STAT && res == 0)
        filch__file_info_of(&slot->x, o->data);
    if (slot->object)
        filch__fd_leave(slot->object);
}

/* Those from @first on, in their slots. */
struct window {
    filch_file_op *ops;
    struct slot *slots;
    bool *flying;
    size_t first, end;
};

static struct slot *slot_of(const struct window *w, size_t i)
{
    return &w->slots[i % IN_FLIGHT];
}

static void cancel_all(const struct window *w)
{
    for (size_t i = w->first; i < w->end; i++)
        if (w->flying[i % IN_FLIGHT] &&
            !filch_load_acquire(&slot_of(w, i)->op.done)) /* [op-done] */
            filch__op_cancel(&slot_of(w, i)->op);
}

/* Waits for the first. Return: 0; -ETIMEDOUT, -ECANCELED: nothing more is to be begun. */
static int finish_first(struct window *w, int stopped, filch_time until)
{
    struct slot *slot = slot_of(w, w->first);
    filch_file_op *o = &w->ops[w->first];
    int res;

    if (!w->flying[w->first % IN_FLIGHT]) {
        w->first++;
        return stopped;
    }
    if (!stopped) {
        while (!filch_load_acquire(&slot->op.done) && !stopped) /* [op-done] */
            stopped = filch__park(until, FILCH_WAIT_IO);
        if (stopped < 0)
            cancel_all(w);
    }
    if (stopped)
        filch__op_cancel_and_wait(&slot->op);
    filch_plain_read(&slot->op.res);
    res = slot->op.res;
    if (res == -ECANCELED)
        res = stopped ? stopped : -EINTR;
    settle(o, slot, res == -EINTR && stopped ? stopped : res, until);
    w->first++;
    return stopped;
}

static int run(struct window *w, size_t count, filch_time until)
{
    int stopped = filch__only_now(until);

    while (w->first < count) {
        while (!stopped && w->end < count && w->end - w->first < IN_FLIGHT) {
            w->flying[w->end % IN_FLIGHT] = stage(&w->ops[w->end], slot_of(w, w->end));
            w->end++;
        }
        if (w->first < w->end)
            stopped = finish_first(w, stopped, until);
        else
            w->ops[w->first++].result = stopped;
        if (w->end < w->first)
            w->end = w->first;
    }
    return stopped;
}

/* A stop that came when everything had been begun has kept nothing from being made. */
static int outcome(const filch_file_op *ops, size_t count, int stopped)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i].result == -ETIMEDOUT || ops[i].result == -ECANCELED)
            return stopped ? stopped : (int)ops[i].result;
    return 0;
}

int filch_file_batch(filch_file_op *ops, size_t count, filch_time until)
{
    bool flying[IN_FLIGHT];
    struct window w = {.ops = ops, .flying = flying};
    int stopped = 0;

    if (!ops && count)
        return -EINVAL;
    if (!filch__in_stackful_task()) {
        make_all(ops, count, until);
        return outcome(ops, count, 0);
    }
    w.slots = malloc((count < IN_FLIGHT ? count : IN_FLIGHT) * sizeof *w.slots + 1);
    if (!w.slots)
        return -ENOMEM;
    stopped = run(&w, count, until);
    free(w.slots);
    return outcome(ops, count, stopped);
}
