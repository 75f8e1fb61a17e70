/* Messages: what the library has to say when nobody asked, such as why it aborts, or what keeps a
 * shutdown waiting. They go to the runtime that they are about (filch_runtime_opts.log), else to
 * the function set here, else to standard error, one line each, with "filch: " in front.
 * The one exception is a task's stack overflow: it is reported from a signal handler, where no
 * function of the program may be called, to standard error.
 */
#ifndef FILCH_LOG_H
#define FILCH_LOG_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* The values are syslog's. */
typedef enum filch_log_level {
    FILCH_LOG_FATAL = 2, /* the process aborts when the function returns */
    FILCH_LOG_ERROR = 3,
    FILCH_LOG_WARNING = 4,
    FILCH_LOG_INFO = 6,
} filch_log_level;

/* Takes one message. @level: a filch_log_level; @message: one line without its end, borrowed for
 * the call. Called on any thread, also in tasks, on their stack; it must not suspend and must not
 * start or stop runtimes. Several threads may call it at once. A fatal message may come while a
 * lock of the library is held, so it calls nothing of filch. */
typedef void (*filch_log_fn)(void *arg, int level, const char *message);

/**
 * filch_log_set() - where messages go that concern no runtime, or one without a log of its own
 * @log: NULL for standard error
 * @arg: passed to @log; must live as long as it is set, and a little longer: a message may be on
 * its way on another thread
 *
 * Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_log_set(filch_log_fn log, void *arg);

FILCH_END_DECLS

#endif
