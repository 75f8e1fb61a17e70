/* What sync/ asks of scopes beyond <filch/scope.h>: to make a child in two steps, and to learn of
 * each child's end. See task/scope.c. */
#ifndef FILCH_TASK_SCOPE_H
#define FILCH_TASK_SCOPE_H

#include <filch/scope.h>

struct filch__task;
struct filch__waiter;

/* What a child's body returns in a scope with a watcher. */
#define FILCH__SCOPE_WATCHED INT32_MIN

/* @ended is called, under the scope's lock, with the argument of each child whose body returned
 * FILCH__SCOPE_WATCHED, when the body and all that it has deferred are over and before the child
 * leaves the scope. It must not touch the scope. It returns waiters, linked by `data`, that are
 * woken after the unlock; or NULL. Before the first spawn. */
void filch__scope_watch(filch_scope *scope, struct filch__waiter *(*ended)(void *arg));

/* A task that will be in the scope, neither linked nor queued, so that its handle can be noted.
 * Return: as filch_scope_spawn(). */
int filch__scope_child_new(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts,
                           void *place, struct filch__task **ret_task);

/* Starts it, or undoes it. Return: as filch_scope_spawn_wait(), or, without @wait,
 * filch_scope_spawn(). */
int filch__scope_child_start(filch_scope *scope, struct filch__task *task, bool wait,
                             filch_time until);

/* In the body of a child: the scope that it is in. */
filch_scope *filch__scope_of_child(void);

#endif
