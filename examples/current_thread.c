/* A runtime without threads: everything runs on the thread that calls block_on, and nothing runs
 * in between. Tasks that are not finished wait for the next call.
 *
 *     current_thread */
#include <filch/filch.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pid_t main_thread; /* set before anything runs */

static int count(void *arg)
{
    const char *name = arg;
    int r = 0;

    for (int i = 1; i <= 3 && r == 0; i++) {
        printf("%s: %d%s\n", name, i, gettid() == main_thread ? "" : " (another thread!)");
        r = filch_sleep(filch_after(2 * FILCH_MILLISECOND));
    }
    return r;
}

/* Starts a task that goes on when this one has ended. */
static int first(void *arg)
{
    printf("first call\n");
    return filch_task_spawn(count, "background", NULL, arg);
}

static int second(void *arg)
{
    printf("second call\n");
    return filch_task_join(arg, NULL, FILCH_NEVER);
}

static int run(filch_runtime *rt)
{
    filch_task *background;
    int result = 0;
    int r = filch_runtime_block_on(rt, first, &background, &result, FILCH_NEVER);

    if (r < 0 || result < 0)
        return r < 0 ? r : result;
    printf("nothing runs here\n");
    r = filch_runtime_block_on(rt, second, background, &result, FILCH_NEVER);
    return r < 0 ? r : result;
}

int main(void)
{
    filch_runtime *rt;
    int r;

    main_thread = gettid();
    r = filch_runtime_start(&(filch_runtime_opts){.current_thread = true}, &rt);
    if (r == 0) {
        r = run(rt);
        filch_runtime_shutdown(rt, FILCH_NEVER);
    }
    if (r < 0)
        fprintf(stderr, "current_thread: %s\n", strerror(-r));
    return r < 0;
}
