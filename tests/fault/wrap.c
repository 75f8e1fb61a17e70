/* See wrap.h. Each wrapper counts its calls and, when it is its turn, fails as the real function
 * does. Here are those of memory and of syscall(2); wrap_calls.c has the others. */
#include "tests/fault/wrap.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "tests/runner/wrapped_syscall.h"

const struct fault_kind fault_kinds[FAULT_N] = {
#define FUNCTION(name, ...) {#name, {__VA_ARGS__}},
    FAULT_FUNCTIONS(FUNCTION)
#undef FUNCTION
#define CALL(name, ...) {"SYS_" #name, {__VA_ARGS__}},
        FAULT_CALLS(CALL)
#undef CALL
};

static _Atomic unsigned calls[FAULT_N];
static unsigned calls_of_start[FAULT_N];
static enum fault_function target = FAULT_N;
static bool is_armed;
static unsigned target_call;
static bool target_always;
static int target_error;
static atomic_bool happened;
static _Atomic long live;

void fault_arm(enum fault_function function, unsigned nth, bool always, int error)
{
    is_armed = true;
    target = function;
    target_call = nth;
    target_always = always;
    target_error = error;
}

bool fault_is_armed(void)
{
    return is_armed;
}

unsigned fault_calls(enum fault_function function)
{
    return calls[function];
}

void fault_mark_start(void)
{
    for (int i = 0; i < FAULT_N; i++)
        calls_of_start[i] = calls[i];
}

unsigned fault_calls_of_start(enum fault_function function)
{
    return calls_of_start[function];
}

bool fault_happened(void)
{
    return happened;
}

long fault_live_allocations(void)
{
    return live;
}

bool fault_fails(enum fault_function function)
{
    unsigned call = atomic_fetch_add(&calls[function], 1) + 1;

    if (function != target || (target_always ? call < target_call : call != target_call))
        return false;
    happened = true;
    errno = target_error;
    return true;
}

static void *counted(void *memory)
{
    if (memory)
        live++;
    return memory;
}

#define WRAP_ALLOC(name, parameters, arguments)                                                    \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fault_fails(FAULT_##name) ? NULL : counted(__real_##name arguments);                \
    }

WRAP_ALLOC(malloc, (size_t bytes), (bytes))
WRAP_ALLOC(calloc, (size_t n, size_t bytes), (n, bytes))
WRAP_ALLOC(aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
WRAP_ALLOC(strdup, (const char *text), (text))
WRAP_ALLOC(strndup, (const char *text, size_t bytes), (text, bytes))
WRAP_ALLOC(realpath, (const char *path, char *to), (path, to))

void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes)
{
    void *moved;

    if (fault_fails(FAULT_realloc))
        return NULL;
    moved = __real_realloc(memory, bytes);
    if (moved && !memory)
        live++;
    return moved;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    if (memory)
        live--;
    __real_free(memory);
}

/* getline(3). The caller frees the line. */
ssize_t __real___getdelim(char **line, size_t *bytes, int end, FILE *file);
ssize_t __wrap___getdelim(char **line, size_t *bytes, int end, FILE *file);
ssize_t __wrap___getdelim(char **line, size_t *bytes, int end, FILE *file)
{
    bool had_one = *line != NULL;
    ssize_t n;

    if (fault_fails(FAULT___getdelim))
        return -1;
    n = __real___getdelim(line, bytes, end, file);
    if (!had_one)
        counted(*line);
    return n;
}

/* Waking has no way to fail. */
static bool is_wake(long number, const long *arg)
{
    return number == SYS_futex && (arg[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;
}

static bool refuses_syscall(long number, const long *arg)
{
    if (is_wake(number, arg))
        return false;
    switch (number) {
#define CALL(name, ...)                                                                            \
    case SYS_##name:                                                                               \
        return fault_fails(FAULT_CALL_##name);
        FAULT_CALLS(CALL)
#undef CALL
    default:
        fprintf(stderr, "system call %ld stands neither in wrap.h nor in not_wrapped.txt\n",
                number);
        abort();
    }
}
