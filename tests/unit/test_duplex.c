/* Description: streams in memory: bytes in order through a small buffer, who waits and who is
 * woken, ends on either side, time and cancel; in tasks and plain threads. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(duplex, .timeout = 120);

static int ends(void *arg)
{
    filch_duplex *a, *b;
    char buf[16] = "";

    (void)arg;
    T_OK(filch_duplex_new(4, &a, &b));
    T_IS(filch_duplex_read(a, buf, 4, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_duplex_read(a, buf, 4, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_duplex_read(a, buf, 0, FILCH_NEVER), 0);
    T_IS(filch_duplex_write(a, NULL, 0, FILCH_NEVER), 0);
    T_IS(filch_duplex_write(a, "abcdef", 6, FILCH_NEVER), 4);
    T_IS(filch_duplex_write(a, "ef", 2, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_duplex_write(a, "ef", 2, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_duplex_read(b, buf, 3, FILCH_NEVER), 3);
    T_CHECK(memcmp(buf, "abc", 3) == 0);
    T_IS(filch_duplex_write(a, "efgh", 4, FILCH_NEVER), 3);
    T_IS(filch_duplex_read(b, buf, sizeof buf, FILCH_NEVER), 4);
    T_CHECK(memcmp(buf, "defg", 4) == 0);
    /* Half-close: what was written is read, then the end, again and again; the other way goes on.
     */
    T_IS(filch_duplex_write(a, "z", 1, FILCH_NEVER), 1);
    T_OK(filch_duplex_shutdown_write(a));
    T_IS(filch_duplex_write(a, "y", 1, FILCH_NEVER), -EPIPE);
    T_IS(filch_duplex_read(b, buf, sizeof buf, FILCH_NEVER), 1);
    T_IS(filch_duplex_read(b, buf, sizeof buf, FILCH_NEVER), 0);
    T_IS(filch_duplex_read(b, buf, sizeof buf, FILCH_NEVER), 0);
    T_IS(filch_duplex_write(b, "back", 4, FILCH_NEVER), 4);
    filch_duplex_free(b);
    T_IS(filch_duplex_read(a, buf, sizeof buf, FILCH_NEVER), 4);
    T_IS(filch_duplex_read(a, buf, sizeof buf, FILCH_NEVER), 0);
    filch_duplex_free(a);
    T_OK(filch_duplex_new(1, &a, &b));
    filch_duplex_free(b);
    T_IS(filch_duplex_write(a, "x", 1, FILCH_NEVER), -EPIPE);
    T_IS(filch_duplex_read(a, buf, 1, FILCH_NEVER), 0);
    filch_duplex_free(a);
    return 0;
}

Test(duplex, ends_and_limits)
{
    T_OK(run_in_runtime(0, ends, NULL));
    T_OK(ends(NULL));
}

enum { BYTES = 20000 };

static int writes_all(void *arg)
{
    char bytes[37];

    for (int done = 0; done < BYTES;) {
        int n = BYTES - done < (int)sizeof bytes ? BYTES - done : (int)sizeof bytes;
        size_t written = 0;

        for (int i = 0; i < n; i++)
            bytes[i] = (char)((done + i) * 7);
        T_OK(filch_write_all(filch_duplex_io(arg).writer, bytes, (size_t)n, &written, T_LIMIT));
        done += n;
    }
    return filch_duplex_shutdown_write(arg);
}

static int reads_all(void *arg)
{
    filch_reader reader = filch_duplex_io(arg).reader;
    char bytes[11];
    int done = 0;
    ssize_t n;

    while ((n = reader.read(reader.context, bytes, sizeof bytes, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < n; i++, done++)
            T_IS(bytes[i], (char)(done * 7));
    T_IS(n, 0);
    return done;
}

static int both_ways(void *arg)
{
    filch_duplex *a, *b;
    filch_task *tasks[4];

    (void)arg;
    T_OK(filch_duplex_new(16, &a, &b));
    tasks[0] = spawn(writes_all, a);
    tasks[1] = spawn(writes_all, b);
    tasks[2] = spawn(reads_all, a);
    tasks[3] = spawn(reads_all, b);
    T_OK(join(tasks[0]));
    T_OK(join(tasks[1]));
    T_IS(join(tasks[2]), BYTES);
    T_IS(join(tasks[3]), BYTES);
    filch_duplex_free(a);
    filch_duplex_free(b);
    return 0;
}

Test(duplex, every_byte_in_order_both_ways)
{
    T_OK(run_in_runtime(0, both_ways, NULL));
}

static void *thread_writes(void *arg)
{
    T_OK(writes_all(arg));
    return NULL;
}

Test(duplex, between_plain_threads)
{
    filch_duplex *a, *b;
    pthread_t thread;

    T_OK(filch_duplex_new(16, &a, &b));
    T_OK(pthread_create(&thread, NULL, thread_writes, a));
    T_IS(reads_all(b), BYTES);
    T_OK(pthread_join(thread, NULL));
    filch_duplex_free(a);
    filch_duplex_free(b);
}

static int reads_one(void *arg)
{
    char byte;

    return (int)filch_duplex_read(arg, &byte, 1, FILCH_NEVER);
}

static int cancelled(void *arg)
{
    filch_duplex *a, *b;
    int got = 0;

    (void)arg;
    T_OK(filch_duplex_new(1000, &a, &b));
    for (int i = 0; i < 200; i++) {
        filch_task *task = spawn(reads_one, b);
        int r;

        if (i % 3)
            let_others_run();
        T_IS(filch_duplex_write(a, "x", 1, FILCH_NOW), 1);
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == 1 || r == -ECANCELED);
        got += r == 1;
    }
    while (got < 200)
        got += reads_one(b);
    T_IS(filch_duplex_read(b, &got, 1, FILCH_NOW), -ETIMEDOUT);
    filch_duplex_free(a);
    filch_duplex_free(b);
    return 0;
}

Test(duplex, a_cancel_loses_no_byte)
{
    T_OK(run_in_runtime(0, cancelled, NULL));
}

static int woken_by_the_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        filch_duplex *a, *b;
        filch_task *task;

        T_OK(filch_duplex_new(1, &a, &b));
        task = spawn(reads_one, b);
        if (i % 2)
            let_others_run();
        filch_duplex_free(a);
        T_IS(join(task), 0);
        filch_duplex_free(b);
    }
    return 0;
}

Test(duplex, who_reads_is_woken_by_the_end)
{
    T_OK(run_in_runtime(0, woken_by_the_end, NULL));
}
