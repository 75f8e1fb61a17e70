/* Description: what a request costs the HTTP client.
 *
 *     bench_http_client URL REQUESTS TASKS [--workers N]
 *
 * TASKS tasks share one client and fetch URL REQUESTS times altogether. The harness measures the
 * time and the CPU time of the whole process, as it does for the peers. Prints how many answers had
 * status 200. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <filch/filch.h>
#include <filch/http_client.h>

static filch_http_client *client;
static const char *url;
static atomic_long left, good;

static int fetch_some(void *arg)
{
    (void)arg;
    while (atomic_fetch_sub(&left, 1) > 0) {
        filch_error error = FILCH_ERROR_INIT;
        filch_http_response *response;
        int r = filch_http_get(client, url, &response, &error, FILCH_NEVER);

        if (r < 0) {
            fprintf(stderr, "%s\n", error.text);
            return r;
        }
        if (filch_http_response_status(response) == 200)
            atomic_fetch_add(&good, 1);
        filch_http_response_free(response);
    }
    return 0;
}

static int fetch_all(void *arg)
{
    long tasks = *(long *)arg;
    const filch_http_client_opts opts = {.host_connections_max = (unsigned)tasks};
    int r = filch_http_client_new(&opts, &client);

    if (r < 0)
        return r;
    {
        FILCH_TRY_SCOPE(fetches);
        while (r == 0 && tasks--)
            r = filch_scope_spawn(&fetches, fetch_some, NULL);
        if (r == 0)
            r = filch_scope_join(&fetches, FILCH_NEVER);
    }
    filch_http_client_close(client);
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {0};
    long tasks;
    int r;

    if (argc != 4 && !(argc == 6 && strcmp(argv[4], "--workers") == 0)) {
        fprintf(stderr, "usage: %s URL REQUESTS TASKS [--workers N]\n", argv[0]);
        return 2;
    }
    url = argv[1];
    atomic_store(&left, strtol(argv[2], NULL, 10));
    tasks = strtol(argv[3], NULL, 10);
    if (argc == 6)
        opts.workers = (unsigned)strtoul(argv[5], NULL, 10);
    r = filch_main(fetch_all, &tasks, &opts);
    if (r < 0) {
        fprintf(stderr, "bench_http_client: %s\n", filch_strerror(r));
        return 1;
    }
    printf("answers=%ld\n", atomic_load(&good));
    return 0;
}
