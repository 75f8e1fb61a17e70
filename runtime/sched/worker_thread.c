/* A worker's thread: how code finds out on which worker it runs, and what a thread brings along
 * when it becomes one and gets back afterwards. The loop is in worker.c.
 *
 * A task may move to another thread whenever it suspends, so the answer is never cached across
 * that: where the processor tells the thread's pointer, it is read anew, with a constant offset
 * (self.h); elsewhere by a call that the compiler does not see through.
 */
#include "runtime/sched/worker.h"

#include <errno.h>

#include "runtime/fork/fork.h"
#include "runtime/task/overflow.h"

static __thread struct filch__worker *self_worker __attribute__((tls_model("initial-exec")));

#if defined(__x86_64__) || defined(__aarch64__)

intptr_t filch__worker_self_offset;

/* Before any other constructor that may use the library. */
__attribute__((constructor(101))) static void find_self_offset(void)
{
    uintptr_t thread;

#if defined(__x86_64__)
    __asm__("movq %%fs:0, %0" : "=r"(thread));
#else
    __asm__("mrs %0, tpidr_el0" : "=r"(thread));
#endif
    filch__worker_self_offset = (intptr_t)((uintptr_t)&self_worker - thread);
}

#else

__attribute__((noinline)) struct filch__worker *filch__worker_self(void)
{
    struct filch__worker *worker = self_worker;

    /* Keeps the compiler from treating the call as pure: the answer changes when a task moves. */
    __asm__ volatile("" : "+r"(worker));
    return worker;
}

#endif

void filch__worker_forked(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (worker && worker->current)
        filch__task_forked(worker->current);
    self_worker = NULL;
}

struct filch__task *filch__task_current(void)
{
    struct filch__worker *worker = filch__worker_self();

    return worker ? worker->current : NULL;
}

struct filch__lane *filch__worker_lane(void)
{
    struct filch__worker *worker = filch__worker_self();

    return worker ? worker->lane : NULL;
}

unsigned filch__worker_backlog(void)
{
    struct filch__worker *worker = filch__worker_self();

    return worker ? (unsigned)filch__worker_queued(worker) : 0;
}

/* For the sanitizers, which follow each switch. Learned once for each thread: it is a file to be
 * read. */
#ifdef FILCH__SWITCH_SANITIZED
static void learn_own_stack(struct filch__worker *worker)
{
    static __thread void *low;
    static __thread size_t bytes;
    pthread_attr_t attr;

    if (!bytes && pthread_getattr_np(pthread_self(), &attr) == 0) {
        if (pthread_attr_getstack(&attr, &low, &bytes))
            bytes = 0;
        pthread_attr_destroy(&attr);
    }
    worker->loop.low = low;
    worker->loop.bytes = bytes;
#ifdef FILCH__TSAN
    worker->loop.tsan_fiber = __tsan_get_current_fiber();
#endif
}
#endif

void filch__worker_sit(struct filch__worker *worker, struct filch__host *host)
{
    host->saved_errno = errno;
    self_worker = worker;
    worker->errno_at = &errno;
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        worker->stacks[i].size_class = (enum filch__stack_class)i;
    worker->cxx_state = filch__cxx_state();
    host->cxx = *worker->cxx_state;
    if (host->cxx.caught || host->cxx.uncaught)
        *worker->cxx_state = (struct filch__cxx_state){0}; /* [clean-thread] */
    if (!worker->overflow_stack && !worker->rt->opts.no_overflow_handler)
        worker->overflow_stack = filch__overflow_stack_new();
    host->lent_stack = filch__overflow_enter_thread(worker->overflow_stack);
    filch__rcu_sit(&host->rcu);
#ifdef FILCH__SWITCH_SANITIZED
    learn_own_stack(worker);
#endif
}

void filch__worker_rise(struct filch__worker *worker, const struct filch__host *host)
{
    filch__rcu_rise(&host->rcu);
    if (host->lent_stack)
        filch__overflow_leave_thread();
    if (host->cxx.caught || host->cxx.uncaught)
        *worker->cxx_state = host->cxx;
    self_worker = NULL;
    errno = host->saved_errno;
}

void filch__worker_empty(struct filch__worker *worker)
{
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        filch__stack_cache_fini(&worker->stacks[i]);
    filch__fork_empty(worker);
    filch__task_blocks_return(worker);
    filch__overflow_stack_free(worker->overflow_stack);
    worker->overflow_stack = NULL;
}
