/* Scheduling groups. What they are: include/filch/group.h. Who is in one: group.c. Whose turn it
 * is: group_turn.c; who is asked to make room: group_room.c. Where their ready tasks are:
 * group_set.h; of those that are bound to a worker: group_bound.c. The arithmetic: share.h. */
#ifndef FILCH_SCHED_GROUP_H
#define FILCH_SCHED_GROUP_H

#include <filch/group.h>

#include "runtime/sched/group_set.h"

struct filch__task;
struct filch__worker;

#define FILCH__GROUP_NAME_BYTES 32

struct filch__group {
    /* Virtual time (share.h): what the group has used of all workers, as far as it is charged.
     * Added to by whoever ends a stay, lifted when it comes back; relaxed, it orders nothing. */
    alignas(FILCH_CACHELINE) filch_atomic_u64 at;
    /* Sums of what stays have brought. */
    filch_atomic_u64 cpu_ns, runs, yields, delay_ns, delay_max_ns;
    /* Tasks in it, or FILCH__GROUP_GONE. RMW by who enters and leaves. [group-gone] */
    alignas(FILCH_CACHELINE) filch_atomic_u64 members;
    /* Of its handle; 0: it is none. [group-gone] release of who makes or frees it -> acquire of who
     * has a handle. */
    filch_atomic_u64 generation;
    filch_atomic_u32 weight;
    filch_atomic_u32 kind; /* enum filch_group_kind */
    uint32_t index;
    struct filch_runtime *rt;
    char name[FILCH__GROUP_NAME_BYTES];
};

#define FILCH__GROUP_GONE ((uint64_t)1 << 63)

/* A task enters the group that a handle with @generation means. [group-gone] Return: false: it was
 * freed. */
static inline bool filch__group_enter(struct filch__group *group, uint64_t generation)
{
    uint64_t members = filch_load_relaxed(&group->members);

    do {
        if (members & FILCH__GROUP_GONE)
            return false;
    } while (!filch_cas_weak_acq_rel(&group->members, &members, members + 1));
    /* Relaxed: what made it another's came before the word that the CAS has acquired. */
    if (filch_load_relaxed(&group->generation) == generation)
        return true;
    filch_fetch_sub_relaxed(&group->members, 1);
    return false;
}

/* Release: who frees the group, or makes it anew, comes after all that its tasks did. */
static inline void filch__group_leave(struct filch__group *group)
{
    filch_fetch_sub_release(&group->members, 1); /* [group-gone] */
}

/* Nobody is in it, and nobody will be. Return: false: somebody is. */
static inline bool filch__group_close(struct filch__group *group)
{
    uint64_t nobody = 0;

    if (!filch_cas_acquire(&group->members, &nobody, FILCH__GROUP_GONE)) /* [group-gone] */
        return false;
    filch_store_relaxed(&group->generation, 0);
    return true;
}

/* From now on handles with @generation, which is not 0, mean it. */
static inline void filch__group_open(struct filch__group *group, uint64_t generation)
{
    filch_store_release(&group->members, 0);
    filch_store_release(&group->generation, generation); /* [group-gone] */
}

/* For who only looks: what the group was made with is visible. */
static inline bool filch__group_is_alive(struct filch__group *group, uint64_t generation)
{
    return filch_load_acquire(&group->generation) == generation; /* [group-gone] */
}

struct filch__groups {
    filch_spinlock lock;      /* guards who makes and frees groups, and `count` */
    unsigned count;           /* besides the first */
    filch_atomic_u32 era;     /* grows each time that there are groups again */
    filch_atomic_u32 latency; /* a bit for each group of that kind; hints */
    filch_atomic_u64 clock;   /* virtual time of who was picked last; relaxed, never far back */
    struct filch__group group[FILCH__GROUPS_MAX]; /* the first: of tasks in no group */
    struct filch__group_set outside;              /* made ready by threads that are no workers */
};

/* For which group a worker works at present. Its own, unless said otherwise. */
struct filch__stay {
    bool open;
    uint32_t group;
    uint32_t era; /* in which the rest was set */
    filch_time since;
    uint64_t cpu_seen;   /* the thread's CPU clock when it was last read */
    uint64_t counted_ns; /* charged since then without reading it */
    uint64_t runs, yields, delay_ns, delay_max_ns;
    bool bound_had_turn; /* of the group's tasks, one that is bound to the worker went last */
    uint32_t seen;       /* groups that had something to run at the last choice: a bit each */
    /* For others: the group and 1, or 0: with none. A hint. */
    filch_atomic_u32 with;
    /* By others: the slice is over, or a group of kind LATENCY has something to run: look at what
     * has come in, and choose anew. A hint. */
    filch_atomic_u32 hurry;
    /* When the present task was picked. Read by the watch, as a hint. */
    filch_atomic_u64 run_since;
};

void filch__groups_init(struct filch_runtime *rt);

/* The runtime has ended: handles of its groups are stale. */
void filch__groups_end(struct filch_runtime *rt);

/* A new task enters the group that @opts say, or else that of the running task. Before it is
 * queued; its end leaves the group (FILCH_EXTRA_GROUPED). Return: 0; -EINVAL. */
int filch__group_adopt(struct filch__task *task, struct filch_runtime *rt, filch_group *handle);
void filch__group_inherit(struct filch__task *task, const struct filch__task *from);

/* Makes a task of a group ready. @worker: the caller, if it is one of the task's runtime, or NULL.
 */
void filch__group_push(struct filch__worker *worker, struct filch__task *task, bool front);

/* Next task of the group that the worker is with; NULL: there is none, or it is another one's turn.
 * worker->now is recent. */
struct filch__task *filch__group_stay(struct filch__worker *worker);

/* Next task, of whichever group's turn it is; NULL: no group has any that this worker may take. */
struct filch__task *filch__group_next(struct filch__worker *worker);

/* The worker has nothing to run: what it has done is charged. */
void filch__group_rest(struct filch__worker *worker);

/* Takes over what waits on @victim, which is stuck. */
void filch__group_help(struct filch__worker *worker, struct filch__worker *victim);

/* All that waits on a worker that sits out goes to others, but for what is bound to it; the next of
 * that, or NULL. */
void filch__group_hand_over(struct filch__worker *worker);
struct filch__task *filch__group_next_bound(struct filch__worker *worker);

/* group_bound.c: what is for one worker alone. */
void filch__group_push_bound(struct filch__worker *self, struct filch__task *task, bool front);
struct filch__task *filch__group_take_bound(struct filch__worker *worker, unsigned group);

/* The running task is at a join: has it been asked to make room, and may it? Then it does. */
bool filch__group_must_make_room(struct filch__worker *worker);

/* When the running task's slice ends. */
filch_time filch__group_slice_end(struct filch__worker *worker);

/* Any thread: the task that runs on @worker has had its slice, and is to make room. It may be
 * another one by now, which is then asked for nothing. */
void filch__group_ask(struct filch__worker *worker);

/* By the watch: asks tasks that have had their slice to make room. Return: when to come again. */
filch_time filch__group_tick(struct filch_runtime *rt, filch_time now);

#endif
