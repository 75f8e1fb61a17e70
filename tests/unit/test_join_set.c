/* Description: what <filch/join_set.h> promises: each result comes once, in the order of the ends
 * or of the beginnings; aborting, detaching, leaving; and the tree of keys (sync/key_tree.h). */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "sync/key_tree.h"
#include "tests/runner/run.h"

TestSuite(join_set, .timeout = 60);

static atomic_int ended;

static int return_arg(void *arg)
{
    for (intptr_t i = 0; i < (intptr_t)arg % 5; i++)
        filch_task_yield();
    atomic_fetch_add(&ended, 1);
    return (int)(intptr_t)arg;
}

static int sleep_till_cancelled(void *arg)
{
    int r = filch_sleep(FILCH_NEVER);

    (void)arg;
    atomic_fetch_add(&ended, 1);
    return r;
}

static int wait_for_flag(void *arg)
{
    T_WAIT_UNTIL(atomic_load((atomic_int *)arg));
    return 6;
}

static int all_results(void *arg)
{
    bool seen[200] = {false};
    int result = 99;
    uint64_t key = 99;
    FILCH_JOIN_SET(set, (unsigned)(intptr_t)arg);

    T_IS(filch_join_set_next(&set, &result, &key, FILCH_NEVER), -ENOENT);
    T_IS(filch_join_set_len(&set), 0);
    for (intptr_t i = 0; i < 200; i++)
        T_OK(filch_join_set_spawn(&set, (uint64_t)i + 1, return_arg, (void *)i, NULL));
    T_IS(filch_join_set_len(&set), 200);
    for (unsigned i = 0; i < 200; i++) {
        T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
        T_CHECK(key >= 1 && key <= 200 && !seen[key - 1]);
        seen[key - 1] = true;
        T_IS(result, key - 1);
        if (arg)
            T_IS(result, i);
    }
    T_IS(filch_join_set_next(&set, &result, &key, FILCH_NEVER), -ENOENT);
    T_IS(result, arg ? 199 : result);
    /* It is used again. */
    T_OK(filch_join_set_spawn(&set, 1, return_arg, (void *)5, NULL));
    T_OK(filch_join_set_next(&set, NULL, NULL, FILCH_NEVER));
    return 0;
}

Test(join_set, each_result_comes_once)
{
    cr_assert_eq(run_in_runtime(0, all_results, (void *)0), 0);
}

Test(join_set, ordered_sets_give_results_in_the_order_of_spawning)
{
    cr_assert_eq(run_in_runtime(0, all_results, (void *)FILCH_JOIN_SET_ORDERED), 0);
}

static int order_of_ends(void *arg)
{
    atomic_int flag = 0;
    int result;
    uint64_t key;
    FILCH_JOIN_SET(set, (unsigned)(intptr_t)arg);

    T_OK(filch_join_set_spawn(&set, 1, wait_for_flag, &flag, NULL));
    T_OK(filch_join_set_spawn(&set, 2, return_arg, (void *)7, NULL));
    if (!arg) {
        T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
        T_IS(key, 2);
        T_IS(filch_join_set_next(&set, &result, &key, FILCH_NOW), -ETIMEDOUT);
        T_IS(key, 2);
    } else {
        T_WAIT_UNTIL(filch_join_set_abort(&set, 2) == -ENOENT);
        T_IS(filch_join_set_next(&set, &result, &key, FILCH_NOW), -ETIMEDOUT);
        T_IS(filch_join_set_next(&set, &result, &key, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    }
    atomic_store(&flag, 1);
    T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
    T_IS(key, 1);
    T_IS(result, 6);
    if (arg) {
        T_OK(filch_join_set_next(&set, &result, &key, FILCH_NOW));
        T_IS(result, 7);
    }
    T_IS(filch_join_set_len(&set), 0);
    return 0;
}

Test(join_set, results_come_as_tasks_end)
{
    cr_assert_eq(run_in_runtime(0, order_of_ends, (void *)0), 0);
    cr_assert_eq(run_in_runtime(0, order_of_ends, (void *)FILCH_JOIN_SET_ORDERED), 0);
}

static int abort_body(void *arg)
{
    int result;
    uint64_t key;
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    T_IS(filch_join_set_abort(&set, 1), -ENOENT);
    T_CHECK(!filch_join_set_has(&set, 1));
    T_OK(filch_join_set_abort_all(&set));
    for (uint64_t i = 1; i <= 100; i++)
        T_OK(filch_join_set_spawn(&set, i, sleep_till_cancelled, NULL, NULL));
    T_IS(filch_join_set_spawn(&set, 50, return_arg, NULL, NULL), -EEXIST);
    T_CHECK(filch_join_set_has(&set, 50));
    T_OK(filch_join_set_abort(&set, 50));
    T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
    T_CHECK(!filch_join_set_has(&set, 50) && filch_join_set_has(&set, 49));
    T_IS(key, 50);
    T_IS(result, -ECANCELED);
    T_IS(filch_join_set_abort(&set, 50), -ENOENT);
    T_OK(filch_join_set_spawn(&set, 50, sleep_till_cancelled, NULL, NULL));
    T_OK(filch_join_set_abort_all(&set));
    for (int i = 0; i < 100; i++) {
        T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
        T_IS(result, -ECANCELED);
    }
    /* It takes others afterwards. */
    T_OK(filch_join_set_spawn(&set, 0, return_arg, (void *)3, NULL));
    T_OK(filch_join_set_next(&set, &result, &key, FILCH_NEVER));
    T_IS(result, 3);
    T_IS(key, 0);
    return 0;
}

Test(join_set, abort_by_key_and_abort_all)
{
    cr_assert_eq(run_in_runtime(0, abort_body, NULL), 0);
}

static int leave_early(void *arg)
{
    FILCH_JOIN_SET(set, (unsigned)(intptr_t)arg);

    for (int i = 0; i < 100; i++)
        T_OK(filch_join_set_spawn(&set, 0, i % 2 ? sleep_till_cancelled : return_arg, NULL, NULL));
    return 0;
}

static int leave_body(void *arg)
{
    atomic_store(&ended, 0);
    T_OK(leave_early(arg));
    T_IS(ended, 100);
    return 0;
}

Test(join_set, leaving_the_block_aborts_and_waits)
{
    cr_assert_eq(run_in_runtime(0, leave_body, (void *)0), 0);
    cr_assert_eq(run_in_runtime(0, leave_body, (void *)FILCH_JOIN_SET_ORDERED), 0);
}

static int shutdown_body(void *arg)
{
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    T_OK(filch_join_set_shutdown(&set));
    atomic_store(&ended, 0);
    for (int i = 0; i < 50; i++)
        T_OK(filch_join_set_spawn(&set, 0, sleep_till_cancelled, NULL, NULL));
    T_OK(filch_join_set_shutdown(&set));
    T_IS(ended, 50);
    T_IS(filch_join_set_len(&set), 0);
    T_IS(filch_join_set_next(&set, NULL, NULL, FILCH_NEVER), -ENOENT);
    T_OK(filch_join_set_spawn(&set, 0, return_arg, NULL, NULL));
    T_OK(filch_join_set_next(&set, NULL, NULL, FILCH_NEVER));
    return 0;
}

Test(join_set, shutdown_aborts_drains_and_leaves_an_empty_set)
{
    cr_assert_eq(run_in_runtime(0, shutdown_body, NULL), 0);
}

static int detach_some(atomic_int *flag)
{
    FILCH_JOIN_SET(set, 0);

    T_OK(filch_join_set_detach_all(&set));
    for (int i = 0; i < 20; i++)
        T_OK(filch_join_set_spawn(&set, 1 + (uint64_t)i, wait_for_flag, flag, NULL));
    T_OK(filch_join_set_spawn(&set, 0, return_arg, NULL, NULL));
    T_OK(filch_join_set_detach_all(&set));
    T_IS(filch_join_set_len(&set), 0);
    /* The set is empty, and not theirs. */
    T_OK(filch_join_set_spawn(&set, 1, return_arg, NULL, NULL));
    T_OK(filch_join_set_shutdown(&set));
    return 0;
}

static int detach_body(void *arg)
{
    (void)arg;
    T_OK(detach_some(arg));
    return 0;
}

Test(join_set, detached_tasks_go_on_without_the_set)
{
    static atomic_int flag;
    filch_runtime *rt = start_runtime(0);
    filch_task *task;
    int result = -1;

    atomic_store(&flag, 0);
    T_OK(filch_runtime_spawn(rt, detach_body, &flag, NULL, &task));
    T_OK(filch_task_join(task, &result, T_LIMIT));
    cr_assert_eq(result, 0);
    atomic_store(&flag, 1);
    stop_runtime(rt); /* waits for all of them */
}

static int limit_child(void *arg)
{
    atomic_int *running = arg;

    T_CHECK(atomic_fetch_add(running, 1) < 3);
    for (int i = 0; i < 3; i++)
        filch_task_yield();
    atomic_fetch_sub(running, 1);
    return 0;
}

static int limit_body(void *arg)
{
    atomic_int running = 0;
    atomic_int flag = 0;
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    T_OK(filch_join_set_limit(&set, 3));
    for (int i = 0; i < 200; i++)
        T_OK(filch_join_set_spawn_wait(&set, 0, limit_child, &running, NULL, FILCH_NEVER));
    T_IS(filch_join_set_len(&set), 200);
    while (filch_join_set_next(&set, NULL, NULL, FILCH_NEVER) == 0)
        ;
    for (int i = 0; i < 3; i++)
        T_OK(filch_join_set_spawn(&set, 0, wait_for_flag, &flag, NULL));
    T_IS(filch_join_set_spawn(&set, 7, return_arg, NULL, NULL), -EAGAIN);
    T_IS(filch_join_set_spawn_wait(&set, 7, return_arg, NULL, NULL, filch_after(1)), -ETIMEDOUT);
    T_IS(filch_join_set_len(&set), 3);
    atomic_store(&flag, 1);
    /* Whoever has a result has its room, too. */
    for (int i = 0; i < 100; i++) {
        T_OK(filch_join_set_next(&set, NULL, NULL, FILCH_NEVER));
        T_OK(filch_join_set_spawn(&set, 7 + (uint64_t)i, return_arg, NULL, NULL));
    }
    return 0;
}

Test(join_set, a_limit_bounds_those_that_run)
{
    cr_assert_eq(run_in_runtime(0, limit_body, NULL), 0);
}

static int copy_body(void *arg)
{
    int value = 41, result = 0;
    filch_task_opts by_copy = {.name = "copy", .copy_bytes = sizeof value};
    FILCH_JOIN_SET(set, 0);

    T_IS(filch_join_set_spawn(&set, 0, arg ? NULL : arg, NULL, NULL), -EINVAL);
    T_IS(filch_join_set_spawn(&set, 0, return_arg, NULL, &by_copy), -EINVAL);
    T_OK(filch_join_set_spawn(&set, 0, *(filch_fn *)arg, &value, &by_copy));
    value = 0;
    T_OK(filch_join_set_next(&set, &result, NULL, FILCH_NEVER));
    T_IS(result, 42);
    return 0;
}

static int add_one(void *arg)
{
    T_CHECK(strcmp(filch_task_name(NULL), "copy") == 0);
    return ++*(int *)arg;
}

Test(join_set, arguments_may_be_copied)
{
    filch_fn fn = add_one;

    cr_assert_eq(run_in_runtime(0, copy_body, &fn), 0);
}

static int select_body(void *arg)
{
    atomic_int flag = 0;
    int result = 0;
    uint64_t key = 0;
    filch_case cases[2];
    FILCH_JOIN_SET(set, (unsigned)(intptr_t)arg);
    FILCH_JOIN_SET(other, 0);

    /* An empty set is ready to say so. */
    cases[0] = filch_case_join_next(&set, &result, &key);
    T_IS(filch_select(cases, 1, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -ENOENT);
    T_OK(filch_join_set_spawn(&set, 3, wait_for_flag, &flag, NULL));
    cases[1] = filch_case_at(filch_after(FILCH_MILLISECOND));
    T_IS(filch_select(cases, 2, 0, FILCH_NEVER), 1);
    T_OK(filch_join_set_spawn(&other, 9, sleep_till_cancelled, NULL, NULL));
    cases[1] = filch_case_join_next(&other, &result, &key);
    T_IS(filch_select(cases, 2, 0, FILCH_NOW), -ETIMEDOUT);
    atomic_store(&flag, 1);
    T_IS(filch_select(cases, 2, 0, FILCH_NEVER), 0);
    T_OK(cases[0].result);
    T_IS(result, 6);
    T_IS(key, 3);
    /* The loser has lost nothing. */
    T_OK(filch_join_set_abort(&other, 9));
    T_OK(filch_join_set_next(&other, &result, &key, FILCH_NEVER));
    T_IS(key, 9);
    /* Many rounds with both. */
    for (int round = 0; round < 200; round++) {
        int left = 2;

        T_OK(filch_join_set_spawn(&set, 1, return_arg, (void *)(intptr_t)(round % 3), NULL));
        T_OK(filch_join_set_spawn(&other, 2, return_arg, (void *)(intptr_t)(round % 5), NULL));
        while (left) {
            int winner = filch_select(cases, 2, 0, FILCH_NEVER);

            T_CHECK(winner >= 0);
            left -= cases[winner].result == 0;
        }
        T_IS(filch_join_set_len(&set) + filch_join_set_len(&other), 0);
    }
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_join_next(NULL, NULL, NULL)), -EINVAL);
    return 0;
}

Test(join_set, next_is_a_case_of_a_select)
{
    cr_assert_eq(run_in_runtime(0, select_body, (void *)0), 0);
    cr_assert_eq(run_in_runtime(0, select_body, (void *)FILCH_JOIN_SET_ORDERED), 0);
}

/* Several takers, some of which are cancelled: nothing is lost, nothing comes twice. */
struct takers {
    filch_join_set set;
    atomic_int taken[2000];
    atomic_int cancelled;
};

static int taker(void *arg)
{
    struct takers *t = arg;
    int result;
    int r;

    while ((r = filch_join_set_next(&t->set, &result, NULL, FILCH_NEVER)) == 0)
        T_IS(atomic_fetch_add(&t->taken[result], 1), 0);
    if (r == -ECANCELED)
        atomic_fetch_add(&t->cancelled, 1);
    else
        T_IS(r, -ENOENT);
    return 0;
}

static int takers_body(void *arg)
{
    static struct takers t;
    filch_task *tasks[8];

    (void)arg;
    t = (struct takers){.cancelled = 0};
    filch_join_set_init(&t.set, 0);
    for (intptr_t i = 0; i < 1000; i++)
        T_OK(filch_join_set_spawn(&t.set, 0, return_arg, (void *)i, NULL));
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(taker, &t);
    for (intptr_t i = 1000; i < 2000; i++) {
        T_OK(filch_join_set_spawn(&t.set, 0, return_arg, (void *)i, NULL));
        if (i % 64 == 0) {
            int k = (int)(i / 64) % 8;

            T_OK(filch_task_cancel(tasks[k]));
            T_OK(join(tasks[k]));
            tasks[k] = spawn(taker, &t);
        }
    }
    for (int i = 0; i < 8; i++)
        T_OK(join(tasks[i]));
    T_OK(taker(&t));
    for (int i = 0; i < 2000; i++)
        T_IS(t.taken[i], 1);
    filch_join_set_fini(&t.set);
    return 0;
}

Test(join_set, cancelled_takers_lose_nothing)
{
    cr_assert_eq(run_in_runtime(0, takers_body, NULL), 0);
}

static void *thread_takes(void *arg)
{
    T_OK(taker(arg));
    return NULL;
}

static int thread_body(void *arg)
{
    static struct takers t;
    pthread_t thread;

    (void)arg;
    t = (struct takers){.cancelled = 0};
    filch_join_set_init(&t.set, 0);
    for (intptr_t i = 0; i < 500; i++)
        T_OK(filch_join_set_spawn(&t.set, 0, return_arg, (void *)i, NULL));
    T_OK(pthread_create(&thread, NULL, thread_takes, &t));
    T_WAIT_UNTIL(filch_join_set_len(&t.set) == 0);
    T_OK(pthread_join(thread, NULL));
    filch_join_set_fini(&t.set);
    for (int i = 0; i < 500; i++)
        T_IS(t.taken[i], 1);
    return 0;
}

Test(join_set, plain_threads_may_take)
{
    cr_assert_eq(run_in_runtime(0, thread_body, NULL), 0);
}

static int crawl(void *arg);

struct crawler {
    filch_join_set *set;
    atomic_int left;
};

static int crawl(void *arg)
{
    struct crawler *c = arg;

    for (int i = 0; i < 2; i++)
        if (atomic_fetch_sub(&c->left, 1) > 0)
            T_OK(filch_join_set_spawn(c->set, 0, crawl, c, NULL));
    return 1;
}

static int crawl_body(void *arg)
{
    FILCH_JOIN_SET(set, 0);
    struct crawler c = {.set = &set, .left = 1000};
    int pages = 0;

    (void)arg;
    T_OK(filch_join_set_spawn(&set, 0, crawl, &c, NULL));
    while (filch_join_set_next(&set, NULL, NULL, FILCH_NEVER) == 0)
        pages++;
    T_IS(pages, 1001);
    return 0;
}

Test(join_set, tasks_may_add_to_their_own_set)
{
    cr_assert_eq(run_in_runtime(0, crawl_body, NULL), 0);
}

static int job(void *arg)
{
    int result;
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    for (intptr_t i = 0; i < 20; i++)
        T_OK(filch_join_set_spawn(&set, 0, return_arg, (void *)1, NULL));
    for (int i = 0; i < 20; i++)
        T_OK(filch_join_set_next(&set, &result, NULL, FILCH_NEVER));
    T_OK(filch_join_set_spawn(&set, 0, sleep_till_cancelled, NULL, NULL));
    return 0;
}

static int job_body(void *arg)
{
    int result = -1;

    T_OK(filch_blocking_run(job, arg, NULL, &result, FILCH_NEVER));
    return result;
}

Test(join_set, blocking_jobs_may_own_one)
{
    cr_assert_eq(run_in_runtime(0, job_body, NULL), 0);
}

/* Each is aborted by its key, then all that are left: far from quadratic, or this takes minutes. */
static int many_body(void *arg)
{
    enum { MANY = 10000 };
    int result;
    FILCH_JOIN_SET(set, (unsigned)(intptr_t)arg);

    for (uint64_t i = 1; i <= MANY; i++)
        T_OK(filch_join_set_spawn(&set, i << 4, sleep_till_cancelled, NULL, NULL));
    for (uint64_t i = MANY / 2; i >= 1; i--)
        T_OK(filch_join_set_abort(&set, i << 4));
    T_OK(filch_join_set_abort_all(&set));
    for (int i = 0; i < MANY; i++) {
        T_OK(filch_join_set_next(&set, &result, NULL, FILCH_NEVER));
        T_IS(result, -ECANCELED);
    }
    return 0;
}

Test(join_set, ten_thousand_tasks)
{
    cr_assert_eq(run_in_runtime(0, many_body, (void *)0), 0);
    cr_assert_eq(run_in_runtime(0, many_body, (void *)FILCH_JOIN_SET_ORDERED), 0);
}

/* ---- against a sequential model ---- */

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

enum { KEYS = 40 };

/* By key: is it in the set, how, and how may it end? */
struct model {
    bool present[KEYS];
    bool sleeps[KEYS];
    bool aborted[KEYS];
    int want[KEYS];
    uint64_t order[KEYS];
    size_t len;
};

static void model_add(struct model *m, filch_join_set *set, uint64_t *seed)
{
    uint64_t key = next(seed) % KEYS;
    bool sleeps = next(seed) % 3 == 0;
    int want = (int)(next(seed) % 100);

    if (m->present[key])
        return; /* it may have ended or not */
    T_OK(filch_join_set_spawn(set, key + 1, sleeps ? sleep_till_cancelled : return_arg,
                              (void *)(intptr_t)want, NULL));
    m->present[key] = true;
    m->sleeps[key] = sleeps;
    m->aborted[key] = false;
    m->want[key] = want;
    m->order[m->len++] = key;
}

static void model_take(struct model *m, filch_join_set *set, bool ordered, filch_time until)
{
    uint64_t key = 0;
    int result = 0;
    int r = filch_join_set_next(set, &result, &key, until);
    size_t i = 0;

    if (m->len == 0) {
        T_IS(r, -ENOENT);
        return;
    }
    if (r == -ETIMEDOUT && until == FILCH_NOW)
        return;
    T_OK(r);
    key--;
    T_CHECK(key < KEYS && m->present[key]);
    if (m->sleeps[key])
        T_CHECK(result == -ECANCELED && m->aborted[key]);
    else
        T_IS(result, m->want[key]);
    if (ordered)
        T_IS(key, m->order[0]);
    while (m->order[i] != key)
        i++;
    for (m->len--; i < m->len; i++)
        m->order[i] = m->order[i + 1];
    m->present[key] = false;
}

static int model_body(void *arg)
{
    bool ordered = arg != NULL;
    struct model m = {.len = 0};
    uint64_t seed = 0x9876543;
    FILCH_JOIN_SET(set, ordered ? FILCH_JOIN_SET_ORDERED : 0);

    for (int i = 0; i < 20000; i++) {
        uint64_t key = next(&seed) % KEYS;
        int r;

        switch (next(&seed) % 6) {
        case 0:
        case 1:
            model_add(&m, &set, &seed);
            break;
        case 2:
        case 3:
            model_take(&m, &set, ordered, FILCH_NOW);
            break;
        case 4:
            r = filch_join_set_abort(&set, key + 1);
            T_CHECK(r == -ENOENT || (r == 0 && m.present[key]));
            if (m.present[key] && m.sleeps[key] && !m.aborted[key])
                T_OK(r);
            m.aborted[key] = true;
            break;
        default:
            if (next(&seed) % 32 == 0) {
                T_OK(filch_join_set_abort_all(&set));
                for (key = 0; key < KEYS; key++)
                    m.aborted[key] = true;
                while (m.len)
                    model_take(&m, &set, ordered, FILCH_NEVER);
            }
            break;
        }
        T_IS(filch_join_set_len(&set), m.len);
    }
    return 0;
}

Test(join_set, random_use_agrees_with_a_sequential_model)
{
    cr_assert_eq(run_in_runtime(0, model_body, (void *)0), 0);
    cr_assert_eq(run_in_runtime(0, model_body, (void *)1), 0);
}

/* ---- while the runtime stops ---- */

struct stop {
    atomic_int begun;
    atomic_int may_end;
};

static int stopping(void *arg)
{
    struct stop *stop = arg;
    int result;
    FILCH_JOIN_SET(set, 0);

    T_OK(filch_join_set_spawn(&set, 0, wait_for_flag, &stop->may_end, NULL));
    atomic_store(&stop->begun, 1);
    T_IS(filch_join_set_next(&set, &result, NULL, FILCH_NEVER), -ECANCELED);
    T_IS(filch_join_set_spawn(&set, 0, return_arg, NULL, NULL), -ESHUTDOWN);
    T_IS(filch_join_set_detach_all(&set), -ESHUTDOWN);
    atomic_store(&stop->may_end, 1);
    T_WAIT_UNTIL(filch_join_set_next(&set, &result, NULL, FILCH_NOW) == 0);
    T_IS(result, 6);
    T_IS(filch_join_set_len(&set), 0);
    return 5;
}

Test(join_set, the_end_of_the_runtime)
{
    static struct stop stop;
    filch_runtime *rt = start_runtime(0);
    filch_task *task;
    int result = 0;

    T_OK(filch_runtime_spawn(rt, stopping, &stop, NULL, &task));
    T_WAIT_UNTIL(stop.begun);
    stop_runtime(rt);
    T_OK(filch_task_join(task, &result, FILCH_NOW));
    cr_assert_eq(result, 5);
}

/* ---- the tree of keys ---- */

static size_t tree_count(const struct filch__key_node *node)
{
    size_t n = 1;

    if (!node)
        return 0;
    T_CHECK(*node->place == node);
    for (int i = 0; i < 4; i++)
        n += tree_count(node->child[i]);
    return n;
}

Test(join_set, keys_are_found_until_they_are_removed)
{
    enum { NODES = 500 };
    static struct filch__key_node nodes[NODES];
    bool in[NODES] = {false};
    struct filch__key_node *root = NULL;
    uint64_t seed = 0x5555aaaa;
    size_t count = 0;

    for (int i = 0; i < 50000; i++) {
        size_t n = next(&seed) % NODES;

        nodes[n].key = n % 2 ? n : n << 55;
        T_CHECK(filch__key_find(root, nodes[n].key) == (in[n] ? &nodes[n] : NULL));
        if (in[n])
            filch__key_remove(&nodes[n]);
        else
            filch__key_insert(&root, &nodes[n]);
        count = in[n] ? count - 1 : count + 1;
        in[n] = !in[n];
        if (i % 500 == 0)
            T_IS(tree_count(root), count);
    }
}
