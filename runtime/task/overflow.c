/* See overflow.h.
 *
 * A task that runs out of stack touches its guard, and the kernel sends SIGSEGV, which the handler
 * takes on a stack of the worker's own (or of the host's thread that drives, if that has one). If
 * the address lies in a guard of ours, it says which task it was, where that was spawned and how
 * large the stack is; all else is none of our business. In both cases the signal then goes where it
 * would have gone without us: to the handler that the program had installed before, or to the
 * default, by which the process ends with the same signal and a core at the faulting instruction.
 *
 * The handler takes no lock and allocates nothing. The modules' names, to print addresses that
 * addr2line understands, were collected when the first runtime started.
 *
 * A program that installs its own handler after that gets the signal first, and may call ours,
 * which it got as the old action. Under AddressSanitizer and ThreadSanitizer the signals are
 * theirs.
 */
#include "runtime/task/overflow.h"

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
#define MODULES_MAX 64
#define MODULE_NAME 128
#define MESSAGE_BYTES 768

struct filch__overflow_stack {
    char memory[HANDLER_STACK_BYTES];
};

struct module {
    uintptr_t base, low, high; /* load address; mapped from low to before high */
    char name[MODULE_NAME];
};

static const int signals[] = {SIGSEGV, SIGBUS};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* Under the lock; the handler reads what was written before it was installed. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction previous[SIGNALS];
static struct module modules[MODULES_MAX];
static unsigned modules_known;

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

static void add_place(struct text *text, uintptr_t place)
{
    place -= place != 0; /* the call, not what follows it */
    for (unsigned i = 0; i < modules_known; i++) {
        if (place < modules[i].low || place >= modules[i].high)
            continue;
        add(text, modules[i].name);
        add(text, "+0x");
        add_number(text, place - modules[i].base, 16);
        add(text, " (addr2line -fe ");
        add(text, modules[i].name);
        add(text, " 0x");
        add_number(text, place - modules[i].base, 16);
        add(text, ")");
        return;
    }
    add(text, "0x");
    add_number(text, place, 16);
}

static void say(const struct filch__task *task)
{
    struct text text = {.used = 0};

    add(&text, "filch: stack overflow in task \"");
    add(&text, task->flags & FILCH_TASK_NAMED ? task->name : "");
    add(&text, "\", spawned at ");
    add_place(&text, (uintptr_t)task->stack->spawn_place);
    add(&text, ": its stack of ");
    add_number(&text, filch__stack_bytes(task->stack->size_class), 10);
    add(&text, " bytes is used up. Spawn it with more stack_bytes, or keep less on the stack.\n");
    if (write(STDERR_FILENO, text.bytes, text.used) < 0)
        return; /* nobody to tell */
}

static void to_previous(int signal, siginfo_t *info, void *context)
{
    struct sigaction *old = &previous[signal == SIGSEGV ? 0 : 1];

    if (old->sa_flags & SA_SIGINFO) {
        old->sa_sigaction(signal, info, context);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signal);
    } else {
        /* The instruction is tried again, or, when somebody sent it, the signal: without us. */
        sigaction(signal, old, NULL);
        if (info->si_code <= 0)
            raise(signal);
    }
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *task = worker ? worker->current : NULL;
    enum filch__stack_class size_class;

    if (info->si_code > 0 && task && task->stack &&
        filch__stack_of_guard(info->si_addr, &size_class)) {
        struct sigaction die = {.sa_handler = SIG_DFL};

        say(task);
        to_previous(signal, info, context);
        sigaction(signal, &die, NULL); /* there is nothing to go on with */
        return;
    }
    to_previous(signal, info, context);
}

/* ---- installing it ---- */

static int learn_module(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    struct module *module = &modules[modules_known];
    const char *name = info->dlpi_name;
    char path[MODULE_NAME];
    ssize_t n;

    (void)bytes;
    (void)arg;
    if (!name || !*name) {
        n = readlink("/proc/self/exe", path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        name = path;
    }
    module->base = info->dlpi_addr;
    module->low = UINTPTR_MAX;
    module->high = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type != PT_LOAD)
            continue;
        if (start < module->low)
            module->low = start;
        if (start + segment->p_memsz > module->high)
            module->high = start + segment->p_memsz;
    }
    snprintf(module->name, sizeof module->name, "%s", name);
    return ++modules_known == MODULES_MAX;
}

static bool is_ours(int signal)
{
    struct sigaction now;

    return sigaction(signal, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_fault;
}

static void take_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    modules_known = 0;
    dl_iterate_phdr(learn_module, NULL);
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        if (!is_ours(signals[i])) /* a child of a fork inherits them */
            sigaction(signals[i], &action, &previous[i]);
}

static void give_signals_back(void)
{
    for (int i = 0; i < SIGNALS; i++)
        if (is_ours(signals[i]))
            sigaction(signals[i], &previous[i], NULL);
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
