/* Description: what <filch/pipeline.h> promises: each item goes through all stages once, in order
 * where a stage does one at a time; not more of them than there are places; the first error and a
 * cancel end it, and what was under way is disposed of once. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(pipeline, .timeout = 60);

#ifdef T_SANITIZED
enum { ITEMS = 300 };
#else
enum { ITEMS = 3000 };
#endif

struct item {
    int number;
    int stages; /* that it went through */
};

struct line {
    int made;
    int ended; /* at the last stage */
    int used_up;
    atomic_int under_way, most_under_way, dropped, live;
    int fail_at;      /* in the second stage */
    filch_task *task; /* to cancel at fail_at instead */
};

/* By a stage that does one at a time: no lock. */
static int make(void *arg, void **item)
{
    struct line *line = arg;
    struct item *made;

    T_CHECK(*item == NULL);
    if (line->made == ITEMS)
        return 0;
    made = malloc(sizeof *made);
    T_CHECK(made != NULL);
    *made = (struct item){.number = line->made++};
    if (made->number % 50 == 0)
        filch_task_yield();
    atomic_fetch_add(&line->live, 1);
    int now = atomic_fetch_add(&line->under_way, 1) + 1;

    for (int most = line->most_under_way; now > most;)
        if (atomic_compare_exchange_weak(&line->most_under_way, &most, now))
            break;
    *item = made;
    return 1;
}

static int work(void *arg, void **item)
{
    struct line *line = arg;
    struct item *mine = *item;

    mine->stages++;
    if (mine->number % 7 == 0)
        filch_task_yield();
    if (mine->number % 100 == 99) {
        int r = filch_sleep(1000);

        if (r < 0)
            return r;
    }
    if (line->fail_at && mine->number == line->fail_at) {
        if (!line->task)
            return -EILSEQ;
        T_OK(filch_task_cancel(line->task));
        return filch_sleep(FILCH_NEVER);
    }
    return 0;
}

/* Every fifth goes no further. */
static int filter(void *arg, void **item)
{
    struct line *line = arg;
    struct item *mine = *item;

    T_IS(mine->number, line->used_up * 5 + mine->number % 5);
    mine->stages++;
    if (mine->number % 5 != 4)
        return 0;
    line->used_up++;
    atomic_fetch_sub(&line->live, 1);
    atomic_fetch_sub(&line->under_way, 1);
    free(mine);
    *item = NULL;
    return 0;
}

static int end(void *arg, void **item)
{
    struct line *line = arg;
    struct item *mine = *item;

    T_IS(mine->number, line->ended / 4 * 5 + line->ended % 4);
    T_IS(mine->stages, 3);
    line->ended++;
    atomic_fetch_sub(&line->live, 1);
    atomic_fetch_sub(&line->under_way, 1);
    free(mine);
    *item = NULL;
    return 0;
}

static void drop(void *arg, void *item)
{
    struct line *line = arg;

    atomic_fetch_add(&line->dropped, 1);
    atomic_fetch_sub(&line->live, 1);
    free(item);
}

static int run_line(struct line *line, unsigned tokens)
{
    const filch_stage stages[] = {
        {make, line, false}, {work, line, true}, {filter, line, false},
        {work, line, true},  {end, line, false},
    };

    return filch_pipeline_run(
        stages, 5, &(filch_pipeline_opts){.tokens = tokens, .drop = drop, .drop_arg = line});
}

static int check_order(void *arg)
{
    static const unsigned tokens[] = {0, 1, 2, 7, 64};

    (void)arg;
    for (int i = 0; i < 5; i++) {
        struct line line = {0};

        T_OK(run_line(&line, tokens[i]));
        T_IS(line.made, ITEMS);
        T_IS(line.ended, ITEMS / 5 * 4);
        T_IS(line.dropped, 0);
        T_IS(line.live, 0);
        if (tokens[i])
            T_CHECK(line.most_under_way <= (int)tokens[i]);
    }
    return 0;
}

Test(pipeline, items_go_through_in_order)
{
    T_OK(run_in_runtime(0, check_order, NULL));
}

static int check_error(void *arg)
{
    (void)arg;
    for (int at = 1; at < ITEMS; at += ITEMS / 13) {
        struct line line = {.fail_at = at};

        T_IS(run_line(&line, 6), -EILSEQ);
        T_CHECK(line.ended <= at);
        T_CHECK(line.dropped >= 1);
        T_IS(line.live, 0);
    }
    return 0;
}

Test(pipeline, the_first_error_ends_it_and_nothing_is_lost)
{
    T_OK(run_in_runtime(0, check_error, NULL));
}

static int be_cancelled(void *arg)
{
    struct line *line = arg;

    line->task = filch_task_self();
    T_IS(run_line(line, 5), -ECANCELED);
    T_IS(line->live, 0);
    return 0;
}

static int check_cancel(void *arg)
{
    (void)arg;
    for (int at = 1; at < ITEMS; at += ITEMS / 7) {
        struct line line = {.fail_at = at};

        T_OK(join(spawn(be_cancelled, &line)));
        T_CHECK(line.dropped >= 1);
    }
    return 0;
}

Test(pipeline, a_cancel_ends_it_and_nothing_is_lost)
{
    T_OK(run_in_runtime(0, check_cancel, NULL));
}

static int make_for_ever(void *arg, void **item)
{
    *item = arg;
    return 1;
}

static int check_deadline(void *arg)
{
    static int dummy;
    const filch_stage stages[] = {{make_for_ever, &dummy, false}};

    (void)arg;
    FILCH_DEADLINE(filch_after(FILCH_MILLISECOND))
    T_IS(filch_pipeline_run(stages, 1, NULL), -ECANCELED);
    return 0;
}

Test(pipeline, a_deadline_ends_it)
{
    T_OK(run_in_runtime(0, check_deadline, NULL));
}

/* The third place is needed: a stage waits until so many are in it. */
static int meet(void *arg, void **item)
{
    int r = filch_barrier_wait(arg, T_LIMIT);

    (void)item;
    return r < 0 ? r : 0;
}

static int make_nine(void *arg, void **item)
{
    int *left = arg;

    *item = left;
    return (*left)-- > 0;
}

static int check_parallel(void *arg)
{
    filch_barrier barrier = FILCH_BARRIER_INIT(3);
    int left = 9;
    const filch_stage stages[] = {{make_nine, &left, false}, {meet, &barrier, true}};

    (void)arg;
    T_OK(filch_pipeline_run(stages, 2, &(filch_pipeline_opts){.tokens = 3}));
    filch_barrier_fini(&barrier);
    return 0;
}

Test(pipeline, a_parallel_stage_has_as_many_as_there_are_places)
{
    T_OK(run_in_runtime(0, check_parallel, NULL));
}

static int check_job(void *arg)
{
    struct line line = {0};

    (void)arg;
    T_OK(run_line(&line, 3));
    return line.ended == ITEMS / 5 * 4 ? 0 : -EPROTO;
}

static int in_job(void *arg)
{
    return filch_blocking_run(check_job, arg, NULL, NULL, FILCH_NEVER);
}

Test(pipeline, from_a_blocking_job)
{
    T_OK(run_in_runtime(0, in_job, NULL));
}
