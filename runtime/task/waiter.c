/* Suspending, for tasks and for plain threads: see waiter.h for the protocol, task/state.h for what
 * a park and a wake are.
 *
 * A wake may come for nothing (a late wake for a wait that is over). So every wait is a loop around
 * its own condition, here `woken`.
 */
#include "runtime/task/waiter.h"

#include <errno.h>
#include <sched.h>

#include "runtime/base/futex.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

const char *filch__wait_name(enum filch__wait reason)
{
    switch (reason) { /* no default: the compiler tells who adds a reason */
    case FILCH_WAIT_NONE:
        break;
    case FILCH_WAIT_SLEEP:
        return "sleep";
    case FILCH_WAIT_JOIN:
        return "join";
    case FILCH_WAIT_SCOPE:
        return "end of a scope";
    case FILCH_WAIT_FUTURE:
        return "future";
    case FILCH_WAIT_CHAN_SEND:
    case FILCH_WAIT_CHAN_SEND_MANY:
        return "channel send";
    case FILCH_WAIT_CHAN_RESERVE:
        return "channel permit";
    case FILCH_WAIT_CHAN_RECV:
        return "channel receive";
    case FILCH_WAIT_CHAN_CLOSED:
        return "close of a channel";
    case FILCH_WAIT_IO:
        return "I/O";
    case FILCH_WAIT_ACCEPT:
        return "accept";
    case FILCH_WAIT_CLOSE:
        return "close";
    case FILCH_WAIT_SELECT:
        return "select";
    case FILCH_WAIT_SEMAPHORE:
        return "semaphore";
    case FILCH_WAIT_NOTIFY:
        return "notification";
    case FILCH_WAIT_BARRIER:
        return "barrier";
    case FILCH_WAIT_WAITGROUP:
        return "wait group";
    case FILCH_WAIT_LIMITER:
        return "rate limiter";
    case FILCH_WAIT_DELAY_QUEUE:
        return "delay queue";
    case FILCH_WAIT_MUTEX:
        return "mutex";
    case FILCH_WAIT_RWLOCK:
        return "read/write lock";
    case FILCH_WAIT_COND:
        return "condition";
    case FILCH_WAIT_ONCE:
        return "once";
    case FILCH_WAIT_TOKEN:
        return "cancellation token";
    case FILCH_WAIT_RCU:
        return "RCU grace period";
    case FILCH_WAIT_ONESHOT:
        return "oneshot";
    case FILCH_WAIT_WATCH:
        return "watch";
    case FILCH_WAIT_BROADCAST:
        return "broadcast";
    case FILCH_WAIT_RUNNING:
        return "running";
    }
    return "wake-up";
}

/* The loop goes on, and looks where such tasks are. */
static void suspend_apart(struct filch__worker *worker, struct filch__task *task,
                          enum filch__wait reason)
{
    if (!filch__task_has_stack(task))
        filch__throw("a future suspended inside its poll function");
    if (filch__state_take_wake(&task->state))
        return;
    task->waiting = (uint8_t)reason;
    filch__worker_switch_to_loop(worker, FILCH_AFTER_PARK_APART);
    task->waiting = FILCH_WAIT_NONE;
}

static void suspend(struct filch__worker *worker, struct filch__task *task, enum filch__wait reason)
{
    if (task->kind != FILCH_KIND_STACKFUL) {
        suspend_apart(worker, task, reason);
        return;
    }
    if (filch__state_take_wake(&task->state))
        return;
    task->waiting = (uint8_t)reason;
    filch__worker_switch_out(worker, FILCH_AFTER_PARK);
    task->waiting = FILCH_WAIT_NONE;
}

static void arm(struct filch__worker *worker, struct filch__task *task, filch_time until)
{
    filch__timer_init(&task->timer);
    filch__timer_arm(&worker->timers, &task->timer, until, worker->now, task);
}

void filch__park_shielded(enum filch__wait reason)
{
    struct filch__worker *worker = filch__worker_self();

    suspend(worker, worker->current, reason);
}

void filch__park_shielded_until(filch_time until, enum filch__wait reason)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *task = worker->current;

    if (until != FILCH_NEVER)
        arm(worker, task, until);
    suspend(worker, task, reason);
    if (until != FILCH_NEVER)
        filch__timer_disarm(&task->timer);
}

int filch__park(filch_time until, enum filch__wait reason)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *task = worker->current;
    bool fired = false;

    if (filch__task_cancelled(task))
        return -ECANCELED;
    if (until == FILCH_NOW || (until <= worker->now && until <= filch_now()))
        return -ETIMEDOUT;
    if (until != FILCH_NEVER)
        arm(worker, task, until);
    suspend(worker, task, reason);
    if (until != FILCH_NEVER)
        fired = !filch__timer_disarm(&task->timer);
    if (filch__task_cancelled(task))
        return -ECANCELED;
    return fired ? -ETIMEDOUT : 0;
}

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    struct filch__task *task = filch__task_current();

    filch__waiter_init_for(waiter, reason, task, task ? (uint32_t)filch__task_generation(task) : 0);
}

/* Without a limit in time: what a channel does for each message, so with no step too many. */
static int wait_forever(struct filch__waiter *waiter, struct filch__task *task)
{
    while (!filch_load_acquire(&waiter->woken)) { /* [waiter-wake] */
        if (filch__task_cancelled(task))
            return filch_load_acquire(&waiter->woken) ? 0 : -ECANCELED; /* [waiter-wake] */
        suspend(filch__worker_self(), task, (enum filch__wait)waiter->reason);
    }
    return 0;
}

int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    if (waiter->task && until == FILCH_NEVER)
        return wait_forever(waiter, waiter->task);
    while (!filch_load_acquire(&waiter->woken)) { /* [waiter-wake] */
        int r = waiter->task ? filch__park(until, (enum filch__wait)waiter->reason)
                             : filch__futex_wait(&waiter->woken, 0, until);

        if (r < 0)
            return filch_load_acquire(&waiter->woken) ? 0 : r; /* [waiter-wake] */
    }
    return 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken)) { /* [waiter-wake] */
        if (waiter->task)
            filch__park_shielded((enum filch__wait)waiter->reason);
        else
            filch__futex_wait(&waiter->woken, 0, FILCH_NEVER);
    }
}

/* [waiter-wake] The waiter may be gone after the store, the waker before it. */
static void future_wake(struct filch__future_waiter *waiter)
{
    filch_waker waker = waiter->waker;

    filch_store_release(&waiter->waiter.woken, 1); /* [waiter-wake] */
    filch_waker_wake(waker);
}

static void thread_wake(struct filch__waiter *waiter)
{
    struct filch__waiter_group *group = waiter->group;

    filch_store_release(&waiter->woken, 1); /* [waiter-wake]; the waiter may be gone from here on */
    filch__futex_wake(&waiter->woken, 1);   /* only the address is used */
    if (group)
        filch__futex_wake(&group->winner, 1);
}

void filch__waiter_wake_back(struct filch__waiter *waiter)
{
    struct filch__task *task = waiter->task;
    uint32_t generation = waiter->generation;

    if (task) {
        filch_store_release(&waiter->woken, 1); /* [waiter-wake]; it may be gone from here on */
        filch__task_wake_back(task, generation);
    } else {
        filch__waiter_wake(waiter);
    }
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    struct filch__task *task = waiter->task;
    uint32_t generation = waiter->generation;

    if (task) {
        filch_store_release(&waiter->woken, 1); /* [waiter-wake]; it may be gone from here on */
        filch__task_wake(task, generation);
    } else if (generation == FILCH__WAITER_FUTURE) {
        future_wake(filch_container_of(waiter, struct filch__future_waiter, waiter));
    } else {
        thread_wake(waiter);
    }
}

void filch__future_waiter_init(struct filch__future_waiter *waiter, enum filch__wait reason,
                               const filch_waker *waker)
{
    *waiter = (struct filch__future_waiter){
        .waiter = {.generation = FILCH__WAITER_FUTURE, .reason = (uint16_t)reason},
        .waker = filch_waker_clone(waker),
    };
    filch__list_init(&waiter->waiter.link);
    filch_atomic_init(&waiter->waiter.woken, 0);
}

filch_waker filch__future_waiter_listen(struct filch__future_waiter *waiter,
                                        const filch_waker *waker)
{
    filch_waker old = waiter->waker;

    if (filch_waker_will_wake(&old, waker))
        return (filch_waker){0};
    waiter->waker = filch_waker_clone(waker);
    return old;
}

void filch__future_waiter_release(struct filch__future_waiter *waiter)
{
    unsigned spins = 0;

    /* As for a spin lock: the taker is between its unlock and its wake, or off the CPU. */
    while (!filch_load_acquire(&waiter->waiter.woken)) { /* [waiter-wake] */
        if (++spins % 64 == 0)
            sched_yield();
        else
            filch_cpu_relax();
    }
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    uint32_t nobody = 0;

    return filch_cas_relaxed(&group->winner, &nobody, winner); /* [group-claim] */
}

void filch__waiter_group_init(struct filch__waiter_group *group)
{
    filch_atomic_init(&group->winner, 0);
}

void filch__waiter_join_group(struct filch__waiter *waiter, struct filch__waiter_group *group,
                              unsigned index)
{
    waiter->group = group;
    waiter->index = (uint16_t)index;
}

/* Return: 0: something has changed, or nothing. */
static int group_wait_once(struct filch__waiter_group *group, filch_time until)
{
    if (filch__task_current())
        return filch__park(until, FILCH_WAIT_SELECT);
    return filch__futex_wait(&group->winner, 0, until);
}

int filch__waiter_group_wait(struct filch__waiter_group *group, bool once, filch_time until)
{
    int r = 0;

    while (r == 0 && !filch_load_relaxed(&group->winner)) { /* [group-claim] */
        r = group_wait_once(group, until);
        if (once)
            break;
    }
    return filch_load_relaxed(&group->winner) ? 0 : r;
}

/* @task is current. @is_late: it ran for long. Return: false: a future, which cannot be left in its
 * middle. */
static bool yield(struct filch__worker *worker, struct filch__task *task, bool is_late)
{
    if (is_late && task->kind != FILCH_KIND_FUTURE)
        filch__worker_catch_up(worker);
    if (task->kind == FILCH_KIND_STACKFUL)
        filch__worker_switch_out(worker, FILCH_AFTER_YIELD);
    else if (filch__task_has_stack(task))
        filch__worker_switch_to_loop(worker, FILCH_AFTER_YIELD_APART);
    else
        return false;
    return true;
}

void filch_task_yield(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (worker)
        worker->yielders.yields++;
    if (!worker || !worker->current ||
        !yield(worker, worker->current, filch__worker_is_late(worker)))
        sched_yield();
}

void filch__yield_late(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (worker && worker->current)
        (void)yield(worker, worker->current, true);
}

bool filch_should_yield(void)
{
    struct filch__worker *worker = filch__worker_self();

    return worker && worker->current && filch_load_relaxed(&worker->budget) <= 1;
}

void filch__coop(void)
{
    filch__coop_inline();
}

void filch__coop_yield(struct filch__worker *worker)
{
    bool late = filch__worker_is_late(worker);

    if (filch__rcu_nesting() > 0) /* the first operation after the section yields */
        return;
    /* The loop has nobody to yield. */
    filch_store_relaxed(&worker->budget, FILCH__BUDGET);
    if (worker->current)
        (void)yield(worker, worker->current, late);
}
