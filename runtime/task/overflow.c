/* See overflow.h.
 *
 * A task that runs out of stack touches its guard, and the kernel sends SIGSEGV, which the handler
 * takes on a stack of the worker's own (or of the host's thread that drives, if that has one). If
 * the address lies in a guard of ours, it says which task it was, where that was spawned and how
 * large the stack is; all else is none of our business. In both cases the signal then goes where it
 * would have gone without us: to the handler that the program had installed before, or to the
 * default, by which the process ends with the same signal and a core at the faulting instruction.
 *
 * The handler takes no lock and allocates nothing: slabs are searched without a lock, and
 * _dl_find_object(), which dladdr() is not, is made for signal handlers.
 *
 * A program that installs its own handler after that gets the signal first, and may call ours,
 * which it got as the old action. It may do so when the last runtime is gone, too: ours is taken
 * out only from the top, and when it was left below another it is not put on top once more, since
 * two handlers that call each other never end. Under AddressSanitizer and ThreadSanitizer the
 * signals are theirs.
 */
#include "runtime/task/overflow.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/sched/worker.h"
#include "runtime/task/stack.h"
#include "runtime/task/task.h"

#define HANDLER_STACK_BYTES ((size_t)64 << 10)
#define PROGRAM_BYTES 256
#define MESSAGE_BYTES 1024

struct filch__overflow_stack {
    char memory[HANDLER_STACK_BYTES];
};

/* A signal that we take. */
struct taken {
    int signal;
    bool is_taken; /* ours was put in, and not taken out since */
    struct sigaction previous;
};

/* Under the lock; the handler reads what was written before it was installed. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct taken taken[] = {{.signal = SIGSEGV}, {.signal = SIGBUS}};
static char program[PROGRAM_BYTES]; /* which has no name in the list of modules */

enum { SIGNALS = sizeof taken / sizeof taken[0] };

/* ---- in the handler ---- */

struct text {
    char bytes[MESSAGE_BYTES];
    size_t used;
};

static void add(struct text *text, const char *string)
{
    for (; *string && text->used < sizeof text->bytes; string++)
        text->bytes[text->used++] = *string;
}

static void add_number(struct text *text, uintptr_t value, unsigned base)
{
    char digits[24];
    size_t i = sizeof digits - 1;

    digits[i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    add(text, digits + i);
}

/* As addr2line wants it, if the module is known. */
static bool add_module(struct text *text, uintptr_t place)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
    struct dl_find_object found;
    const char *name;

    if (_dl_find_object((void *)place, &found) < 0)
        return false;
    name = *found.dlfo_link_map->l_name ? found.dlfo_link_map->l_name : program;
    place -= found.dlfo_link_map->l_addr;
    add(text, name);
    add(text, "+0x");
    add_number(text, place, 16);
    add(text, " (addr2line -fe ");
    add(text, name);
    add(text, " 0x");
    add_number(text, place, 16);
    add(text, ")");
    return true;
#else
    (void)text;
    return place == 0 && *program == 0;
#endif
}

static void add_place(struct text *text, uintptr_t place)
{
    place -= place != 0; /* the call, not what follows it */
    if (add_module(text, place))
        return;
    add(text, "0x");
    add_number(text, place, 16);
}

/* @task is NULL if it is not known, as when somebody else runs into the guard. */
static void say(const struct filch__task *task, enum filch__stack_class size_class)
{
    struct text text = {.used = 0};

    if (task) {
        add(&text, "filch: stack overflow in task \"");
        add(&text, task->flags & FILCH_TASK_NAMED ? task->name : "");
        add(&text, "\", spawned at ");
        add_place(&text, (uintptr_t)task->stack->spawn_place);
    } else {
        add(&text, "filch: stack overflow, or an access below a task's stack");
    }
    add(&text, ": its stack of ");
    add_number(&text, filch__stack_bytes(size_class), 10);
    add(&text, " bytes is used up. Spawn it with more stack_bytes, or keep less on the stack.\n");
    if (write(STDERR_FILENO, text.bytes, text.used) < 0)
        return; /* nobody to tell */
}

/* A fault happens again when its instruction is tried again; what somebody sent is sent again. */
static void by_default(int signal, const siginfo_t *info)
{
    struct sigaction die = {.sa_handler = SIG_DFL};

    sigaction(signal, &die, NULL);
    if (info->si_code <= 0)
        raise(signal);
}

static void to_previous(struct taken *from, siginfo_t *info, void *context)
{
    struct sigaction old = from->previous;

    if (old.sa_flags & SA_RESETHAND)
        from->previous = (struct sigaction){.sa_handler = SIG_DFL};
    if (old.sa_flags & SA_SIGINFO)
        old.sa_sigaction(from->signal, info, context);
    else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
        old.sa_handler(from->signal);
    else if (old.sa_handler == SIG_DFL || info->si_code > 0) /* a fault cannot be ignored */
        by_default(from->signal, info);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    struct taken *from = &taken[signal == SIGSEGV ? 0 : 1];
    const struct filch__task *task = filch__task_current();
    int saved_errno = errno;
    enum filch__stack_class size_class;
    struct filch__stack *stack = NULL;

    if (info->si_code > 0)
        stack = filch__stack_of_guard(info->si_addr, &size_class);
    if (stack)
        say(task && task->stack == stack ? task : NULL, size_class);
    errno = saved_errno;
    to_previous(from, info, context);
    if (stack) {
        struct sigaction die = {.sa_handler = SIG_DFL};

        sigaction(signal, &die, NULL); /* there is nothing to go on with */
    }
}

/* ---- installing it ---- */

static bool is_on_top(int signal)
{
    struct sigaction now;

    return sigaction(signal, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_fault;
}

static void take_signal(struct taken *to)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (to->is_taken)
        return;
    /* First, so that it is there before ours can be called. */
    sigaction(to->signal, NULL, &to->previous);
    action.sa_mask = to->previous.sa_mask;
    action.sa_flags |= to->previous.sa_flags & (SA_RESTART | SA_NODEFER);
    to->is_taken = sigaction(to->signal, &action, NULL) == 0;
}

static void take_signals(void)
{
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    program[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < SIGNALS; i++)
        take_signal(&taken[i]);
}

static void give_signals_back(void)
{
    for (int i = 0; i < SIGNALS; i++)
        if (is_on_top(taken[i].signal) && sigaction(taken[i].signal, &taken[i].previous, NULL) == 0)
            taken[i].is_taken = false;
}

void filch__overflow_forked(void)
{
    static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;

    lock = unlocked;
    users = 0;
}

void filch__overflow_begin(void)
{
#ifdef FILCH__SWITCH_SANITIZED
    return;
#endif
    pthread_mutex_lock(&lock);
    if (users++ == 0)
        take_signals();
    pthread_mutex_unlock(&lock);
}

void filch__overflow_end(void)
{
#ifdef FILCH__SWITCH_SANITIZED
    return;
#endif
    pthread_mutex_lock(&lock);
    if (--users == 0)
        give_signals_back();
    pthread_mutex_unlock(&lock);
}

struct filch__overflow_stack *filch__overflow_stack_new(void)
{
#ifdef FILCH__SWITCH_SANITIZED
    return NULL;
#else
    return malloc(sizeof(struct filch__overflow_stack));
#endif
}

void filch__overflow_stack_free(struct filch__overflow_stack *stack)
{
    free(stack);
}

bool filch__overflow_enter_thread(struct filch__overflow_stack *stack)
{
    stack_t now, ours = {.ss_size = HANDLER_STACK_BYTES};

    if (!stack || sigaltstack(NULL, &now) < 0 || !(now.ss_flags & SS_DISABLE))
        return false;
    ours.ss_sp = stack->memory;
    return sigaltstack(&ours, NULL) == 0;
}

void filch__overflow_leave_thread(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
}
