/* Twelve requests: at most 3 at a time (a semaphore), and at most 50 per second, of which 2 may
 * come at once (a rate limiter). */
#include <filch/filch.h>

#include <stdatomic.h>
#include <stdio.h>

#define REQUESTS 12
#define AT_A_TIME 3
#define PER_SECOND 50
#define AT_ONCE 2

static filch_semaphore slots = FILCH_SEMAPHORE_INIT(AT_A_TIME);
static atomic_int running, served;
static atomic_bool crowded;

static int request(void *arg)
{
    FILCH_PERMIT(slot, &slots, 1, FILCH_NEVER); /* given back where this function ends */
    int r = slot.result < 0 ? slot.result : filch_limiter_acquire(arg, 1, FILCH_NEVER);

    if (r < 0)
        return r;
    if (atomic_fetch_add(&running, 1) >= AT_A_TIME)
        atomic_store(&crowded, true);
    r = filch_sleep(filch_after(30 * FILCH_MILLISECOND)); /* the work */
    atomic_fetch_sub(&running, 1);
    atomic_fetch_add(&served, r == 0);
    return r;
}

static int rate_limit_main(void *arg)
{
    const filch_time least = (REQUESTS - AT_ONCE) * (FILCH_SECOND / PER_SECOND);
    filch_time start = filch_now();
    filch_limiter rate;
    int r = filch_limiter_init(&rate, PER_SECOND, FILCH_SECOND, AT_ONCE);

    (void)arg;
    FILCH_SCOPE(requests);
    for (int i = 0; r == 0 && i < REQUESTS; i++)
        r = filch_scope_spawn(&requests, request, &rate);
    if (r == 0)
        r = filch_scope_join(&requests, FILCH_NEVER);
    if (r < 0)
        return r;
    printf("served: %d\n", atomic_load(&served));
    printf("more than %d at a time: %s\n", AT_A_TIME, atomic_load(&crowded) ? "yes" : "no");
    printf("faster than %d per second: %s\n", PER_SECOND,
           filch_now() - start < least ? "yes" : "no");
    filch_limiter_fini(&rate);
    return 0;
}

int main(void)
{
    return filch_main(rate_limit_main, NULL, NULL) < 0;
}
