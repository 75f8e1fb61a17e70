/* The ops that wait on a descriptor, for its close to end them.
 *
 * A close wakes calls that wait in a socket by shutting it down. What is no socket, or not ours to
 * shut down, keeps its waiting ops in a list: each is cancelled, again and again with growing
 * pauses, for the kernel may miss a cancel, until the list is empty.
 *
 *     waiting call                        close
 *     op staged                           CLOSING set (filch__fd_refuse)
 *     lock; closing? else into list       lock; cancel each in the list; unlock
 *     wait                                until it is empty
 *     lock; out of the list; unlock
 *
 * [op-list] Whoever comes after the close's first look finds CLOSING under the lock, and ends its
 * op by itself. An op stays in memory until it is out of the list.
 */
#ifndef FILCH_IO_OP_LIST_H
#define FILCH_IO_OP_LIST_H

#include <pthread.h>

#include "io/fd.h"
#include "io/op.h"
#include "runtime/base/list.h"

struct filch__op_list {
    pthread_mutex_t lock;
    struct filch__list ops;
};

/* An op in a list; lives as long as the op. */
struct filch__listed_op {
    struct filch__list link;
    struct filch__op *op;
};

void filch__op_list_init(struct filch__op_list *list);

/* A staged op of a user of @fd joins. Return: false: @fd is being closed, end the op. Either way
 * followed by remove. */
bool filch__op_list_add(struct filch__op_list *list, struct filch__fd *fd,
                        struct filch__listed_op *listed, struct filch__op *op);
void filch__op_list_remove(struct filch__op_list *list, struct filch__listed_op *listed);

/* filch__op_wait() as a member of the list. A close makes it return -EINTR. */
int filch__op_list_wait(struct filch__op_list *list, struct filch__fd *fd, struct filch__op *op,
                        filch_time until);

/* For the close: returns when the list is empty. Never a cancellation point. */
void filch__op_list_end(struct filch__op_list *list);

/* For a close: suspends for a moment, whatever happens. */
void filch__op_pause(filch_time ns);

#endif
