/* One task for each URL, all at once: the status of each, and the time that all took.
 *
 *     http_client URL... */
#include <filch/filch.h>
#include <filch/http_client.h>

#include <stdio.h>

struct job {
    filch_http_client *client;
    const char *url;
};

static int fetch(void *arg)
{
    struct job *job = arg;
    filch_http_response *response;
    filch_error error;
    int r =
        filch_http_get(job->client, job->url, &response, &error, filch_after(10 * FILCH_SECOND));

    if (r < 0) {
        printf("%s\n", error.text);
        return r;
    }
    printf("%s: %d\n", job->url, filch_http_response_status(response));
    filch_http_response_free(response);
    return 0;
}

static int http_client_main(void *arg)
{
    char **urls = arg;
    struct job job;
    filch_time began = filch_now();
    int r = filch_http_client_new(NULL, &job.client);

    if (r < 0)
        return r;
    {
        FILCH_SCOPE(fetches);
        for (; *urls && r == 0; urls++) {
            job.url = *urls;
            r = filch_scope_spawn_opts(&fetches, fetch, &job,
                                       &(filch_task_opts){.copy_bytes = sizeof(job)});
        }
        if (r == 0)
            r = filch_scope_join(&fetches, FILCH_NEVER);
    }
    filch_http_client_close(job.client);
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
