/* When does a worker have more to do than it can, so that another one should help? The arithmetic;
 * whom it concerns is in overrun.c.
 *
 * Time on the clock alone does not tell. A worker whose thread had to wait for a CPU finds its
 * tasks late and long, and one more thread that wants that CPU makes it worse: measured with a
 * server of two workers and a busy client on two cores, both workers then serve half of the
 * connections each, take the CPU from each other and from the client, and use a tenth to a fifth
 * more of it.
 */
#ifndef FILCH_SCHED_OVERRUN_H
#define FILCH_SCHED_OVERRUN_H

#include <stdbool.h>
#include <stdint.h>

#include <filch/time.h>

/* What the calling thread has used so far. */
struct filch__use {
    filch_time cpu_ns;
    uint64_t preempted; /* times that it lost its CPU though it could have gone on */
};

struct filch__use filch__use_now(void);

/* Do tasks run for long? Looked at now and then, each look being about the ticks since the last. */
struct filch__slices {
    filch_time since;    /* the last look, or when the worker was back from a sleep */
    uint64_t tick;       /* at the last look */
    unsigned long_looks; /* up with each look that found long slices, else down */
    /* At the last look that found them long by the clock: that look, and no other, asks the kernel,
     * as it costs a system call. */
    struct filch__use use;
    uint64_t use_tick;
};

/* @long_ns: more than this is long. @use: filch__use_now, but for tests. Return: are they long? */
bool filch__slices_note(struct filch__slices *slices, uint64_t tick, filch_time now,
                        filch_time long_ns, struct filch__use (*use)(void));

/* A queue that is served late, by a worker that serves I/O. */
struct filch__lateness {
    filch_time noted_at; /* it was late then, the last time */
    unsigned with_room;  /* in a row with a CPU to spare */
    unsigned crowded;    /* with the same tasks still waiting, since help was called last */
    filch_time rest_until;
};

/* How long the queue's head may wait before it is late. */
filch_time filch__lateness_patience(const struct filch__lateness *lateness, filch_time now);

/* It is late once more. @crowded: no CPU of the machine is idle. Return: call help? */
bool filch__lateness_note(struct filch__lateness *lateness, filch_time now, bool crowded);

/* Tasks that yield have work of their own to go on with, as much as there are CPUs for; that they
 * wait for a short time only, as they yield often, says nothing. */
struct filch__yielders {
    uint64_t yields;  /* so far */
    uint64_t counted; /* at the last look, as the next two */
    uint64_t tick;
    bool many;        /* most of what ran yielded, and something is queued */
    filch_time since; /* since then they were many at each look, or since help was called */
};

/* @queued: is anything? Return: call help? */
bool filch__yielders_note(struct filch__yielders *yielders, uint64_t tick, filch_time now,
                          bool queued);

/* Do as many threads of the machine want to run as it has CPUs (@cpus), or more? False where /proc
 * does not say. Costs three system calls. */
bool filch__cpus_are_busy(unsigned cpus);

#endif
