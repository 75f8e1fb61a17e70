/* All runtimes of the process: where their blocks come from, and what a fork does to them. */
#ifndef FILCH_SCHED_REGISTRY_H
#define FILCH_SCHED_REGISTRY_H

struct filch_runtime;

/* Takes a block, zero but for `wakers` and `callers`. Return: NULL when memory is out. */
struct filch_runtime *filch__registry_take(void);

/* Gives a block back. Late callers may still look at `stopping`, `closing`, and count themselves in
 * and out, until it is taken again, and after that in its counts only. */
void filch__registry_give(struct filch_runtime *rt);

/* From here on a fork's child knows of @rt. Return: 0; -ENOMEM. */
int filch__registry_enlist(struct filch_runtime *rt);
void filch__registry_delist(struct filch_runtime *rt);

#endif
