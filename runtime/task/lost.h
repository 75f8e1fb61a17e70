/* Errors that are told to nobody else: see filch_runtime_opts.on_lost_error, lost.c. */
#ifndef FILCH_TASK_LOST_H
#define FILCH_TASK_LOST_H

#include <filch/runtime.h>

struct filch__task;

/* At the end of a body that has failed, while it still has its stack: keeps in its block what the
 * others tell. */
void filch__lost_note(struct filch__task *task);

/* The caller owns the block of @task, which has ended with an error, and gives it back: nobody can
 * read the error any more. By who ends it; or, late, by who gives up its handle, when its runtime
 * may be gone. */
void filch__lost_tell(struct filch__task *task);
void filch__lost_tell_late(struct filch__task *task);

/* The same of a task that is gone, by another one of its runtime. */
void filch__lost_tell_of(filch_runtime *rt, const filch_lost_error *lost);

#endif
