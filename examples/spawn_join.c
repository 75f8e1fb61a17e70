/* Two tasks run concurrently; joining one gives its result. */
#include <filch/filch.h>

#include <stdio.h>

/* Sums 1 to *arg. The argument is the task's own copy. */
static int sum(void *arg)
{
    int n = *(int *)arg, total = 0;

    for (int i = 1; i <= n; i++)
        total += i;
    return total;
}

static int spawn_join_main(void *arg)
{
    filch_task_opts by_copy = {.name = "sum", .copy_bytes = sizeof(int)};
    filch_task *first, *second;
    int ten = 10, hundred = 100, a = 0, b = 0, r, r2;

    (void)arg;
    r = filch_task_spawn(sum, &ten, &by_copy, &first);
    if (r < 0)
        return r;
    r = filch_task_spawn(sum, &hundred, &by_copy, &second);
    if (r < 0) {
        filch_task_detach(first);
        return r;
    }
    r = filch_task_join(first, &a, FILCH_NEVER);
    r2 = filch_task_join(second, &b, FILCH_NEVER);
    if (r == 0 && r2 == 0)
        printf("first: %d\nsecond: %d\n", a, b);
    return r < 0 ? r : r2;
}

int main(void)
{
    return filch_main(spawn_join_main, NULL, NULL) < 0;
}
