/* Description: what the functions of scheduling groups say to wrong calls, and spawns that ask for
 * a group or a worker that there is not. A row is a call, and what it must return. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_sched, .timeout = 60);

static int nop(void *arg)
{
    (void)arg;
    return 0;
}

static filch_group *freed_group(filch_runtime *rt)
{
    filch_group *group = NULL;

    T_OK(filch_group_new(rt, NULL, &group));
    T_OK(filch_group_free(group));
    return group;
}

static int group_rows(void *arg)
{
    filch_runtime *rt = arg;
    filch_group *freed = freed_group(rt), *group = NULL;
    filch_group_numbers numbers;

    ROW(filch_group_new(NULL, NULL, &group), -EINVAL);
    ROW(filch_group_new(rt, NULL, NULL), -EINVAL);
    ROW(filch_group_new(rt, &(filch_group_opts){.weight = FILCH_GROUP_WEIGHT_MAX + 1}, &group),
        -EINVAL);
    ROW(filch_group_new(rt, &(filch_group_opts){.kind = (filch_group_kind)3}, &group), -EINVAL);
    ROW(filch_group_new(rt, &(filch_group_opts){.name = "a name of thirty-two characters."},
                        &group),
        -EINVAL);
    ROW(group == NULL, 1);
    ROW(filch_group_free(NULL), 0);
    ROW(filch_group_free(freed), -ESRCH);
    ROW(filch_group_set_weight(NULL, 1), -EINVAL);
    ROW(filch_group_set_weight(freed, 0), -EINVAL);
    ROW(filch_group_set_weight(freed, FILCH_GROUP_WEIGHT_MAX + 1), -EINVAL);
    ROW(filch_group_set_weight(freed, 1), -ESRCH);
    ROW(filch_group_stats(NULL, &numbers), -EINVAL);
    ROW(filch_group_stats(freed, NULL), -EINVAL);
    ROW(filch_group_stats(freed, &numbers), -ESRCH);
    ROW(filch_group_self() == NULL, 1);
    return 0;
}

static int spawn_rows(void *arg)
{
    filch_runtime *rt = arg;
    filch_group *freed = freed_group(rt), *group = NULL;
    filch_task_opts in_freed = {.group = freed};
    filch_task_opts in_none = {.group = FILCH_NO_GROUP};
    int nothing_copied = 0;

    T_OK(filch_group_new(rt, &(filch_group_opts){.name = "rows"}, &group));
    ROW(filch_runtime_spawn(rt, nop, NULL, &in_freed, NULL), -EINVAL);
    ROW(filch_runtime_blocking_spawn(rt, nop, NULL, &in_freed, NULL), -EINVAL);
    ROW(filch_runtime_blocking_spawn(rt, nop, NULL, &(filch_task_opts){.group = group}, NULL),
        -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.group = group, .worker = 257}, NULL),
        -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.worker = 257}, NULL), -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL,
                            &(filch_task_opts){.group = group, .copy_bytes = sizeof nothing_copied},
                            NULL),
        -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &in_none, NULL), 0);
    ROW(filch_group_free(group), 0); /* what was refused is not in it */
    return 0;
}

Test(misuse_sched, in_a_plain_thread)
{
    filch_runtime *rt = start_runtime(0);

    group_rows(rt);
    spawn_rows(rt);
    stop_runtime(rt);
    cr_assert_eq(atomic_load(&misuse_wrong), 0);
}

Test(misuse_sched, in_a_task)
{
    filch_runtime *rt = start_runtime_alone(0);

    T_OK(filch_runtime_block_on(rt, group_rows, rt, NULL, FILCH_NEVER));
    T_OK(filch_runtime_block_on(rt, spawn_rows, rt, NULL, FILCH_NEVER));
    stop_runtime(rt);
    cr_assert_eq(atomic_load(&misuse_wrong), 0);
}

/* The block of a runtime that has ended stays, so this is told, too. */
Test(misuse_sched, after_the_end_of_the_runtime)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *group = NULL, *other = NULL;
    filch_group_numbers numbers;

    T_OK(filch_group_new(rt, NULL, &group));
    stop_runtime(rt);
    ROW(filch_group_stats(group, &numbers), -ESRCH);
    ROW(filch_group_set_weight(group, 1), -ESRCH);
    ROW(filch_group_free(group), -ESRCH);
    ROW(filch_group_new(rt, NULL, &other), -ESHUTDOWN);
    cr_assert_eq(atomic_load(&misuse_wrong), 0);
}
