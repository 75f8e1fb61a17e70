/* See log.h. The process's log is a pair, read and written under a lock; a runtime's is constant
 * while its threads live. */
#include "runtime/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/base/spinlock.h"

#define MESSAGE_BYTES 512

static filch_spinlock process_lock;   /* guards process_log */
static struct filch__log process_log; /* no function: standard error */

static __thread const struct filch__log *thread_log __attribute__((tls_model("initial-exec")));

/* Noinline: a task may have moved to another thread since the caller's last look. */
__attribute__((noinline)) static const struct filch__log *log_of_thread(void)
{
    return thread_log;
}

void filch__log_of_thread(const struct filch__log *log)
{
    thread_log = log;
}

void filch_log_set(filch_log_fn log, void *arg)
{
    filch_spinlock_lock(&process_lock);
    process_log = (struct filch__log){log, arg};
    filch_spinlock_unlock(&process_lock);
}

void filch__log_forked(void)
{
    filch_spinlock_init(&process_lock);
    thread_log = NULL;
}

static struct filch__log choose(const struct filch__log *log)
{
    struct filch__log chosen;

    if (!log)
        log = log_of_thread();
    if (log && log->fn)
        return *log;
    filch_spinlock_lock(&process_lock);
    chosen = process_log;
    filch_spinlock_unlock(&process_lock);
    return chosen;
}

void filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...)
{
    struct filch__log to = choose(log);
    char message[MESSAGE_BYTES];
    int saved = errno;
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (to.fn)
        to.fn(to.arg, level, message);
    else
        dprintf(STDERR_FILENO, "filch: %s\n", message);
    errno = saved;
}
