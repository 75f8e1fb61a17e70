/* Cancellation: tokens that cancel a tree of things, deadlines for a block of code, shields from
 * both, and why.
 *
 * A cancel is a request that stays (see task.h). It comes to a task from its handle, from its
 * scope, from a token that the task or its scope is bound to, from a deadline around the code that
 * runs, or from the runtime's end; what a suspending call returns is -ECANCELED in each case, and
 * filch_cancel_cause() tells which. It goes down, from a token to its children, from a scope and a
 * deadline to the tasks spawned there, and never up.
 *
 *     FILCH_DEADLINE(filch_after(FILCH_SECOND)) {
 *         r = ask_the_backend(&answer);                  -- its calls, and those of its children
 *         if (r == -ECANCELED && filch_cancel_cause() == -ETIMEDOUT)
 *             r = -ETIMEDOUT;
 *     }
 *     FILCH_SHIELD(filch_after(FILCH_SECOND))            -- at most a second, cancelled or not
 *         say_goodbye();
 */
#ifndef FILCH_CANCEL_H
#define FILCH_CANCEL_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/scope.h>
#include <filch/select.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* ---- why ---- */

/**
 * filch_cancel_cause() - why the running task was asked to end
 *
 * The error of filch_task_cancel_cause(), of a scope's child that failed (FILCH_TRY_SCOPE), of a
 * token; -ECANCELED for a plain cancel; -ETIMEDOUT for a deadline; -ESHUTDOWN when its runtime
 * stops. The first request counts. A scope that is left by its owner hands the owner's cause on to
 * its children. A shield does not hide it.
 *
 * Thread-safety: tasks and blocking jobs. Suspends: no. Return: a negative errno constant; 0 when
 * nobody has asked, and in a plain thread.
 */
FILCH_API int filch_cancel_cause(void);

/**
 * filch_task_cancel_cause() - filch_task_cancel(), saying why
 * @error: a negative errno constant for filch_cancel_cause() in the task; anything else counts as
 * -ECANCELED
 */
FILCH_API int filch_task_cancel_cause(filch_task *task, int error);

/** filch_scope_cancel_cause() - filch_scope_cancel(), saying why: @error as above. */
FILCH_API void filch_scope_cancel_cause(filch_scope *scope, int error);

/* ---- tokens ---- */

/* Cancelled once, and for ever. By reference count. */
typedef struct filch_token filch_token;

/**
 * filch_token_new() - a token that has no parent
 * @ret_token: gets it; ends with filch_token_unref()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_new(filch_token **ret_token);

/**
 * filch_token_child() - a token that is cancelled with its parent, and by itself
 * @parent: borrowed; the child keeps a reference. If it is cancelled, so is the child, at once.
 *
 * Thread-safety: any thread. Suspends: no. Return: as filch_token_new().
 */
FILCH_API FILCH_MUST_CHECK int filch_token_child(filch_token *parent, filch_token **ret_token);

/**
 * filch_token_child_until() - a token that is cancelled at a time, too
 * @parent: borrowed, as by filch_token_child(); NULL: it has no parent
 * @time:   FILCH_NEVER: as filch_token_child(), or filch_token_new()
 * @cause:  for that cancel, with @text: as for filch_token_cancel(); -ETIMEDOUT reads well
 *
 * What waits for the time is a task of the runtime's, with a reference of its own: it ends at the
 * time, when the token is cancelled before, and when the runtime stops, which cancels nothing. So a
 * token that is not needed any more should be cancelled (FILCH_TOKEN_GUARD), or it and some 400
 * bytes stay until then. For a block of code FILCH_DEADLINE() is cheaper.
 * Thread-safety: tasks and blocking jobs. Suspends: no. Return: 0; -EPERM (elsewhere); -ESHUTDOWN;
 * -ENOMEM; -EINVAL (NULL, or @cause is no error).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_child_until(filch_token *parent, filch_time time,
                                                       int cause, const char *text,
                                                       filch_token **ret_token);

/** filch_token_ref() - one more reference. Return: @token; NULL for NULL. */
FILCH_API filch_token *filch_token_ref(filch_token *token);

/**
 * filch_token_unref() - gives a reference up
 *
 * A token without references is freed, and its parent no longer knows of it. Nobody waits for it
 * and no hook is left then. NULL is allowed. Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_token_unref(filch_token *token);

/**
 * filch_token_cancel() - cancel a token and all that are below it
 * @cause: a negative errno constant; -ECANCELED when there is nothing more to say
 * @text:  static, for people; may be NULL
 *
 * The whole tree below is cancelled before the first waiter is woken and the first hook called;
 * these run in this call, and it returns when all have. If it was cancelled before, nothing is
 * done, and the other call may still be under way. Takes time with what is below, and no memory.
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, or @cause is no error).
 */
FILCH_API int filch_token_cancel(filch_token *token, int cause, const char *text);

/** filch_token_is_cancelled() - has it been cancelled? NULL: false. Thread-safety: any thread.
 * Suspends: no. */
FILCH_API bool filch_token_is_cancelled(const filch_token *token);

/**
 * filch_token_cause() - why it was cancelled
 * @ret_text: gets the text, if there is one; may be NULL
 *
 * Thread-safety: any thread. Suspends: no. Return: the cause; 0 while it is not cancelled.
 */
FILCH_API int filch_token_cause(const filch_token *token, const char **ret_text);

/**
 * filch_token_wait() - wait until a token is cancelled
 * @until: stop waiting at this time
 *
 * Thread-safety: any task or plain thread. Suspends: yes. Cancellation point: yes.
 * Return: 0: it is cancelled; -ETIMEDOUT; -ECANCELED: the caller is; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_wait(filch_token *token, filch_time until);

/** filch_case_token() - a token's cancel as a case of a select; `result` is 0. */
FILCH_API filch_case filch_case_token(filch_token *token);

/* A future that waits for a token's cancel. The fields but base are private. */
typedef struct filch_token_future {
    filch_future base;
    filch_token *token;
    uint32_t phase;
    uint64_t private_words[9];
} filch_token_future;

/**
 * filch_token_future_init() - a future that is ready when a token is cancelled, with result 0
 * @future: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @token:  borrowed as long
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_future_init(filch_token_future *future,
                                                       filch_token *token);

/* Cancels a token when it ends; see FILCH_TOKEN_GUARD(). The field is private. */
typedef struct filch_token_guard {
    filch_token *token;
} filch_token_guard;

/**
 * filch_token_guard_init() - from here on a token is to be cancelled
 * @guard: the caller's; ends with filch_token_guard_fini(). May be copied to another place, of
 *         which one is ended then.
 * @token: the guard keeps a reference; NULL: a guard of nothing
 *
 * Thread-safety: any thread; the guard belongs to one at a time. Suspends: no.
 */
FILCH_API void filch_token_guard_init(filch_token_guard *guard, filch_token *token);

/** filch_token_guard_disarm() - the token is not cancelled after all, and the guard's reference is
 * given up. NULL, and a guard of nothing, are allowed. Thread-safety: its owner. Suspends: no. */
FILCH_API void filch_token_guard_disarm(filch_token_guard *guard);

/** filch_token_guard_fini() - a plain cancel of the token, unless the guard was disarmed; gives the
 * reference up. NULL, and a second call, are allowed. Thread-safety: its owner. Suspends:
 * no. */
FILCH_API void filch_token_guard_fini(filch_token_guard *guard);

/* Cancels the token when the block is left, by whatever way:
 *
 *     FILCH_TOKEN_GUARD(guard, token);
 *     r = start_what_is_bound_to(token);
 *     if (r < 0)
 *         return r;                             -- cancelled
 *     filch_token_guard_disarm(&guard);         -- from here on it goes on without us
 */
#define FILCH_TOKEN_GUARD(name, token)                                                             \
    filch_token_guard name __attribute__((cleanup(filch_token_guard_fini)));                       \
    filch_token_guard_init(&name, (token))

/* In the caller's memory. The fields are private. */
typedef struct filch_hook {
    uint64_t private_words[5];
} filch_hook;

/**
 * filch_token_hook() - have a function called when a token is cancelled
 * @token: the caller has a reference until the hook was removed
 * @hook:  stays where it is until it was called or removed; @fn may free it
 * @fn:    called once with @arg, by whoever cancels; must not suspend or block. For what does, it
 *         spawns a task, by filch_runtime_spawn() if the canceller may be a plain thread.
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ECANCELED: it is cancelled already, and @fn
 * will not be called; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_hook(filch_token *token, filch_hook *hook,
                                                void (*fn)(void *arg), void *arg);

/**
 * filch_token_unhook() - take a hook back
 * @hook: of this token, and not freed by its function
 *
 * Afterwards the function does not run: if it does just now, this waits for its end, which, as the
 * function does not wait, comes soon. Not a cancellation point. Thread-safety: any task or plain
 * thread. Return: 0: it will never be called; -EALREADY: it has been; -EINPROGRESS: it is being, by
 * the caller (from within the function); -EINVAL (NULL).
 */
FILCH_API int filch_token_unhook(filch_token *token, filch_hook *hook);

/**
 * filch_token_bind() - cancel the running task when a token is
 *
 * Until the task ends; at once, if it is cancelled already. A reference is kept so long. To bind a
 * task from its beginning: filch_task_opts.token.
 *
 * Thread-safety: tasks and blocking jobs. Suspends: no. Return: 0; -EPERM (a plain thread);
 * -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_token_bind(filch_token *token);

/**
 * filch_scope_bind() - cancel a scope's children when a token is
 * @scope: must be ended by filch_scope_cancel_join() from then on, as FILCH_SCOPE() does
 *
 * At once, if it is cancelled already. One token per scope; a reference is kept until the end.
 * Thread-safety: the owner. Suspends: no. Return: 0; -EBUSY (bound already); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_scope_bind(filch_scope *scope, filch_token *token);

/* ---- blocks with a deadline, or a shield ---- */

/* Lives in the frame of the task that is in it. The fields are private. */
typedef struct filch_block {
    uint64_t private_words[9];
} filch_block;

/**
 * filch_deadline_begin() - from here on nothing waits beyond a time
 * @block: must stay where it is until filch_block_end(), which this task calls, innermost first
 * @time:  from then on the task counts as cancelled, with cause -ETIMEDOUT, until the block ends.
 * FILCH_NOW: at once
 *
 * Holds for every suspending call of the task, whatever its own `until`, and for tasks that it
 * spawns into a scope meanwhile, and theirs. An inner deadline does not extend an outer one.
 * FILCH_DEADLINE() does this and the end for you. Thread-safety: a task. Suspends: no.
 * Return: 0; -EPERM (a plain thread, a future's poll, a blocking job); -EOVERFLOW (65535 blocks in
 * each other); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_deadline_begin(filch_block *block, filch_time time);

/**
 * filch_shield_begin() - from here on the task's cancel is not seen, at most until a time
 * @time: then it is seen again; FILCH_NEVER: the clean-up itself sees to its end
 *
 * Hides the cancel of the task, of the deadlines around it, and the runtime's end, for as long as
 * it lasts; not deadlines that begin within. Within another shield it lasts no longer than that
 * one. Tasks spawned in it are not shielded. Otherwise as filch_deadline_begin().
 */
FILCH_API FILCH_MUST_CHECK int filch_shield_begin(filch_block *block, filch_time time);

/**
 * filch_block_end() - the end of a block that was begun by one of the two
 *
 * Does nothing for one that was refused; NULL is allowed. Suspends: no. Return: 0; -ETIMEDOUT: its
 * time has passed, and was seen.
 */
FILCH_API int filch_block_end(filch_block *block);

/**
 * filch_deadline() - the deadline in force for the running task
 *
 * For sending it on. Thread-safety: any thread. Suspends: no. Return: a time; FILCH_NEVER: none.
 */
FILCH_API filch_time filch_deadline(void);

/* For the macros. */
static inline filch_block *filch_deadline_enter(filch_block *block, filch_time time)
{
    (void)!filch_deadline_begin(block, time);
    return block;
}

static inline filch_block *filch_shield_enter(filch_block *block, filch_time time)
{
    (void)!filch_shield_begin(block, time);
    return block;
}

static inline void filch_block_leave(filch_block *block)
{
    (void)filch_block_end(block);
}

#define FILCH__BLOCK_NAMED(enter, time, block, once)                                               \
    for (filch_block block __attribute__((cleanup(filch_block_leave))),                            \
         *once = enter(&block, (time));                                                            \
         once; once = NULL)
#define FILCH__BLOCK_COUNTED(enter, time, number)                                                  \
    FILCH__BLOCK_NAMED(enter, time, filch__block_##number, filch__once_##number)
#define FILCH__BLOCK(enter, time, number) FILCH__BLOCK_COUNTED(enter, time, number)

/* The statement or block that follows has a deadline, or a shield. It may be left in any way
 * (break leaves it, and not a loop around it). Outside of tasks, where nothing is cancelled, it
 * simply runs. */
#define FILCH_DEADLINE(time) FILCH__BLOCK(filch_deadline_enter, time, __COUNTER__)
#define FILCH_SHIELD(time) FILCH__BLOCK(filch_shield_enter, time, __COUNTER__)

FILCH_END_DECLS

#endif
