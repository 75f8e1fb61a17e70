/* The clock: all of filch reads time here. */
#include <filch/time.h>

#include <time.h>

filch_time filch_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (filch_time)ts.tv_sec * FILCH_SECOND + (filch_time)ts.tv_nsec;
}

filch_time filch_after(filch_time span_ns)
{
    filch_time now = filch_now();

    return span_ns < FILCH_NEVER - now ? now + span_ns : FILCH_NEVER;
}
