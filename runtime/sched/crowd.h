/* Do workers take the CPU from each other, where fewer would get as much of it? The arithmetic; the
 * watch asks it every 10 ms (watch.c), and sends one away, or calls it back.
 *
 * A server and its client on one machine, say: two workers and one client want two CPUs. Each
 * worker then serves half of the connections and has half a CPU; each of them sleeps and is woken
 * twice as often, for half as much work, and waits for its turn meanwhile. Measured with 50
 * connections of 64 B on two CPUs (medians of 10 runs in turn): 80k messages/s with a p99 of 2.6 ms
 * by two workers, 100k and 1.0 ms as they become one; a bare loop of one thread 107k and 0.9 ms.
 *
 * In a period of 50 ms workers are
 *
 *     in each other's way   if they serve I/O (and do not compute beside that), together have used
 *                           about what one less of them could have, and have been ready and waited
 *                           for a CPU for a twentieth of the time: the kernel tells, for each
 *                           thread (/proc/self/task/TID/schedstat), and is asked if the rest holds
 *
 * After three such periods one is sent away: what it serves moves to the others, message by
 * message (reserve.c). That may have been a loss: where others on the machine compute, two workers
 * get a larger share than one. So the next periods are a trial: if the workers that are left are
 * busy all the time, and serve less than all did before, it is called back, and there is no other
 * attempt for a second, then two, up to a minute. From then on periods are of 200 ms. It is called
 * back, too, with a second until the next attempt, when those left are busy and a CPU is idle, or
 * have to wait for theirs, for 600 ms, and when there is little to do for a second; all are, when
 * one is stuck, when nobody runs, and when there are groups.
 *
 *     ALL --in each other's way, 3 periods--> TRIAL --no loss--> FEWER
 *      ^                                        |                  |
 *      +------loss, stuck, quiet, groups--------+--the same, room, little to do--+
 *
 * With three workers and more each step is one of them, and FEWER may go on to TRIAL again.
 */
#ifndef FILCH_SCHED_CROWD_H
#define FILCH_SCHED_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include <filch/time.h>

/* What all workers' threads have done since they began. */
struct filch__crowd_use {
    uint64_t ran_ns;
    uint64_t served;  /* completions, and operations done at once */
    bool waits_known; /* has the kernel been asked for them? */
    uint64_t waited_ns;
    bool roomy; /* is a CPU of the machine idle at present? Told while some are away */
};

struct filch__crowd {
    unsigned away; /* workers sent away for this */
    /* The present period. */
    filch_time begun;
    bool known; /* what had been used as it began: */
    struct filch__crowd_use use;
    /* Periods in a row that say the same. */
    unsigned in_the_way, light, room;
    unsigned trial;        /* periods of the trial that are left; 0: none is on */
    double served_before;  /* in a period, before the trial */
    filch_time rest_until; /* no attempt before */
    filch_time rest_ns;    /* after the last loss */
};

/* At a look: is the period over? */
bool filch__crowd_is_over(const struct filch__crowd *crowd, filch_time now);

/* At the end of a period, with @workers that take part: does it matter how long they have waited?
 */
bool filch__crowd_wants_waits(const struct filch__crowd *crowd, filch_time now,
                              const struct filch__crowd_use *use, unsigned workers);

/* Then ends the period, and begins the next one. May find that one that is away should come back,
 * and counts one less then. Return: is one to be sent away, which is counted by now? */
bool filch__crowd_judge(struct filch__crowd *crowd, filch_time now,
                        const struct filch__crowd_use *use, unsigned workers);

/* All are to be at work again, and what was seen tells nothing any more: a worker is stuck, nobody
 * has run for a while, there are groups. */
void filch__crowd_end(struct filch__crowd *crowd, filch_time now);

/* Adds how long a thread has waited. Return: false: /proc does not say. */
bool filch__crowd_add_waits(struct filch__crowd_use *use, uint32_t thread_id);

#endif
