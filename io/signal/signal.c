/* Signals: from a handler to those who wait.
 *
 *     handler, any thread        the signal thread              who waits
 *     1 set the number's bit     1 wait for the bell            a channel for one number,
 *     2 ring the bell       -->  2 take all bits                for each filch_signal
 *                                3 for each bit: try to send ->
 *
 *   [signal-bits] The bit is set before the bell rings, and taken after it was heard: so the thread
 * never sleeps over a bit. The bell is a semaphore: what a handler may post, and tools understand.
 *
 * A channel has room for one: that is the coalescing. Everything else - select, streams, futures,
 * cancel - is the channel's.
 *
 * Why a handler and not signalfd(2): that needs the signal blocked in every thread of the process,
 * and most are the host's. The signal thread unblocks what is open, so somebody always takes it,
 * and nothing else: what all of the host's threads block waits for its own signalfd(2) or
 * sigwait(3), or would end the process if we took it. A number is blocked again before its old
 * action is put back. The thread exists while something is open, and belongs to the process, as
 * signals do, not to a runtime.
 *
 * `lock` guards the list, the actions and what the thread is told; the handler takes no lock. In
 * the child of a fork there is no thread, so the handler puts the old action back and raises the
 * signal again. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filch/signal.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"
#include "runtime/sched/thread.h"

#define NUMBERS 65

struct filch_signal {
    struct filch__list link;
    int number;
    filch_chan *chan;                 /* of int */
    filch_shutdown_signals *shutdown; /* instead of the channel */
};

struct filch_shutdown_signals {
    filch_token *token;
    bool asked; /* of the signal thread */
    struct filch_signal interrupt, terminate;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct filch__list open_signals = {&open_signals, &open_signals};
/* Of a number that is open: written before the handler is there. */
static struct sigaction old_actions[NUMBERS];
static unsigned users[NUMBERS]; /* lock */
static unsigned users_of_all;   /* life */
static filch_atomic_u32 owner;  /* relaxed: the same for all but the child of a fork */
/* Bit n - 1 for number n. [signal-bits] */
static filch_atomic_u64 arrived;
static sem_t bell;
/* Starts and ends of the thread, and what it is to unblock, take their turn. Before `lock`. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread; /* life */
static bool ending;      /* lock */
static bool is_to_mask;  /* lock: the thread has yet to unblock what is open, and nothing else */
static pthread_cond_t masked = PTHREAD_COND_INITIALIZER;

static void handler(int number)
{
    int error = errno;

    if ((uint32_t)getpid() != filch_load_relaxed(&owner)) {
        sigaction(number, &old_actions[number], NULL);
        raise(number);
    } else {
        filch_fetch_or_acq_rel(&arrived, (uint64_t)1 << (number - 1)); /* [signal-bits] */
        sem_post(&bell);
    }
    errno = error;
}

static void ask_to_end(filch_shutdown_signals *shutdown, int number)
{
    if (shutdown->asked) {
        signal(number, SIG_DFL);
        kill(getpid(), number);
        return;
    }
    shutdown->asked = true;
    filch_token_cancel(shutdown->token, -EINTR, "a signal asked to end");
}

static void deliver_locked(int number)
{
    for (struct filch__list *link = open_signals.next; link != &open_signals;) {
        struct filch_signal *s = filch_container_of(link, struct filch_signal, link);

        link = link->next;
        if (s->number != number)
            continue;
        if (s->shutdown)
            ask_to_end(s->shutdown, number);
        else if (filch_chan_send(s->chan, &number, FILCH_NOW) < 0)
            continue; /* one waits to be taken */
    }
}

/* @mask: what the thread blocks while nothing is open. */
static void mask_locked(sigset_t mask)
{
    if (!is_to_mask)
        return;
    for (int number = 1; number < NUMBERS; number++)
        if (users[number])
            sigdelset(&mask, number);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    is_to_mask = false;
    pthread_cond_signal(&masked);
}

static void *thread_main(void *unused)
{
    bool is_over = false;
    sigset_t mask;

    (void)unused;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    pthread_setname_np(pthread_self(), "filch-signals");
    while (!is_over) {
        uint64_t bits;

        if (sem_wait(&bell) < 0) /* EINTR: by our own handler */
            continue;
        pthread_mutex_lock(&lock);
        mask_locked(mask);
        bits = filch_exchange_acq_rel(&arrived, 0); /* [signal-bits] */
        for (int number = 1; number < NUMBERS; number++)
            if (bits & (uint64_t)1 << (number - 1))
                deliver_locked(number);
        is_over = ending;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static bool may_be_opened(int number)
{
    switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case SIGABRT:
        return false;
    default:
        return number > 0 && number < NUMBERS && (number < 32 || number >= SIGRTMIN);
    }
}

static int take_action_locked(int number)
{
    struct sigaction ours = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigfillset(&ours.sa_mask);
    if (sigaction(number, NULL, &old_actions[number]) < 0 || sigaction(number, &ours, NULL) < 0)
        return -errno;
    return 0;
}

static bool has_thread(void)
{
    return users_of_all && (uint32_t)getpid() == filch_load_relaxed(&owner);
}

/* Nobody else opens or closes meanwhile, as the caller has `life`. */
static void give_action_back_locked(int number)
{
    struct sigaction now;

    is_to_mask = has_thread();
    sem_post(&bell);
    while (is_to_mask)
        pthread_cond_wait(&masked, &lock);
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == handler)
        sigaction(number, &old_actions[number], NULL);
}

static int enrol_locked(struct filch_signal *s)
{
    int r = users[s->number] ? 0 : take_action_locked(s->number);

    if (r < 0)
        return r;
    users[s->number]++;
    users_of_all++;
    filch__list_push_back(&open_signals, &s->link);
    is_to_mask = true;
    sem_post(&bell);
    return 0;
}

static void disenrol_locked(struct filch_signal *s)
{
    filch__list_remove(&s->link);
    if (--users[s->number] == 0)
        give_action_back_locked(s->number);
    users_of_all--;
}

static int start_thread(void)
{
    filch_store_relaxed(&owner, (uint32_t)getpid());
    filch_store_relaxed(&arrived, 0);
    ending = false;
    sem_init(&bell, 0, 0);
    return filch__thread_create(&thread, NULL, thread_main, NULL);
}

static void end_thread(void)
{
    pthread_mutex_lock(&lock);
    ending = true;
    pthread_mutex_unlock(&lock);
    sem_post(&bell);
    pthread_join(thread, NULL);
}

/* With `life`. */
static int enrol_first_or_more(struct filch_signal *s)
{
    bool first = users_of_all == 0;
    int r = first ? start_thread() : has_thread() ? 0 : -ECHILD;

    if (r < 0)
        return r;
    pthread_mutex_lock(&lock);
    r = enrol_locked(s);
    pthread_mutex_unlock(&lock);
    if (r < 0 && first)
        end_thread();
    return r;
}

static int enrol(struct filch_signal *s)
{
    int r;

    pthread_mutex_lock(&life);
    r = enrol_first_or_more(s);
    pthread_mutex_unlock(&life);
    return r;
}

static void disenrol(struct filch_signal *s)
{
    bool had_thread;

    pthread_mutex_lock(&life);
    had_thread = has_thread();
    pthread_mutex_lock(&lock);
    disenrol_locked(s);
    pthread_mutex_unlock(&lock);
    if (had_thread && !users_of_all)
        end_thread();
    pthread_mutex_unlock(&life);
}

int filch_signal_open(int number, filch_signal **ret_signal)
{
    filch_signal *s;
    int r;

    if (!ret_signal || !may_be_opened(number))
        return -EINVAL;
    s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->number = number;
    r = filch_chan_new(sizeof(int), 1, &s->chan);
    if (r == 0)
        r = enrol(s);
    if (r < 0) {
        filch_chan_unref(s->chan);
        free(s);
        return r;
    }
    *ret_signal = s;
    return 0;
}

void filch_signal_close(filch_signal *s)
{
    if (!s)
        return;
    disenrol(s);
    filch_chan_unref(s->chan);
    free(s);
}

int filch_signal_wait(filch_signal *s, int *ret_number, filch_time until)
{
    int number, r;

    if (!s)
        return -EINVAL;
    r = filch_chan_recv(s->chan, &number, until);
    if (r == 0 && ret_number)
        *ret_number = number;
    return r;
}

filch_case filch_case_signal(filch_signal *s, int *ret_number)
{
    return filch_case_recv(s && ret_number ? s->chan : NULL, ret_number);
}

int filch_signal_stream_init(filch_chan_stream *stream, filch_signal *s)
{
    return s ? filch_chan_stream_init(stream, s->chan, sizeof(int)) : -EINVAL;
}

int filch_shutdown_signals_open(filch_token *token, filch_shutdown_signals **ret_shutdown)
{
    filch_shutdown_signals *shutdown;
    int r;

    if (!token || !ret_shutdown)
        return -EINVAL;
    shutdown = calloc(1, sizeof *shutdown);
    if (!shutdown)
        return -ENOMEM;
    shutdown->token = filch_token_ref(token);
    shutdown->interrupt = (struct filch_signal){.number = SIGINT, .shutdown = shutdown};
    shutdown->terminate = (struct filch_signal){.number = SIGTERM, .shutdown = shutdown};
    r = enrol(&shutdown->interrupt);
    if (r == 0) {
        r = enrol(&shutdown->terminate);
        if (r < 0)
            disenrol(&shutdown->interrupt);
    }
    if (r < 0) {
        filch_token_unref(shutdown->token);
        free(shutdown);
        return r;
    }
    *ret_shutdown = shutdown;
    return 0;
}

void filch_shutdown_signals_close(filch_shutdown_signals *shutdown)
{
    if (!shutdown)
        return;
    disenrol(&shutdown->interrupt);
    disenrol(&shutdown->terminate);
    filch_token_unref(shutdown->token);
    free(shutdown);
}
