/* What a filch_fd stands for, for its calls and its case of a select. */
#ifndef FILCH_IO_FD_WAIT_H
#define FILCH_IO_FD_WAIT_H

#include <filch/fd.h>

#include "io/fd.h"
#include "io/op_list.h"

struct filch_fd {
    struct filch__fd fd;
    bool owned; /* the close closes the descriptor; written at the open */
    struct filch__op_list ops;
};

/* One event of enum filch_fd_events at least, and no other bit. */
bool filch__fd_events_are_valid(unsigned events);

/* What is there at this moment. Return: the events, 0 for none; -EBADF. */
int filch__fd_look(int fd, unsigned events);

#endif
