/* Two URLs at once: both bodies, or the first error, which cancels the other.
 *
 *     try_join_fetch URL URL */
#include <filch/filch.h>
#include <filch/http_client.h>

#include <stdio.h>

struct fetch {
    filch_http_client *client;
    const char *url;
    filch_http_response *response;
    filch_error error;
};

static int fetch(void *arg)
{
    struct fetch *f = arg;

    return filch_http_get(f->client, f->url, &f->response, &f->error,
                          filch_after(10 * FILCH_SECOND));
}

static int fetch_both(struct fetch *a, struct fetch *b)
{
    int r = FILCH_TRY_JOIN({fetch, a}, {fetch, b});

    if (r == 0)
        printf("%s%s", filch_http_response_body(a->response, NULL),
               filch_http_response_body(b->response, NULL));
    else
        printf("%s\n", a->error.code == r ? a->error.text : b->error.text);
    filch_http_response_free(a->response);
    filch_http_response_free(b->response);
    return r;
}

static int try_join_fetch_main(void *arg)
{
    char **urls = arg;
    filch_http_client *client;
    int r = filch_http_client_new(NULL, &client);

    if (r < 0)
        return r;
    r = fetch_both(&(struct fetch){.client = client, .url = urls[0]},
                   &(struct fetch){.client = client, .url = urls[1]});
    filch_http_client_close(client);
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s URL URL\n", argv[0]);
        return 2;
    }
    return filch_main(try_join_fetch_main, argv + 1, NULL) < 0;
}
