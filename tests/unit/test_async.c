/* Description: what <filch/async.h> promises: straight-line code resumes where it stopped, from any
 * construct, and what it awaits is dropped once when it is abandoned, wherever that is. Futures of
 * tasks and channels, which such code awaits, are in test_combine.c. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(async, .timeout = 100);

/* Ready at the n-th poll; wakes itself; counts drops. */
struct step {
    filch_future base;
    int left;
    int value;
    int polls;
    int drops;
    bool over;
};

static filch_poll step_poll(filch_future *self, filch_cx *cx)
{
    struct step *step = (struct step *)self;

    T_CHECK(!step->over);
    step->polls++;
    if (step->left-- > 0) {
        filch_waker_wake_by_ref(cx->waker);
        return FILCH_PENDING;
    }
    self->result = step->value;
    step->over = true;
    return FILCH_READY;
}

static void step_drop(filch_future *self)
{
    struct step *step = (struct step *)self;

    T_CHECK(!step->over);
    step->over = true;
    step->drops++;
}

static void step_init(struct step *step, int left, int value)
{
    *step =
        (struct step){.base = {.poll = step_poll, .drop = step_drop}, .left = left, .value = value};
}

/* A poll without a task, to count them by hand. */
static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

/* ---- every construct that an await may stand in ---- */

struct all {
    filch_async async;
    struct step step[2];
    int trace[64];
    int n;
    int i;
    int k;
    int r;
};

static filch_future *fresh_step(struct all *all, int which, int value)
{
    step_init(&all->step[which], 1, value);
    return &all->step[which].base;
}

static filch_poll all_poll(filch_future *self, filch_cx *cx)
{
    struct all *all = (struct all *)self;

    FILCH_ASYNC_BEGIN(&all->async, cx);
    for (all->i = 0; all->i < 2; all->i++) {
        for (all->k = 0; all->k < 2; all->k++) {
            FILCH_AWAIT_RESULT(all->r, fresh_step(all, 0, 10 * all->i + all->k));
            if (all->k == 1) {
                FILCH_AWAIT_RESULT(all->trace[all->n++], fresh_step(all, 1, 100 + all->r));
                continue;
            }
            all->trace[all->n++] = all->r;
        }
    }
    do {
        switch (all->i) {
        case 1:
            FILCH_AWAIT(fresh_step(all, 0, 0));
            all->trace[all->n++] = -1;
            break;
        case 2:
            FILCH_AWAIT_RESULT(all->trace[all->n++], fresh_step(all, 0, 200));
            break;
        default:
            FILCH_ASYNC_YIELD;
            all->trace[all->n++] = 300;
        }
    } while (++all->i < 4);
    /* clang-format off */
    FILCH_AWAIT_RESULT(all->r, fresh_step(all, 0, 1)); FILCH_AWAIT_RESULT(all->k, fresh_step(all, 1, 2));
    /* clang-format on */
    if (all->r)
        FILCH_AWAIT_RESULT(all->r, fresh_step(all, 0, all->r + all->k));
    else
        FILCH_ASYNC_YIELD;
    all->trace[all->n++] = all->r;
    FILCH_ASYNC_END;
}

static const int all_trace[] = {0, 101, 10, 111, 200, 300, 3};
/* One more for each pending: 4 + 2 awaits in the loops, one in the switch, one yield, 3 at the end.
 */
#define ALL_POLLS (1 + 6 + 1 + 1 + 3)

static void all_init(struct all *all)
{
    *all = (struct all){.n = 0};
    filch_async_init(&all->async, all_poll);
}

static void check_all(const struct all *all)
{
    T_IS(all->n, sizeof(all_trace) / sizeof(all_trace[0]));
    for (int i = 0; i < all->n; i++)
        T_IS(all->trace[i], all_trace[i]);
    T_IS(all->async.base.result, 0);
}

Test(async, resumes_in_loops_branches_and_switches)
{
    struct all all;
    int polls = 1;

    all_init(&all);
    while (poll_once(&all.async.base) == FILCH_PENDING)
        polls++;
    cr_assert_eq(polls, ALL_POLLS);
    check_all(&all);
    filch_async_drop(&all.async.base); /* nothing to drop any more */
    check_all(&all);
}

static int await_all_body(void *arg)
{
    struct all all;
    filch_task *task;

    (void)arg;
    all_init(&all);
    T_OK(filch_await(&all.async.base, T_LIMIT));
    check_all(&all);
    all_init(&all);
    T_OK(filch_future_spawn(&all.async.base, NULL, &task));
    T_OK(join(task));
    check_all(&all);
    return 0;
}

Test(async, is_awaited_by_tasks_and_threads_and_spawned)
{
    struct all all;

    cr_assert_eq(run_in_runtime(0, await_all_body, NULL), 0);
    all_init(&all);
    cr_assert_eq(filch_await(&all.async.base, T_LIMIT), 0);
    check_all(&all);
}

/* ---- results ---- */

struct small {
    filch_async async;
    struct step step;
    int path;
};

static filch_poll small_poll(filch_future *self, filch_cx *cx)
{
    struct small *small = (struct small *)self;

    FILCH_ASYNC_BEGIN(&small->async, cx);
    if (small->path == 1)
        FILCH_ASYNC_RETURN(42);
    step_init(&small->step, 0, 7);
    FILCH_AWAIT(&small->step.base);
    if (small->path == 2)
        FILCH_ASYNC_RETURN(-EIO);
    FILCH_ASYNC_END;
}

Test(async, returns_its_result_and_zero_at_the_end)
{
    static const int want[] = {0, 42, -EIO};

    for (int path = 0; path < 3; path++) {
        struct small small = {.path = path};

        filch_async_init(&small.async, small_poll);
        cr_assert_eq(poll_once(&small.async.base), FILCH_READY);
        cr_assert_eq(small.async.base.result, want[path]);
        cr_assert_eq(small.step.drops, 0);
    }
}

/* All zero but for the two functions is a beginning, too. */
Test(async, zero_is_the_beginning)
{
    struct small small = {.async.base = {.poll = small_poll, .drop = filch_async_drop}, .path = 1};

    cr_assert_eq(poll_once(&small.async.base), FILCH_READY);
    cr_assert_eq(small.async.base.result, 42);
    filch_async_init(NULL, small_poll);
    filch_async_drop(NULL);
}

/* In a process of its own. */
Test(async, a_poll_after_ready_is_caught)
{
    int status = 0;
    pid_t child = fork();

    T_CHECK(child >= 0);
    if (child == 0) {
        struct small small = {.path = 1};

        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        filch_async_init(&small.async, small_poll);
        if (poll_once(&small.async.base) == FILCH_READY)
            poll_once(&small.async.base);
        _exit(1);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- abandoned at every point ---- */

Test(async, dropped_at_every_point_drops_what_it_awaits_once)
{
    for (int polls = 0; polls < ALL_POLLS; polls++) {
        struct all all;
        int pending = 0;
        int drops;

        all_init(&all);
        for (int i = 0; i < polls; i++)
            T_CHECK(poll_once(&all.async.base) == FILCH_PENDING);
        pending = all.async.awaited != NULL;
        drops = all.step[0].drops + all.step[1].drops;
        T_IS(drops, 0);
        filch_async_drop(&all.async.base);
        T_IS(all.step[0].drops + all.step[1].drops, pending);
        filch_async_drop(&all.async.base);
        T_IS(all.step[0].drops + all.step[1].drops, pending);
    }
}

/* A future in a future in a future: the drop goes down to the one that waits. */
struct nest {
    filch_async async;
    filch_future *inner;
};

static filch_poll nest_poll(filch_future *self, filch_cx *cx)
{
    struct nest *nest = (struct nest *)self;
    int r = 0;

    FILCH_ASYNC_BEGIN(&nest->async, cx);
    FILCH_AWAIT_RESULT(r, nest->inner);
    FILCH_ASYNC_RETURN(r + 1);
    FILCH_ASYNC_END;
}

static void nest_init(struct nest nests[3], struct step *step)
{
    filch_future *inner = &step->base;

    for (int i = 0; i < 3; i++) {
        filch_async_init(&nests[i].async, nest_poll);
        nests[i].inner = inner;
        inner = &nests[i].async.base;
    }
}

Test(async, nested_futures_pass_results_up_and_drops_down)
{
    struct nest nests[3];
    struct step step;

    step_init(&step, 5, 10);
    nest_init(nests, &step);
    cr_assert_eq(filch_await(&nests[2].async.base, T_LIMIT), 13);
    cr_assert_eq(step.polls, 6);
    cr_assert_eq(step.drops, 0);

    step_init(&step, 5, 10);
    nest_init(nests, &step);
    cr_assert_eq(poll_once(&nests[2].async.base), FILCH_PENDING);
    nests[2].async.base.drop(&nests[2].async.base);
    cr_assert_eq(step.drops, 1);
}

static int cancel_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        filch_sleep_future nap;
        struct nest nests[3];
        filch_task *task;
        int r;

        filch_sleep_future_init(&nap, filch_after((filch_time)(i % 5) * 100 * FILCH_MICROSECOND));
        nest_init(nests, (struct step *)(void *)&nap);
        T_OK(filch_future_spawn(&nests[2].async.base, NULL, &task));
        for (int k = 0; k < i % 7; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == -ECANCELED || r == 3);
        /* The timer must be gone: its memory is used at once. */
        memset(&nap, 0xee, sizeof(nap));
        memset(nests, 0xee, sizeof(nests));
    }
    return 0;
}

Test(async, cancelled_in_a_sleep_leaves_no_timer)
{
    cr_assert_eq(run_in_runtime(0, cancel_body, NULL), 0);
}

/* ---- yields ---- */

struct polite {
    filch_async async;
    int *turn;
    int me;
    int i;
};

static filch_poll polite_poll(filch_future *self, filch_cx *cx)
{
    struct polite *polite = (struct polite *)self;

    FILCH_ASYNC_BEGIN(&polite->async, cx);
    for (polite->i = 0; polite->i < 1000; polite->i++) {
        while (*polite->turn != polite->me)
            FILCH_ASYNC_YIELD;
        *polite->turn = !polite->me;
    }
    FILCH_ASYNC_END;
}

static int yield_body(void *arg)
{
    struct polite polite[2];
    filch_task *task[2];
    int turn = 0;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        polite[i] = (struct polite){.turn = &turn, .me = i};
        filch_async_init(&polite[i].async, polite_poll);
        T_OK(filch_future_spawn(&polite[i].async.base, NULL, &task[i]));
    }
    T_OK(join(task[0]));
    T_OK(join(task[1]));
    return 0;
}

/* One worker: if a yield gave no turn, this would never end. */
Test(async, yield_gives_others_a_turn)
{
    cr_assert_eq(run_in_runtime(1, yield_body, NULL), 0);
}

/* ---- many ---- */

#ifdef T_SANITIZED
#define MANY 20000
#else
#define MANY 1000000
#endif

struct napper {
    filch_async async;
    filch_sleep_future nap;
};

static atomic_int dropped;

static filch_poll napper_poll(filch_future *self, filch_cx *cx)
{
    struct napper *napper = (struct napper *)self;

    FILCH_ASYNC_BEGIN(&napper->async, cx);
    FILCH_ASYNC_YIELD;
    filch_sleep_future_init(&napper->nap, FILCH_NOW);
    FILCH_AWAIT(&napper->nap.base);
    filch_sleep_future_init(&napper->nap, filch_after(3600 * FILCH_SECOND));
    FILCH_AWAIT(&napper->nap.base);
    FILCH_ASYNC_END;
}

static void napper_drop(filch_future *self)
{
    filch_async_drop(self);
    atomic_fetch_add(&dropped, 1);
}

static int many_body(void *arg)
{
    struct napper *nappers = malloc(MANY * sizeof(*nappers));
    filch_task **tasks = malloc(MANY * sizeof(*tasks));

    (void)arg;
    T_CHECK(nappers && tasks);
    for (int i = 0; i < MANY; i++) {
        filch_async_init(&nappers[i].async, napper_poll);
        nappers[i].async.base.drop = napper_drop;
        T_OK(filch_future_spawn(&nappers[i].async.base, NULL, &tasks[i]));
    }
    for (int i = 0; i < MANY; i++)
        T_OK(filch_task_cancel(tasks[i]));
    for (int i = 0; i < MANY; i++)
        T_IS(join(tasks[i]), -ECANCELED);
    T_IS(atomic_load(&dropped), MANY);
    free(nappers);
    free(tasks);
    return 0;
}

Test(async, a_million_are_spawned_and_cancelled)
{
    cr_assert_eq(run_in_runtime(0, many_body, NULL), 0);
}
