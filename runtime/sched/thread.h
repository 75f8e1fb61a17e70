/* What the runtime's threads, workers and blocking threads, have in common: signal mask, name,
 * hooks, log. */
#ifndef FILCH_SCHED_THREAD_H
#define FILCH_SCHED_THREAD_H

#include <pthread.h>
#include <stdint.h>

struct filch_runtime;

/* Creates a thread on which all signals are blocked but those that a fault raises. @attr: may be
 * NULL. Return: 0; -errno of pthread_create(). */
int filch__thread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*main)(void *),
                         void *arg);

/* In the child of a fork, when the caller was a thread of @rt: gives it the mask of the host's
 * thread that started @rt, unless the task or job has set one of its own. */
void filch__thread_forked(struct filch_runtime *rt);

/* Names the calling thread after @rt (NULL: none): filch-w0 for 'w' and 0. */
void filch__thread_name(const struct filch_runtime *rt, char kind, unsigned number);

/* For the calling thread: when it wakes up it goes before threads that compute, and is then content
 * with @ns of CPU at a time. Its share of the CPU stays what it is. Does nothing where the kernel
 * (before 6.12) knows no such request, or the host has chosen another policy. */
void filch__thread_slice(uint64_t ns);

/* First thing on a thread of @rt (NULL: of none): name, log, on_thread_start. @kind: 'w' or 'b'. */
void filch__thread_begin(struct filch_runtime *rt, char kind, unsigned number);

/* Last thing: on_thread_stop. */
void filch__thread_end(struct filch_runtime *rt);

#endif
