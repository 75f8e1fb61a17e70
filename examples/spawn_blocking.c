/* Work that blocks its thread runs on the blocking pool, while tasks go on: here a call of somebody
 * else's library, which sleeps. */
#include <filch/filch.h>

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_bool done;

static int block(void *arg)
{
    const struct timespec span = {.tv_nsec = 50000000};

    (void)arg;
    nanosleep(&span, NULL); /* in a task this would hold its worker up */
    atomic_store(&done, true);
    return 42;
}

/* Counts until the blocking work is done. */
static int count(void *arg)
{
    int *ticks = arg;

    while (!atomic_load(&done) && filch_sleep(filch_after(FILCH_MILLISECOND)) == 0)
        (*ticks)++;
    return 0;
}

static int spawn_blocking_main(void *arg)
{
    filch_task *job;
    int result, ticks = 0, r;

    (void)arg;
    FILCH_SCOPE(scope);
    r = filch_scope_spawn(&scope, count, &ticks);
    if (r == 0)
        r = filch_blocking_spawn(block, NULL, NULL, &job);
    if (r == 0)
        r = filch_task_join(job, &result, FILCH_NEVER);
    if (r == 0)
        r = filch_scope_join(&scope, FILCH_NEVER);
    if (r == 0)
        printf("the job returned %d; tasks went on meanwhile: %s\n", result,
               ticks > 5 ? "yes" : "no");
    return r;
}

int main(void)
{
    return filch_main(spawn_blocking_main, NULL, NULL) < 0;
}
