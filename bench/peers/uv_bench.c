/* libuv as a peer for what it has: timers and blocking work. One loop, whatever --workers says. */
#include "peer_bench.h"
#include <uv.h>

static uv_loop_t *loop;

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static unsigned fired;

static void on_fired(uv_timer_t *timer)
{
    (void)timer;
    fired++;
}

static struct peer_result timers(void)
{
    int n = peer_sleepers();
    uv_timer_t *all = malloc((size_t)n * sizeof *all);
    uint64_t cpu = peer_cpu_ns(), x = PEER_RANDOM_SEED;
    fired = 0;
    uv_update_time(loop);
    for (int i = 0; i < n; i++) {
        uv_timer_init(loop, &all[i]);
        check(uv_timer_start(&all[i], on_fired, peer_random(&x) % 1000, 0), "uv_timer_start");
    }
    uv_run(loop, UV_RUN_DEFAULT);
    cpu = peer_cpu_ns() - cpu;
    for (int i = 0; i < n; i++)
        uv_close((uv_handle_t *)&all[i], NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    free(all);
    return peer_one((double)cpu / n, "ns/timer", fired == (unsigned)n);
}

static struct peer_result churn_with(int background)
{
    uv_timer_t *others = malloc((size_t)(background + 1) * sizeof *others), timer;
    for (int i = 0; i < background; i++) {
        uv_timer_init(loop, &others[i]);
        check(uv_timer_start(&others[i], on_fired, (uint64_t)(60000 + i % 1000), 0), "start");
    }
    uv_timer_init(loop, &timer);
    fired = 0;
    uint64_t start = peer_now_ns();
    for (int i = 0; i < PEER_CHURNS; i++) {
        check(uv_timer_start(&timer, on_fired, 10000, 0), "uv_timer_start");
        check(uv_timer_stop(&timer), "uv_timer_stop");
    }
    struct peer_result result =
        peer_since(start, PEER_CHURNS, !uv_is_active((uv_handle_t *)&timer));
    for (int i = 0; i < background; i++)
        uv_close((uv_handle_t *)&others[i], NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    result.ok = result.ok && fired == 0;
    free(others);
    return result;
}

static struct peer_result churn(void)
{
    return churn_with(0);
}

static struct peer_result churn_bg(void)
{
    return churn_with(PEER_BACKGROUND);
}

/* libuv counts in milliseconds: 200 us are 1 ms to it. */
static struct sleeping {
    uv_timer_t timer;
    uint64_t until, *late;
    unsigned count, wanted;
    bool ok;
} sleeping;

static void sleep_again(uv_timer_t *timer);

static void start_sleep(void)
{
    sleeping.until = peer_now_ns() + 200000;
    uv_update_time(loop);
    check(uv_timer_start(&sleeping.timer, sleep_again, 1, 0), "uv_timer_start");
}

static void sleep_again(uv_timer_t *timer)
{
    (void)timer;
    uint64_t now = peer_now_ns();
    sleeping.ok = sleeping.ok && now >= sleeping.until;
    sleeping.late[sleeping.count++] = now - sleeping.until;
    if (sleeping.count < sleeping.wanted)
        start_sleep();
}

static struct peer_result timer_error(void)
{
    sleeping.wanted = peer_quick ? 500 : 10000;
    sleeping.late = malloc(sleeping.wanted * sizeof *sleeping.late);
    sleeping.ok = true;
    uv_timer_init(loop, &sleeping.timer);
    start_sleep();
    uv_run(loop, UV_RUN_DEFAULT);
    return peer_percentiles(sleeping.late, sleeping.wanted,
                            sleeping.ok && sleeping.count == sleeping.wanted);
}

struct job {
    uv_work_t request;
    int answer;
};

static int answers, jobs_left;

static void work(uv_work_t *request)
{
    ((struct job *)request)->answer = 1;
}

static void after_work(uv_work_t *request, int status)
{
    struct job *job = (struct job *)request;
    check(status, "work");
    answers += job->answer;
    job->answer = 0;
    if (jobs_left > 0) {
        jobs_left--;
        check(uv_queue_work(loop, request, work, after_work), "uv_queue_work");
    }
}

static struct peer_result run_jobs(int total, int at_once)
{
    struct job *jobs = calloc((size_t)at_once, sizeof *jobs);
    uint64_t start = peer_now_ns();
    answers = 0;
    jobs_left = total - at_once;
    for (int i = 0; i < at_once; i++)
        check(uv_queue_work(loop, &jobs[i].request, work, after_work), "uv_queue_work");
    uv_run(loop, UV_RUN_DEFAULT);
    struct peer_result result = peer_since(start, total, answers == total);
    free(jobs);
    return result;
}

static struct peer_result blocking(void)
{
    return run_jobs(peer_blocking(), 1);
}

static struct peer_result blocking_batch(void)
{
    return run_jobs(PEER_BLOCKING, PEER_BLOCKING);
}

int main(int argc, char **argv)
{
    static const struct peer_bench benches[] = {
        {"timers", timers, false},     {"churn", churn, false},
        {"churn_bg", churn_bg, false}, {"timer_error", timer_error, true},
        {"blocking", blocking, false}, {"blocking_batch", blocking_batch, false},
    };
    loop = uv_default_loop();
    return peer_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
