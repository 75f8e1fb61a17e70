/* The blocking pool: plain threads that run blocking jobs, so that workers never wait for them. */
#ifndef FILCH_BLOCKING_BLOCKING_POOL_H
#define FILCH_BLOCKING_BLOCKING_POOL_H

#include <pthread.h>

#include <filch/base.h>

#include "runtime/base/atomic.h"

struct filch__task;

/* All but `queued` is guarded by the lock. A thread that waits, spins or starts is free: it takes
 * the next job by itself. */
struct filch__blocking_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a job was queued, or the pool is closing */
    pthread_cond_t ended; /* no thread is left */
    struct filch__task *first;
    struct filch__task *last;
    /* Jobs in the queue. Written under the lock; read without it by the spinning thread, which then
     * takes the lock. */
    filch_atomic_u32 queued;
    unsigned threads;  /* that exist and have not begun to end */
    unsigned starting; /* created, and not yet at the queue */
    unsigned idle;     /* waiting on `work` */
    unsigned spinning; /* at most one thread looks at `queued` for a while before it waits */
    unsigned max_threads;
    int spin_score; /* falls with each spin in vain */
    bool closing;
    bool has_last_ended;
    pthread_t last_ended; /* to be joined by the next one that ends, or by fini */
    filch_time keep_alive_ns;
    void (*run)(struct filch__task *job);
};

/* Makes an empty pool; threads come with jobs. @run runs a job on a pool thread, and may free it.
 * Idle threads beyond the last one end after @keep_alive_ns. Return: 0; -EINVAL (@max_threads is
 * 0). */
int filch__blocking_pool_init(struct filch__blocking_pool *pool, unsigned max_threads,
                              filch_time keep_alive_ns, void (*run)(struct filch__task *job));

/* Queues a job, linked through its `next`. Any thread, also a job while the pool is closing.
 * Return: 0; -EAGAIN (there is no thread and none can be created: the job was not taken). */
int filch__blocking_pool_submit(struct filch__blocking_pool *pool, struct filch__task *job);

/* Threads at present. Any thread. */
unsigned filch__blocking_pool_threads(struct filch__blocking_pool *pool);

/* Runs what is queued, ends and joins all threads, frees what init made. Not from a job. Return: 0;
 * -ETIMEDOUT (call it again; nothing was freed). */
int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until);

#endif
