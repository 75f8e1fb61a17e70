/* Blocks and stack credits in hand for threads that are no workers: they spawn plain tasks at the
 * cost of one lock instead of three. Of the process. See depot.c. */
#ifndef FILCH_TASK_DEPOT_H
#define FILCH_TASK_DEPOT_H

struct filch__task;

/* A block with a credit for a stack of the default class. Any thread. Return: NULL: no memory. */
struct filch__task *filch__depot_take(void);

/* Gives back what lies in it: a runtime has ended. Any thread. */
void filch__depot_empty(void);

/* In the child of a fork: what lay in it stays unused. */
void filch__depot_forked(void);

#endif
