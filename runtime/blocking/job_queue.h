/* The jobs that wait for a thread, by class, and who may run now. No thread is created, woken or
 * put to sleep here: that is blocking_pool.c's.
 *
 * A class has an inbox, under a small lock of its own, that producers append to; and a list, under
 * the queue's lock, that threads take from. Who takes the last job of a list moves the whole inbox
 * over first. So producers and threads meet once for many jobs when there are many, and neither
 * holds the other up.
 *
 *     producers --> inbox | list --> threads
 *     class.lock            queue.lock           withdraw() takes both, in the order queue, class
 *
 * One word joins the two sides: a bit for each class that has jobs, and LOOKED.
 *
 *     a producer                                a thread that stops looking (runs a job, or parks)
 *     1 append the job                          1 clear LOOKED, if no other one looks
 *     2 set the class's bit, see LOOKED         2 see the bits
 *     3 not set: find somebody to look          3 a job that may run: find somebody to look
 *
 *   [job-looked] Both steps 2 are read-modify-writes of the word, so one of the two sees the
 * other: a job that may run is looked for by somebody. The producer's is left out while the bit is
 * set: then whoever clears LOOKED sees the bit, since it is cleared under the class's lock only.
 *   [job-bit] A class's bit is set if and only if it has jobs, for those who hold both locks; for
 * those who hold the queue's, a set bit says that it has.
 *
 * Who may run: a class has a limit, and a number of threads that are reserved for it. committed is
 * the sum over the classes of max(running, reserved): beyond its reserve a class runs a job only
 * while committed < threads_max, so what is reserved for the others stays free. */
#ifndef FILCH_BLOCKING_JOB_QUEUE_H
#define FILCH_BLOCKING_JOB_QUEUE_H

#include <stdalign.h>

#include <filch/base.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"
#include "runtime/base/spinlock.h"

#define FILCH__JOB_CLASSES_MAX 32
#define FILCH__JOB_CLASS_NAME 32

struct filch__task;

/* Written before the class is published, but for what is said. */
struct filch_blocking_class {
    filch_spinlock lock;
    struct filch__list inbox; /* by job_link, oldest first; class.lock */
    /* Jobs that ever came in. Written under class.lock, read by anybody. */
    filch_atomic_u64 pushed;
    uint32_t queued_max; /* 0: no bound */
    unsigned index;

    alignas(FILCH_CACHELINE) struct filch__list list; /* queue.lock */
    /* Jobs that were taken or withdrawn. Written under queue.lock, read by anybody. */
    filch_atomic_u64 removed;
    unsigned running; /* queue.lock */
    unsigned running_max;
    unsigned reserved;
    char name[FILCH__JOB_CLASS_NAME];
};

struct filch__job_queue {
    /* Bit c: class c has jobs. Above them LOOKED: at least one thread looks for jobs, or is on its
     * way. RMW only. [job-looked] */
    filch_atomic_u64 word;
    alignas(FILCH_CACHELINE) filch_spinlock lock;
    /* The rest is guarded by the lock, but for what is said. */
    unsigned lookers;
    unsigned running;
    unsigned committed;
    unsigned threads_max;
    unsigned turn; /* the class that is looked at first */
    uint64_t taken;
    filch_atomic_u32 classes; /* written under the lock; [job-class] release -> acquire by users */
    struct filch_blocking_class class[FILCH__JOB_CLASSES_MAX];
};

#define FILCH__JOBS_LOOKED ((uint64_t)1 << 63)

/* @threads_max: how many jobs may run at once. There are no classes yet. */
void filch__job_queue_init(struct filch__job_queue *queue, unsigned threads_max);

/* Adds a class; any thread. @running_max 0: @threads_max. @queued_max 0: no bound. Return: its
 * index; -ENOSPC (too many classes, or too few threads for what they reserve). */
int filch__job_class_add(struct filch__job_queue *queue, const char *name, unsigned running_max,
                         unsigned reserved, uint32_t queued_max);

/* The class of that name, as it is, or a new one. */
int filch__job_class_get(struct filch__job_queue *queue, const char *name, unsigned running_max,
                         unsigned reserved, uint32_t queued_max);

/* Any thread. Return: 0; 1 (queued, and nobody looks: the caller finds somebody); -EAGAIN (the
 * class's queue is full). */
int filch__job_push(struct filch__job_queue *queue, unsigned class, struct filch__task *job);

/* Takes a job out again. True: it will not run, it is the caller's. False: a thread has taken it.
 * Any thread that knows that the job's block is not released. */
bool filch__job_withdraw(struct filch__job_queue *queue, struct filch__task *job);

/* What follows is for threads that hold the lock. */

/* The oldest job of a class whose turn it is, counted as running; NULL: none may run. */
struct filch__task *filch__job_take(struct filch__job_queue *queue);

/* A job has run. */
void filch__job_end(struct filch__job_queue *queue, unsigned class);

/* Is there a job that may run? */
bool filch__job_is_ready(struct filch__job_queue *queue);

/* The caller, or the thread that it is about to wake or create, looks from now on. */
void filch__job_look(struct filch__job_queue *queue);

/* It looks no more. Return: is there a job that may run, and nobody who looks? [job-looked] */
bool filch__job_look_away(struct filch__job_queue *queue);

/* Jobs that wait, of a class or of all; any thread, exact for those who hold the locks. */
uint64_t filch__job_class_queued(const struct filch_blocking_class *class);
uint64_t filch__jobs_queued(struct filch__job_queue *queue);

#endif
