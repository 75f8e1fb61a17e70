/* Two fetches at once; one fails, so the other is cancelled, and both have ended before we go on.
 */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

struct fetch {
    const char *name;
    filch_time takes_ns;
    int error; /* or 0 */
    int result;
};

/* Stands for a request to a server. */
static int fetch(void *arg)
{
    struct fetch *f = arg;

    f->result = filch_sleep(filch_after(f->takes_ns));
    if (f->result == 0)
        f->result = f->error;
    return f->result;
}

static int try_join_main(void *arg)
{
    struct fetch fast = {.name = "fast", .takes_ns = FILCH_MILLISECOND};
    struct fetch slow = {.name = "slow", .takes_ns = 2 * FILCH_MILLISECOND};
    struct fetch endless = {.name = "endless", .takes_ns = 3600 * FILCH_SECOND};
    struct fetch broken = {.name = "broken", .takes_ns = FILCH_MILLISECOND, .error = -ECONNREFUSED};
    int r;

    (void)arg;
    r = FILCH_TRY_JOIN({fetch, &fast}, {fetch, &slow});
    printf("both: %s\n", r == 0 ? "fetched" : filch_strerror(r));
    if (r < 0)
        return r;

    r = FILCH_TRY_JOIN({fetch, &endless}, {fetch, &broken});
    printf("both: %s\n", r == -ECONNREFUSED ? "refused" : filch_strerror(r));
    printf("%s: %s\n", broken.name, broken.result == -ECONNREFUSED ? "refused" : "?");
    printf("%s: %s\n", endless.name, endless.result == -ECANCELED ? "was cancelled" : "?");
    return r == -ECONNREFUSED ? 0 : r;
}

int main(void)
{
    return filch_main(try_join_main, NULL, NULL) < 0;
}
