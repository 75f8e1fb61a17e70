/* A stream through stages: numbers are looked up by up to 4 tasks at a time, in their order; those
 * that fail are counted; the rest goes on in batches. Nobody takes a number before it is asked for.
 */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

/* 1, 2, 3, ... without end. */
static int count(void *context, void *item)
{
    *(int *)item = ++*(int *)context;
    return 1;
}

static bool is_odd(void *context, const void *item)
{
    (void)context;
    return *(const int *)item % 2;
}

/* In a task of its own, so it may wait. */
static int look_up(void *context, const void *in, void *out)
{
    int number = *(const int *)in;
    int r = filch_sleep(filch_after((unsigned)(number * 7 % 5) * FILCH_MILLISECOND));

    (void)context;
    *(int *)out = number * 100;
    return r < 0 ? r : number == 9 ? -ENOENT : 0;
}

static int pipeline_main(void *arg)
{
    filch_fn_stream numbers;
    filch_filter_stream odd;
    filch_take_stream ten;
    filch_concurrent_stream found;
    filch_chunks_stream batches;
    filch_chunk batch;
    int last = 0, buffer[4], r;

    (void)arg;
    if ((r = filch_fn_stream_init(&numbers, sizeof(int), count, &last)) < 0 ||
        (r = filch_filter_stream_init(&odd, &numbers.base, is_odd, NULL)) < 0 ||
        (r = filch_take_stream_init(&ten, &odd.base, 10)) < 0 ||
        (r = filch_concurrent_stream_init(&found, &ten.base, sizeof(int), look_up, NULL, 4,
                                          FILCH_CONCURRENT_ORDERED)) < 0)
        return r;
    if ((r = filch_chunks_stream_init(&batches, &found.base, buffer, 4, FILCH_NEVER)) == 0) {
        while ((r = filch_stream_next(&batches.base, &batch, FILCH_NEVER)) > 0 || r == -ENOENT) {
            for (size_t i = 0; r > 0 && i < batch.count; i++)
                printf("%d%c", ((const int *)batch.items)[i], i + 1 < batch.count ? ' ' : '\n');
            if (r < 0)
                printf("not found\n"); /* an error is not the end */
        }
        filch_stream_drop(&batches.base); /* and all that it reads from */
    } else {
        filch_stream_drop(&found.base);
    }
    return r;
}

int main(void)
{
    return filch_main(pipeline_main, NULL, NULL) < 0;
}
