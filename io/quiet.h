/* System calls that would raise SIGPIPE, made without it: write(2) to a pipe, splice(2) and
 * sendfile(2), which have no flag that says so.
 *
 * The signal is blocked in the calling thread, and taken back if the call made it pending. Nothing
 * may suspend in between. */
#ifndef FILCH_IO_QUIET_H
#define FILCH_IO_QUIET_H

#include <signal.h>
#include <stdbool.h>

struct filch__quiet {
    sigset_t before;
    bool pending; /* already: it is somebody else's */
};

void filch__quiet_begin(struct filch__quiet *quiet);

/* @broken: the call said EPIPE. */
void filch__quiet_end(const struct filch__quiet *quiet, bool broken);

#endif
