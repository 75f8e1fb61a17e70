/* See fd.h. */
#include "io/fd.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define USERS ((uint64_t)0xffffffff)
#define OPEN ((uint64_t)1 << 32)
#define CLOSING ((uint64_t)1 << 33)
#define CLOSER ((uint64_t)1 << 34)
#define GENERATION_SHIFT 48

void *filch__fd_open(struct filch__fd *object, int fd)
{
    uint64_t generation = filch_load_relaxed(&object->state) >> GENERATION_SHIFT;

    object->fd = fd;
    object->closer = NULL;
    filch_store_release(&object->state, generation << GENERATION_SHIFT | OPEN);
    return filch__handle_make(object, generation);
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

bool filch__fd_is_closing(struct filch__fd *object)
{
    return filch_load_acquire(&object->state) & CLOSING;
}

int filch__fd_close_begin(void *handle, struct filch__fd **ret_object)
{
    struct filch__fd *object = filch__handle_object(handle);
    uint64_t state = filch_load_relaxed(&object->state);

    do {
        if (state >> GENERATION_SHIFT != filch__handle_generation(handle) ||
            (state & (OPEN | CLOSING)) != OPEN)
            return -EBADF;
    } while (!filch_cas_weak_acq_rel(&object->state, &state, state | CLOSING));
    if (state & USERS)
        shutdown(object->fd, SHUT_RDWR);
    *ret_object = object;
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

void filch__fd_close_end(struct filch__fd *object, struct filch__pool *pool)
{
    uint64_t generation;

    filch__fd_wait_users(object);
    close(object->fd);
    generation = filch_load_relaxed(&object->state) >> GENERATION_SHIFT;
    filch_store_release(&object->state, ((generation + 1) & 0xffff) << GENERATION_SHIFT);
    filch__pool_give(pool, object);
}
