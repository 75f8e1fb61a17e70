/* What an operation carries with it while the epoll engine carries it out: part of struct
 * filch__op, and untouched on io_uring. */
#ifndef FILCH_IO_EPOLL_OP_H
#define FILCH_IO_EPOLL_OP_H

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"

struct filch__record;

struct filch__epoll_op {
    uint64_t entry[8]; /* a struct io_uring_sqe: what is to be done */
    struct filch__list link;
    struct filch__record *record; /* of its descriptor; NULL: it needs none */
    bool waits;                   /* it is in a list of the record; the record's lock */
    bool begun;                   /* a connect is under way. By who carries it out */
    int flags_before;             /* of the descriptor, before a connect made it non-blocking */
    /* 1: whoever carries it out is to give it up at the next step. Any thread; relaxed: nothing
     * else hangs on it. */
    filch_atomic_u32 cancelled;
};

#endif
