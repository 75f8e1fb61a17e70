/* What the runtime's threads, workers and blocking threads, have in common: signal mask, name,
 * hooks, log. */
#ifndef FILCH_SCHED_THREAD_H
#define FILCH_SCHED_THREAD_H

#include <pthread.h>

struct filch_runtime;

/* Creates a thread on which all signals are blocked but those that a fault raises. @attr: may be
 * NULL. Return: 0; -errno of pthread_create(). */
int filch__thread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*main)(void *),
                         void *arg);

/* In the child of a fork, when the caller was a thread of @rt: gives it the mask of the host's
 * thread that started @rt, unless the task or job has set one of its own. */
void filch__thread_forked(struct filch_runtime *rt);

/* First thing on a thread of @rt (NULL: of none): name, log, on_thread_start. @kind: 'w' or 'b'. */
void filch__thread_begin(struct filch_runtime *rt, char kind, unsigned number);

/* Last thing: on_thread_stop. */
void filch__thread_end(struct filch_runtime *rt);

#endif
