/* Description: the queue of blocking jobs by itself, in one thread: order, turns, limits, reserves,
 * bounds, taking back, and who is told to find a looker. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runtime/blocking/job_queue.h"
#include "runtime/task/task.h"
#include "tests/runner/check.h"

#define JOBS 64

TestSuite(job_queue, .timeout = 60);

static struct filch__job_queue queue;
static struct filch__task job[JOBS];

/* Index of the job that may run next; -1: none may. */
static int take(void)
{
    struct filch__task *taken;

    filch_spinlock_lock(&queue.lock);
    taken = filch__job_take(&queue);
    filch_spinlock_unlock(&queue.lock);
    return taken ? (int)(taken - job) : -1;
}

static void end(int index)
{
    filch_spinlock_lock(&queue.lock);
    filch__job_end(&queue, job[index].class_index);
    filch_spinlock_unlock(&queue.lock);
}

static void look(void)
{
    filch_spinlock_lock(&queue.lock);
    filch__job_look(&queue);
    filch_spinlock_unlock(&queue.lock);
}

static bool look_away(void)
{
    bool left;

    filch_spinlock_lock(&queue.lock);
    left = filch__job_look_away(&queue);
    filch_spinlock_unlock(&queue.lock);
    return left;
}

/* A queue for @threads_max jobs at once with a class for all, number 0. */
static void queue_init(unsigned threads_max, unsigned reserved)
{
    filch__job_queue_init(&queue, threads_max);
    T_IS(filch__job_class_add(&queue, "all", 0, reserved, 0), 0);
}

Test(job_queue, jobs_of_a_class_come_out_in_order)
{
    queue_init(JOBS, 0);
    T_IS(take(), -1);
    for (int i = 0; i < 10; i++)
        T_CHECK(filch__job_push(&queue, 0, &job[i]) >= 0);
    for (int i = 0; i < 5; i++)
        T_IS(take(), i);
    for (int i = 10; i < 20; i++) /* to the inbox, while the list is not empty */
        T_CHECK(filch__job_push(&queue, 0, &job[i]) >= 0);
    T_IS(filch__jobs_queued(&queue), 15);
    for (int i = 5; i < 20; i++)
        T_IS(take(), i);
    T_IS(take(), -1);
    T_IS(filch__jobs_queued(&queue), 0);
}

Test(job_queue, a_push_says_whether_somebody_looks)
{
    queue_init(JOBS, 0);
    T_IS(filch__job_push(&queue, 0, &job[0]), 1);
    T_IS(filch__job_push(&queue, 0, &job[1]), 1);
    look();
    T_IS(filch__job_push(&queue, 0, &job[2]), 0);
    look();
    T_IS(look_away(), false); /* the other one looks still */
    T_IS(look_away(), true);
    T_IS(filch__job_push(&queue, 0, &job[3]), 1);
    look();
    for (int i = 0; i < 4; i++)
        T_IS(take(), i);
    T_IS(look_away(), false); /* nothing is left */
}

Test(job_queue, classes_take_turns)
{
    static const int want[] = {0, 10, 20, 1, 11, 2, 12, 3, 4};

    queue_init(JOBS, 0);
    T_IS(filch__job_class_add(&queue, "b", 0, 0, 0), 1);
    T_IS(filch__job_class_add(&queue, "c", 0, 0, 0), 2);
    for (int i = 0; i < 5; i++)
        T_CHECK(filch__job_push(&queue, 0, &job[i]) >= 0);
    for (int i = 10; i < 13; i++)
        T_CHECK(filch__job_push(&queue, 1, &job[i]) >= 0);
    T_CHECK(filch__job_push(&queue, 2, &job[20]) >= 0);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        T_IS(take(), want[i]);
    T_IS(take(), -1);
}

Test(job_queue, a_class_at_its_limit_waits_and_others_go_on)
{
    queue_init(8, 0);
    T_IS(filch__job_class_add(&queue, "two", 2, 0, 0), 1);
    for (int i = 0; i < 4; i++)
        T_CHECK(filch__job_push(&queue, 1, &job[i]) >= 0);
    T_IS(take(), 0);
    T_IS(take(), 1);
    T_IS(take(), -1);
    look();
    T_IS(look_away(), false); /* what may not run needs no looker */
    T_CHECK(filch__job_push(&queue, 0, &job[10]) >= 0);
    T_IS(take(), 10);
    end(0);
    T_IS(take(), 2);
    T_IS(take(), -1);
    end(1);
    look();
    T_IS(look_away(), true);
    T_IS(take(), 3);
}

Test(job_queue, a_reserve_stays_free_for_its_class)
{
    queue_init(4, 1);
    T_IS(filch__job_class_add(&queue, "kept", 0, 2, 0), 1);
    for (int i = 0; i < 8; i++)
        T_CHECK(filch__job_push(&queue, 0, &job[i]) >= 0);
    T_IS(take(), 0);
    T_IS(take(), 1);
    T_IS(take(), -1); /* two are kept */
    for (int i = 10; i < 18; i++)
        T_CHECK(filch__job_push(&queue, 1, &job[i]) >= 0);
    T_IS(take(), 10);
    T_IS(take(), 11);
    T_IS(take(), -1);
    end(10);
    T_IS(take(), 12);
    end(0);
    T_IS(take(), 2); /* beyond the reserves it goes by turns */
    T_IS(take(), -1);
    end(1);
    T_IS(take(), 13);
    T_IS(take(), -1);
    end(2); /* what the other one reserves is not to be had */
    T_IS(take(), 3);
    T_IS(take(), -1);
}

Test(job_queue, a_reserve_made_late_waits_for_a_thread)
{
    queue_init(2, 1);
    T_CHECK(filch__job_push(&queue, 0, &job[0]) >= 0);
    T_CHECK(filch__job_push(&queue, 0, &job[1]) >= 0);
    T_CHECK(filch__job_push(&queue, 0, &job[2]) >= 0);
    T_IS(take(), 0);
    T_IS(take(), 1);
    T_IS(filch__job_class_add(&queue, "late", 0, 1, 0), 1);
    T_CHECK(filch__job_push(&queue, 1, &job[10]) >= 0);
    T_IS(take(), -1); /* never more than two at once */
    end(0);
    T_IS(take(), 10);
    T_IS(take(), -1);
    end(1);
    T_IS(take(), 2);
}

Test(job_queue, a_bound_counts_what_waits)
{
    queue_init(2, 0);
    T_IS(filch__job_class_add(&queue, "three", 0, 0, 3), 1);
    for (int i = 0; i < 3; i++)
        T_CHECK(filch__job_push(&queue, 1, &job[i]) >= 0);
    T_IS(filch__job_push(&queue, 1, &job[3]), -EAGAIN);
    T_IS(filch__job_class_queued(&queue.class[1]), 3);
    T_IS(take(), 0);
    T_CHECK(filch__job_push(&queue, 1, &job[3]) >= 0);
    T_IS(filch__job_push(&queue, 1, &job[4]), -EAGAIN);
    T_CHECK(filch__job_withdraw(&queue, &job[2]));
    T_CHECK(filch__job_push(&queue, 1, &job[4]) >= 0);
    T_IS(take(), 1);
    end(0);
    end(1);
    T_IS(take(), 3);
    T_IS(take(), 4);
}

Test(job_queue, a_job_is_taken_back_wherever_it_waits)
{
    queue_init(JOBS, 0);
    for (int i = 0; i < 4; i++)
        T_CHECK(filch__job_push(&queue, 0, &job[i]) >= 0);
    T_IS(take(), 0); /* 1 to 3 are in the list now */
    T_CHECK(filch__job_push(&queue, 0, &job[4]) >= 0);
    T_CHECK(filch__job_push(&queue, 0, &job[5]) >= 0);
    T_CHECK(!filch__job_withdraw(&queue, &job[0]));
    T_CHECK(filch__job_withdraw(&queue, &job[2]));
    T_CHECK(!filch__job_withdraw(&queue, &job[2]));
    T_CHECK(filch__job_withdraw(&queue, &job[4]));
    T_IS(take(), 1);
    T_IS(take(), 3);
    T_IS(take(), 5);
    T_IS(take(), -1);
    T_CHECK(filch__job_push(&queue, 0, &job[6]) >= 0);
    T_CHECK(filch__job_withdraw(&queue, &job[6]));
    T_IS(take(), -1); /* the class has no bit any more */
    look();
    T_IS(look_away(), false);
    T_IS(filch__jobs_queued(&queue), 0);
}

Test(job_queue, what_cannot_be_promised_is_refused)
{
    queue_init(4, 1);
    T_IS(filch__job_class_add(&queue, "x", 1, 2, 0), -ENOSPC);
    T_IS(filch__job_class_add(&queue, "x", 0, 4, 0), -ENOSPC);
    T_IS(filch__job_class_add(&queue, "x", 0, 3, 0), 1);
    T_IS(filch__job_class_add(&queue, "x", 0, 1, 0), -ENOSPC);
    for (int i = 2; i < FILCH__JOB_CLASSES_MAX; i++)
        T_IS(filch__job_class_add(&queue, "x", 0, 0, 0), i);
    T_IS(filch__job_class_add(&queue, "x", 0, 0, 0), -ENOSPC);
}
