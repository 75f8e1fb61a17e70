/* Where messages go: see filch/log.h for the contract. */
#ifndef FILCH_BASE_LOG_H
#define FILCH_BASE_LOG_H

#include <filch/log.h>

/* A runtime's; with no function the process's is used. Not changed while anybody may use it. */
struct filch__log {
    filch_log_fn fn;
    void *arg;
};

/* Messages of the calling thread that name no log go to @log from now on; NULL: to the process's.
 * @log must outlive the thread or the next call. */
void filch__log_of_thread(const struct filch__log *log);

/* One message, cut after 511 bytes. @log: NULL for the thread's. Allocates nothing. */
__attribute__((format(printf, 3, 4))) void
filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...);

/* In the child of a fork: a lock that another thread held is free again. */
void filch__log_forked(void);

#endif
