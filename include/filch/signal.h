/* Signals: as something that tasks wait for.
 *
 *     filch_signal *hup;
 *     int number;
 *
 *     filch_signal_open(SIGHUP, &hup);
 *     while (filch_signal_wait(hup, &number, FILCH_NEVER) == 0)
 *         reload();
 *     filch_signal_close(hup);
 *
 * While at least one is open for a signal, its action is ours; it is what it was before when the
 * last one is closed, unless somebody has changed it meanwhile. Each of those that are open gets
 * each signal, whichever runtime waits in it. Signals are coalesced, as the kernel does it: what
 * comes while one waits to be taken is the same one; but after each signal there is one to take. A
 * signal counts for the process, so one sent to a single thread does, too. Signals that come before
 * the open are not seen.
 *
 * A thread of ours, which is there while one is open and blocks all other signals, sees to it that
 * they arrive also when all others block them, as the runtime's do. System calls of the program's
 * threads that were interrupted go on, where the kernel can (SA_RESTART). The child of a fork gets
 * nothing: the old action takes place.
 */
#ifndef FILCH_SIGNAL_H
#define FILCH_SIGNAL_H

#include <filch/base.h>
#include <filch/cancel.h>
#include <filch/select.h>
#include <filch/stream.h>

FILCH_BEGIN_DECLS

typedef struct filch_signal filch_signal;

/**
 * filch_signal_open() - have a signal wait to be taken, instead of what it does
 * @number:     not SIGKILL, SIGSTOP, nor what a thread's own fault raises (SIGSEGV, SIGBUS, SIGFPE,
 *              SIGILL, SIGTRAP, SIGSYS, SIGABRT)
 * @ret_signal: ended by filch_signal_close()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, such a number); -ENOMEM;
 * -EAGAIN (no thread can be had); -ECHILD (in the child of a fork, of a process that had one open).
 */
FILCH_API FILCH_MUST_CHECK int filch_signal_open(int number, filch_signal **ret_signal);

/** filch_signal_close() - nobody may wait in it. NULL is allowed. A signal that was not taken is
 * dropped. Thread-safety: any thread. Suspends: no. */
FILCH_API void filch_signal_close(filch_signal *signal);

/**
 * filch_signal_wait() - take a signal, waiting for it
 * @ret_number: its number; may be NULL
 *
 * Thread-safety: any task or plain thread; of several in the same one, each signal has one taker.
 * Suspends: yes. Cancellation point: yes; nothing was taken then. Return: 0; -ETIMEDOUT;
 * -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_signal_wait(filch_signal *signal, int *ret_number,
                                                 filch_time until);

/** filch_case_signal() - filch_signal_wait() as a case of a select. @ret_number: not NULL. `result`
 * is 0. */
FILCH_API filch_case filch_case_signal(filch_signal *signal, int *ret_number);

/** filch_signal_stream_init() - the signals, as a stream of int without an end. @signal: borrowed
 * until the drop. Return: 0; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_signal_stream_init(filch_chan_stream *stream,
                                                        filch_signal *signal);

typedef struct filch_shutdown_signals filch_shutdown_signals;

/**
 * filch_shutdown_signals_open() - the first SIGINT or SIGTERM asks to end, the second one ends
 * @token:        cancelled with the cause -EINTR by the first one; a reference is kept
 * @ret_shutdown: ended by filch_shutdown_signals_close()
 *
 * The second one has the signal's default action: the process dies of it. For servers: give the
 * token to what accepts, and close it at the end. Thread-safety: any thread. Suspends: no. Return:
 * as filch_signal_open().
 */
FILCH_API FILCH_MUST_CHECK int filch_shutdown_signals_open(filch_token *token,
                                                           filch_shutdown_signals **ret_shutdown);

/** filch_shutdown_signals_close() - NULL is allowed. Thread-safety: any thread. Suspends: no. */
FILCH_API void filch_shutdown_signals_close(filch_shutdown_signals *shutdown);

FILCH_END_DECLS

#endif
