/* Description: what loops and pipelines say to wrong calls; see test_misuse.c. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_parallel, .timeout = 60);

static const int zero;

static int body(void *arg, size_t begin, size_t end)
{
    (void)arg;
    (void)begin;
    (void)end;
    return 0;
}

static int fold(void *arg, size_t begin, size_t end, void *value)
{
    (void)value;
    return body(arg, begin, end);
}

static void combine(void *arg, void *left, const void *right)
{
    (void)arg;
    (void)left;
    (void)right;
}

static int map_one(void *arg, const void *in, void *out)
{
    (void)arg;
    (void)in;
    (void)out;
    return 0;
}

static int compare(const void *a, const void *b, void *arg)
{
    (void)arg;
    return *(const char *)a - *(const char *)b;
}

static int call(void *arg)
{
    (void)arg;
    return 0;
}

static int no_items(void *arg, void **item)
{
    (void)arg;
    (void)item;
    return 0;
}

/* The same everywhere. */
static void wrong_rows(void)
{
    const filch_call no_fn = {NULL, NULL};
    const filch_stage no_stage_fn = {0}, parallel_first = {no_items, NULL, true};
    int in[2] = {0}, out[2] = {0}, value = 0;

    ROW(filch_parallel_for(0, 1, NULL, NULL, NULL), -EINVAL);
    ROW(filch_parallel_for(1, 0, body, NULL, NULL), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, 4, &zero, NULL, combine, NULL, NULL, &value), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, 4, &zero, fold, NULL, NULL, NULL, &value), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, 4, NULL, fold, combine, NULL, NULL, &value), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, 4, &zero, fold, combine, NULL, NULL, NULL), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, 0, &zero, fold, combine, NULL, NULL, &value), -EINVAL);
    ROW(filch_parallel_reduce(1, 0, 4, &zero, fold, combine, NULL, NULL, &value), -EINVAL);
    ROW(filch_parallel_reduce(0, 1, FILCH_PARALLEL_VALUE_MAX + 1, &zero, fold, combine, NULL, NULL,
                              &value),
        -EINVAL);
    ROW(filch_parallel_scan(NULL, out, 2, 4, &zero, combine, NULL, NULL), -EINVAL);
    ROW(filch_parallel_scan(in, NULL, 2, 4, &zero, combine, NULL, NULL), -EINVAL);
    ROW(filch_parallel_scan(in, out, 2, 0, &zero, combine, NULL, NULL), -EINVAL);
    ROW(filch_parallel_scan(in, out, 2, 4, NULL, combine, NULL, NULL), -EINVAL);
    ROW(filch_parallel_scan_exclusive(in, out, 2, 4, &zero, NULL, NULL, NULL), -EINVAL);
    ROW(filch_parallel_map(NULL, 4, out, 4, 2, map_one, NULL, NULL), -EINVAL);
    ROW(filch_parallel_map(in, 4, NULL, 4, 2, map_one, NULL, NULL), -EINVAL);
    ROW(filch_parallel_map(in, 4, out, 4, 2, NULL, NULL, NULL), -EINVAL);
    ROW(filch_parallel_map(in, 4, in, 2, 2, map_one, NULL, NULL), -EINVAL);
    ROW(filch_parallel_invoke(NULL, 1), -EINVAL);
    ROW(filch_parallel_invoke(&no_fn, 1), -EINVAL);
    ROW(filch_parallel_sort(NULL, 2, 4, compare, NULL, NULL), -EINVAL);
    ROW(filch_parallel_sort(in, 2, 0, compare, NULL, NULL), -EINVAL);
    ROW(filch_parallel_sort(in, 2, 4, NULL, NULL, NULL), -EINVAL);
    ROW(filch_pipeline_run(NULL, 1, NULL), -EINVAL);
    ROW(filch_pipeline_run(&parallel_first, 0, NULL), -EINVAL);
    ROW(filch_pipeline_run(&no_stage_fn, 1, NULL), -EINVAL);
    ROW(filch_pipeline_run(&parallel_first, 1, NULL), -EINVAL);
}

/* Where there is nothing that forks could be given away from. */
static void elsewhere_rows(void)
{
    const filch_call one = {call, NULL};
    int in[2] = {0}, out[2] = {0}, value = 7;

    ROW(filch_parallel_for(0, 1, body, NULL, NULL), -EPERM);
    ROW(filch_parallel_reduce(0, 1, 4, &zero, fold, combine, NULL, NULL, &value), -EPERM);
    ROW(filch_parallel_reduce(0, 1, 4, &zero, fold, combine, NULL,
                              &(filch_parallel_opts){.repeatable = true}, &value),
        -EPERM);
    ROW(value, 7);
    ROW(filch_parallel_scan(in, out, 2, 4, &zero, combine, NULL, NULL), -EPERM);
    ROW(filch_parallel_scan_exclusive(in, out, 2, 4, &zero, combine, NULL, NULL), -EPERM);
    ROW(filch_parallel_map(in, 4, out, 4, 2, map_one, NULL, NULL), -EPERM);
    ROW(filch_parallel_invoke(&one, 1), -EPERM);
    ROW(filch_parallel_sort(in, 2, 4, compare, NULL, NULL), -EPERM);
}

static const filch_stage none = {no_items, NULL, false};

static int in_task(void *arg)
{
    (void)arg;
    wrong_rows();
    ROW(filch_parallel_for(0, 0, body, NULL, NULL), 0);
    ROW(filch_parallel_sort(NULL, 0, 4, compare, NULL, NULL), 0);
    ROW(filch_parallel_sort((char *)1, SIZE_MAX / 2, 8, compare, NULL, NULL), -ENOMEM);
    ROW(filch_pipeline_run(&none, 1, NULL), 0);
    return 0;
}

static int in_job(void *arg)
{
    (void)arg;
    wrong_rows();
    elsewhere_rows();
    ROW(filch_pipeline_run(&none, 1, NULL), 0);
    return 0;
}

static filch_poll poll_once(filch_future *self, filch_cx *cx)
{
    (void)cx;
    wrong_rows();
    elsewhere_rows();
    ROW(filch_pipeline_run(&none, 1, NULL), -EPERM);
    self->result = 0;
    return FILCH_READY;
}

static int in_all_places(void *arg)
{
    filch_future future = {.poll = poll_once};
    filch_task *task;
    int result = -1;

    T_OK(in_task(arg));
    T_OK(filch_blocking_run(in_job, NULL, NULL, &result, FILCH_NEVER));
    T_OK(filch_future_spawn(&future, NULL, &task));
    T_OK(join(task));
    return 0;
}

Test(misuse_parallel, everywhere)
{
    wrong_rows();
    elsewhere_rows();
    ROW(filch_pipeline_run(&none, 1, NULL), -EPERM);
    T_OK(run_in_runtime(0, in_all_places, NULL));
    cr_assert_eq(misuse_wrong, 0);
}
