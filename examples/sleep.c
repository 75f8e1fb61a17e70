/* A sleeping task costs a timer, not a thread: three of them sleep at the same time, and wake in
 * the order of their times. */
#include <filch/filch.h>

#include <stdio.h>

static int sleeper(void *arg)
{
    unsigned ms = *(unsigned *)arg;
    int r = filch_sleep(filch_after(ms * FILCH_MILLISECOND));

    if (r == 0)
        printf("slept %u ms\n", ms);
    return r;
}

static int sleep_main(void *arg)
{
    static const unsigned spans_ms[] = {300, 100, 200};
    filch_task_opts by_copy = {.name = "sleeper", .copy_bytes = sizeof(unsigned)};

    (void)arg;
    FILCH_TRY_SCOPE(sleepers);
    for (unsigned i = 0; i < sizeof spans_ms / sizeof spans_ms[0]; i++) {
        unsigned ms = spans_ms[i];
        int r = filch_scope_spawn_opts(&sleepers, sleeper, &ms, &by_copy);

        if (r < 0)
            return r; /* the scope cancels and joins those that were started */
    }
    return filch_scope_join(&sleepers, FILCH_NEVER);
}

int main(void)
{
    return filch_main(sleep_main, NULL, NULL) < 0;
}
