/* Futures written as straight-line code: a poll function that awaits, yields and returns, without a
 * stack of its own.
 *
 *     struct greet {
 *         filch_async async;                  -- first
 *         filch_sleep_future nap;             -- what lives across an await is in the struct
 *         int i;
 *     };
 *
 *     static filch_poll greet_poll(filch_future *self, filch_cx *cx)
 *     {
 *         struct greet *greet = (struct greet *)self;
 *
 *         FILCH_ASYNC_BEGIN(&greet->async, cx);
 *         for (greet->i = 0; greet->i < 3; greet->i++) {
 *             filch_sleep_future_init(&greet->nap, filch_after(FILCH_MILLISECOND));
 *             FILCH_AWAIT(&greet->nap.base);
 *         }
 *         FILCH_ASYNC_RETURN(42);
 *         FILCH_ASYNC_END;
 *     }
 *
 *     filch_async_init(&greet.async, greet_poll);
 *     r = filch_await(&greet.async.base, FILCH_NEVER);    -- in a task; or filch_future_spawn()
 *
 * A pending await returns from the poll function; the next poll goes on behind it. So what must
 * outlive an await is in the struct: local variables have no value after one, except those that are
 * set between the function's beginning and FILCH_ASYNC_BEGIN, which each poll does anew. Arrays of
 * variable length and variables with a cleanup attribute (in C++: with an initialiser) are not
 * allowed in the scope of an await; nor is an await in a statement expression, a lambda, or a
 * try block.
 *
 * An await may stand anywhere else, in loops, in a switch, several on a line. Outside of a BEGIN
 * and its END it does not compile, nor does a second BEGIN in a function.
 *
 * Cancelling or abandoning it: whoever stops polling calls base.drop (the runtime does, for a
 * spawned future that is cancelled). The code after the await does not run then: what the future
 * owns is released in its drop. The default, filch_async_drop(), drops the future that is being
 * awaited and nothing else; a drop of one's own calls it first. A future that is awaited is
 * borrowed: it is dropped only if it is abandoned, not when it was ready.
 *
 * Needs gcc or clang: labels as values. A resumption is one add and one indirect jump.
 */
#ifndef FILCH_ASYNC_H
#define FILCH_ASYNC_H

#include <filch/base.h>
#include <filch/future.h>

FILCH_BEGIN_DECLS

/* First member of every future that is written with these macros. */
typedef struct filch_async {
    /* Its private_word is where to go on: 0 at the beginning. */
    filch_future base;
    /* Private: what is being awaited, or NULL. */
    filch_future *awaited;
} filch_async;

/**
 * filch_async_init() - set a future to its beginning
 * @async: caller's memory, which must stay where it is once polled; NULL does nothing
 * @poll:  the function with the macros in it
 *
 * All zero with base.poll and base.drop set does the same. The drop function is filch_async_drop();
 * a future with one of its own sets base.drop afterwards.
 * Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_async_init(filch_async *async,
                                filch_poll (*poll)(filch_future *self, filch_cx *cx));

/**
 * filch_async_drop() - abandon a future in its middle
 * @self: a filch_async; NULL does nothing
 *
 * Drops the future that it awaits, if there is one, exactly once. Allowed at any time, also before
 * the first poll, after the last one, and twice. It must not be polled afterwards. Frees nothing.
 * Thread-safety: whoever would poll it. Suspends: no.
 */
FILCH_API void filch_async_drop(filch_future *self);

/* Private: says that a future was polled after it was ready or dropped, and aborts. */
FILCH_API __attribute__((noreturn, cold)) void filch__async_polled_again(filch_async *async);

FILCH_END_DECLS

#define FILCH__ASYNC_PASTE_(a, b) a##b
#define FILCH__ASYNC_PASTE(a, b) FILCH__ASYNC_PASTE_(a, b)
#define FILCH__ASYNC_LABEL(n) FILCH__ASYNC_PASTE(filch__async_at_, n)
#define FILCH__ASYNC_ADDRESS(label) (__extension__((const char *)&&label))

/* The name is the error message. */
#define FILCH__ASYNC this_must_stand_between_FILCH_ASYNC_BEGIN_and_FILCH_ASYNC_END

#define FILCH__ASYNC_SUSPEND_AT(label)                                                             \
    (FILCH__ASYNC->base.private_word =                                                             \
         (uint32_t)(FILCH__ASYNC_ADDRESS(label) - FILCH__ASYNC_ADDRESS(filch__async_start)))

/* Begins the part of a poll function that may await. @async_ is the filch_async, @cx_ what the poll
 * got; both are evaluated at each poll. (The anchor, an address of a label in static data, keeps
 * compilers from copying or inlining the function: positions in two copies would differ.) */
#define FILCH_ASYNC_BEGIN(async_, cx_)                                                             \
    {                                                                                              \
        filch_async *const FILCH__ASYNC = (async_);                                                \
        filch_cx *const filch__async_cx = (cx_);                                                   \
        static const char *const filch__async_anchor __attribute__((used)) =                       \
            FILCH__ASYNC_ADDRESS(filch__async_start);                                              \
        (void)filch__async_cx;                                                                     \
        (void)filch__async_anchor;                                                                 \
        FILCH__ASYNC_PEDANTIC_OFF                                                                  \
        goto *(void *)(uintptr_t)(FILCH__ASYNC_ADDRESS(filch__async_start) +                       \
                                  (int32_t)FILCH__ASYNC->base.private_word);                       \
        FILCH__ASYNC_PEDANTIC_ON                                                                   \
    filch__async_over:                                                                             \
        filch__async_polled_again(FILCH__ASYNC);                                                   \
    filch__async_start:                                                                            \
        (void)0

/* Computed gotos are an extension that __extension__ cannot mark. */
#define FILCH__ASYNC_PEDANTIC_OFF                                                                  \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wpedantic\"")
#define FILCH__ASYNC_PEDANTIC_ON _Pragma("GCC diagnostic pop")

/* Ends it. Code that gets here returns 0. */
#define FILCH_ASYNC_END                                                                            \
    FILCH_ASYNC_RETURN(0);                                                                         \
    }                                                                                              \
    (void)0

/* The future is ready with this result. */
#define FILCH_ASYNC_RETURN(result_)                                                                \
    do {                                                                                           \
        FILCH__ASYNC->base.result = (result_);                                                     \
        FILCH__ASYNC_SUSPEND_AT(filch__async_over);                                                \
        return FILCH_READY;                                                                        \
    } while (0)

#define FILCH__AWAIT(label, assign, future_)                                                       \
    do {                                                                                           \
        FILCH__ASYNC->awaited = (future_);                                                         \
    label:                                                                                         \
        if (FILCH__ASYNC->awaited->poll(FILCH__ASYNC->awaited, filch__async_cx) ==                 \
            FILCH_PENDING) {                                                                       \
            FILCH__ASYNC_SUSPEND_AT(label);                                                        \
            return FILCH_PENDING;                                                                  \
        }                                                                                          \
        assign FILCH__ASYNC->awaited->result;                                                      \
        FILCH__ASYNC->awaited = NULL;                                                              \
    } while (0)

/* Waits until a future (a filch_future *, evaluated once) is ready. Its result is in it. */
#define FILCH_AWAIT(future_) FILCH__AWAIT(FILCH__ASYNC_LABEL(__COUNTER__), (void), future_)

/* The same, and puts its result into an lvalue, which is evaluated afterwards. */
#define FILCH_AWAIT_RESULT(lvalue_, future_)                                                       \
    FILCH__AWAIT(FILCH__ASYNC_LABEL(__COUNTER__), lvalue_ =, future_)

#define FILCH__ASYNC_YIELD(label)                                                                  \
    do {                                                                                           \
        FILCH__ASYNC_SUSPEND_AT(label);                                                            \
        filch_waker_wake_by_ref(filch__async_cx->waker);                                           \
        return FILCH_PENDING;                                                                      \
    label:;                                                                                        \
    } while (0)

/* Gives others a turn: pending once, and woken already. A poll without a wake goes on, too. */
#define FILCH_ASYNC_YIELD FILCH__ASYNC_YIELD(FILCH__ASYNC_LABEL(__COUNTER__))

#endif
