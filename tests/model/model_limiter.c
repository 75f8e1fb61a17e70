/* Description: rate limiters (sync/limiter.c): a line whose first one waits for the clock, with
 * requests of two sizes, some of which give up at any moment, first in line or not, and another
 * rate in the middle. Nobody waits for ever, the line is empty in the end, and no more permits are
 * given out than the time has brought. */
#include <string.h>

#include "sync/limiter.c"

#include "tests/model/model_waiter.h"

enum { PERIOD = 10, BURST = 2 };

static struct limiter model_limiter;
static filch_time now;
static uint64_t given;

#define LIMITER ((filch_limiter *)(void *)&model_limiter)

/* Each look at the clock is later, so that times come. */
filch_time filch_now(void)
{
    return now += 5;
}

static void reset(void)
{
    memset(&model_limiter, 0, sizeof model_limiter);
    now = 0;
    given = 0;
    xp_assert(filch_limiter_init(LIMITER, 1, PERIOD, BURST) == 0);
}

static int acquire(uint32_t n, filch_time until)
{
    int r = filch_limiter_acquire(LIMITER, n, until);

    if (r == 0)
        given += n;
    xp_assert(given <= BURST + now / PERIOD);
    return r;
}

static void takes_two(void)
{
    xp_assert(acquire(2, FILCH_NEVER) == 0);
}

static void takes_one_and_two(void)
{
    xp_assert(acquire(1, FILCH_NEVER) == 0);
    xp_assert(acquire(2, FILCH_NEVER) == 0);
}

static void takes_two_or_gives_up(void)
{
    int r = acquire(2, 12);

    xp_assert(r == 0 || r == -ETIMEDOUT);
}

static void changes_the_rate(void)
{
    xp_assert(filch_limiter_set_rate(LIMITER, 1, PERIOD) == 0);
}

static void line_is_empty(void)
{
    xp_assert(nobody_waits(&model_limiter) && model_limiter.wanted == 0);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"three in line",
         3,
         {takes_two, takes_one_and_two, takes_two},
         reset,
         line_is_empty,
         2,
         false},
        {"one gives up",
         3,
         {takes_two, takes_two_or_gives_up, takes_two},
         reset,
         line_is_empty,
         2,
         false},
        {"two give up",
         3,
         {takes_two, takes_two_or_gives_up, takes_two_or_gives_up},
         reset,
         line_is_empty,
         2,
         false},
        {"another rate",
         3,
         {takes_two, takes_one_and_two, changes_the_rate},
         reset,
         line_is_empty,
         2,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "whoever stops waiting takes the lock, or waits for the wake"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
