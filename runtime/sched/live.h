/* Looking at one live task from outside: sched/live.c says how that is safe. */
#ifndef FILCH_SCHED_LIVE_H
#define FILCH_SCHED_LIVE_H

#include <filch/runtime.h>

struct filch__task;

#define FILCH__LIVE_NAME_BYTES 64

/* @name: FILCH__LIVE_NAME_BYTES, for live->name. Any thread. Return: false when it is not live, is
 * another runtime's, or has changed hands meanwhile; then @live is not to be used. */
bool filch__live_look(struct filch__task *task, struct filch_runtime *rt, filch_live *live,
                      char *name);

#endif
