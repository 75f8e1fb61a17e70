/* See switch_state.h.
 *
 * The C++ runtime is found by a weak reference, which the loader binds when libstdc++ or libc++abi
 * comes with the program, or, when the program got it by dlopen(), by a look at the global scope
 * when a worker starts. A C++ library that is loaded later, or into a scope of its own, is not
 * found: such a program links or preloads one.
 */
#include "runtime/task/switch_state.h"

#include <dlfcn.h>

#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"

typedef struct filch__cxx_state *(*cxx_get_fn)(void);

struct filch__cxx_state *__cxa_get_globals(void) __attribute__((weak));

struct filch__cxx_state *filch__cxx_state(void)
{
    static struct filch__cxx_state none; /* never written: nobody throws */
    cxx_get_fn get = __cxa_get_globals;

    if (get)
        return get();
    get = (cxx_get_fn)(uintptr_t)dlsym(RTLD_DEFAULT, "__cxa_get_globals");
    if (get)
        return get();
    /* The second call frees what the first one returns, which the library keeps for each thread,
     * and the child of a fork could not reach. */
    (void)dlerror();
    (void)dlerror();
    return &none;
}

#if defined(__x86_64__)

uint64_t filch__fp_control(void)
{
    uint32_t mxcsr;
    uint16_t x87;

    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87) : : "memory");
    return mxcsr | (uint64_t)x87 << 32;
}

static void fp_control_set(uint64_t control)
{
    uint32_t mxcsr = (uint32_t)control;
    uint16_t x87 = (uint16_t)(control >> 32);

    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87) : "memory");
}

#elif defined(__aarch64__)

uint64_t filch__fp_control(void)
{
    uint64_t fpcr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr) : : "memory");
    return fpcr;
}

static void fp_control_set(uint64_t control)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(control) : "memory");
}

#endif

/* Around the body of a task with save_fp. */
static int fp_body(void *arg)
{
    struct filch__task *task = filch__task_current();
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    int result;

    fp_control_set(rt->fp_control);
    result = task->fp_fn(arg);
    fp_control_set(rt->fp_control); /* [clean-thread] */
    return result;
}

void filch__switch_state_save_fp(struct filch__task *task)
{
    task->fp_fn = task->fn;
    task->fn = fp_body;
    task->flags |= FILCH_TASK_SAVE_FP;
}

__attribute__((noinline)) void filch__switch_with_state(struct filch__worker *worker,
                                                        struct filch__task *task, void **fake_stack,
                                                        const struct filch__switch_target *to)
{
    struct filch__fork_stack *forks = filch__fork_leave(worker);
    struct filch__cxx_state cxx = *worker->cxx_state;
    bool save_fp = task->flags & FILCH_TASK_SAVE_FP;
    uint64_t fp_control = 0;

    /* [clean-thread] */
    if (cxx.caught || cxx.uncaught)
        *worker->cxx_state = (struct filch__cxx_state){0};
    if (save_fp) {
        fp_control = filch__fp_control();
        fp_control_set(worker->rt->fp_control);
    }
    filch__switch_to(&task->sp, fake_stack, to);
    /* Perhaps another thread. */
    if (cxx.caught || cxx.uncaught)
        *filch__worker_self()->cxx_state = cxx;
    if (save_fp)
        fp_control_set(fp_control);
    filch__fork_return(forks);
}
