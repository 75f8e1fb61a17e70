/* What every other header needs: versions, visibility, time, the error convention.
 *
 * Errors: a function returns 0 or a count, or a negative errno constant (-EPIPE). The errno
 * variable is never part of the interface, because a task may resume on another thread and
 * compilers cache the variable's address.
 *
 * Time: every function that can suspend takes `filch_time until` last, and no other function does
 * (exceptions are named in their headers: yield, scope join, close). `until` is an absolute time on
 * the monotonic clock: FILCH_NOW tries once, FILCH_NEVER waits without limit, a time that has
 * passed behaves like FILCH_NOW. When the time is up and nothing was done, the result is
 * -ETIMEDOUT.
 *
 * Cancellation is a level: once a task is cancelled, each of its suspending calls that cannot
 * finish at once returns -ECANCELED. A call that has its result in spite of the cancel returns the
 * result: nothing is lost.
 *
 * A thread that its host may cancel with pthread_cancel(3) turns that off (PTHREAD_CANCEL_DISABLE)
 * for its calls of filch: within one it would end without giving back what the call holds. Then the
 * call ends as it would have, and the thread after it. Threads of a runtime are not the host's to
 * cancel. A thread may end at any time between two calls: operations that it has begun go on.
 *
 * Handles are opaque. They carry a generation: a handle that was joined, detached or closed is
 * refused (-ESRCH for tasks, -EBADF for I/O objects), as is NULL (-EINVAL).
 */
#ifndef FILCH_BASE_H
#define FILCH_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILCH_VERSION_MAJOR 0
#define FILCH_VERSION_MINOR 1
#define FILCH_VERSION_PATCH 0
#define FILCH_VERSION "0.1.0"

#ifdef __cplusplus
#define FILCH_BEGIN_DECLS extern "C" {
#define FILCH_END_DECLS }
#else
#define FILCH_BEGIN_DECLS
#define FILCH_END_DECLS
#endif

#define FILCH_API __attribute__((visibility("default")))
#define FILCH_MUST_CHECK __attribute__((warn_unused_result))

/* Absolute time in nanoseconds on CLOCK_MONOTONIC, or a span of time where a parameter's name ends
 * in _ns. */
typedef uint64_t filch_time;

#define FILCH_NOW ((filch_time)0)
#define FILCH_NEVER UINT64_MAX

#define FILCH_MICROSECOND ((filch_time)1000)
#define FILCH_MILLISECOND ((filch_time)1000000)
#define FILCH_SECOND ((filch_time)1000000000)

/* What a task or a blocking job runs. The result, 0 or more for success and negative for an error
 * by convention, goes to the joiner or to the scope. */
typedef int (*filch_fn)(void *arg);

typedef struct filch_runtime filch_runtime;
typedef struct filch_task filch_task;
typedef struct filch_blocking_class filch_blocking_class;
typedef struct filch_group filch_group;

FILCH_BEGIN_DECLS

/**
 * filch_version() - the version of the library that is linked, as text
 *
 * Thread-safety: any thread. Suspends: no. Return: static text, like FILCH_VERSION of its headers.
 */
FILCH_API const char *filch_version(void);

/**
 * filch_strerror() - one sentence for an error that a function of filch returned
 * @error: the negative errno constant
 *
 * For what the library itself refuses the sentence names cause and remedy; for other errors it is
 * the system's. Thread-safety: any thread. Suspends: no. Return: static text, "no error" for 0 and
 * more.
 */
FILCH_API const char *filch_strerror(int error);

FILCH_END_DECLS

#endif
