/* Description: what broke in other runtimes, as programs of ours. Those that are covered by a test
 * of the unit concerned are not repeated: ELSEWHERE.md lists all of them. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(elsewhere, .timeout = 120);

/* ---- a lock that a loser of a select still queues for ---- */

/* A task holds a lock. Another waits for it in a select beside a message, gets the message, and
 * wants the lock within the branch. Where the loser keeps its turn, the lock is handed to somebody
 * who is not looked at any more, and both wait for ever. */
struct futurelock {
    filch_mutex lock;
    filch_chan *tick;
    filch_chan *release;
    int in_branch;
};

static int holder(void *arg)
{
    struct futurelock *f = arg;
    int tick = 1;

    T_OK(filch_mutex_lock(&f->lock, T_LIMIT));
    T_OK(filch_chan_send(f->tick, &tick, T_LIMIT));
    T_OK(filch_chan_recv(f->release, &tick, T_LIMIT));
    (void)filch_mutex_unlock(&f->lock);
    return 0;
}

static int wants_lock_in_branch(void *arg)
{
    struct futurelock *f = arg;
    int tick = 0, one = 1;

    T_IS(FILCH_SELECT(T_LIMIT, filch_case_lock(&f->lock), filch_case_recv(f->tick, &tick)), 1);
    T_OK(filch_chan_send(f->release, &one, T_LIMIT));
    T_OK(filch_mutex_lock(&f->lock, T_LIMIT));
    f->in_branch++;
    (void)filch_mutex_unlock(&f->lock);
    return 0;
}

static int futurelock(void *arg)
{
    struct futurelock f = {.lock = FILCH_MUTEX_INIT};

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &f.tick));
    T_OK(filch_chan_new(sizeof(int), 1, &f.release));
    for (int round = 0; round < 200; round++) {
        filch_task *task = spawn(holder, &f);

        /* The lock is taken before the select looks. */
        T_WAIT_UNTIL(filch_chan_len(f.tick) == 1);
        T_OK(wants_lock_in_branch(&f));
        T_OK(join(task));
    }
    T_IS(f.in_branch, 200);
    filch_mutex_fini(&f.lock);
    filch_chan_unref(f.tick);
    filch_chan_unref(f.release);
    return 0;
}

Test(elsewhere, a_lock_is_had_in_the_branch_of_a_select_that_had_queued_for_it)
{
    T_OK(run_in_runtime(0, futurelock, NULL));
}

/* ---- a channel of one, a ticker, and a send within the branch ---- */

#define SENT 300

struct branch {
    filch_chan *chan;
    filch_chan *tick;
    int received;
};

static int other_sender(void *arg)
{
    struct branch *b = arg;
    int message = 1;

    for (int i = 0; i < SENT; i++)
        T_OK(filch_chan_send(b->chan, &message, T_LIMIT));
    return 0;
}

static int ticker(void *arg)
{
    struct branch *b = arg;
    int tick = 1;

    for (int i = 0; i < SENT; i++)
        T_OK(filch_chan_send(b->tick, &tick, T_LIMIT));
    filch_chan_close(b->tick);
    return 0;
}

static int receiver(void *arg)
{
    struct branch *b = arg;
    int message;

    while (filch_chan_recv(b->chan, &message, T_LIMIT) == 0)
        b->received++;
    return 0;
}

/* Either its own send goes through, or a tick comes, in whose branch it sends. Where a loser keeps
 * its place in the channel, that place is the only one, and nobody uses it. */
static int sends_in_branch(struct branch *b)
{
    int sent = 0, message = 1, tick;

    for (;;) {
        filch_case cases[] = {filch_case_send(b->chan, &message), filch_case_recv(b->tick, &tick)};
        int won = filch_select(cases, 2, 0, T_LIMIT);

        T_CHECK(won >= 0);
        if (won == 1 && cases[1].result == -EPIPE)
            return sent;
        if (won == 1)
            T_OK(filch_chan_send(b->chan, &message, T_LIMIT));
        else
            T_OK(cases[0].result);
        sent++;
    }
}

static int branch(void *arg)
{
    struct branch b = {0};
    filch_task *tasks[3];
    int sent;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &b.chan));
    T_OK(filch_chan_new(sizeof(int), 1, &b.tick));
    tasks[0] = spawn(other_sender, &b);
    tasks[1] = spawn(ticker, &b);
    tasks[2] = spawn(receiver, &b);
    sent = sends_in_branch(&b);
    T_CHECK(sent >= SENT);
    T_OK(join(tasks[0]));
    T_OK(join(tasks[1]));
    filch_chan_close(b.chan);
    T_OK(join(tasks[2]));
    T_IS(b.received, sent + SENT);
    filch_chan_unref(b.chan);
    filch_chan_unref(b.tick);
    return 0;
}

Test(elsewhere, a_select_that_sends_may_send_in_another_branch)
{
    T_OK(run_in_runtime(0, branch, NULL));
}

/* ---- parked selects that are cancelled by other workers ---- */

#define ROUNDS 1000

struct parked {
    filch_chan *chan;
    filch_semaphore permits;
    filch_notify notify;
    atomic_uint waiting;
    atomic_uint messages;
    atomic_uint acquired;
    atomic_uint notified;
};

static int parked_select(void *arg)
{
    struct parked *p = arg;
    int message;
    filch_case cases[] = {filch_case_recv(p->chan, &message), filch_case_acquire(&p->permits, 1),
                          filch_case_notified(&p->notify)};
    int won;

    atomic_fetch_add(&p->waiting, 1);
    won = filch_select(cases, 3, 0, FILCH_NEVER);
    atomic_fetch_add(&p->messages, won == 0);
    atomic_fetch_add(&p->acquired, won == 1);
    atomic_fetch_add(&p->notified, won == 2);
    T_CHECK(won >= 0 || won == -ECANCELED);
    return 0;
}

/* In each round one select is parked, one thing is given, and a cancel comes, all by different
 * tasks. What was given is either taken by the select or still there. */
static int cancelled_while_parked(void *arg)
{
    struct parked p = {.permits = FILCH_SEMAPHORE_INIT(0), .notify = FILCH_NOTIFY_INIT};
    unsigned given[3] = {0}, left = 0;
    int message = 7;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), FILCH_CHAN_UNBOUNDED, &p.chan));
    for (unsigned round = 0; round < ROUNDS; round++) {
        filch_task *task = spawn(parked_select, &p);

        if (round % 2)
            T_WAIT_UNTIL(atomic_load(&p.waiting) == round + 1);
        if (round % 3 == 0)
            T_OK(filch_chan_send(p.chan, &message, FILCH_NOW));
        else if (round % 3 == 1)
            T_OK(filch_semaphore_release(&p.permits, 1));
        else
            T_OK(filch_notify_one(&p.notify));
        given[round % 3]++;
        T_OK(filch_task_cancel(task));
        T_OK(join(task));
        /* A notification that nobody took is stored, but only one of them. */
        if (filch_notify_wait(&p.notify, FILCH_NOW) == 0)
            atomic_fetch_add(&p.notified, 1);
    }
    while (filch_chan_recv(p.chan, &message, FILCH_NOW) == 0)
        left++;
    T_IS(atomic_load(&p.messages) + left, given[0]);
    T_IS(atomic_load(&p.acquired) + filch_semaphore_available(&p.permits), given[1]);
    T_IS(atomic_load(&p.notified), given[2]);
    filch_chan_unref(p.chan);
    filch_semaphore_fini(&p.permits);
    filch_notify_fini(&p.notify);
    return 0;
}

Test(elsewhere, a_thousand_parked_selects_are_cancelled_from_elsewhere)
{
    T_OK(run_in_runtime(0, cancelled_while_parked, NULL));
    T_OK(run_in_runtime(test_without_threads() ? 0 : 8, cancelled_while_parked, NULL));
}

/* ---- children that make progress only while somebody polls them ---- */

static atomic_uint children_done;
static atomic_bool polled;

static int child_of_stream(void *context, const void *in, void *out)
{
    (void)context;
    T_WAIT_UNTIL(atomic_load(&polled));
    memcpy(out, in, sizeof(int));
    atomic_fetch_add(&children_done, 1);
    return 0;
}

static int children_run_alone(void *arg)
{
    static const int items[] = {1, 2, 3, 4};
    filch_array_stream in;
    filch_concurrent_stream children;
    int item, sum = 0;

    (void)arg;
    atomic_store(&children_done, 0);
    atomic_store(&polled, false);
    T_OK(filch_array_stream_init(&in, items, sizeof(int), 4));
    T_OK(filch_concurrent_stream_init(&children, &in.base, sizeof(int), child_of_stream, NULL, 4,
                                      0));
    T_IS(filch_stream_next(&children.base, &item, FILCH_NOW), -ETIMEDOUT);
    atomic_store(&polled, true);
    /* Nobody reads the stream from here on. */
    T_WAIT_UNTIL(atomic_load(&children_done) == 4);
    while (filch_stream_next(&children.base, &item, T_LIMIT) > 0)
        sum += item;
    T_IS(sum, 10);
    filch_stream_drop(&children.base);
    return 0;
}

Test(elsewhere, children_of_a_stream_go_on_while_nobody_reads)
{
    T_OK(run_in_runtime(0, children_run_alone, NULL));
}

/* ---- permits that were handed to somebody who is cancelled at that moment ---- */

/* A large request at the head of the queue is cancelled; the small ones behind it could have gone
 * all along. Cancelled winners, losers and bystanders must leave the count as it was. */
struct handed {
    filch_semaphore permits;
    atomic_uint inside;
};

static int small_request(void *arg)
{
    struct handed *h = arg;
    int r = filch_semaphore_acquire(&h->permits, 1, FILCH_NEVER);

    T_CHECK(r == 0 || r == -ECANCELED);
    if (r == 0) {
        atomic_fetch_add(&h->inside, 1);
        T_OK(filch_semaphore_release(&h->permits, 1));
    }
    return 0;
}

static int large_request(void *arg)
{
    struct handed *h = arg;
    int r = filch_semaphore_acquire(&h->permits, 4, FILCH_NEVER);

    T_CHECK(r == 0 || r == -ECANCELED);
    if (r == 0)
        T_OK(filch_semaphore_release(&h->permits, 4));
    return 0;
}

static int permits_of_the_cancelled(void *arg)
{
    struct handed h = {.permits = FILCH_SEMAPHORE_INIT(4)};

    (void)arg;
    for (unsigned round = 0; round < 300; round++) {
        filch_task *large, *small[3];

        T_OK(filch_semaphore_acquire(&h.permits, 2, T_LIMIT));
        large = spawn(large_request, &h);
        for (unsigned i = 0; i < 3; i++)
            small[i] = spawn(small_request, &h);
        if (round % 2)
            let_others_run();
        /* The one in front goes, or gets its permits at the same moment. */
        T_OK(filch_task_cancel(large));
        if (round % 3 == 0)
            T_OK(filch_task_cancel(small[0]));
        T_OK(filch_semaphore_release(&h.permits, 2));
        T_OK(join(large));
        for (unsigned i = 0; i < 3; i++)
            T_OK(join(small[i]));
        T_IS(filch_semaphore_available(&h.permits), 4);
    }
    T_CHECK(atomic_load(&h.inside) >= 600);
    filch_semaphore_fini(&h.permits);
    return 0;
}

Test(elsewhere, permits_of_the_cancelled_go_to_the_next)
{
    T_OK(run_in_runtime(0, permits_of_the_cancelled, NULL));
}
