/* Description: the slot for the task that runs next (runtime/sched/lifo.h): its owner puts and
 * takes, two others steal; each task goes to one of them, with what was written to it, and none
 * stays behind. With the kernel's fence, without it, and where the kernel refuses it all of a
 * sudden. */
#define FILCH__LIFO_PAUSE(lifo) xp_block_until(thief_is_gone, (lifo))

#include "tests/model/explore.h"

static bool thief_is_gone(void *lifo);

#include "runtime/sched/lifo.c"

#define TASKS 2

struct filch__task {
    int written;
    int runs; /* guarded by who has the task */
};

static struct filch__lifo lifo;
static struct filch__task tasks[TASKS];

static bool thief_is_gone(void *arg)
{
    struct filch__lifo *slot = arg;

    return xp_peek(&slot->thief.location) == 0;
}

static void reset(void)
{
    filch__lifo_init(&lifo);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = (struct filch__task){0};
}

static void reset_by_kernel(void)
{
    xp_fences = XP_FENCES_BY_KERNEL;
    reset();
}

static void reset_by_stores(void)
{
    xp_fences = XP_FENCES_BY_STORES;
    reset();
}

static void reset_refused(void)
{
    xp_fences = XP_FENCES_REFUSED;
    reset();
}

static void run(struct filch__task *task)
{
    filch_plain_read(&task->written);
    filch_plain_write(&task->runs);
    xp_assert(task->written == 1);
    task->runs++;
}

static void put(struct filch__task *task)
{
    struct filch__task *old = filch__lifo_take(&lifo);

    filch_plain_write(&task->written);
    task->written = 1;
    filch__lifo_put(&lifo, task);
    if (old)
        run(old);
}

static void owner(void)
{
    struct filch__task *task;

    for (int i = 0; i < TASKS; i++)
        put(&tasks[i]);
    task = filch__lifo_take(&lifo);
    if (task)
        run(task);
}

static void thief(void)
{
    struct filch__task *task = filch__lifo_steal(&lifo);

    if (task)
        run(task);
}

/* Also what a thief that gave up has left. */
static void all_ran(void)
{
    for (int i = 0; i < TASKS; i++)
        xp_assert(tasks[i].runs == 1);
    xp_assert(xp_peek(&lifo.task.location) == 0);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"the owner and a thief", 2, {owner, thief}, reset_by_kernel, all_ran, -1, false},
        {"the owner and two thieves", 3, {owner, thief, thief}, reset_by_kernel, all_ran, 3, false},
        {"no fence of the kernel's", 2, {owner, thief}, reset_by_stores, all_ran, -1, false},
        {"none, and two thieves", 3, {owner, thief, thief}, reset_by_stores, all_ran, 3, false},
        {"the kernel refuses it", 3, {owner, thief, thief}, reset_refused, all_ran, 3, false},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
