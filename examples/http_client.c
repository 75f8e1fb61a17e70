/* One task for each URL, all at once: the status of each, and the time that all took.
 *
 *     http_client URL... */
#include <filch/filch.h>
#include <filch/http_client.h>

#include <stdio.h>

struct fetch {
    filch_http_client *client;
    const char *url;
};

static int fetch(void *arg)
{
    struct fetch *f = arg; /* this task's copy */
    filch_http_response *response = NULL;
    filch_error error;
    int r = filch_http_get(f->client, f->url, &response, &error, filch_after(10 * FILCH_SECOND));

    if (r == 0)
        printf("%s: %d\n", f->url, filch_http_response_status(response));
    else
        printf("%s\n", error.text);
    filch_http_response_free(response);
    return r;
}

static int fetch_all(filch_http_client *client, char **urls)
{
    const filch_task_opts by_copy = {.name = "fetch", .copy_bytes = sizeof(struct fetch)};
    int r = 0;

    FILCH_SCOPE(fetches);
    for (; *urls && r == 0; urls++)
        r = filch_scope_spawn_opts(&fetches, fetch, &(struct fetch){client, *urls}, &by_copy);
    return r == 0 ? filch_scope_join(&fetches, FILCH_NEVER) : r;
}

static int http_client_main(void *arg)
{
    filch_time began = filch_now();
    filch_http_client *client = NULL;
    int r = filch_http_client_new(NULL, &client);

    if (r == 0)
        r = fetch_all(client, arg);
    filch_http_client_close(client);
    printf("total: %.3f s\n", (double)(filch_now() - began) / (double)FILCH_SECOND);
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s URL...\n", argv[0]);
        return 2;
    }
    return filch_main(http_client_main, argv + 1, NULL) < 0;
}
