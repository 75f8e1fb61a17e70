/* RCU for tasks, on liburcu's QSBR flavour.
 *
 * Readers. Each thread has a count of read sections, SHUT (negative) while it may not read. A
 * worker is registered from sit to rise. It passes a quiescent state in the loop's maintenance,
 * each 32 ticks, however long a chain of direct switches is, since the chain enters the loop that
 * often; and is offline while it sleeps. The count says that it is in no section:
 * filch__worker_next_fast() looks at it at each switch, as part of a branch that is there anyway,
 * and a section that is open there is a program's error, which aborts. So a section costs a task
 * two additions, and nothing is added to a switch but a load.
 *
 * Writers. One thread for the process, the reclaimer, made by the first call: it takes the whole
 * queue, waits for a grace period (urcu_qsbr_synchronize_rcu()), and calls what it took, in order.
 * synchronize and barrier queue a head of their own, which wakes them: no worker ever blocks. Not
 * liburcu's call_rcu: its thread naps 10 ms between batches, which every synchronize would wait
 * for.
 *
 * The queue is guarded by `lock`. A runtime's end does not concern it, as objects and callbacks
 * belong to the program.
 *
 * Fork. In the child liburcu's list of readers names threads that are gone, and its lock may be
 * held: there is no way to empty it. So the child leaves it alone (`forked`): nothing is freed
 * there, and so reads are safe without being registered.
 *
 * ThreadSanitizer does not see the barriers in liburcu, so it is told: [grace] what a reader did
 * before it passed comes before what the reclaimer does after the grace period.
 */
#include "runtime/rcu/rcu.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <urcu/urcu-qsbr.h>

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/sched/thread.h"
#include "runtime/sched/worker.h"
#include "runtime/task/switch.h"
#include "runtime/task/waiter.h"

#ifdef FILCH__TSAN
#include <sanitizer/tsan_interface.h>
/* Not in an object with a mutex: its unlock would replace what was told. */
static char grace_tag;
#define TELL_PASSED() __tsan_release(&grace_tag)
#define TELL_GRACE() __tsan_acquire(&grace_tag)
#else
#define TELL_PASSED() ((void)0)
#define TELL_GRACE() ((void)0)
#endif

#define SHUT (INT_MIN / 2) /* stays negative whatever is added */

/* Of a thread. `used` and visible: link-time optimisation does not see what assembly refers to. */
__thread int filch__rcu_count __attribute__((tls_model("initial-exec"), used)) = SHUT;
static __thread bool registered __attribute__((tls_model("initial-exec")));
static __thread bool reclaims __attribute__((tls_model("initial-exec")));

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    filch_rcu_head *first, **last; /* under the lock */
    bool started;                  /* the same */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static filch_atomic_u32 forked;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;

static void before_fork(void)
{
    pthread_mutex_lock(&queue.lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&queue.lock);
}

static void after_fork_in_child(void)
{
    filch_store_relaxed(&forked, 1);
    queue.first = NULL;
    filch__rcu_count = SHUT;
    registered = reclaims = false;
    pthread_mutex_unlock(&queue.lock);
}

static void watch_forks(void)
{
    once_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Return: 0; -ENOMEM. */
static int prepare(void)
{
    pthread_once(&once, watch_forks);
    return -once_error;
}

static bool is_forked(void)
{
    return filch_load_relaxed(&forked);
}

void filch__rcu_refuse(void)
{
    if (filch__rcu_count < 0 && filch__rcu_count != -1)
        filch__throw("an RCU read section on a thread that is not registered, or is offline: see "
                     "filch_rcu_thread_register()");
    filch__throw("filch_rcu_read_end() without filch_rcu_read_begin()");
}

void filch__rcu_check(void)
{
    if (filch__rcu_nesting() > 0)
        filch__throw("a task suspended, ended or waited inside an RCU read section");
}

void filch__rcu_check_switch(void)
{
    filch__rcu_check();
    if (filch__rcu_nesting() < 0)
        filch__throw("a task suspended inside filch_block_in_place()");
}

/* The calling thread's own state. Noinline: a task may have moved since the caller's last look. */
__attribute__((noinline)) static void go_online(void)
{
    if (!is_forked())
        urcu_qsbr_thread_online();
    filch__rcu_count = 0;
}

__attribute__((noinline)) static void go_offline(void)
{
    filch__rcu_check();
    filch__rcu_count = SHUT;
    TELL_PASSED(); /* [grace] */
    if (!is_forked())
        urcu_qsbr_thread_offline();
}

__attribute__((noinline)) static void enlist(void)
{
    (void)prepare();
    if (!is_forked())
        urcu_qsbr_register_thread();
    registered = true;
    filch__rcu_count = 0;
}

__attribute__((noinline)) static void delist(void)
{
    filch__rcu_check();
    filch__rcu_count = SHUT;
    registered = false;
    TELL_PASSED(); /* [grace] */
    if (!is_forked())
        urcu_qsbr_unregister_thread();
}

void filch__rcu_sit(struct filch__rcu_host *host)
{
    filch__rcu_check();
    *host = (struct filch__rcu_host){registered, filch__rcu_count >= 0};
    if (!host->registered)
        enlist();
    else if (!host->online)
        go_online();
}

void filch__rcu_rise(const struct filch__rcu_host *host)
{
    if (!host->registered)
        delist();
    else if (!host->online)
        go_offline();
}

void filch__rcu_sleep(void)
{
    go_offline();
}

void filch__rcu_awake(void)
{
    go_online();
}

__attribute__((noinline)) void filch__rcu_pass(void)
{
    filch__rcu_check();
    TELL_PASSED(); /* [grace] */
    if (!is_forked())
        urcu_qsbr_quiescent_state();
}

void filch_rcu_quiescent(void)
{
    if (filch__rcu_nesting() >= 0)
        filch__rcu_pass();
}

int filch_rcu_thread_register(void)
{
    int r = prepare();

    if (filch__worker_self())
        return -EPERM;
    if (registered)
        return -EALREADY;
    if (r == 0)
        enlist();
    return r;
}

int filch_rcu_thread_unregister(void)
{
    if (filch__worker_self() || !registered)
        return -EPERM;
    if (filch__rcu_count == SHUT && !is_forked())
        urcu_qsbr_thread_online(); /* liburcu's rule */
    delist();
    return 0;
}

int filch_rcu_thread_offline(void)
{
    if (filch__worker_self() || !registered)
        return -EPERM;
    if (filch__rcu_count != SHUT)
        go_offline();
    return 0;
}

int filch_rcu_thread_online(void)
{
    if (filch__worker_self() || !registered)
        return -EPERM;
    if (filch__rcu_count == SHUT)
        go_online();
    return 0;
}

static filch_rcu_head *take_all(void)
{
    filch_rcu_head *head;

    pthread_mutex_lock(&queue.lock);
    while (!queue.first)
        pthread_cond_wait(&queue.filled, &queue.lock);
    head = queue.first;
    queue.first = NULL;
    pthread_mutex_unlock(&queue.lock);
    return head;
}

static void *reclaim(void *arg)
{
    reclaims = true;
    for (;;) {
        filch_rcu_head *head = take_all();

        urcu_qsbr_synchronize_rcu();
        TELL_GRACE(); /* [grace] */
        while (head) {
            filch_rcu_head *next = head->next;

            head->fn(head);
            head = next;
        }
    }
    return arg;
}

/* Return: 0; -EAGAIN; -ENOMEM. */
static int start_locked(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    int r;

    if (queue.started)
        return 0;
    r = -pthread_attr_init(&attr);
    if (r < 0)
        return r;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = filch__thread_create(&thread, &attr, reclaim, NULL);
    pthread_attr_destroy(&attr);
    queue.started = r == 0;
    return r;
}

int filch_rcu_call(filch_rcu_head *head, void (*fn)(filch_rcu_head *head))
{
    int r;

    if (!head || !fn)
        return -EINVAL;
    r = is_forked() ? -ECHILD : prepare();
    if (r < 0)
        return r;
    head->next = NULL;
    head->fn = fn;
    pthread_mutex_lock(&queue.lock);
    r = start_locked();
    if (r == 0) {
        if (!queue.first) {
            queue.last = &queue.first;
            pthread_cond_signal(&queue.filled);
        }
        *queue.last = head;
        queue.last = &head->next;
    }
    pthread_mutex_unlock(&queue.lock);
    return r;
}

struct grace {
    filch_rcu_head head; /* first: the callback's */
    struct filch__waiter waiter;
};

static void end_grace(filch_rcu_head *head)
{
    filch__waiter_wake(&((struct grace *)(void *)head)->waiter);
}

/* A plain thread that is online would wait for itself. */
static void wait_for(struct grace *grace)
{
    bool blocks = !grace->waiter.task && filch__rcu_nesting() >= 0;

    if (blocks)
        go_offline();
    filch__waiter_wait_shielded(&grace->waiter);
    if (blocks)
        go_online();
}

__attribute__((noinline)) static bool is_reclaimer(void)
{
    return reclaims;
}

int filch_rcu_synchronize(void)
{
    struct grace grace;
    int r;

    filch__rcu_check();
    if (is_reclaimer())
        return -EDEADLK;
    filch__waiter_init(&grace.waiter, FILCH_WAIT_RCU);
    r = filch_rcu_call(&grace.head, end_grace);
    if (r == 0)
        wait_for(&grace);
    return r;
}

int filch_rcu_barrier(void)
{
    return filch_rcu_synchronize(); /* callbacks are called in order */
}
