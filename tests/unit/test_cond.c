/* Description: condition variables: the mutex is held whatever a wait says, no signal is lost, each
 * wakes one. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(cond, .timeout = 120);

struct queue {
    filch_mutex lock;
    filch_cond not_empty;
    int items;   /* under the lock */
    int waiting; /* under the lock */
    int taken;   /* under the lock */
    filch_time until;
};

static struct queue new_queue(void)
{
    return (struct queue){
        .lock = FILCH_MUTEX_INIT, .not_empty = FILCH_COND_INIT, .until = FILCH_NEVER};
}

static void end_queue(struct queue *queue)
{
    filch_cond_fini(&queue->not_empty);
    filch_mutex_fini(&queue->lock);
}

static int takes(void *arg)
{
    struct queue *queue = arg;
    int r = 0;

    FILCH_LOCKED(&queue->lock)
    {
        queue->waiting++;
        while (queue->items == 0 && r == 0)
            r = filch_cond_wait(&queue->not_empty, &queue->lock, queue->until);
        T_IS(filch_mutex_try_lock(&queue->lock), -EBUSY);
        queue->waiting--;
        if (queue->items > 0) {
            queue->items--;
            queue->taken++;
            r = 0;
        }
    }
    return r;
}

/* Waiting: the mutex is free only when they are in the list. */
static void wait_for_waiters(struct queue *queue, int count)
{
    for (int seen = -1; seen != count; filch_task_yield())
        FILCH_LOCKED(&queue->lock)
        {
            seen = queue->waiting;
        }
}

static void put(struct queue *queue, int items)
{
    FILCH_LOCKED(&queue->lock)
    {
        queue->items += items;
    }
}

static int signals(void *arg)
{
    struct queue queue = new_queue();
    filch_task *task[4];
    int r, rest;

    (void)arg;
    T_IS(filch_cond_signal(&queue.not_empty), 0);
    T_IS(filch_cond_broadcast(&queue.not_empty), 0);
    for (int i = 0; i < 4; i++)
        task[i] = spawn(takes, &queue);
    wait_for_waiters(&queue, 4);
    put(&queue, 1);
    T_IS(filch_cond_signal(&queue.not_empty), 1);
    wait_for_waiters(&queue, 3);
    T_OK(filch_task_cancel(task[3]));
    r = join(task[3]);
    T_CHECK(r == -ECANCELED || r == 0); /* or it was the one that was signalled */
    rest = r == 0 ? 3 : 2;
    put(&queue, rest);
    T_IS(filch_cond_broadcast(&queue.not_empty), rest);
    for (int i = 0; i < 3; i++)
        T_OK(join(task[i]));
    T_IS(queue.taken, rest + 1);
    end_queue(&queue);
    return 0;
}

Test(cond, a_signal_wakes_one_and_a_broadcast_all)
{
    T_OK(run_in_runtime(0, signals, NULL));
}

static int fails(void *arg)
{
    struct queue queue = new_queue();
    filch_task *task;

    (void)arg;
    T_IS(filch_cond_wait(&queue.not_empty, &queue.lock, FILCH_NEVER), -EPERM);
    T_OK(filch_mutex_lock(&queue.lock, FILCH_NEVER));
    T_IS(filch_cond_wait(&queue.not_empty, &queue.lock, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_cond_wait(&queue.not_empty, &queue.lock, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(filch_cond_signal(&queue.not_empty), 0); /* nobody is left in the list */
    T_IS(filch_mutex_try_lock(&queue.lock), -EBUSY);
    T_OK(filch_mutex_unlock(&queue.lock));
    task = spawn(takes, &queue);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    end_queue(&queue);
    return 0;
}

Test(cond, the_mutex_is_held_after_a_failed_wait)
{
    T_OK(run_in_runtime(0, fails, NULL));
}

/* Signals against cancels: a signal that has chosen one is answered by it. */
static int races(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        struct queue queue = new_queue();
        filch_task *first, *second;

        first = spawn(takes, &queue);
        second = spawn(takes, &queue);
        wait_for_waiters(&queue, 2);
        put(&queue, 2);
        T_OK(filch_task_cancel(first));
        T_CHECK(filch_cond_signal(&queue.not_empty) >= 0);
        (void)filch_cond_broadcast(&queue.not_empty);
        T_OK(join(first));
        T_OK(join(second));
        T_IS(queue.taken, 2);
        end_queue(&queue);
    }
    return 0;
}

Test(cond, a_signal_is_not_lost_in_a_cancel)
{
    T_OK(run_in_runtime(0, races, NULL));
}

/* ---- producers and consumers, tasks and threads ---- */

#ifdef T_SANITIZED
#define ITEMS 2000
#else
#define ITEMS 20000
#endif

static int consumes(void *arg)
{
    struct queue *queue = arg;

    for (int i = 0; i < ITEMS; i++) {
        int r = takes(arg);

        if (r == -ETIMEDOUT)
            i--;
        else
            T_OK(r);
    }
    (void)queue;
    return 0;
}

static int produces(void *arg)
{
    struct queue *queue = arg;

    for (int i = 0; i < ITEMS; i++) {
        put(queue, 1);
        T_CHECK(filch_cond_signal(&queue->not_empty) >= 0);
    }
    return 0;
}

static void *produces_in_thread(void *arg)
{
    (void)produces(arg);
    return NULL;
}

static int flow(void *arg)
{
    filch_task *task[5];

    for (int i = 0; i < 3; i++)
        task[i] = spawn(consumes, arg);
    for (int i = 3; i < 5; i++)
        task[i] = spawn(produces, arg);
    for (int i = 0; i < 5; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(cond, nothing_is_lost_between_producers_and_consumers)
{
    struct queue queue = new_queue();
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, produces_in_thread, &queue));
    T_OK(run_in_runtime(0, flow, &queue));
    pthread_join(thread, NULL);
    T_IS(queue.taken, 3 * ITEMS);
    T_IS(queue.items, 0);
    end_queue(&queue);
}

struct turn {
    struct queue *queue;
    int place;
};

static int takes_its_turn(void *arg)
{
    struct turn *turn = arg;

    T_OK(takes(turn->queue));
    turn->place = turn->queue->taken; /* one worker, and nobody else is signalled meanwhile */
    return 0;
}

static int in_turn(void *arg)
{
    struct queue queue = new_queue();
    struct turn turn[4];
    filch_task *task[4];

    (void)arg;
    for (int i = 0; i < 4; i++) {
        turn[i] = (struct turn){.queue = &queue};
        task[i] = spawn(takes_its_turn, &turn[i]);
        wait_for_waiters(&queue, i + 1);
    }
    for (int i = 0; i < 4; i++) {
        put(&queue, 1);
        T_IS(filch_cond_signal(&queue.not_empty), 1);
        wait_for_waiters(&queue, 3 - i);
    }
    for (int i = 0; i < 4; i++) {
        T_OK(join(task[i]));
        T_IS(turn[i].place, i + 1);
    }
    end_queue(&queue);
    return 0;
}

Test(cond, a_signal_is_for_the_one_that_has_waited_longest)
{
    T_OK(run_in_runtime(1, in_turn, NULL));
}
