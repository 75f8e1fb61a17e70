/* Description: several messages at once: batches keep their order and stay together, say how far
 * they got, and lose nothing when they give up in the middle. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(chan_batch, .timeout = 100);

static filch_chan *chan_new(size_t capacity)
{
    filch_chan *chan = NULL;

    T_OK(filch_chan_new(sizeof(int), capacity, &chan));
    return chan;
}

static int recv_now(filch_chan *chan)
{
    int value = -1;
    int r = filch_chan_recv(chan, &value, FILCH_NOW);

    return r < 0 ? r : value;
}

static void check_moves(size_t capacity, size_t fits)
{
    enum { MOST = 1000 };
    filch_chan *chan = chan_new(capacity);
    int in[MOST], out[MOST];
    int next_in = 0, next_out = 0;
    size_t sent;

    for (int round = 0; round < 200; round++) {
        size_t n = (size_t)(round * 37) % MOST, room = fits - filch_chan_len(chan);
        ssize_t got;

        for (size_t i = 0; i < n; i++)
            in[i] = next_in + (int)i;
        cr_assert_eq(filch_chan_send_many(chan, in, n, &sent, FILCH_NOW),
                     n > room ? -ETIMEDOUT : 0);
        T_IS(sent, n > room ? room : n);
        next_in += (int)sent;
        got = filch_chan_recv_many(chan, out, 1 + (size_t)(round * 53) % MOST, FILCH_NOW);
        T_CHECK(got > 0 || (got == -ETIMEDOUT && next_in == next_out));
        for (ssize_t i = 0; i < got; i++)
            T_IS(out[i], next_out++);
        T_IS(filch_chan_len(chan), next_in - next_out);
    }
    filch_chan_unref(chan);
}

Test(chan_batch, messages_are_moved_in_order)
{
    check_moves(1, 1);
    check_moves(7, 7);
    check_moves(500, 500);
    check_moves(FILCH_CHAN_UNBOUNDED, SIZE_MAX);
}

Test(chan_batch, takes_what_is_there_and_nothing_beyond_its_array)
{
    filch_chan *chan = chan_new(10);
    int in[6] = {1, 2, 3, 4, 5, 6};
    int out[8] = {0, 0, 0, 0, 0, 0, 0, 99};

    T_OK(filch_chan_send_many(chan, in, 6, NULL, FILCH_NOW));
    cr_assert_eq(filch_chan_recv_many(chan, out, 4, FILCH_NEVER), 4);
    cr_assert_eq(out[3], 4);
    cr_assert_eq(out[4], 0);
    cr_assert_eq(filch_chan_recv_many(chan, out, 7, FILCH_NEVER), 2);
    cr_assert_eq(out[1], 6);
    cr_assert_eq(out[7], 99);
    T_OK(filch_chan_close(chan));
    cr_assert_eq(filch_chan_recv_many(chan, out, 7, FILCH_NEVER), -EPIPE);
    cr_assert_eq(out[1], 6);
    filch_chan_unref(chan);
}

Test(chan_batch, messages_larger_than_a_section_are_moved_too)
{
    static unsigned char in[5][65536], out[5][65536];
    filch_chan *chan = NULL;

    T_OK(filch_chan_new(65536, 5, &chan));
    for (int i = 0; i < 5; i++)
        memset(in[i], i + 1, sizeof(in[i]));
    T_OK(filch_chan_send_many(chan, in, 5, NULL, FILCH_NOW));
    for (int n = 0; n < 5;) {
        ssize_t got = filch_chan_recv_many(chan, out[n], (size_t)(5 - n), FILCH_NOW);

        T_CHECK(got > 0);
        n += (int)got;
    }
    cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
    filch_chan_unref(chan);
}

struct batch {
    filch_chan *chan;
    int first, n;
    filch_time until;
    atomic_int sent;
    int r;
};

static int send_batch(void *arg)
{
    struct batch *batch = arg;
    int values[200];
    size_t sent = 999;

    for (int i = 0; i < batch->n; i++)
        values[i] = batch->first + i;
    batch->r = filch_chan_send_many(batch->chan, values, (size_t)batch->n, &sent, batch->until);
    atomic_store(&batch->sent, (int)sent);
    return batch->r;
}

/* Two batches wait, and a third one comes: each stays together. */
static int together_body(void *arg)
{
    filch_chan *chan = chan_new(3);
    struct batch batch[3];
    filch_task *task[3];
    int last = -1;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        batch[i] = (struct batch){.chan = chan, .first = i * 100, .n = 50, .until = T_LIMIT};
        task[i] = spawn(send_batch, &batch[i]);
        let_others_run();
    }
    for (int n = 0; n < 150;) {
        int out[7];
        ssize_t got = filch_chan_recv_many(chan, out, n % 2 ? 7 : 1, T_LIMIT);

        T_CHECK(got > 0);
        for (ssize_t i = 0; i < got; i++, n++) {
            T_IS(out[i], n / 50 * 100 + n % 50);
            last = out[i];
        }
    }
    T_IS(last, 249);
    for (int i = 0; i < 3; i++)
        T_OK(join(task[i]));
    filch_chan_unref(chan);
    return 0;
}

Test(chan_batch, a_batch_that_waits_stays_together)
{
    T_OK(run_in_runtime(1, together_body, NULL));
}

/* Cancelled, out of time, or the channel closed, in the middle: exactly those that it says are
 * there. */
static int gives_up_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 150; i++) {
        filch_chan *chan = chan_new(4);
        struct batch batch = {
            .chan = chan, .n = 20, .until = i % 3 ? FILCH_NEVER : filch_after(FILCH_MILLISECOND)};
        filch_task *task = spawn(send_batch, &batch);
        int received = 0, value;

        if (i % 2)
            let_others_run();
        for (int k = 0; k < (i % 3 ? i % 8 : i % 5); k++) { /* what comes in any case */
            T_OK(filch_chan_recv(chan, &value, T_LIMIT));
            T_IS(value, received++);
        }
        if (i % 3 == 1)
            T_OK(filch_task_cancel(task));
        if (i % 3 == 2)
            T_OK(filch_chan_close(chan));
        (void)join(task);
        T_IS(batch.r, i % 3 == 0 ? -ETIMEDOUT : i % 3 == 1 ? -ECANCELED : -EPIPE);
        while ((value = recv_now(chan)) >= 0)
            T_IS(value, received++);
        T_IS(received, atomic_load(&batch.sent));
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_batch, a_batch_that_ends_in_the_middle_says_where)
{
    T_OK(run_in_runtime(0, gives_up_body, NULL));
}

static int recv_batch(void *arg)
{
    int out[16];
    int sum = 0;
    ssize_t got;

    while ((got = filch_chan_recv_many(arg, out, 16, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < got; i++)
            sum += out[i];
    return got == -EPIPE ? sum : -EIO;
}

static int empty_body(void *arg)
{
    filch_chan *chan = chan_new(2);
    filch_task *task, *receiver[3];
    int out[4], sum = 0;

    (void)arg;
    T_IS(filch_chan_recv_many(chan, out, 4, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    task = spawn(recv_batch, chan);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -EIO); /* cancelled, with nothing */
    /* A batch meets several receivers that wait. */
    for (int i = 0; i < 3; i++)
        receiver[i] = spawn(recv_batch, chan);
    let_others_run();
    T_OK(filch_chan_send_many(chan, (int[]){1, 2, 3, 4, 5, 6, 7, 8}, 8, NULL, T_LIMIT));
    T_OK(filch_chan_close(chan));
    for (int i = 0; i < 3; i++)
        sum += join(receiver[i]);
    T_IS(sum, 36);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_batch, waits_for_the_first_one)
{
    T_OK(run_in_runtime(0, empty_body, NULL));
}

static void *send_thread(void *arg)
{
    for (int i = 0; i < 100; i++)
        T_OK(send_batch(arg));
    return NULL;
}

Test(chan_batch, works_between_plain_threads)
{
    filch_chan *chan = chan_new(16);
    struct batch batch[2];
    pthread_t thread[2];
    int out[100], count = 0;

    for (int i = 0; i < 2; i++) {
        batch[i] = (struct batch){.chan = chan, .n = 40, .until = T_LIMIT};
        T_OK(pthread_create(&thread[i], NULL, send_thread, &batch[i]));
    }
    while (count < 8000) {
        ssize_t got = filch_chan_recv_many(chan, out, 100, T_LIMIT);

        T_CHECK(got > 0);
        count += (int)got;
    }
    for (int i = 0; i < 2; i++)
        T_OK(pthread_join(thread[i], NULL));
    T_IS(recv_now(chan), -ETIMEDOUT);
    filch_chan_unref(chan);
}
