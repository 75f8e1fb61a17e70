/* Fork and join: computing in parallel inside of a task, at the price of a few function calls.
 *
 *     FILCH_TASK1(long, fib, int, n)
 *     {
 *         FILCH_FORKED(fib) left;
 *         if (n < 2)
 *             return n;
 *         FILCH_FORK(fib, &left, n - 1);                 -- may run elsewhere from now on
 *         long right = FILCH_CALL(fib, n - 2);
 *         return FILCH_JOIN(fib, &left) + right;         -- runs it here, if nobody took it
 *     }
 *     ...
 *     long result = fib(39);                             -- from any task
 *
 * A fork is a call that another worker may make instead of the caller. It is noted on a private
 * stack of the task, and the join takes it off again and makes the call: two nanoseconds. Only when
 * a worker has nothing to do the oldest fork of the stack is given to it: then join waits for its
 * end, and the caller's worker does other things meanwhile.
 *
 * Rules. Each fork is joined exactly once, by the function that forked it, the newest first: what
 * violates that ends the process with a message. Its memory (FILCH_FORKED(), filch_forked), what
 * its arguments point to, and what it writes to live until then; the joiner sees what it wrote. A
 * fork may fork, suspend, sleep, do I/O, lock and unlock, like any function that a task calls. When
 * its task suspends, its forks that nobody has taken become tasks in the worker's run queue, so
 * that they go on though nobody joins them.
 *
 * Whose it is. A fork is part of the task that forked it, wherever it runs: filch_task_self(),
 * task-locals, deferred calls, and the deadline in force are that task's; a request to end reaches
 * it too, though one that is suspended on another worker may only see it when the task joins it. So
 * do not set a task-local in a fork while others read it. A lock belongs to the fork: who locks it
 * unlocks it, before it returns, and one that is held over a join must not be locked in the fork.
 * An RCU read section must not be held over a join.
 *
 * It runs on the stack of the task, or, if it was given away, on another one of the same size: deep
 * recursion wants a larger one (filch_task_opts.stack_bytes). Forks within forks beyond 900, or
 * when memory is short, run at once. Forks of a pinned task stay on its worker. In a future, in a
 * blocking job and on a plain thread, which cannot wait for others, each fork runs at once: a plain
 * thread goes through filch_runtime_block_on().
 *
 * In servers: a task that has computed for some 10 ms lets others run at one of its joins. Not in a
 * runtime with current_thread, which has no thread that would look at the time, unless the task is
 * in a group (group.h): there filch_task_yield() is to be called now and then.
 *
 * What nobody joins is filch_spawn()'s. A fork of less than 20 ns of work is worth a function call
 * instead.
 */
#ifndef FILCH_FORK_H
#define FILCH_FORK_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* ---- by function pointer ---- */

/* Private from here to the next section. */
struct filch__fork;

/* A place in a fork stack: the next free one. The stack belongs to the running task, so it stays
 * the same though the task goes on on another thread. */
typedef struct filch__fork **filch__fork_top;

struct filch__fork {
    /* Makes the call and keeps its result; NULL: that was done at once. */
    void (*run)(struct filch__fork *self, filch__fork_top top);
    void *shared; /* the task that it has become */
};

/** A call that was forked, in the caller's memory. The fields are private. */
typedef struct filch_forked {
    struct filch__fork private_fork;
    filch_fn private_fn;
    void *private_arg;
    int private_result;
} filch_forked;

/**
 * filch_fork() - call a function now, later, or on another worker meanwhile
 * @fork: filled; stays where it is until it was joined
 * @fn:   called once, with @arg
 * @arg:  borrowed until the join
 *
 * Thread-safety: any task; elsewhere it is called at once. Suspends: no (but @fn may, when it is
 * called at once). Return: 0; -EINVAL (NULL @fork or @fn).
 */
FILCH_API int filch_fork(filch_forked *fork, filch_fn fn, void *arg);

/**
 * filch_join() - the result of a forked call
 * @fork: of the calling function; the newest that was not joined yet
 *
 * Takes no time limit, and is no cancellation point: nothing may go on in a frame that is gone. A
 * cancelled task hands the request on to what it waits for. Suspends: yes, if another worker makes
 * the call, or the task has computed for long. Return: what the function returned; -EINVAL (NULL).
 */
FILCH_API int filch_join(filch_forked *fork);

/* ---- by name ---- */

/* FILCH_TASK1(type, name, type1, arg1) { body } and so on to FILCH_TASK6 define a function
 * `static type name(type1 arg1)` that can be forked by name: arguments and result have their types,
 * and a join that finds it not taken is an ordinary call. In such bodies, and only there:
 *
 *     FILCH_FORKED(name) f;          memory for a fork; may be an array
 *     FILCH_FORK(name, &f, args...)  forks it
 *     FILCH_CALL(name, args...)      calls it, as name(args...) does, but a little faster
 *     FILCH_JOIN(name, &f)           its result
 *
 * For functions that call each other, FILCH_TASK1_DECLARE(type, name, type1, arg1) comes first and
 * FILCH_TASK1_BODY(...) { body } later. A body uses these macros only: a filch_fork() in it must be
 * joined before the next of them.
 */
#define FILCH_FORKED(name) struct name##__fork
#define FILCH_FORK(name, fork, ...)                                                                \
    ((void)(filch__top = name##__push(filch__top, (fork), __VA_ARGS__)))
#define FILCH_CALL(name, ...) name##__in(filch__top, __VA_ARGS__)
#define FILCH_JOIN(name, fork) name##__join(&filch__top, (fork))

/* ---- private ---- */

#define FILCH__FORK_STACK_BYTES 8192

/* At the start of a fork stack, which is as long and as much aligned as the constant says. */
struct filch__fork_head {
    /* Where the next fork has to look about: the end of the room, or NULL when somebody asks for
     * work. Written by the owner and, to NULL, by anybody: an atomic. */
    filch__fork_top limit;
};

static inline struct filch__fork_head *filch__fork_head_of(filch__fork_top top)
{
    return (struct filch__fork_head *)((uintptr_t)top & ~(uintptr_t)(FILCH__FORK_STACK_BYTES - 1));
}

struct filch__fork_popped {
    filch__fork_top top;
    bool is_ours; /* to be called by who joins it */
};

FILCH_API filch__fork_top filch__fork_here(void);
FILCH_API filch__fork_top filch__fork_push_slow(filch__fork_top top, struct filch__fork *fork);
FILCH_API struct filch__fork_popped filch__fork_pop_slow(filch__fork_top top,
                                                         struct filch__fork *fork);

FILCH_API __attribute__((noreturn, cold)) void filch__fork_refuse(void);

static inline filch__fork_top filch__fork_push(filch__fork_top top, struct filch__fork *fork)
{
    struct filch__fork_head *head = filch__fork_head_of(top);

    if (__builtin_expect(top >= __atomic_load_n(&head->limit, __ATOMIC_RELAXED), 0))
        return filch__fork_push_slow(top, fork);
#ifndef NDEBUG
    if (*top)
        filch__fork_refuse();
#endif
    *top = fork;
    return top + 1;
}

static inline struct filch__fork_popped filch__fork_pop(filch__fork_top top,
                                                        struct filch__fork *fork)
{
    struct filch__fork_popped popped;

    /* What was given away is marked there, and what was run at once never got there. */
    popped.top = top - 1;
    popped.is_ours = true;
    if (__builtin_expect(*popped.top != fork, 0))
        return filch__fork_pop_slow(top, fork);
    *popped.top = NULL;
    return popped;
}

#define FILCH__UNUSED __attribute__((unused))
#define FILCH__LIST(...) __VA_ARGS__ /* takes the parentheses off */

/* @members: of the struct, from the arguments by @set, to a call by @get; @params: of the function;
 * @names: of its arguments. */
#define FILCH__TASK_DECLARE(type, name, members, params, set, get, names)                          \
    struct name##__fork {                                                                          \
        struct filch__fork fork;                                                                   \
        type result;                                                                               \
        FILCH__LIST members                                                                        \
    };                                                                                             \
    static type name##__in(filch__fork_top filch__top, FILCH__LIST params);                        \
    FILCH__UNUSED static void name##__run(struct filch__fork *filch__fork,                         \
                                          filch__fork_top filch__top)                              \
    {                                                                                              \
        struct name##__fork *filch__self = (struct name##__fork *)(void *)filch__fork;             \
        filch__self->result = name##__in(filch__top, FILCH__LIST get);                             \
    }                                                                                              \
    FILCH__UNUSED static inline filch__fork_top name##__push(                                      \
        filch__fork_top filch__top, struct name##__fork *filch__self, FILCH__LIST params)          \
    {                                                                                              \
        filch__self->fork.run = name##__run;                                                       \
        FILCH__LIST set return filch__fork_push(filch__top, &filch__self->fork);                   \
    }                                                                                              \
    FILCH__UNUSED static inline type name##__join(filch__fork_top *filch__at,                      \
                                                  struct name##__fork *filch__self)                \
    {                                                                                              \
        struct filch__fork_popped filch__popped = filch__fork_pop(*filch__at, &filch__self->fork); \
        *filch__at = filch__popped.top;                                                            \
        if (__builtin_expect(filch__popped.is_ours, 1))                                            \
            return name##__in(filch__popped.top, FILCH__LIST get);                                 \
        return filch__self->result;                                                                \
    }                                                                                              \
    FILCH__UNUSED static inline type name(FILCH__LIST params)                                      \
    {                                                                                              \
        return name##__in(filch__fork_here(), FILCH__LIST names);                                  \
    }

#define FILCH_TASK1_DECLARE(type, name, type1, arg1)                                               \
    FILCH__TASK_DECLARE(type, name, (type1 in_##arg1;), (type1 arg1),                              \
                        (filch__self->in_##arg1 = arg1;), (filch__self->in_##arg1), (arg1))
#define FILCH_TASK1_BODY(type, name, type1, arg1)                                                  \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1)
#define FILCH_TASK1(type, name, type1, arg1)                                                       \
    FILCH_TASK1_DECLARE(type, name, type1, arg1) FILCH_TASK1_BODY(type, name, type1, arg1)

#define FILCH_TASK2_DECLARE(type, name, type1, arg1, type2, arg2)                                  \
    FILCH__TASK_DECLARE(type, name, (type1 in_##arg1; type2 in_##arg2;), (type1 arg1, type2 arg2), \
                        (filch__self->in_##arg1 = arg1; filch__self->in_##arg2 = arg2;),           \
                        (filch__self->in_##arg1, filch__self->in_##arg2), (arg1, arg2))
#define FILCH_TASK2_BODY(type, name, type1, arg1, type2, arg2)                                     \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1, type2 arg2)
#define FILCH_TASK2(type, name, type1, arg1, type2, arg2)                                          \
    FILCH_TASK2_DECLARE(type, name, type1, arg1, type2, arg2)                                      \
    FILCH_TASK2_BODY(type, name, type1, arg1, type2, arg2)

#define FILCH_TASK3_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3)                     \
    FILCH__TASK_DECLARE(type, name, (type1 in_##arg1; type2 in_##arg2; type3 in_##arg3;),          \
                        (type1 arg1, type2 arg2, type3 arg3),                                      \
                        (filch__self->in_##arg1 = arg1; filch__self->in_##arg2 = arg2;             \
                         filch__self->in_##arg3 = arg3;),                                          \
                        (filch__self->in_##arg1, filch__self->in_##arg2, filch__self->in_##arg3),  \
                        (arg1, arg2, arg3))
#define FILCH_TASK3_BODY(type, name, type1, arg1, type2, arg2, type3, arg3)                        \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1, type2 arg2,       \
                           type3 arg3)
#define FILCH_TASK3(type, name, type1, arg1, type2, arg2, type3, arg3)                             \
    FILCH_TASK3_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3)                         \
    FILCH_TASK3_BODY(type, name, type1, arg1, type2, arg2, type3, arg3)

#define FILCH_TASK4_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4)        \
    FILCH__TASK_DECLARE(type, name,                                                                \
                        (type1 in_##arg1; type2 in_##arg2; type3 in_##arg3; type4 in_##arg4;),     \
                        (type1 arg1, type2 arg2, type3 arg3, type4 arg4),                          \
                        (filch__self->in_##arg1 = arg1; filch__self->in_##arg2 = arg2;             \
                         filch__self->in_##arg3 = arg3; filch__self->in_##arg4 = arg4;),           \
                        (filch__self->in_##arg1, filch__self->in_##arg2, filch__self->in_##arg3,   \
                         filch__self->in_##arg4),                                                  \
                        (arg1, arg2, arg3, arg4))
#define FILCH_TASK4_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4)           \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1, type2 arg2,       \
                           type3 arg3, type4 arg4)
#define FILCH_TASK4(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4)                \
    FILCH_TASK4_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4)            \
    FILCH_TASK4_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4)

#define FILCH_TASK5_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, \
                            arg5)                                                                  \
    FILCH__TASK_DECLARE(                                                                           \
        type, name,                                                                                \
        (type1 in_##arg1; type2 in_##arg2; type3 in_##arg3; type4 in_##arg4; type5 in_##arg5;),    \
        (type1 arg1, type2 arg2, type3 arg3, type4 arg4, type5 arg5),                              \
        (filch__self->in_##arg1 = arg1; filch__self->in_##arg2 = arg2;                             \
         filch__self->in_##arg3 = arg3; filch__self->in_##arg4 = arg4;                             \
         filch__self->in_##arg5 = arg5;),                                                          \
        (filch__self->in_##arg1, filch__self->in_##arg2, filch__self->in_##arg3,                   \
         filch__self->in_##arg4, filch__self->in_##arg5),                                          \
        (arg1, arg2, arg3, arg4, arg5))
#define FILCH_TASK5_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5,    \
                         arg5)                                                                     \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1, type2 arg2,       \
                           type3 arg3, type4 arg4, type5 arg5)
#define FILCH_TASK5(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, arg5)   \
    FILCH_TASK5_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5,     \
                        arg5)                                                                      \
    FILCH_TASK5_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, arg5)

#define FILCH_TASK6_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, \
                            arg5, type6, arg6)                                                     \
    FILCH__TASK_DECLARE(type, name,                                                                \
                        (type1 in_##arg1; type2 in_##arg2; type3 in_##arg3; type4 in_##arg4;       \
                         type5 in_##arg5; type6 in_##arg6;),                                       \
                        (type1 arg1, type2 arg2, type3 arg3, type4 arg4, type5 arg5, type6 arg6),  \
                        (filch__self->in_##arg1 = arg1; filch__self->in_##arg2 = arg2;             \
                         filch__self->in_##arg3 = arg3; filch__self->in_##arg4 = arg4;             \
                         filch__self->in_##arg5 = arg5; filch__self->in_##arg6 = arg6;),           \
                        (filch__self->in_##arg1, filch__self->in_##arg2, filch__self->in_##arg3,   \
                         filch__self->in_##arg4, filch__self->in_##arg5, filch__self->in_##arg6),  \
                        (arg1, arg2, arg3, arg4, arg5, arg6))
#define FILCH_TASK6_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5,    \
                         arg5, type6, arg6)                                                        \
    static type name##__in(filch__fork_top filch__top FILCH__UNUSED, type1 arg1, type2 arg2,       \
                           type3 arg3, type4 arg4, type5 arg5, type6 arg6)
#define FILCH_TASK6(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, arg5,   \
                    type6, arg6)                                                                   \
    FILCH_TASK6_DECLARE(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5,     \
                        arg5, type6, arg6)                                                         \
    FILCH_TASK6_BODY(type, name, type1, arg1, type2, arg2, type3, arg3, type4, arg4, type5, arg5,  \
                     type6, arg6)

FILCH_END_DECLS

#endif
