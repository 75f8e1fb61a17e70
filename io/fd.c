/* See fd.h. */
#include "io/fd.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filch/blocking.h>

#include "io/epoll/record.h"

#define USERS ((uint64_t)0xffffffff)
#define OPEN ((uint64_t)1 << 32)
#define CLOSING ((uint64_t)1 << 33)
#define CLOSER ((uint64_t)1 << 34)
#define GENERATION_SHIFT 48
/* Of `unblocked`: the first user is making it non-blocking, or the last one blocking. */
#define CHANGING ((uint32_t)1 << 31)

void *filch__fd_open(struct filch__fd *object, int fd)
{
    uint64_t generation = filch_load_relaxed(&object->state) >> GENERATION_SHIFT;

    filch__fd_renew(fd);
    object->fd = fd;
    object->closer = NULL;
    filch_atomic_init(&object->lingers, 0);
    filch_atomic_init(&object->copied, 0);
    filch_atomic_init(&object->unblocked, 0);
    filch_store_release(&object->state, generation << GENERATION_SHIFT | OPEN);
    return filch__handle_make(object, generation);
}

/* The word of a closed object, for whose old handles it is another one. */
static uint64_t next_generation(uint64_t generation)
{
    return ((generation + 1) & 0xffff) << GENERATION_SHIFT;
}

void filch__fd_forked(void *object)
{
    struct filch__fd *fd = object; /* the first member */
    uint64_t state = filch_load_relaxed(&fd->state);

    if (state & OPEN)
        filch_store_release(&fd->state, next_generation(state >> GENERATION_SHIFT));
}

int filch__fd_enter(const void *handle, struct filch__fd **ret_object)
{
    struct filch__fd *object = filch__handle_object(handle);
    uint64_t state;

    if (!handle)
        return -EINVAL;
    state = filch_load_relaxed(&object->state);
    do {
        if (state >> GENERATION_SHIFT != filch__handle_generation(handle) ||
            (state & (OPEN | CLOSING)) != OPEN)
            return -EBADF;
    } while (!filch_cas_weak_acq_rel(&object->state, &state, state + 1));
    *ret_object = object;
    return 0;
}

int filch__fd_number(const void *handle)
{
    struct filch__fd *object;
    int fd, r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    fd = object->fd;
    filch__fd_leave(object);
    return fd;
}

void filch__fd_ref(struct filch__fd *object)
{
    filch_fetch_add_relaxed(&object->state, 1);
}

void filch__fd_leave(struct filch__fd *object)
{
    /* Read before: without CLOSER the object may be gone after the decrement; with it, the closer
     * waits for us. */
    uint64_t old = filch_fetch_sub_acq_rel(&object->state, 1); /* [fd-leave] */

    if ((old & USERS) == 1 && old & CLOSER)
        filch__waiter_wake(object->closer);
}

unsigned filch__fd_users(struct filch__fd *object)
{
    return (unsigned)(filch_load_acquire(&object->state) & USERS); /* [fd-leave] */
}

bool filch__fd_is_closing(struct filch__fd *object)
{
    return filch_load_acquire(&object->state) & CLOSING;
}

/* Return: how many calls are inside; -EBADF. */
static int64_t set_closing(void *handle)
{
    struct filch__fd *object = filch__handle_object(handle);
    uint64_t state = filch_load_relaxed(&object->state);

    do {
        if (state >> GENERATION_SHIFT != filch__handle_generation(handle) ||
            (state & (OPEN | CLOSING)) != OPEN)
            return -EBADF;
    } while (!filch_cas_weak_acq_rel(&object->state, &state, state | CLOSING));
    return (int64_t)(state & USERS);
}

int filch__fd_refuse(void *handle, struct filch__fd **ret_object)
{
    int64_t users = set_closing(handle);

    if (users < 0)
        return (int)users;
    *ret_object = filch__handle_object(handle);
    return 0;
}

int filch__fd_close_begin(void *handle, struct filch__fd **ret_object)
{
    int64_t users = set_closing(handle);

    if (users < 0)
        return (int)users;
    *ret_object = filch__handle_object(handle);
    if (users)
        shutdown((*ret_object)->fd, SHUT_RDWR);
    return 0;
}

void filch__fd_wait_users(struct filch__fd *object)
{
    uint64_t state = filch_load_acquire(&object->state); /* [fd-leave] */
    struct filch__waiter waiter;

    filch__waiter_init(&waiter, FILCH_WAIT_CLOSE);
    object->closer = &waiter;
    while (state & USERS)
        if (filch_cas_weak_acq_rel(&object->state, &state, state | CLOSER)) {
            filch__waiter_wait_shielded(&waiter);
            return;
        }
}

static bool set_blocking(int fd, bool blocking)
{
    int non_blocking = !blocking;

    return ioctl(fd, FIONBIO, &non_blocking) == 0;
}

bool filch__fd_unblock(struct filch__fd *object)
{
    uint32_t users = filch_load_relaxed(&object->unblocked);
    bool ok;

    do {
        if (users & CHANGING)
            return false;
    } while (!filch_cas_weak_acq_rel(&object->unblocked, &users,
                                     users ? users + 1 : CHANGING)); /* [fd-unblock] */
    if (users)
        return true;
    ok = set_blocking(object->fd, false);
    filch_store_release(&object->unblocked, ok ? 1 : 0); /* [fd-unblock] */
    return ok;
}

void filch__fd_block(struct filch__fd *object)
{
    uint32_t users = filch_load_relaxed(&object->unblocked);

    while (!filch_cas_weak_acq_rel(&object->unblocked, &users,
                                   users > 1 ? users - 1 : CHANGING)) /* [fd-unblock] */
        ;
    if (users > 1)
        return;
    set_blocking(object->fd, true);
    filch_store_release(&object->unblocked, 0); /* [fd-unblock] */
}

void filch__fd_note_lingers(struct filch__fd *object)
{
    filch_store_relaxed(&object->lingers, 1);
}

/* A close that waits for the peer, on a thread that may. */
struct slow_close {
    int fd;
    struct filch__waiter waiter;
};

static int close_slowly(void *arg)
{
    struct slow_close *slow = arg;

    close(slow->fd);
    filch__waiter_wake(&slow->waiter);
    return 0;
}

static void close_descriptor(struct filch__fd *object)
{
    struct slow_close slow = {.fd = object->fd};

    if (filch_load_relaxed(&object->lingers) && filch_task_self()) {
        filch__waiter_init(&slow.waiter, FILCH_WAIT_CLOSE);
        if (filch_blocking_spawn(close_slowly, &slow, NULL, NULL) == 0) {
            filch__waiter_wait_shielded(&slow.waiter);
            return;
        }
    }
    close(object->fd);
}

/* The next handle on the same object is another one. */
static void recycle(struct filch__fd *object, uint64_t generation, struct filch__pool *pool)
{
    filch_store_release(&object->state, next_generation(generation));
    filch__pool_give(pool, object);
}

void filch__fd_close_end(struct filch__fd *object, struct filch__pool *pool)
{
    filch__fd_wait_users(object);
    close_descriptor(object);
    filch__fd_end(object, pool);
}

void filch__fd_end(struct filch__fd *object, struct filch__pool *pool)
{
    recycle(object, filch_load_relaxed(&object->state) >> GENERATION_SHIFT, pool);
}

int filch__fd_release(void *handle, struct filch__pool *pool, int *ret_fd)
{
    struct filch__fd *object = filch__handle_object(handle);
    uint64_t generation = filch__handle_generation(handle);
    uint64_t state = filch_load_relaxed(&object->state);

    do {
        if (state >> GENERATION_SHIFT != generation || (state & (OPEN | CLOSING)) != OPEN)
            return -EBADF;
        if (state & USERS)
            return -EBUSY;
    } while (!filch_cas_weak_acq_rel(&object->state, &state, state & ~OPEN)); /* [fd-leave] */
    *ret_fd = object->fd;
    recycle(object, generation, pool);
    return 0;
}
