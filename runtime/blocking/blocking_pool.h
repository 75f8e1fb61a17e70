/* The blocking pool: plain threads that run blocking jobs, so that workers never wait for them. */
#ifndef FILCH_BLOCKING_BLOCKING_POOL_H
#define FILCH_BLOCKING_BLOCKING_POOL_H

#include <pthread.h>

#include <filch/base.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"
#include "runtime/blocking/job_queue.h"

struct filch__blocking_thread;

struct filch__blocking_opts {
    unsigned threads_max;
    /* CPUs that the program means to use: jobs that do not block have one less, as somebody
     * spawns them. */
    unsigned cpus;
    size_t stack_bytes; /* 0: 2 MiB */
    filch_time keep_alive_ns;
    /* Runs a job on a pool thread. */
    void (*run)(struct filch__task *job);
    /* Tells the world that it has run; the job may be freed. The thread looks for jobs already. */
    void (*finish)(struct filch__task *job);
    struct filch_runtime *rt; /* whose threads they are; NULL in the pool's own tests */
};

/* All but the atomics and what init writes is guarded by jobs.lock. */
struct filch__blocking_pool {
    struct filch__job_queue jobs;
    struct filch__blocking_opts opts;
    unsigned numbered;       /* threads so far: the next one's number */
    unsigned threads;        /* that run this pool's code and have not begun to end */
    unsigned creating;       /* about to be created, or created and not yet counted in threads */
    struct filch__list idle; /* parked threads, the latest one last */
    struct filch__blocking_thread *watcher; /* naps, and looks again by itself */
    bool spinning;  /* at most one thread looks at the queue for a while before it parks */
    int spin_score; /* falls with each spin in vain */
    bool closing;
    filch_time create_again;                   /* not before; 0: the last creation was good */
    struct filch__blocking_thread *last_ended; /* to be joined by the next one that ends, or fini */
    /* Futex: grows when a thread ends. */
    filch_atomic_u32 ended;
    /* 1: the first thread was created; the last one never ends before fini. [pool-started] release
     * -> acquire in submit(). */
    filch_atomic_u32 started;
    pthread_mutex_t start_lock;
};

/* Makes an empty pool with one class, number 0; threads come with jobs. Idle threads beyond the
 * last one end after keep_alive_ns. Return: 0; -EINVAL (threads_max is 0, or the stack is smaller
 * than threads may have). */
int filch__blocking_pool_init(struct filch__blocking_pool *pool,
                              const struct filch__blocking_opts *opts);

/* Queues a job. Any thread, also a job while the pool is closing. Return: 0; -EAGAIN (there is no
 * thread and none can be created, or the class's queue is full: the job was not taken). */
int filch__blocking_pool_submit(struct filch__blocking_pool *pool, unsigned class,
                                struct filch__task *job);

struct filch__blocking_numbers {
    unsigned threads;
    unsigned running;
    uint64_t queued;
};

/* Any thread. */
void filch__blocking_pool_numbers(struct filch__blocking_pool *pool,
                                  struct filch__blocking_numbers *ret_numbers);

/* Runs what is queued, ends and joins all threads, frees what init made. Not from a job. Return: 0;
 * -ETIMEDOUT (call it again; nothing was freed). */
int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until);

#endif
