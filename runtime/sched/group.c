/* Groups: making and freeing them, and who is in one.
 *
 * A group is a place in an array of its runtime, whose block is never freed (registry.c): so its
 * handle is an address with a generation, as those of tasks are, and a stale one is found out by
 * one load. Generations are the process's, so that they survive the runtime.
 *
 *   [group-gone] Entering and freeing meet in one word, `members`:
 *
 *     a spawn                                 filch_group_free()
 *     1 members + 1, unless GONE              1 members: 0 -> GONE, else there is somebody in it
 *     2 generation: is it still the same?     2 generation = 0
 *       no: members - 1                       ... made again: members = 0, another generation
 *
 * So a spawn that has got past 1 with the group's own generation has kept it from being freed; one
 * that comes late finds GONE or another generation. Modelled: tests/model/model_group.c.
 *
 * A task enters at spawn and leaves when its body and all that is deferred to its end are over,
 * before whoever joins it is woken. In between its block says so (FILCH_TASK_GROUPED), and which
 * group it is stands where tasks in the run queue have their chunk. That is a place which a task of
 * a group never needs: it is never in a run queue. With a stack it is of kind GROUPED, so that each
 * place which treats ordinary tasks in a few instructions tells it from them by the look at its
 * kind that it has anyway. One that is pinned, or begins on a given worker, waits there, apart from
 * what others may take: group_bound.c.
 */
#include "runtime/sched/group.h"

#include <errno.h>
#include <string.h>

#include "runtime/sched/worker.h"

#define GENERATION_MAX 0xffff

/* Of all groups that ever were. */
static filch_atomic_u32 last_generation;

static uint64_t next_generation(void)
{
    return 1 + filch_fetch_add_relaxed(&last_generation, 1) % GENERATION_MAX;
}

void filch__groups_init(struct filch_runtime *rt)
{
    struct filch__groups *groups = &rt->groups;

    filch_spinlock_init(&groups->lock);
    filch_spinlock_init(&groups->outside.lock);
    for (uint32_t i = 0; i < FILCH__GROUPS_MAX; i++) {
        groups->group[i].index = i;
        groups->group[i].rt = rt;
        filch_atomic_init(&groups->group[i].weight, FILCH_GROUP_WEIGHT_DEFAULT);
    }
}

void filch__groups_end(struct filch_runtime *rt)
{
    for (uint32_t i = 0; i < FILCH__GROUPS_MAX; i++)
        filch_store_release(&rt->groups.group[i].generation, 0);
}

/* ---- who is in one ---- */

static void enter(struct filch__task *task, struct filch__group *group)
{
    uint32_t bound_to = 0;

    if (task->kind == FILCH_KIND_PINNED || task->kind == FILCH_KIND_PLACED)
        bound_to = 1 + task->pinned_to->index;
    if (task->kind == FILCH_KIND_PINNED)
        task->flags |= FILCH_TASK_BOUND;
    if (filch__task_has_stack(task))
        task->kind = FILCH_KIND_GROUPED;
    task->flags |= FILCH_TASK_GROUPED;
    task->extras |= FILCH_EXTRA_GROUPED;
    task->group = group->index;
    task->bound_to = bound_to;
}

static bool may_be_in_one(const struct filch__task *task)
{
    return filch__task_has_stack(task) || task->kind == FILCH_KIND_FUTURE;
}

int filch__group_adopt(struct filch__task *task, struct filch_runtime *rt, filch_group *handle)
{
    struct filch__group *group = filch__handle_object(handle);
    bool is_ours = group > rt->groups.group && group < rt->groups.group + FILCH__GROUPS_MAX;

    if (!may_be_in_one(task))
        return -EINVAL;
    if (!is_ours || !filch__group_enter(group, filch__handle_generation(handle)))
        return -EINVAL;
    enter(task, group);
    return 0;
}

void filch__group_inherit(struct filch__task *task, const struct filch__task *from)
{
    struct filch__group *group;

    if (!from || !(from->flags & FILCH_TASK_GROUPED) || !may_be_in_one(task))
        return;
    group = filch__task_group(from);
    filch_fetch_add_relaxed(&group->members, 1); /* the parent keeps it from being freed */
    enter(task, group);
}

/* ---- making and freeing ---- */

static bool are_valid(const filch_group_opts *opts)
{
    return opts->weight <= FILCH_GROUP_WEIGHT_MAX && (unsigned)opts->kind <= FILCH_GROUP_BATCH &&
           (!opts->name || strnlen(opts->name, FILCH__GROUP_NAME_BYTES) < FILCH__GROUP_NAME_BYTES);
}

static struct filch__group *free_place_locked(struct filch__groups *groups)
{
    for (unsigned i = 1; i < FILCH__GROUPS_MAX; i++)
        if (filch_load_relaxed(&groups->group[i].generation) == 0)
            return &groups->group[i];
    return NULL;
}

static void fill(struct filch__group *group, const filch_group_opts *opts)
{
    memset(group->name, 0, sizeof group->name);
    if (opts->name)
        memcpy(group->name, opts->name, strlen(opts->name));
    filch_store_relaxed(&group->weight, opts->weight ? opts->weight : FILCH_GROUP_WEIGHT_DEFAULT);
    filch_store_relaxed(&group->kind, opts->kind);
    filch_store_relaxed(&group->cpu_ns, 0);
    filch_store_relaxed(&group->runs, 0);
    filch_store_relaxed(&group->yields, 0);
    filch_store_relaxed(&group->delay_ns, 0);
    filch_store_relaxed(&group->delay_max_ns, 0);
}

/* Return: the handle; NULL: there are too many. */
static filch_group *make_locked(struct filch_runtime *rt, const filch_group_opts *opts)
{
    struct filch__groups *groups = &rt->groups;
    struct filch__group *group = free_place_locked(groups);
    uint64_t generation = next_generation();

    if (!group)
        return NULL;
    fill(group, opts);
    filch_store_relaxed(&group->at, filch_load_relaxed(&groups->clock));
    if (opts->kind == FILCH_GROUP_LATENCY)
        filch_fetch_or_acq_rel(&groups->latency, (uint32_t)1 << group->index);
    filch__group_open(group, generation);
    if (groups->count++ == 0) {
        filch_fetch_add_relaxed(&groups->era, 1);
        filch_store_release(&rt->grouped, 1);
    }
    return filch__handle_make(group, generation);
}

static int group_new(struct filch_runtime *rt, const filch_group_opts *opts,
                     filch_group **ret_group)
{
    filch_group *handle;

    filch_spinlock_lock(&rt->groups.lock);
    handle = make_locked(rt, opts);
    filch_spinlock_unlock(&rt->groups.lock);
    if (!handle)
        return -ENOSPC;
    *ret_group = handle;
    return 0;
}

int filch_group_new(filch_runtime *rt, const filch_group_opts *opts, filch_group **ret_group)
{
    static const filch_group_opts defaults;
    int r;

    if (!rt || !ret_group || (opts && !are_valid(opts)))
        return -EINVAL;
    r = filch__spawn_begin(rt);
    if (r < 0)
        return r;
    r = filch_load_relaxed(&rt->stopping) ? filch__runtime_refusal(rt)
                                          : group_new(rt, opts ? opts : &defaults, ret_group);
    filch__spawn_end(rt);
    return r;
}

static int free_locked(struct filch__groups *groups, struct filch__group *group,
                       uint64_t generation)
{
    struct filch_runtime *rt = group->rt;

    if (!filch__group_is_alive(group, generation))
        return -ESRCH;
    if (!filch__group_close(group))
        return -EBUSY;
    filch_fetch_and_acq_rel(&groups->latency, ~((uint32_t)1 << group->index));
    if (--groups->count == 0)
        filch_store_release(&rt->grouped, 0);
    return 0;
}

int filch_group_free(filch_group *handle)
{
    struct filch__group *group = filch__handle_object(handle);
    uint64_t generation = filch__handle_generation(handle);
    struct filch__groups *groups;
    int r;

    if (!handle)
        return 0;
    if (!filch__group_is_alive(group, generation))
        return -ESRCH;
    groups = &group->rt->groups;
    filch_spinlock_lock(&groups->lock);
    r = free_locked(groups, group, generation);
    filch_spinlock_unlock(&groups->lock);
    return r;
}

int filch_group_set_weight(filch_group *handle, unsigned weight)
{
    struct filch__group *group = filch__handle_object(handle);

    if (!handle || weight == 0 || weight > FILCH_GROUP_WEIGHT_MAX)
        return -EINVAL;
    if (!filch__group_is_alive(group, filch__handle_generation(handle)))
        return -ESRCH;
    filch_store_relaxed(&group->weight, weight);
    return 0;
}

filch_group *filch_group_self(void)
{
    struct filch__task *task = filch__task_current();
    struct filch__group *group;

    if (!task || !(task->flags & FILCH_TASK_GROUPED))
        return NULL;
    group = filch__task_group(task);
    return filch__handle_make(group, filch_load_relaxed(&group->generation));
}

int filch_group_stats(const filch_group *handle, filch_group_numbers *ret_numbers)
{
    struct filch__group *group = filch__handle_object(handle);
    filch_group_numbers numbers = {0};

    if (!handle || !ret_numbers)
        return -EINVAL;
    if (!filch__group_is_alive(group, filch__handle_generation(handle)))
        return -ESRCH;
    memcpy(numbers.name, group->name, sizeof numbers.name);
    numbers.weight = filch_load_relaxed(&group->weight);
    numbers.kind = (filch_group_kind)filch_load_relaxed(&group->kind);
    numbers.tasks = filch_load_relaxed(&group->members) & ~FILCH__GROUP_GONE;
    numbers.cpu_ns = filch_load_relaxed(&group->cpu_ns);
    numbers.runs = filch_load_relaxed(&group->runs);
    numbers.yields = filch_load_relaxed(&group->yields);
    numbers.delay_ns = filch_load_relaxed(&group->delay_ns);
    numbers.delay_max_ns = filch_load_relaxed(&group->delay_max_ns);
    *ret_numbers = numbers;
    return 0;
}
