/* What the sources that model_end.c is about ask of others that have no part in it: clocks, logs,
 * groups, forks, threads that the model has already. Most of it does nothing. */
#ifndef FILCH_TESTS_MODEL_END_OTHERS_H
#define FILCH_TESTS_MODEL_END_OTHERS_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sched/worker.h"
#include "tests/model/explore.h"

static filch_time now_is, passes; /* the second at each look at the clock */

filch_time filch_now(void)
{
    now_is += passes;
    return now_is;
}

filch_time filch_after(filch_time span)
{
    return now_is + span;
}

void filch__throw(const char *what)
{
    xp_fail(what);
    abort();
}

void filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    (void)format;
}

const char *filch_strerror(int error)
{
    (void)error;
    return "";
}

filch_task *filch_task_self(void)
{
    return NULL;
}

filch_runtime *filch_runtime_self(void)
{
    return NULL;
}

ssize_t filch_runtime_visit(filch_runtime *runtime,
                            void (*visit)(void *arg, const filch_live *live), void *arg)
{
    (void)runtime;
    (void)visit;
    (void)arg;
    return 0;
}

int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until)
{
    (void)pool;
    (void)until;
    return 0;
}

void filch__drive_out(struct filch_runtime *runtime, filch_time until)
{
    (void)runtime;
    (void)until;
}

void filch__drive_end(struct filch_runtime *runtime)
{
    (void)runtime;
}

void filch__registry_delist(struct filch_runtime *runtime)
{
    (void)runtime;
}

void filch__registry_give(struct filch_runtime *runtime)
{
    (void)runtime;
}

/* Nobody puts anything there. */
void filch__lifo_wait(struct filch__lifo *lifo)
{
    (void)lifo;
    xp_fail("waits for a thief at the LIFO slot");
}

void filch__depot_empty(void)
{
}

void filch__group_hand_over(struct filch__worker *worker)
{
    (void)worker;
}

struct filch__task *filch__group_next_bound(struct filch__worker *worker)
{
    (void)worker;
    return NULL;
}

filch_time filch__group_tick(struct filch_runtime *runtime, filch_time at)
{
    (void)runtime;
    (void)at;
    return FILCH_NEVER;
}

void filch__cpu_limits(struct filch__cpu_limits *limits)
{
    memset(limits, 0, sizeof *limits);
}

unsigned filch__cpu_affinity(void)
{
    return 0;
}

/* Nobody is away for it: `keep_workers`. */
void filch__crowd_end(struct filch__crowd *crowd, filch_time now)
{
    (void)crowd;
    (void)now;
}

bool filch__crowd_is_over(const struct filch__crowd *crowd, filch_time now)
{
    (void)crowd;
    (void)now;
    return false;
}

bool filch__crowd_wants_waits(const struct filch__crowd *crowd, filch_time now,
                              const struct filch__crowd_use *use, unsigned active)
{
    (void)crowd;
    (void)now;
    (void)use;
    (void)active;
    return false;
}

bool filch__crowd_judge(struct filch__crowd *crowd, filch_time now,
                        const struct filch__crowd_use *use, unsigned active)
{
    (void)crowd;
    (void)now;
    (void)use;
    (void)active;
    return false;
}

bool filch__crowd_add_waits(struct filch__crowd_use *use, uint32_t thread_id)
{
    (void)use;
    (void)thread_id;
    return false;
}

int filch__proc_running(void)
{
    return -1;
}

bool filch__proc_read(const char *path, char *text, size_t bytes)
{
    (void)path;
    (void)bytes;
    text[0] = '\0';
    return false;
}

void filch__hog_look(struct filch__worker *victim, bool frozen, filch_time now)
{
    (void)victim;
    (void)frozen;
    (void)now;
}

void filch__fork_nudge(struct filch__worker *worker)
{
    (void)worker;
}

void filch__thread_name(const struct filch_runtime *runtime, char kind, unsigned number)
{
    (void)runtime;
    (void)kind;
    (void)number;
}

void filch__thread_slice(filch_time slice)
{
    (void)slice;
}

int filch__thread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                         void *arg)
{
    (void)thread;
    (void)attr;
    (void)start;
    (void)arg;
    return 0;
}

void filch__worker_run_timers(struct filch__worker *worker)
{
    (void)worker;
}

#endif
