/* Moves the calling task to another thread, for tests in C and C++. */
#ifndef FILCH_TESTS_ABI_HOP_H
#define FILCH_TESTS_ABI_HOP_H

#include <sched.h>
#include <unistd.h>

#include <filch/filch.h>

#include "tests/runner/check.h"

/* The words are reached by builtins, since C and C++ have no atomics in common. */
struct hop {
    int started;
    int joining;
};

static inline int hop_helper(void *arg)
{
    struct hop *hop = (struct hop *)arg;

    __atomic_store_n(&hop->started, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&hop->joining, __ATOMIC_ACQUIRE))
        sched_yield();
    /* Chances for the joiner to park. If it does not, there is another round. */
    for (int i = 0; i < 20; i++)
        sched_yield();
    return 0;
}

/* One try. The caller holds its worker until another one has begun to run the helper; the helper
 * then wakes the caller where it is itself. */
static inline void hop_try(void)
{
    struct hop hop = {0, 0};
    filch_task *helper = NULL;

    T_OK(filch_task_spawn(hop_helper, &hop, NULL, &helper));
    while (!__atomic_load_n(&hop.started, __ATOMIC_ACQUIRE))
        sched_yield();
    __atomic_store_n(&hop.joining, 1, __ATOMIC_RELEASE);
    T_OK(filch_task_join(helper, NULL, FILCH_NEVER));
}

/* One hop at a time: if each worker were held by somebody who hops, no helper would ever run. The
 * others are parked meanwhile, since only a worker without work looks after one that is held. */
static filch_chan *hop_turn;

/* Before the first hop. */
static inline void hop_init(void)
{
    if (!hop_turn)
        T_OK(filch_chan_new(1, 1, &hop_turn));
}

static inline void hop_fini(void)
{
    filch_chan_unref(hop_turn);
    hop_turn = NULL;
}

/* Needs at least two workers. Returns on another thread than it was called on. */
static inline void hop_to_another_thread(void)
{
    pid_t before = gettid();
    char turn = 0;

    T_OK(filch_chan_send(hop_turn, &turn, FILCH_NEVER));
    while (gettid() == before)
        hop_try();
    T_OK(filch_chan_recv(hop_turn, &turn, FILCH_NEVER));
}

#endif
