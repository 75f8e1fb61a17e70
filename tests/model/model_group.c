/* Description: entering and freeing a scheduling group (runtime/sched/group.h): who was let in is
 * in the group that his handle means, and it is not freed, nor made anew, before he has left; what
 * he did is seen by who frees it. */
#include "runtime/sched/group.h"

#include "tests/model/explore.h"

#define OLD 1
#define NEW 2

static struct filch__group group;
static int content;  /* plain: which group it is, or what its member left */
static int name;     /* plain: written before the group is there */
static int entered;  /* by the one with the old handle */
static int closed;   /* times that it was freed */
static int new_seen; /* by the one with the new handle */

static void reset(void)
{
    filch_atomic_init(&group.members, 0);
    filch_atomic_init(&group.generation, OLD);
    content = name = OLD;
    entered = closed = new_seen = 0;
}

/* A spawn with the first handle, and the end of its task. */
static void member(void)
{
    if (!filch__group_enter(&group, OLD))
        return;
    filch_plain_read(&content);
    xp_assert(content == OLD);
    filch_plain_write(&content);
    content = OLD; /* what its task did there */
    entered = 1;
    filch__group_leave(&group);
}

/* Frees it, if it can, and makes another in its place. */
static void owner(void)
{
    if (!filch__group_close(&group))
        return;
    closed++;
    filch_plain_write(&content);
    content = NEW;
    filch_plain_write(&name);
    name = NEW;
    filch__group_open(&group, NEW);
}

/* Has the second handle, should there be one. */
static void other(void)
{
    if (!filch__group_enter(&group, NEW))
        return;
    filch_plain_read(&content);
    xp_assert(content == NEW);
    new_seen = 1;
    filch__group_leave(&group);
}

/* Has it, too, and only looks. */
static void looker(void)
{
    if (!filch__group_is_alive(&group, NEW))
        return;
    filch_plain_read(&name);
    xp_assert(name == NEW);
}

static void check(void)
{
    uint64_t members = xp_peek(&group.members.location);

    xp_assert(members == 0);
    xp_assert(entered || closed || !new_seen);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a member, who frees it and makes another", 2, {member, owner}, reset, check, -1, false},
        {"who looks at the new one", 2, {owner, looker}, reset, check, -1, false},
        {"two generations", 3, {member, owner, other}, reset, check, -1, false},
    };

    static const struct xp_excuse excuses[] = {
        {"filch__group_enter cas_weak_acq_rel -> acquire",
         "acquire suffices; the vocabulary has no such weak CAS"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses, 1);
}
