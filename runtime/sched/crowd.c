/* See crowd.h. */
#include "runtime/sched/crowd.h"

#include <stdio.h>

#include "runtime/base/proc.h"

#define PERIOD_NS (50 * FILCH_MILLISECOND)
#define PERIOD_FEWER_NS (4 * PERIOD_NS)
#define PERIODS_LOST 4 /* so many at once, and nobody has looked meanwhile */
#define IN_THE_WAY_PERIODS 3
#define TRIAL_PERIODS 4 /* the first of which is for moving */
#define LIGHT_PERIODS 5
#define ROOM_PERIODS 3
#define REST_MIN_NS FILCH_SECOND
#define REST_MAX_NS (60 * FILCH_SECOND)
/* Operations in a period for each CPU used: who computes more than 100 us for one has work that a
 * larger share of the CPUs is good for. */
#define SERVED_MIN (PERIOD_NS / (100 * FILCH_MICROSECOND))
/* Shares of a CPU. */
#define WAITED_MIN 0.05
#define ROOM 0.25 /* two use more than one, for the same work */
#define BUSY 0.9
#define STARVED 0.25 /* have to wait so much of the time, each, though they are fewer */
#define LIGHT 0.5
#define LOST 0.9 /* of what was served before */

/* In CPUs. */
struct shares {
    double ran;
    double waited; /* if `waits_known` */
    double served; /* operations in PERIOD_NS */
    bool waits_known;
};

void filch__crowd_end(struct filch__crowd *crowd, filch_time now)
{
    if (crowd->away)
        crowd->rest_until = now + REST_MIN_NS;
    crowd->away = crowd->trial = 0;
    crowd->in_the_way = crowd->light = crowd->room = 0;
    crowd->begun = now;
    crowd->known = false;
}

static filch_time period_of(const struct filch__crowd *crowd)
{
    return crowd->away && !crowd->trial ? PERIOD_FEWER_NS : PERIOD_NS;
}

bool filch__crowd_is_over(const struct filch__crowd *crowd, filch_time now)
{
    return now - crowd->begun >= period_of(crowd);
}

/* Return: false: nobody has looked meanwhile, or there was none before. */
static bool shares_of(const struct filch__crowd *crowd, filch_time now,
                      const struct filch__crowd_use *use, struct shares *ret_shares)
{
    double span = (double)(now - crowd->begun);

    if (!crowd->known || span >= (double)(PERIODS_LOST * period_of(crowd)))
        return false;
    *ret_shares = (struct shares){
        .ran = (double)(use->ran_ns - crowd->use.ran_ns) / span,
        .served = (double)(use->served - crowd->use.served) / span * PERIOD_NS,
        .waits_known = use->waits_known && crowd->use.waits_known,
    };
    if (ret_shares->waits_known)
        ret_shares->waited = (double)(use->waited_ns - crowd->use.waited_ns) / span;
    return true;
}

/* But for the waits. */
static bool may_be_in_the_way(const struct filch__crowd *crowd, filch_time now,
                              const struct shares *shares, unsigned workers)
{
    return workers > 1 && now >= crowd->rest_until && shares->served >= SERVED_MIN &&
           shares->served >= shares->ran * SERVED_MIN && shares->ran <= workers - 1 + ROOM &&
           shares->ran >= (workers - 1) * BUSY - ROOM;
}

bool filch__crowd_wants_waits(const struct filch__crowd *crowd, filch_time now,
                              const struct filch__crowd_use *use, unsigned workers)
{
    struct shares shares;

    return shares_of(crowd, now, use, &shares) &&
           (crowd->away || may_be_in_the_way(crowd, now, &shares, workers));
}

static void call_one(struct filch__crowd *crowd, filch_time rest_until)
{
    crowd->rest_until = rest_until;
    crowd->away--;
    crowd->trial = crowd->light = crowd->room = 0;
}

static void judge_trial(struct filch__crowd *crowd, filch_time now, const struct shares *shares,
                        unsigned workers)
{
    bool busy = shares->ran + shares->waited >= BUSY * workers;

    crowd->trial--;
    if (crowd->trial == TRIAL_PERIODS - 1)
        return;
    if (busy && shares->served < LOST * crowd->served_before) {
        crowd->rest_ns *= 2;
        if (crowd->rest_ns < REST_MIN_NS)
            crowd->rest_ns = REST_MIN_NS;
        if (crowd->rest_ns > REST_MAX_NS)
            crowd->rest_ns = REST_MAX_NS;
        call_one(crowd, now + crowd->rest_ns);
    } else if (crowd->trial == 0) {
        crowd->rest_ns = 0;
    }
}

/* Should one of those that are away come back? */
static bool are_too_few(struct filch__crowd *crowd, const struct shares *shares, bool roomy,
                        unsigned workers)
{
    double wanted = shares->ran + shares->waited;
    bool starved = wanted >= BUSY * workers && shares->waited >= STARVED * workers;
    bool busy = shares->ran >= BUSY * workers;

    crowd->light = wanted < LIGHT * workers ? crowd->light + 1 : 0;
    crowd->room = starved || (busy && roomy) ? crowd->room + 1 : 0;
    return crowd->room >= ROOM_PERIODS || crowd->light >= LIGHT_PERIODS;
}

/* Return: have they been for long enough? */
static bool are_in_the_way(struct filch__crowd *crowd, filch_time now, const struct shares *shares,
                           unsigned workers)
{
    if (!may_be_in_the_way(crowd, now, shares, workers) ||
        (shares->waits_known && shares->waited < WAITED_MIN)) {
        crowd->in_the_way -= crowd->in_the_way > 0;
        return false;
    }
    if (!shares->waits_known)
        return false;
    crowd->served_before =
        crowd->in_the_way ? (crowd->served_before + shares->served) / 2 : shares->served;
    return ++crowd->in_the_way >= IN_THE_WAY_PERIODS;
}

static bool judge(struct filch__crowd *crowd, filch_time now, const struct shares *shares,
                  bool roomy, unsigned workers)
{
    if (crowd->trial) {
        judge_trial(crowd, now, shares, workers);
        return false;
    }
    if (crowd->away && are_too_few(crowd, shares, roomy, workers)) {
        call_one(crowd, now + REST_MIN_NS);
        return false;
    }
    if (!are_in_the_way(crowd, now, shares, workers))
        return false;
    crowd->in_the_way = 0;
    crowd->trial = TRIAL_PERIODS;
    crowd->away++;
    return true;
}

bool filch__crowd_judge(struct filch__crowd *crowd, filch_time now,
                        const struct filch__crowd_use *use, unsigned workers)
{
    struct shares shares;
    bool send = false;

    if (shares_of(crowd, now, use, &shares))
        send = judge(crowd, now, &shares, use->roomy, workers);
    else
        crowd->trial = crowd->in_the_way = crowd->light = crowd->room = 0;
    crowd->begun = now;
    crowd->known = true;
    crowd->use = *use;
    return send;
}

bool filch__crowd_add_waits(struct filch__crowd_use *use, uint32_t thread_id)
{
    char path[64], text[128];
    unsigned long long waited;

    snprintf(path, sizeof path, "/proc/self/task/%u/schedstat", thread_id);
    if (!filch__proc_read(path, text, sizeof text) || sscanf(text, "%*s %llu", &waited) != 1)
        return false;
    use->waited_ns += waited;
    return true;
}
