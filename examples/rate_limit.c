/* Twelve requests: at most 3 at a time (a semaphore), at most 50 per second (a rate limiter, 2 at
 * once), and a wait group that says when all have been served. */
#include <filch/filch.h>

#include <stdatomic.h>
#include <stdio.h>

#define REQUESTS 12
#define AT_A_TIME 3
#define PER_SECOND 50
#define AT_ONCE 2

static filch_semaphore slots = FILCH_SEMAPHORE_INIT(AT_A_TIME);
static filch_waitgroup under_way = FILCH_WAITGROUP_INIT(0);
static filch_limiter rate;
static atomic_int running, most, served;

static int serve(void)
{
    int now, before = atomic_load(&most);
    int r;

    FILCH_PERMIT(slot, &slots, 1, FILCH_NEVER);
    if (slot.result < 0)
        return slot.result;
    r = filch_limiter_acquire(&rate, 1, FILCH_NEVER);
    if (r < 0)
        return r;
    now = atomic_fetch_add(&running, 1) + 1;
    while (before < now && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    r = filch_sleep(filch_after(30 * FILCH_MILLISECOND)); /* the work */
    atomic_fetch_sub(&running, 1);
    if (r == 0)
        atomic_fetch_add(&served, 1);
    return r; /* the slot is given back here */
}

static int request(void *arg)
{
    int r = serve();

    (void)arg;
    filch_waitgroup_done(&under_way);
    return r;
}

static int rate_limit_main(void *arg)
{
    filch_time start = filch_now(), soonest;
    int r = filch_limiter_init(&rate, PER_SECOND, FILCH_SECOND, AT_ONCE);

    (void)arg;
    for (int i = 0; r == 0 && i < REQUESTS; i++) {
        r = filch_waitgroup_add(&under_way, 1);
        if (r < 0)
            break;
        r = filch_spawn(request, NULL);
        if (r < 0)
            filch_waitgroup_done(&under_way);
    }
    if (filch_waitgroup_wait(&under_way, FILCH_NEVER) < 0 || r < 0)
        return r;
    soonest = (REQUESTS - AT_ONCE) * (FILCH_SECOND / PER_SECOND);
    printf("served: %d\n", atomic_load(&served));
    printf("more than %d at a time: %s\n", AT_A_TIME,
           atomic_load(&most) > AT_A_TIME ? "yes" : "no");
    printf("faster than %d per second: %s\n", PER_SECOND,
           filch_now() - start < soonest ? "yes" : "no");
    filch_limiter_fini(&rate);
    return 0;
}

int main(void)
{
    return filch_main(rate_limit_main, NULL, NULL) < 0;
}
