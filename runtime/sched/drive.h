/* A runtime without threads of its own, which runs on threads of its host: in block_on, turn by
 * turn, or in shutdown. See drive.c. */
#ifndef FILCH_SCHED_DRIVE_H
#define FILCH_SCHED_DRIVE_H

#include <pthread.h>

#include <filch/base.h>

struct filch__drive {
    pthread_mutex_t lock; /* guards the rest, but what is said to be the driver's */
    /* The seat is free, or the task of a block_on has ended, or somebody has gone. */
    pthread_cond_t changed;
    bool taken;       /* somebody drives */
    unsigned inside;  /* threads in one of the functions below: the runtime must not be freed */
    int fd;           /* epoll of the ring, the eventfd and the timer; -1: nobody asked for it */
    int timer_fd;     /* with fd */
    filch_time armed; /* what the timer is set to; FILCH_NEVER: to nothing */
    uint64_t driver;  /* the last one's number. The driver's */
};

void filch__drive_init(struct filch_runtime *rt);

/* As filch_runtime_block_on(), whose arguments it checked. */
int filch__drive_block_on(struct filch_runtime *rt, filch_fn fn, void *arg, int *ret_result,
                          filch_time until);

/* For a shutdown that waits for tasks to end: drives, or waits while others do, until nothing lives
 * or @until. */
void filch__drive_out(struct filch_runtime *rt, filch_time until);

/* After the last task: waits for threads that are about to leave, and frees what init made. */
void filch__drive_end(struct filch_runtime *rt);

#endif
