/* A worker: a thread that runs tasks, with its queue, timers, lane, stack cache and counters.
 * Private to the scheduler. */
#ifndef FILCH_SCHED_WORKER_H
#define FILCH_SCHED_WORKER_H

#include <pthread.h>
#include <signal.h>

#include <filch/blocking.h>
#include <filch/time.h>

#include "runtime/base/log.h"
#include "runtime/blocking/blocking_pool.h"
#include "runtime/rcu/rcu.h"
#include "runtime/sched/drive.h"
#include "runtime/sched/driver.h"
#include "runtime/sched/group.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/inject.h"
#include "runtime/sched/lifo.h"
#include "runtime/sched/mailbox.h"
#include "runtime/sched/overrun.h"
#include "runtime/sched/run_queue.h"
#include "runtime/sched/self.h"
#include "runtime/sched/watch.h"
#include "runtime/task/switch.h"
#include "runtime/task/switch_state.h"
#include "runtime/task/task.h"
#include "runtime/time/timers.h"

/* What remains to be done for the task that was just left, by whoever runs next on the worker: its
 * stack is still in use until the switch is over. */
enum filch__after {
    FILCH_AFTER_NOTHING = 0,
    FILCH_AFTER_PARK,  /* park it, or queue it again */
    FILCH_AFTER_YIELD, /* queue it */
    FILCH_AFTER_PARK_APART,
    FILCH_AFTER_YIELD_APART,
    FILCH_AFTER_ROOM,  /* it made room, and goes on before the others of its group */
    FILCH_AFTER_STACK, /* the task has ended: give its stack back */
};

/* Written by the owner, read by anybody. */
struct filch__worker_stats {
    filch_atomic_u64 spawned, finished, local_wakes, inject_wakes, steals, stolen, parks;
    filch_atomic_u64 wakes_sent, wakes_useful, wakes_useless, spins, spins_useful, timers_fired;
    filch_atomic_u64 forks_shared, forks_moved;
};

/* Looks at taken locks before a task waits: sync/lock_wait.h. */
struct filch__looks {
    uint8_t misses; /* in a row */
    uint8_t skip;   /* so many waits begin without */
};

/* Owner only, unless said otherwise. */
struct filch__worker {
    struct filch__task *current;
    struct filch__lifo lifo; /* a woken task that runs next, before the queue */
    unsigned lifo_uses;      /* in a row; at FILCH__LIFO_USES the queue has its turn */
    unsigned pinned_uses;    /* the same for the mailbox */
    /* A switch goes from task to task unless tick & turn_mask is 0: then the loop has the word. 0
     * while there are groups. */
    unsigned turn_mask;
    /* Operations that the current task may still do without yielding. Written by the owner, and to
     * 0 by the watch, and by who asks it to make room, whose writes may be lost. */
    filch_atomic_u32 budget;
    bool slow; /* tasks run for long here: what is queued calls for help at once */
    /* Tasks and futures run so far. Written by the owner; the monitor sees a stuck worker by it. */
    filch_atomic_u64 tick;
    enum filch__after after;
    struct filch__task *after_task;
    struct filch__stack *after_stack;
    struct filch__task *handoff; /* picked on a task's stack, to be run by the loop */
    /* The fork stack of the current task; NULL: it has none. Written by the owner; thieves look
     * whom to ask, and may ask one that is another task's by then. [fork-stack] release in store ->
     * acquire in filch__fork_ask(): it is a fork stack. */
    filch_atomic_ptr forks;

    struct filch__switch_target loop; /* the worker's own stack */
    void *loop_fake_stack;
    int *errno_at; /* of the worker's thread, as the next one */
    struct filch__cxx_state *cxx_state;
    struct filch__stack_cache stacks[FILCH__STACK_CLASSES];
    struct filch__overflow_stack *overflow_stack; /* for signals: the task's own may be used up */
    struct filch__task *free_tasks;               /* see task_cache.h */
    struct filch__task *free_magazine;
    unsigned free_count;
    struct filch__fork_stack *fork_stacks; /* for forks to come */
    unsigned fork_stack_count;
    filch_time fork_woke; /* when a fork here has last woken a worker */

    struct filch_runtime *rt;
    struct filch__lane *lane;
    unsigned index;
    uint32_t random;
    uint16_t *victims; /* whom to take from first, all others; NULL: anybody. With bind_workers */
    int cpu;           /* to be bound to; -1: none */
    size_t colour;
    bool searching;
    bool woken;           /* by a waker, and no task found yet */
    filch_time now;       /* as of the last look at the clock */
    uint64_t behind_mark; /* the queue's tail at behind_since */
    filch_time behind_since;
    uint64_t completions;        /* reaped from the own lane so far */
    uint64_t behind_completions; /* at a look */
    uint64_t serves_until;       /* the tick until which it counts as one that serves I/O */
    filch_time spin_off_until;
    int spin_score;
    filch_time monitor_ns; /* present pause between visits */
    filch_time all_parked_since;
    filch_time trim_at; /* next look at idle stacks; FILCH_NEVER while there are none */
    uint64_t trim_tick; /* at the last look */
    struct filch__slices slices;
    struct filch__lateness lateness;
    struct filch__yielders yielders;
    struct filch__looks looks;
    uint64_t tick_seen;            /* by the last visit of the monitor; whoever has the duty */
    struct filch__watched watched; /* the watch's */

    /* Written by the owner; read by the monitor. */
    alignas(FILCH_CACHELINE) filch_atomic_u32 parked;
    /* The queue's head has waited too long: thieves are welcome. Written by the owner; any.
     * [idle-park] through the idle word. */
    filch_atomic_u32 behind;
    filch_atomic_u32 seat;      /* enum filch__seat: see seat.h */
    filch_atomic_u32 in_place;  /* the current task blocks: filch_block_in_place() */
    filch_atomic_u32 thread_id; /* the kernel's, from the thread's first moment */
    struct filch__run_queue queue;
    struct filch__group_set set;   /* what is ready in groups */
    struct filch__group_set bound; /* the same, for this worker alone: group_bound.c */
    struct filch__stay stay;
    struct filch__mailbox mailbox;
    struct filch__timers timers;
    struct filch__worker_stats stats;
    pthread_t thread;
    bool has_thread;
};

/* filch_runtime.stopping. */
enum {
    FILCH__RUNNING = 0,
    FILCH__STOPPING, /* no new spawns, everything is cancelled; stays so when it has ended */
    FILCH__FORKED,   /* we are the child of a fork, and it is the parent's */
};

/* filch_runtime.closing. */
enum {
    FILCH__CLOSE_NOBODY = 0,
    FILCH__CLOSE_BUSY, /* a thread is in shutdown */
    FILCH__CLOSE_OVER,
};

/* The block is never freed, only used again: sched/registry.c. */
struct filch_runtime {
    /* These two are kept when the block is used again, since late ones come and go: threads that
     * are no workers inside of a wake [foreign-wake] or a spawn [outside-spawn]. */
    filch_atomic_u32 wakers;
    filch_atomic_u32 callers;

    unsigned workers;       /* to start with */
    unsigned cpus;          /* of the machine */
    unsigned seats_max;     /* with those that may be called in */
    filch_atomic_u32 seats; /* workers that there are; grows, by the watch [seat-new] */
    filch_runtime_opts opts;
    /* Workers count as slow, so that whatever is queued comes through filch__worker_call_help(),
     * and from there goes to others, half of it. */
    bool chaos;
    uint64_t fp_control; /* of the thread that started it */
    struct filch__log log;
    char thread_name[16];
    sigset_t host_mask;           /* of the thread that started it */
    struct filch__worker *worker; /* array of seats_max */
    uint16_t *victims;            /* with bind_workers: all workers' */
    struct filch__driver *driver;
    struct filch__inject inject;
    struct filch__idle idle;
    struct filch__blocking_pool blocking;
    filch_atomic_u32 stopping;
    /* 1: there are groups. Written with groups.lock; read by spawns and loops, as a hint that is
     * true for whoever has a group's handle, or a task of one. */
    filch_atomic_u32 grouped;
    filch_atomic_u32 exiting;     /* 1: workers leave their loops */
    filch_atomic_u32 finish_seen; /* futex: 1: a task has ended since shutdown's last look */
    filch_atomic_u32 closing;
    /* 1: a worker has monitor duty: a parked one, or one that looks round as it passes. See duty.h.
     */
    filch_atomic_u32 monitor;
    filch_atomic_u64 monitor_due; /* when the next one that passes looks round, if none is parked */
    filch_atomic_u64 monitor_called; /* when a sleeper was last called to watch */
    filch_atomic_u32 spinner;        /* 1: a worker spins */
    filch_atomic_u32 next_pinned;    /* grows; the worker of the next pinned task that names none */
    struct filch__drive drive;       /* with opts.current_thread */
    struct filch__watch watch;       /* without */
    struct filch__groups groups;
    /* For threads that are no workers. */
    filch_atomic_u64 outside_spawned, outside_finished, outside_inject_wakes, outside_wakes_sent;
    struct filch_runtime *next; /* in the list of those that live, or of free blocks */
};

/* Of a task with GROUPED. */
static inline struct filch__group *filch__task_group(const struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    return &rt->groups.group[task->group];
}

#define FILCH__LIFO_USES 3
#define FILCH__BUDGET 128

/* Does the watch say that the current task has run for long? */
static inline bool filch__worker_is_late(struct filch__worker *worker)
{
    return filch_load_relaxed(&worker->budget) == 0;
}

/* Yields; out of line. */
void filch__coop_yield(struct filch__worker *worker);

/* filch__coop(), for what is worth a few instructions in line. */
static inline void filch__coop_inline(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (worker) {
        uint32_t left = filch_load_relaxed(&worker->budget);

        if (left <= 1)
            filch__coop_yield(worker);
        else
            filch_store_relaxed(&worker->budget, left - 1);
    }
}

/* Before a park: gives memory of idle stacks back, if it is time to. Return: when to come again. */
filch_time filch__worker_trim(struct filch__worker *worker);

/* Sleeps in the lane until @limit, a timer, or a wake. */
void filch__worker_sleep(struct filch__worker *worker, filch_time limit);

/* Fires what is due at worker->now. */
void filch__worker_run_timers(struct filch__worker *worker);

/* The worker has been told to leave its seat: returns when it has been called back, or the runtime
 * exits. */
void filch__worker_sit_out(struct filch__worker *worker);

/* Runs the loop until the runtime exits. */
void *filch__worker_main(void *worker);

/* The calling thread becomes the worker, and is a plain thread again. What it has of its own that
 * tasks use as well is kept in @host. For sched/drive.c. */
struct filch__host {
    int saved_errno;
    struct filch__cxx_state cxx;
    bool lent_stack; /* for signals: it had none */
    struct filch__rcu_host rcu;
};
void filch__worker_sit(struct filch__worker *worker, struct filch__host *host);
void filch__worker_rise(struct filch__worker *worker, const struct filch__host *host);

/* The loop's parts: the next task, or NULL when there may be none, after a look at everything; and
 * running it until the loop has the word again. */
struct filch__task *filch__worker_next(struct filch__worker *worker);
void filch__worker_run(struct filch__worker *worker, struct filch__task *task);

/* Gives back what the worker keeps for tasks to come. By whoever is or was its thread. */
void filch__worker_empty(struct filch__worker *worker);

/* Next task without leaving the present stack; NULL when the loop should have a look (or has been
 * handed one). */
struct filch__task *filch__worker_next_fast(struct filch__worker *worker);

/* On a task's stack: what the loop does only every so many switches, for a task that is about to
 * yield after a long time. What this makes runnable is queued before the task is. */
void filch__worker_catch_up(struct filch__worker *worker);

/* Switches from the running task to the next one. Returns when it runs again, maybe on another
 * worker. */
void filch__worker_switch_out(struct filch__worker *worker, enum filch__after after);

/* The same to the worker's loop, for pinned tasks. */
void filch__worker_switch_to_loop(struct filch__worker *worker, enum filch__after after);

/* What the previous task left to be done; first thing after a switch. */
void filch__worker_after(struct filch__worker *worker);

/* Gives a task its stack, if it has none, and makes it the worker's current one. */
struct filch__switch_target filch__worker_enter(struct filch__worker *worker,
                                                struct filch__task *task);

void filch__worker_push_front(struct filch__worker *worker, struct filch__task *task);
void filch__worker_push_back(struct filch__worker *worker, struct filch__task *task);

/* The same for one that is not STACKFUL. @worker: the caller, or NULL: no worker of the task's
 * runtime. Return: false: it belongs into a run queue after all. */
bool filch__worker_push_apart(struct filch__worker *worker, struct filch__task *task);

/* Something was queued here: calls for help if it is time to. */
void filch__worker_pushed(struct filch__worker *worker);

/* While there are groups: tasks in none. Is there any here; the next one. */
bool filch__worker_has_plain(struct filch__worker *worker);
struct filch__task *filch__worker_next_plain(struct filch__worker *worker);

/* Ready tasks that wait here, but for the LIFO slot and the mailbox. */
static inline uint64_t filch__worker_queued(struct filch__worker *worker)
{
    return filch__run_queue_length(&worker->queue) + filch__group_set_length(&worker->set);
}

uint32_t filch__worker_random(struct filch__worker *worker);

/* The @i-th of the @n workers to be looked at for work, after @start, which is random: neighbours
 * first, where it is known who they are. May be the caller itself. */
static inline struct filch__worker *filch__worker_victim(struct filch__worker *worker, unsigned i,
                                                         unsigned start, unsigned n)
{
    struct filch_runtime *rt = worker->rt;

    if (!worker->victims)
        return &rt->worker[(start + i) % n];
    if (i < rt->workers - 1)
        return &rt->worker[worker->victims[i]];
    return i < rt->workers ? worker : &rt->worker[i]; /* the spares last */
}

/* From any thread that is no worker of @rt. */
void filch__runtime_inject(struct filch_runtime *rt, struct filch__task *task);

/* Wakes one parked worker to look for work, unless one searches already. Any thread. */
void filch__runtime_notify(struct filch_runtime *rt);

/* Reads the clock, and asks for help when the queue's head has waited too long. */
void filch__worker_check_behind(struct filch__worker *worker);

/* Something was queued on a slow worker: another one should have it. */
void filch__worker_call_help(struct filch__worker *worker);

/* After a look at the clock in the loop: how long did the tasks since the last look run? */
void filch__worker_note_slices(struct filch__worker *worker);

/* A busy worker does the monitor's duty if no parked one has it, and it is time to. */
void filch__monitor_pass(struct filch__worker *worker);

/* Takes work from other workers that are behind. */
struct filch__task *filch__worker_steal(struct filch__worker *worker);

/* Is nobody on monitor duty, though there are workers who could be? Then a worker that begins to
 * work wakes a sleeper, who finds nothing and parks with the duty. */
bool filch__monitor_is_missing(struct filch_runtime *rt);

/* The caller goes to work at @now. If nobody watches, a sleeper is called to do so. */
void filch__monitor_call(struct filch_runtime *rt, filch_time now);

/* Spins, then parks, until there may be something to do, at most until @until. */
void filch__worker_idle(struct filch__worker *worker, filch_time until);

/* Is there anything that a worker without work could do? */
bool filch__worker_sees_work(struct filch__worker *worker);

/* The same, and what it alone could do. */
bool filch__worker_sees_any_work(struct filch__worker *worker);

/* The blocking job that the calling thread runs; NULL elsewhere. */
struct filch__task *filch__blocking_self(void);
/* The same as long as it can own something: locals, clean-up, a token. */
struct filch__task *filch__blocking_owner(void);
/* It is at its end, and others are told: it owns nothing any more. */
void filch__blocking_set_over(bool over);

/* filch_blocking_class_new(), or the class that has this name already, as it is. */
int filch__blocking_class_get(filch_runtime *rt, const filch_blocking_class_opts *opts,
                              filch_blocking_class **ret_class);

/* A job in two steps, so that something can be deferred to its end before it may run: makes one
 * that is not queued, of the class *@ret_class; queues it, or undoes it, with what was deferred
 * called. In the runtime that the caller is in. Return: as filch_blocking_spawn(). */
int filch__blocking_new(filch_runtime *rt, filch_fn fn, void *arg, const filch_task_opts *opts,
                        bool with_handle, unsigned *ret_class, struct filch__task **ret_job);
int filch__blocking_start(filch_runtime *rt, unsigned class, struct filch__task *job);

/* For the pool: a job's body, and what comes after it. */
void filch__blocking_body(struct filch__task *job);
void filch__blocking_finish(struct filch__task *job);

/* Tasks, futures and jobs that have been spawned and have not ended: 0 is exact once nothing can be
 * spawned any more. */
uint64_t filch__runtime_live(struct filch_runtime *rt);

/* In the child of a fork: is it the parent's? */
static inline bool filch__runtime_was_forked(struct filch_runtime *rt)
{
    return filch_load_relaxed(&rt->stopping) == FILCH__FORKED;
}

/* Why a runtime that stops refuses a spawn: -ESHUTDOWN; -ECHILD. */
int filch__runtime_refusal(struct filch_runtime *rt);

/* A task of a runtime that stops has ended, and has been counted. */
void filch__runtime_finished(struct filch_runtime *rt);

/* Workers, which have nothing to run any more, leave their loops; joins them. */
void filch__runtime_end_workers(struct filch_runtime *rt);

/* By the watch: a worker for the seat @index, which has none: the next new one, or one whose thread
 * could not be created. Return: 0; -errno. */
int filch__runtime_fill_seat(struct filch_runtime *rt, unsigned index);

/* Workers that there are, working or not. [seat-new] release of the watch -> acquire: all of them
 * are whole. */
static inline unsigned filch__runtime_seats(struct filch_runtime *rt)
{
    return filch_load_acquire(&rt->seats);
}

/* Frees all but the block, which may be used again from then on. */
void filch__runtime_free(struct filch_runtime *rt);

/* In the child of a fork, for its only thread: it is no worker and runs no job, whatever it was.
 * The task or job that it was in is told so. */
void filch__worker_forked(void);
void filch__blocking_forked(void);
void filch__task_forked(struct filch__task *task);

#endif
