/* Poll-futures: values that become ready, for code that needs no stack.
 *
 * A future is a struct that begins with filch_future. Its poll function either makes progress to
 * the end and returns FILCH_READY, or keeps a clone of the context's waker, returns FILCH_PENDING,
 * and calls the waker when polling is worthwhile again. Polls may come without a wake. A task
 * awaits a future; a future can also be spawned as a task without a stack.
 */
#ifndef FILCH_FUTURE_H
#define FILCH_FUTURE_H

#include <filch/base.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

typedef enum filch_poll {
    FILCH_PENDING = 0,
    FILCH_READY = 1,
} filch_poll;

/* Wakes whoever polls a future. A value: copy it only with filch_waker_clone(). All zeroes is a
 * waker of nobody, and so is a pointer to one that is NULL: they may be woken and dropped. The
 * fields are private. */
typedef struct filch_waker {
    void *target;
    uint64_t key;
} filch_waker;

/* What a poll gets. */
typedef struct filch_cx {
    /* Borrowed for the poll: clone it to keep it. */
    const filch_waker *waker;
} filch_cx;

typedef struct filch_future filch_future;

/* First member of every future. */
struct filch_future {
    /* Must not suspend or block. Called by one thread at a time; never again after FILCH_READY. */
    filch_poll (*poll)(filch_future *self, filch_cx *cx);
    /* Releases what the future owns, itself included if it is on the heap. Called exactly once for
     * a spawned future, when it is done or cancelled; never by filch_await(). May be NULL. */
    void (*drop)(filch_future *self);
    /* Set by poll before FILCH_READY: what a join of the spawned future, or filch_await(), returns.
     */
    int result;
    /* Private to the futures of this library; 0 at first. */
    uint32_t private_word;
};

/**
 * filch_waker_clone() - a waker of one's own, to be kept after the poll
 * @waker: borrowed
 *
 * Thread-safety: any thread. Never fails. Return: a waker that ends with filch_waker_wake() or
 * filch_waker_drop().
 */
FILCH_API filch_waker filch_waker_clone(const filch_waker *waker);

/** filch_waker_wake() - have the future polled again, and end this waker. Thread-safety: any
 * thread, also after the task or the runtime has ended (then nothing happens). */
FILCH_API void filch_waker_wake(filch_waker waker);

/** filch_waker_wake_by_ref() - the same, and keep the waker. */
FILCH_API void filch_waker_wake_by_ref(const filch_waker *waker);

/** filch_waker_drop() - end a waker without waking. */
FILCH_API void filch_waker_drop(filch_waker waker);

/** filch_waker_will_wake() - do both wake the same task? (A future may keep its old clone then.) */
FILCH_API bool filch_waker_will_wake(const filch_waker *a, const filch_waker *b);

/**
 * filch_await() - poll a future until it is ready
 * @future: borrowed; not dropped
 * @until:  stop at this time; the future is unfinished and may be awaited again, or dropped by its
 * owner
 *
 * Thread-safety: a task, or a plain thread (which then blocks). Suspends: yes. Cancellation point:
 * yes; the future is unfinished then. Return: the future's result; -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL, or no poll function); -ENOMEM (in a plain thread only).
 */
FILCH_API int filch_await(filch_future *future, filch_time until);

/**
 * filch_future_spawn() - run a future as a task without a stack
 * @future:   consumed on success: dropped after the last poll
 * @opts:     name only; NULL for defaults
 * @ret_task: gets the handle; NULL spawns detached
 *
 * A cancelled future is not polled again; its result is -ECANCELED.
 * Thread-safety: any task. Suspends: no. Return: as filch_spawn().
 */
FILCH_API FILCH_MUST_CHECK int filch_future_spawn(filch_future *future, const filch_task_opts *opts,
                                                  filch_task **ret_task);

/* A future that is ready at a time. */
typedef struct filch_sleep_future {
    filch_future base;
    filch_time until;
    uint64_t private_words[6];
} filch_sleep_future;

/**
 * filch_sleep_future_init() - a future that becomes ready at @until, with result 0
 * @future: caller's memory, which must stay where it is once polled; NULL does nothing
 *
 * To be polled on a worker: in a task or a spawned future; elsewhere, and by a waker of nobody,
 * nothing would wake it, so it is ready at once with result -EPERM. Whoever abandons it before it
 * was ready calls base.drop, which takes it out of the timers and frees nothing; a future that
 * embeds it does that in its own drop.
 */
FILCH_API void filch_sleep_future_init(filch_sleep_future *future, filch_time until);

/* A future that joins a task. The fields but base are private. */
typedef struct filch_join_task_future {
    filch_future base;
    filch_task *task;
    uint32_t phase;
    uint64_t private_words[9];
} filch_join_task_future;

/**
 * filch_join_task_future_init() - a future that is ready when a task has ended, with its result
 * @join: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @task: a handle; consumed when the future is ready, and not before: dropped earlier, the caller
 *        still has it, may join it again, and must join or detach it
 *
 * Result: what the body returned; or, with the handle left alone: -EDEADLK (a task joins itself);
 * -ESRCH (already joined or detached); -EBUSY (somebody else is joining it); -ECHILD (a task of the
 * parent, in the child of a fork).
 * Thread-safety: the owner of the handle. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_join_task_future_init(filch_join_task_future *join,
                                                           filch_task *task);

FILCH_END_DECLS

#endif
