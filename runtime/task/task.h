/* The task control block, and what the runtime's parts ask of each other about tasks. */
#ifndef FILCH_TASK_TASK_H
#define FILCH_TASK_TASK_H

#include <filch/future.h>
#include <filch/runtime.h>
#include <filch/task.h>

#include "runtime/base/handle.h"
#include "runtime/base/list.h"
#include "runtime/base/pool.h"
#include "runtime/task/stack.h"
#include "runtime/task/state.h"
#include "runtime/task/waiter.h"
#include "runtime/time/wheel.h"

struct filch__worker;
struct filch__scope;
struct filch__locals;
struct filch__block;
struct filch__inherited;
struct filch__fork_stack;
struct filch__group;

enum filch__kind {
    FILCH_KIND_STACKFUL = 0,
    /* The next three have a stack, too, and are never in a run queue: apart. */
    FILCH_KIND_GROUPED,  /* in a group: sched/group.h */
    FILCH_KIND_PLACED,   /* begins on the worker `pinned_to`, and is STACKFUL from then on */
    FILCH_KIND_PINNED,   /* always on the worker `pinned_to`; sched/mailbox.c */
    FILCH_KIND_FUTURE,   /* polled on the worker's own stack */
    FILCH_KIND_BLOCKING, /* runs on the blocking pool */
};

/* What a task has besides a body: so that one without touches the first cache line only. Not
 * changed once it is queued: others read them at any time. */
enum filch__task_flags {
    FILCH_TASK_COPIED = 1, /* arg is our copy, to be freed */
    FILCH_TASK_SCOPED = 2, /* in `scope` */
    FILCH_TASK_NAMED = 4,
    FILCH_TASK_SAVE_FP = 8,   /* `fn` is a wrapper */
    FILCH_TASK_FORK = 16,     /* a fork that was given away: `fork` says of whom */
    FILCH_TASK_SHIELDED = 32, /* with FORK: forked within a shield */
    FILCH_TASK_GROUPED = 64,  /* in a group */
    FILCH_TASK_BOUND = 128,   /* with GROUPED: pinned to the worker `bound_to` */
};

/* What a task has gathered that its end must see to. */
enum filch__task_extras {
    FILCH_EXTRA_LOCALS = 1,    /* `locals` */
    FILCH_EXTRA_BLOCKS = 2,    /* `blocks` */
    FILCH_EXTRA_INHERITED = 4, /* `inherited`: it has not begun yet */
    FILCH_EXTRA_FORKS = 8,     /* a fork stack: its worker has it while it runs */
    FILCH_EXTRA_GROUPED = 16,  /* in a group, to be left last */
};

/* Who may touch a field: `next` the queue or pool that the task is in; `rt` is set at spawn and
 * read by anyone; `joiner` by the handle's owner before JOINING and by finish after it; everything
 * else by the spawner until it is queued, then by its runner.
 *
 * The first line is all that spawning, running and ending a plain task touch: a million queued
 * tasks are then 64 MB that go through the cache, not 192. */
struct filch__task {
    filch_atomic_u64 state;
    union {
        struct {
            struct filch__task *next;
            void *sp; /* saved stack pointer while not running; before: where it was spawned */
        };
        struct filch__list job_link; /* a blocking job's place in its class; by the queue's locks */
    };
    struct filch__stack *stack;
    filch_fn fn;
    void *arg; /* or the filch_future */
    filch_atomic_ptr rt;
    union {
        int32_t result;  /* from the body's end on */
        uint32_t extras; /* until then; the runner's; enum filch__task_extras */
    };
    uint8_t kind;
    uint8_t flags;       /* enum filch__task_flags */
    uint8_t waiting;     /* enum filch__wait, for the dump */
    uint8_t class_index; /* of a task: enum filch__stack_class; of a blocking job: its class */

    struct filch__waiter *joiner; /* set with JOINING */
    struct filch__scope *scope;   /* with SCOPED */
    union {
        struct filch__list scope_link;
        struct {
            struct filch__fork_stack *home; /* of the task that forked it */
            filch_time deadline;            /* in force then */
        } fork;                             /* with FORK */
    };
    const char *name; /* with NAMED */
    union {
        /* While it is the first of a chunk: of a run queue's list, or of the pool. */
        struct {
            struct filch__task *next;
            struct filch__task *column; /* of a list, also in the rest of the first row */
        } chunk;
        struct filch__worker *pinned_to; /* of kind PINNED, which is never in a run queue */
        struct {                         /* with GROUPED, neither */
            uint32_t group;              /* its place: filch__task_group() */
            uint32_t bound_to;           /* 1 and the worker that it waits for; 0: any */
            filch_time ready_at;         /* when it was last made ready */
        };
    };
    struct filch__locals *locals; /* with LOCALS; task/local.c */

    struct filch__timer timer; /* one wait at a time has a deadline */
    filch_fn fp_fn;            /* with SAVE_FP: the body */
    union {
        struct filch__block *blocks;        /* with BLOCKS: the innermost; task/block.c */
        struct filch__inherited *inherited; /* with INHERITED */
    };
};

#ifndef FILCH_MODEL /* whose atomics are larger */
_Static_assert(sizeof(struct filch__task) == 192,
               "three cache lines: a million tasks cost 192 MB, plus stacks");
_Static_assert(offsetof(struct filch__task, joiner) == 64, "what every run touches is one line");
_Static_assert(offsetof(struct filch__task, timer) == 128, "and a wait with a deadline one more");
#endif

extern struct filch__pool filch__task_pool;

#if FILCH_ASSERTS >= 2
/* void (*)(struct filch__task *): called at each task's end, once set; for sync/owner.c, which
 * looks whether it has left a lock locked. [end-hook] release there -> acquire in finish(). */
extern filch_atomic_ptr filch__task_end_hook;
#endif

/* The running task; NULL outside of tasks. Read it anew after each suspension: never cached across
 * one. */
struct filch__task *filch__task_current(void);

/* Has it a stack of its own, so that it can suspend? */
static inline bool filch__task_has_stack(const struct filch__task *task)
{
    return task->kind <= FILCH_KIND_PINNED;
}

static inline uint64_t filch__task_generation(const struct filch__task *task)
{
    return filch__state_generation(filch_load_relaxed(&task->state));
}

/* Makes a parked task runnable: to the front of the caller's worker (its LIFO slot), or the inject
 * queue from elsewhere. Any thread; late, double and stale wakes are harmless. */
void filch__task_wake(struct filch__task *task, uint64_t generation);

/* The same as filch__task_wake(), to the back of the queue: for completions and timers, which come
 * in batches. */
void filch__task_wake_back(struct filch__task *task, uint64_t generation);

/* Suspends the running task until a wake, @until, or cancel. Return: 0 (woken, perhaps for nothing:
 * look again); -ETIMEDOUT; -ECANCELED. The errors come at once, without suspending, when they hold
 * already. */
int filch__park(filch_time until, enum filch__wait reason);

/* The same until a wake only. */
void filch__park_shielded(enum filch__wait reason);

/* The same until a wake or @until, whether cancelled or not. */
void filch__park_shielded_until(filch_time until, enum filch__wait reason);

/* Was the running task cancelled, or is its runtime stopping? */
bool filch__task_cancelled(struct filch__task *task);

/* In the child of a fork: does the task belong to the parent, so that it will never end here? */
bool filch__task_was_forked(struct filch__task *task);

/* One unit of work was done without suspending; yields when the task has used its budget. Call
 * before an operation that may be ready at once, outside of locks. Does nothing outside of tasks.
 */
void filch__coop(void);

/* A yield of a task that has run for a while, as one does that computes: what has come in meanwhile
 * from outside has its turn first. */
void filch__yield_late(void);

/* Fills a block and gives it HANDLE if asked. @rt is not NULL; @place is where the program spawns,
 * for a report of an overflow (in the stack pointer that there is not yet). Return: 0 with
 * *ret_task not queued yet; -ESHUTDOWN; -ENOMEM; -EINVAL. */
int filch__task_new(struct filch_runtime *rt, enum filch__kind kind, filch_fn fn, void *arg,
                    const filch_task_opts *opts, bool with_handle, void *place,
                    struct filch__task **ret_task);

/* A control block with a credit of its class, for a task to come; by a worker, which need not be
 * its runner's. Return: NULL: no memory. */
struct filch__task *filch__task_reserve(struct filch__worker *worker, unsigned size_class);
void filch__task_unreserve(struct filch__worker *worker, struct filch__task *task,
                           unsigned size_class);

/* The deadline in force of a task that does not run meanwhile, or is the caller; FILCH_NEVER. */
filch_time filch__task_deadline(const struct filch__task *task);

/* Around a spawn into a given runtime. Its own workers pass, as their task holds the runtime up;
 * other threads go through its gate. Return: 0; -ESHUTDOWN or -ECHILD, and then there is no end. */
int filch__spawn_begin(struct filch_runtime *rt);
void filch__spawn_end(struct filch_runtime *rt);

/* Undoes filch__task_new() of a task that was never queued; a copied argument is freed. */
void filch__task_abort(struct filch__task *task);

/* Gives a worker's free blocks back to the pool. */
void filch__task_blocks_return(struct filch__worker *worker);

/* Queues a new task. */
void filch__task_start(struct filch__task *task);

/* Waits for the end of a task whose handle is the caller's alone, and takes its result, whatever
 * happens to the caller meanwhile. The handle is consumed. */
int filch__task_join_shielded(filch_task *handle);

/* The result of a task that is DONE and whose handle is the caller's; ends handle and block. */
int filch__task_collect(struct filch__task *task);
/* The steps of a join, for a select. Look: 0 (done, to be taken); -EAGAIN (not yet); what
 * filch_task_join() says at once. Begin: the same, and with -EAGAIN the task's end claims @waiter
 * and wakes it. Take: consumes the handle; returns 0. Abandon: after begin's -EAGAIN; waits for the
 * wake if it is under way. */
int filch__task_join_look(filch_task *handle);
int filch__task_join_begin(filch_task *handle, struct filch__waiter *waiter);
int filch__task_join_take(filch_task *handle, int *ret_result);
void filch__task_join_abandon(filch_task *handle, struct filch__waiter *waiter);

/* The end of a body: result, scope, joiner, block. The caller must not touch @task afterwards. */
void filch__task_finish(struct filch__task *task, int result);

/* Ends what a task has gathered, when its body has returned: runs the destructors of task-locals
 * and the deferred calls, newest first; may suspend. Or before a task has ever run. */
void filch__task_extras_end(struct filch__task *task);
void filch__locals_end(struct filch__task *task);

/* Something to be called when a task ends that the caller may still write to: itself, or one not
 * queued yet. Return: 0; -ENOMEM. */
int filch__task_defer(struct filch__task *task, void (*fn)(void *arg), void *arg);

/* For a child in a scope, not queued yet: the values and the deadline of the running task @self.
 * Return: 0; -ENOMEM. */
int filch__task_inherit(struct filch__task *self, struct filch__task *child);
int filch__values_inherit(struct filch__task *self, struct filch__task *child); /* no deadline */
int filch__locals_inherit(struct filch__task *self, struct filch__task *child);

/* Before it begins, with INHERITED: forgets it. */
void filch__inherited_drop(struct filch__task *task);

/* Why is it cancelled, or would be but for a shield? 0: it is not. */
int filch__task_cause(struct filch__task *task);

/* A task that will soon go on: brings what it left on its stack near, or, as it has none, what it
 * begins with: a future is its own argument. Its fields may be another thread's by now; an address
 * that is out of date costs nothing. */
static inline void filch__prefetch_stack(const struct filch__task *task)
{
#ifndef FILCH__TSAN
    uintptr_t sp = (uintptr_t)task->sp;
    /* A wait for I/O is some calls deep, with its op in between. */
    unsigned lines = task->waiting == FILCH_WAIT_IO ? 10 : 3;

    if (!task->stack) {
        __builtin_prefetch(task->arg);
        return;
    }
    for (unsigned line = 0; line < lines; line++)
        __builtin_prefetch((const void *)(sp + (uintptr_t)line * FILCH_CACHELINE));
#else
    (void)task;
#endif
}

static inline filch_task *filch__task_handle(struct filch__task *task)
{
    return filch__handle_make(task, filch__task_generation(task));
}

/* Called by filch__task_finish() for a task in a scope: its last access to the scope. */
void filch__scope_child_done(struct filch__scope *scope, struct filch__task *task, int result);

#endif
