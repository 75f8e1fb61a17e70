/* What is done once, by whoever comes first, while the others wait for it.
 *
 *     static filch_once once = FILCH_ONCE_INIT;
 *     static struct config config;
 *
 *     r = filch_once_do(&once, config_load, &config, FILCH_NEVER);      -- config_load(&config)
 *     if (r < 0)
 *         return r;
 *     use(&config);
 *
 * A value of any size is so kept beside its once. filch_once_cell keeps a pointer, and says which:
 *
 *     r = filch_once_cell_get(&cell, pool_open, "db:5432", &pool, FILCH_NEVER);
 *
 * Where one side sets and others only wait, which need not know how it is made:
 *
 *     r = filch_once_cell_set(&cell, pool);                 -- -EALREADY: somebody was faster
 *     r = filch_once_cell_wait(&cell, &pool, FILCH_NEVER);
 *
 * An attempt that fails (a negative result, also -ECANCELED of a cancelled runner) does not count:
 * one of those who wait, the first, makes the next. What was done is visible to all whom a call has
 * told 0. A once of zeros is as good as FILCH_ONCE_INIT.
 */
#ifndef FILCH_ONCE_H
#define FILCH_ONCE_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Lives in static memory or the caller's, and must stay where it is. The fields are private. */
typedef struct filch_once {
    uint64_t private_words[6];
} filch_once;

#define FILCH_ONCE_INIT                                                                            \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/**
 * filch_once_init() - the same as FILCH_ONCE_INIT, at run time
 * @once: filled; NULL is ignored
 *
 * Thread-safety: nobody uses it yet. Suspends: no.
 */
FILCH_API void filch_once_init(filch_once *once);

/**
 * filch_once_fini() - end it, before its memory goes
 * @once: nobody runs it or waits for it: else the process aborts, unless built with -Dasserts=off;
 * NULL is ignored
 *
 * Thread-safety: the last user. Suspends: no.
 */
FILCH_API void filch_once_fini(filch_once *once);

/**
 * filch_once_do() - run a function unless that was done; wait while somebody else runs it
 * @fn:    may suspend; a negative result is a failure, and the next caller tries
 * @arg:   passed to @fn
 * @until: for waiting; a caller that runs @fn runs it, whatever the time
 *
 * Thread-safety: any task or plain thread. Suspends: yes, while somebody else runs it.
 * Cancellation point: yes, while waiting: the others' attempt goes on. Return: 0 (it was done, now
 * or before); what @fn returned, if the caller ran it and it has failed; -ETIMEDOUT; -ECANCELED;
 * -EDEADLK (from within @fn); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_once_do(filch_once *once, filch_fn fn, void *arg,
                                             filch_time until);

/**
 * filch_once_try_do() - run a function unless that was done, or is being done
 * @fn: as for filch_once_do(); suspends if it does
 *
 * So the caller learns whether it was he. Thread-safety: any task or plain thread. Waits for
 * nobody. Return: 0 (the caller has done it); -EALREADY (it was done before); -EBUSY (somebody runs
 * it: it may fail, and then anybody may try again); what @fn returned, if it has failed; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_once_try_do(filch_once *once, filch_fn fn, void *arg);

/**
 * filch_once_wait() - wait until it was done, by somebody else
 * @until: FILCH_NOW looks once
 *
 * The caller is never asked to run it: a failed attempt does not end the wait, and if nobody tries,
 * it lasts for ever. Thread-safety: any task or plain thread, any number at once. Suspends: yes.
 * Cancellation point: yes. Return: 0; -ETIMEDOUT; -ECANCELED; -EDEADLK (from within the function);
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_once_wait(filch_once *once, filch_time until);

/** filch_case_once() - a case of a select: filch_once_wait(). The case's result is 0; within the
 * function it does not win. NULL makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_once(filch_once *once);

/**
 * filch_once_is_done() - has it been done?
 *
 * What was done is visible if so. Thread-safety: any thread. Suspends: no. Return: false for NULL.
 */
FILCH_API bool filch_once_is_done(const filch_once *once);

/* A pointer that is made or set once. The fields but `once` are private. */
typedef struct filch_once_cell {
    filch_once once;
    void *value;
} filch_once_cell;

#define FILCH_ONCE_CELL_INIT                                                                       \
    {                                                                                              \
        FILCH_ONCE_INIT, NULL                                                                      \
    }

/* Makes the value. Return: 0 or more, with *@ret_value set; or an error. May suspend. */
typedef int (*filch_once_make)(void *arg, void **ret_value);

/**
 * filch_once_cell_get() - the value, made if there is none yet
 * @make:      run once, as the function of filch_once_do()
 * @ret_value: gets the value, which stays the cell's; untouched on failure
 *
 * All else as filch_once_do().
 */
FILCH_API FILCH_MUST_CHECK int filch_once_cell_get(filch_once_cell *cell, filch_once_make make,
                                                   void *arg, void **ret_value, filch_time until);

/**
 * filch_once_cell_set() - the value, from whoever has it
 * @value: the cell's on success, else still the caller's; NULL is a value
 *
 * Wakes all who wait for it. Thread-safety: any thread. Suspends: no. Return: 0; -EALREADY (there
 * is a value); -EBUSY (one is being made: that may fail, and then anybody may try again); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_once_cell_set(filch_once_cell *cell, void *value);

/**
 * filch_once_cell_wait() - wait for a value that others set, or make
 * @ret_value: gets the value, which stays the cell's; untouched on failure
 *
 * All else as filch_once_wait(). In a select: filch_case_once(&cell->once), then
 * filch_once_cell_peek(). Return: as filch_once_wait(); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_once_cell_wait(filch_once_cell *cell, void **ret_value,
                                                    filch_time until);

/**
 * filch_once_cell_peek() - the value, if it was made
 *
 * Thread-safety: any thread. Suspends: no. Return: the value; NULL if there is none, and for NULL.
 */
FILCH_API void *filch_once_cell_peek(const filch_once_cell *cell);

FILCH_END_DECLS

#endif
