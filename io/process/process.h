/* What a process handle stands for. See process.c. */
#ifndef FILCH_IO_PROCESS_PROCESS_H
#define FILCH_IO_PROCESS_PROCESS_H

#include <pthread.h>

#include <filch/process.h>

#include "io/fd_wait.h"

struct filch_process {
    /* Its pidfd: so the handle is a filch_fd's, too. */
    struct filch_fd fd;
    /* Written at the spawn. */
    int id;
    unsigned flags;
    /* Guards what follows, and keeps the number from being given to another process while somebody
     * sends a signal to the group. [process-status] */
    pthread_mutex_t lock;
    bool ended; /* its status was taken, and the number is the kernel's again */
    int result; /* with `ended`: 0; -ECHILD: somebody else has taken it */
    filch_process_status status;
    /* Of those that nobody has a handle of; of the list in orphan.c. */
    struct filch__list orphans;
};

/* A handle for a child. @pidfd: consumed on success. Return: 0; -ENOMEM. */
int filch__process_wrap(int id, int pidfd, unsigned flags, filch_process **ret_process);

/* Takes the status if it has ended. Return: 0; -ECHILD; -EAGAIN (it runs). */
int filch__process_reap(struct filch_process *process);

/* Gives the object back, with its descriptor. It has ended. */
void filch__process_free(struct filch_process *process);

/* Takes over a process that nobody has a handle of: it is freed when it has ended. Never fails. */
void filch__orphan_adopt(struct filch_process *process);

#endif
