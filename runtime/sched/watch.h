/* The watch: a thread of the runtime that looks every 10 ms whether each worker gets on, and keeps
 * as many at work as there should be. See watch.c. */
#ifndef FILCH_SCHED_WATCH_H
#define FILCH_SCHED_WATCH_H

#include <pthread.h>

#include <filch/time.h>

#include "runtime/base/atomic.h"
#include "runtime/sched/crowd.h"
#include "runtime/sched/throttle.h"

struct filch_runtime;
struct filch__worker;

struct filch__watch {
    pthread_t thread;
    bool has_thread;
    bool has_complained; /* of too few spare workers */
    /* The thread's futex, enum in watch.c. [watch-sleep] */
    filch_atomic_u32 word;
    filch_atomic_u32 stop;
    /* Since the start: workers found stuck in a system call or lock, and computing; spare workers
     * called in. Written by the watch. */
    filch_atomic_u64 blocked, hogs, spares;
    filch_atomic_u32 active; /* workers that take part, at present */
    unsigned surplus_looks;  /* in a row that found too many at work */
    filch_time quiet_since;  /* nobody has run since; 0: somebody does */
    filch_time quota_at;     /* next look at the CPU quota */
    struct filch__throttle throttle;
    bool crowd_matters;
    struct filch__crowd crowd;
    unsigned target;    /* workers that should get on */
    filch_time tick_ns; /* present pause between looks for groups: group_room.c */
};

/* What the watch knows of a worker. Only it reads and writes this. */
struct filch__watched {
    uint64_t tick;
    bool ran;        /* at the last look: it was not parked */
    uint64_t cpu_ns; /* of its thread, at the first look that found it in the same task; 0: none */
    enum filch__stuck {
        FILCH_STUCK_NOT = 0,
        FILCH_STUCK_BLOCKED,
        FILCH_STUCK_HOG,
    } stuck;
    filch_time frozen_seen, frozen_ns; /* see hog.h */
};

/* Starts the thread of a runtime that has its workers. Return: 0; -errno of pthread_create(). */
int filch__watch_start(struct filch_runtime *rt);

/* Ends it: no worker is called in or sent away any more. */
void filch__watch_stop(struct filch_runtime *rt);

/* Any thread: makes it look now. */
void filch__watch_poke(struct filch_runtime *rt);

/* A worker that was parked goes to work: the watch must be awake. [watch-sleep] */
void filch__watch_wake(struct filch_runtime *rt);

#endif
