/* When a task that forks looks at the clock, while others wait for their share of its worker
 * (sched/group_room.c). Neither fork nor join has the time for that: together they cost less than
 * the look. But a fork compares its place in the fork stack with a limit anyway, and a join its
 * entry with what it expects. So looks are planned: the limit is lowered to a place, and who forks
 * there looks and marks its entry; the join of a marked entry looks, and plans the next ones.
 *
 *     entry           at          room
 *       | marked | .... | look    | no object reserved: make room
 *
 * A join comes after all that was called since its fork, and what is called next, the forked part
 * itself, takes about as long. So a join that comes SOON after its fork plans nothing for what it
 * calls. Otherwise the next fork, which is in there, is to look; and if it took longer than LATE
 * all those that are forked on the way down from here, so that their joins come at shorter and
 * shorter distances. In any case it marks the entry below, whose join is next, however long what it
 * calls takes. So in a tree of forks looks cost some 1 %, and the time between two is LATE times
 * the ratio of a subtree to its parts. Who forks in one place, little each time, gets out of this:
 * somebody else has to ask him (the watch).
 *
 * Arithmetic only; all of it is the owner's.
 */
#ifndef FILCH_FORK_PACE_H
#define FILCH_FORK_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include <filch/time.h>

#define FILCH__PACE_SOON_NS (8 * FILCH_MICROSECOND)
#define FILCH__PACE_LATE_NS (20 * FILCH_MICROSECOND)

struct filch__fork;

struct filch__pace {
    struct filch__fork **at; /* forks here and above look; NULL: no looks at all */
    bool deep;               /* and so do those that follow, farther up */
    filch_time deep_at;      /* when a join last planned that */
    filch_time end;          /* of the slice */
};

#define FILCH__PACE_NOWHERE ((struct filch__fork **)UINTPTR_MAX)

/* Whoever forks next, at @top or above, is to look. */
static inline void filch__pace_start(struct filch__pace *pace, struct filch__fork **top)
{
    pace->at = top;
    pace->deep = true;
}

static inline bool filch__pace_is_due(const struct filch__pace *pace, struct filch__fork **top)
{
    return pace->at && top >= pace->at;
}

/* A fork at @top looks. Its entry is to be marked. */
static inline void filch__pace_fork(struct filch__pace *pace, struct filch__fork **top)
{
    pace->at = pace->deep ? top + 1 : FILCH__PACE_NOWHERE;
}

/* A join looks, at @now; its fork was marked at @marked. @top: where the next fork goes. Where many
 * forks stand in a row, @marked is that of all of them: hence a second condition for the deep plan,
 * unless it was very long ago. */
static inline void filch__pace_join(struct filch__pace *pace, struct filch__fork **top,
                                    filch_time marked, filch_time now)
{
    filch_time since = now - marked;

    if (since < FILCH__PACE_SOON_NS)
        return;
    pace->at = top;
    pace->deep = since > 4 * FILCH__PACE_LATE_NS ||
                 (since > FILCH__PACE_LATE_NS && now - pace->deep_at > FILCH__PACE_LATE_NS);
    if (pace->deep)
        pace->deep_at = now;
}

#endif
