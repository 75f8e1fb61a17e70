/* Faults on demand: a test arms a point, and the n-th use of it fails in the way that it chose.
 *
 *     filch__fault_arm(FILCH_FAULT_URING_ENTER, 3, 1, -ENOMEM);     the third use, once
 *     ...
 *     int fault = filch__fault_at(FILCH_FAULT_URING_ENTER);         at the point itself
 *     if (fault)
 *         return fault;
 *
 * Built with -Dfaults=true only. Without it filch__fault_at() is the constant 0, and the compiler
 * removes what depends on it. A new kind of fault is a new enumerator, named after what it stands
 * in for.
 */
#ifndef FILCH_BASE_FAULT_H
#define FILCH_BASE_FAULT_H

#include <stdint.h>

enum filch__fault {
    FILCH_FAULT_URING_SETUP, /* system calls */
    FILCH_FAULT_URING_ENTER,
    FILCH_FAULT_URING_REGISTER,
    FILCH_FAULT_EPOLL_WAIT,
    FILCH_FAULT_EPOLL_CTL,
    FILCH_FAULT_OP_ACCEPT, /* operations: the result of the completion, see io/uring/spoil.h */
    FILCH_FAULT_OP_CONNECT,
    FILCH_FAULT_OP_RECV,
    FILCH_FAULT_OP_SEND,
    FILCH_FAULT_OP_POLL,
    FILCH_FAULT_OP_EVENT,
    FILCH_FAULT_OP_OTHER,
    FILCH_FAULT_POINTS,
};

#ifdef FILCH_FAULTS

/* One more use of @point. Return: 0, go on as usual; else what to give instead: -errno, or for an
 * operation that moves bytes the most that it may move. Any thread. */
int filch__fault_at(enum filch__fault point);

/* From now on the @nth use (from 1) and the following, @times in all, give @value. Any thread. */
void filch__fault_arm(enum filch__fault point, unsigned nth, unsigned times, int value);

/* All points are as if never armed. Any thread. */
void filch__fault_disarm(void);

/* How often has @point failed since it was armed? */
uint64_t filch__fault_fired(enum filch__fault point);

#else
#define filch__fault_at(point) 0
#endif

#endif
