/* Scopes: no task outlives the block that spawned it.
 *
 *     FILCH_SCOPE(conns);
 *     while (filch_listener_accept(ln, &conn, FILCH_NEVER) == 0)
 *         if (filch_scope_spawn(&conns, echo, conn) < 0)
 *             filch_tcp_close(conn);
 *     filch_scope_cancel_join(&conns);
 *
 * Leaving the block any other way (return, break, goto) cancels and joins as well. The first
 * negative result of a child is kept; with FILCH_TRY_SCOPE it also cancels the others, and from
 * then on spawns are refused with -ECANCELED.
 *
 * filch_scope_limit() bounds how many children there are at a time: a full scope refuses to spawn
 * (-EAGAIN), or makes the spawner wait (filch_scope_spawn_wait()).
 *
 * NULL is refused with -EINVAL where there is a result; else nothing is done.
 */
#ifndef FILCH_SCOPE_H
#define FILCH_SCOPE_H

#include <filch/base.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's frame. The fields are private. */
typedef struct filch_scope {
    uint64_t private_words[22];
} filch_scope;

enum filch_scope_flags {
    /* The first child that returns a negative result cancels its siblings; the scope takes no more
     * children then: spawning returns -ECANCELED, also to those that wait for room. */
    FILCH_SCOPE_CANCEL_ON_ERROR = 1,
    /* The children's errors are their own: joins return 0. filch_scope_failed() and
     * filch_scope_collect() still tell. */
    FILCH_SCOPE_IGNORE_ERRORS = 2,
};

/* A child that returned a negative result. */
typedef struct filch_scope_error {
    int error;
    const char *name; /* of the task; "" */
    filch_fn fn;      /* what was spawned, and with what */
    void *arg;        /* NULL if it was a copy */
} filch_scope_error;

/**
 * filch_scope_init() - prepare a scope in the caller's memory
 * @scope: must stay where it is until it was joined; FILCH_SCOPE() does this and the clean-up for
 * you
 * @flags: enum filch_scope_flags, or 0
 */
FILCH_API void filch_scope_init(filch_scope *scope, unsigned flags);

/**
 * filch_scope_limit() - bound the number of children at a time
 * @limit: most children; 0: no limit (the default). Those beyond a lower limit go on.
 *
 * Thread-safety: any task or thread while the scope lives. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_scope_limit(filch_scope *scope, unsigned limit);

/**
 * filch_scope_spawn() - start a task that ends before the scope does
 * @arg: consumed only on success
 *
 * Thread-safety: any task, also the scope's children. Suspends: no.
 * Return: as filch_spawn(); -ECANCELED (the scope was cancelled, or, with
 * FILCH_SCOPE_CANCEL_ON_ERROR, a child has failed); -EAGAIN (as many children as
 * filch_scope_limit() allows); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_spawn(filch_scope *scope, filch_fn fn, void *arg);

/**
 * filch_scope_spawn_opts() - the same with a name, or an argument by copy
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_spawn_opts(filch_scope *scope, filch_fn fn, void *arg,
                                                      const filch_task_opts *opts);

/**
 * filch_scope_spawn_wait() - the same, waiting while the scope has as many children as its limit
 * @arg:   consumed only on success
 * @opts:  borrowed for the call; NULL for defaults
 * @until: stop waiting at this time
 *
 * Spawners that wait are served in order. A child that waits for room in its own scope counts as a
 * child meanwhile: when all of them do, none gets on. The end of the scope waits for those that
 * wait here, too.
 *
 * Thread-safety: any task, also the scope's children; a blocking job blocks. Suspends: yes, only if
 * the scope is full. Cancellation point: yes; nothing was spawned then. Return: as
 * filch_scope_spawn(), but -ETIMEDOUT instead of -EAGAIN; -ECANCELED (the caller or the scope was
 * cancelled).
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_spawn_wait(filch_scope *scope, filch_fn fn, void *arg,
                                                      const filch_task_opts *opts,
                                                      filch_time until);

/**
 * filch_scope_cancel() - cancel all children, now and to come
 *
 * Takes time with the number of children, but holds none of them up for longer than a few.
 * Thread-safety: any thread while the scope lives. Suspends: no.
 */
FILCH_API void filch_scope_cancel(filch_scope *scope);

/**
 * filch_scope_join() - wait until all children have ended
 * @until: stop waiting at this time; the children go on
 *
 * Thread-safety: the owner. Suspends: yes. Cancellation point: yes; the children go on.
 * Return: 0; the first negative result of a child; -ETIMEDOUT or -ECANCELED while children are left
 * (see filch_scope_is_idle() to tell them from a child's).
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_join(filch_scope *scope, filch_time until);

/**
 * filch_scope_cancel_join() - cancel the children and wait for them
 *
 * Never a cancellation point, and takes no time limit: nothing may go on in a frame that is gone.
 * Does nothing on a scope that is idle. Suspends: yes. Return: 0, or the first negative result of a
 * child other than -ECANCELED.
 */
FILCH_API int filch_scope_cancel_join(filch_scope *scope);

/**
 * filch_scope_failed() - which child failed first
 *
 * Gives the first child whose result was negative; one that returned -ECANCELED only if no other
 * failed. Thread-safety: any thread while the scope lives. Suspends: no. Return: 0; -ENOENT (none
 * has failed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_failed(filch_scope *scope, filch_scope_error *ret_error);

/**
 * filch_scope_collect() - keep the errors of all children
 * @errors:   gets them in the order in which the children ended; the caller's, to be read when the
 * scope is idle; NULL with a @capacity of 0 ends the collecting
 * @capacity: of @errors; those beyond are counted only
 *
 * What a child returns to a cancel of the scope, -ECANCELED, is no error. Counting begins anew.
 * Thread-safety: the owner, before children that count. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_scope_collect(filch_scope *scope, filch_scope_error *errors, size_t capacity);

/** filch_scope_failures() - how many children have failed, as filch_scope_collect() counts, whether
 * it collects or not. Thread-safety: any thread while the scope lives. */
FILCH_API size_t filch_scope_failures(filch_scope *scope);

/** filch_scope_is_idle() - have all children ended? Thread-safety: any thread while the scope
 * lives. */
FILCH_API bool filch_scope_is_idle(filch_scope *scope);

/* The clean-up of FILCH_SCOPE(). */
static inline void filch_scope_leave(filch_scope *scope)
{
    filch_scope_cancel_join(scope);
}

#define FILCH_SCOPE_WITH(name, flags)                                                              \
    filch_scope name __attribute__((cleanup(filch_scope_leave)));                                  \
    filch_scope_init(&name, (flags))

/* A scope that lives until the end of the block. */
#define FILCH_SCOPE(name) FILCH_SCOPE_WITH(name, 0)

/* The same, and the first error cancels the rest. */
#define FILCH_TRY_SCOPE(name) FILCH_SCOPE_WITH(name, FILCH_SCOPE_CANCEL_ON_ERROR)

FILCH_END_DECLS

#endif
