/* A gate that blocking jobs wait at until the test opens it; counts who is inside. */
#ifndef FILCH_TESTS_RUNNER_GATE_H
#define FILCH_TESTS_RUNNER_GATE_H

#include <pthread.h>

#include "tests/runner/run.h"

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    atomic_int inside;
    atomic_int most_inside;
    atomic_int done;
};

#define GATE_INIT                                                                                  \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER                      \
    }

__attribute__((unused)) static int pass_gate(void *arg)
{
    struct gate *gate = arg;
    int inside = atomic_fetch_add(&gate->inside, 1) + 1;
    int most = atomic_load(&gate->most_inside);

    while (most < inside && !atomic_compare_exchange_weak(&gate->most_inside, &most, inside))
        ;
    pthread_mutex_lock(&gate->lock);
    while (!gate->open)
        pthread_cond_wait(&gate->opened, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    atomic_fetch_sub(&gate->inside, 1);
    atomic_fetch_add(&gate->done, 1);
    return 0;
}

static inline void open_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

static inline void shut_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = false;
    pthread_mutex_unlock(&gate->lock);
}

#endif
