/* Description: the queue of blocking jobs (runtime/blocking/job_queue.c): producers that push,
 * threads that look, run and park, one that takes its job back; no job is left while nobody looks,
 * none runs twice, none both runs and is taken back. A class that is added while others look is
 * seen with all that it was made with. The loop around it is that of
 * runtime/blocking/blocking_pool.c without naps: a thread that is called is a parked one. */
#include "runtime/blocking/job_queue.c"

#include "tests/model/explore.h"

#define THREADS 2

static struct filch__job_queue queue;
static struct filch__task job[3];
static bool parked[THREADS]; /* queue.lock */
static filch_atomic_u32 called[THREADS];
static int ran[3];
static int withdrawn;
static int to_do;
static int over; /* jobs that ran or were taken back */

static void reset_n(int jobs, unsigned running_max)
{
    filch__job_queue_init(&queue, THREADS);
    class_init(&queue, 0, "a", running_max ? running_max : THREADS, 0, 0);
    filch_atomic_init(&queue.classes, 1);
    for (int i = 0; i < THREADS; i++) {
        parked[i] = true;
        filch_atomic_init(&called[i], 0);
    }
    memset(ran, 0, sizeof ran);
    withdrawn = 0;
    over = 0;
    to_do = jobs;
}

static void reset_1(void)
{
    reset_n(1, 0);
}

static void reset_2(void)
{
    reset_n(2, 0);
}

static void reset_2_limit(void)
{
    reset_n(2, 1);
}

static void call_locked(void)
{
    for (int i = 0; i < THREADS; i++)
        if (parked[i]) {
            parked[i] = false;
            filch__job_look(&queue);
            filch_store_release(&called[i], 1);
            return;
        }
}

static void push(int index)
{
    filch_plain_write(&job[index].arg);
    if (filch__job_push(&queue, 0, &job[index]) == 0)
        return;
    filch_spinlock_lock(&queue.lock);
    if (!queue.lookers && filch__job_is_ready(&queue))
        call_locked();
    filch_spinlock_unlock(&queue.lock);
}

static void push_0(void)
{
    push(0);
}

static void push_1(void)
{
    push(1);
}

static void push_0_and_withdraw(void)
{
    push(0);
    if (filch__job_withdraw(&queue, &job[0])) {
        withdrawn = 1;
        over++;
    }
}

static bool is_called_0(void *arg)
{
    (void)arg;
    return xp_peek(&called[0].location) || over == to_do;
}

static bool is_called_1(void *arg)
{
    (void)arg;
    return xp_peek(&called[1].location) || over == to_do;
}

/* Returns holding the lock and looking, or, when all is over, without. */
static bool wait_for_call(int self)
{
    while (!filch_load_acquire(&called[self])) {
        if (over == to_do && !xp_peek(&called[self].location))
            return false;
        xp_block_until(self ? is_called_1 : is_called_0, NULL);
    }
    filch_store_relaxed(&called[self], 0);
    filch_spinlock_lock(&queue.lock);
    return true;
}

static void run(struct filch__task *task)
{
    filch_plain_read(&task->arg);
    ran[task - job]++;
}

static void thread(int self)
{
    if (!wait_for_call(self))
        return;
    for (;;) {
        struct filch__task *task = filch__job_take(&queue);
        bool left = filch__job_look_away(&queue);

        if (task) {
            if (left)
                call_locked();
            filch_spinlock_unlock(&queue.lock);
            run(task);
            filch_spinlock_lock(&queue.lock);
            filch__job_end(&queue, 0);
            filch__job_look(&queue);
            over++;
        } else if (left) {
            filch__job_look(&queue);
        } else {
            parked[self] = true;
            filch_spinlock_unlock(&queue.lock);
            if (!wait_for_call(self))
                return;
        }
    }
}

static void thread_0(void)
{
    thread(0);
}

static void thread_1(void)
{
    thread(1);
}

/* A class is added while others look. */
static void adds_a_class_and_pushes(void)
{
    int index = filch__job_class_add(&queue, "b", 0, 0, 0);

    xp_assert(index == 1);
    xp_assert(filch__job_push(&queue, 1, &job[0]) == 1);
}

static void looks_how_many(void)
{
    xp_assert(filch__jobs_queued(&queue) <= 1);
}

static void there_are_two_classes(void)
{
    xp_assert(xp_peek(&queue.classes.location) == 2);
    xp_assert(xp_peek(&queue.class[1].pushed.location) == 1);
}

static void each_is_over_once(void)
{
    xp_assert(ran[0] + withdrawn == 1);
    xp_assert(ran[1] == to_do - 1);
    xp_assert(queue.running == 0);
    xp_assert(queue.lookers == 0);
    xp_assert(xp_peek(&queue.word.location) == 0);
    xp_assert(xp_peek(&queue.class[0].pushed.location) ==
              xp_peek(&queue.class[0].removed.location));
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a class that is added",
         2,
         {adds_a_class_and_pushes, looks_how_many},
         reset_1,
         there_are_two_classes,
         -1,
         false},
        {"one thread, one job", 2, {thread_0, push_0}, reset_1, each_is_over_once, -1, false},
        {"one thread, a job that is taken back",
         2,
         {thread_0, push_0_and_withdraw},
         reset_1,
         each_is_over_once,
         -1,
         false},
        {"two threads, two producers",
         4,
         {thread_0, thread_1, push_0, push_1},
         reset_2,
         each_is_over_once,
         2,
         false},
        {"two threads, one at a time",
         4,
         {thread_0, thread_1, push_0, push_1},
         reset_2_limit,
         each_is_over_once,
         2,
         false},
        {"two threads, two producers, one takes its job back",
         4,
         {thread_0, thread_1, push_0_and_withdraw, push_1},
         reset_2,
         each_is_over_once,
         2,
         false},
    };
#define NO_PAYLOAD                                                                                 \
    "read-modify-writes of one word, which decide by what they return; what it tells of is "       \
    "handed "                                                                                      \
    "over by the locks. acq_rel costs nothing more on x86"
    static const struct xp_excuse excuses[] = {
        {"filch__job_look_away fetch_and_acq_rel -> acquire", NO_PAYLOAD},
        {"filch__job_look_away fetch_and_acq_rel -> release", NO_PAYLOAD},
        {"filch__job_look fetch_or_acq_rel -> acquire", NO_PAYLOAD},
        {"filch__job_look fetch_or_acq_rel -> release", NO_PAYLOAD},
        {"filch__job_push fetch_or_acq_rel -> acquire", NO_PAYLOAD},
        {"filch__job_push fetch_or_acq_rel -> release", NO_PAYLOAD},
        {"clear_bit_if_empty fetch_and_acq_rel -> acquire", NO_PAYLOAD},
        {"clear_bit_if_empty fetch_and_acq_rel -> release", NO_PAYLOAD},
        {"call_locked store_release -> relaxed", "stands for a system call"},
        {"wait_for_call load_acquire -> relaxed", "stands for a system call"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
