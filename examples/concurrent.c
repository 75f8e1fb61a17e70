/* Ten tasks at the same time, each with a result; the first error would cancel the others. */
#include <filch/filch.h>

#include <stdio.h>

#define TASKS 10

struct square {
    int of;
    long result;
};

static int square(void *arg)
{
    struct square *s = arg; /* lies in the frame of whoever waits for us */
    int r = filch_sleep(filch_after((TASKS - s->of) * FILCH_MILLISECOND)); /* the work */

    if (r == 0)
        s->result = (long)s->of * s->of;
    return r;
}

static int concurrent_main(void *arg)
{
    struct square squares[TASKS];
    int r;

    (void)arg;
    FILCH_TRY_SCOPE(tasks);
    for (int i = 0; i < TASKS; i++) {
        squares[i] = (struct square){.of = i + 1};
        r = filch_scope_spawn(&tasks, square, &squares[i]);
        if (r < 0)
            return r; /* the scope cancels and joins those that were started */
    }
    r = filch_scope_join(&tasks, FILCH_NEVER);
    if (r < 0)
        return r;
    for (int i = 0; i < TASKS; i++)
        printf("%d * %d = %ld\n", squares[i].of, squares[i].of, squares[i].result);
    return 0;
}

int main(void)
{
    return filch_main(concurrent_main, NULL, NULL) < 0;
}
