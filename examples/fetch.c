/* A URL's body, or what went wrong: matched, and printed.
 *
 *     fetch URL
 *
 * An error comes up with what failed, where and why; each caller that knows more puts it in front,
 * and main says it once. */
#include <filch/filch.h>
#include <filch/http_client.h>

#include <errno.h>
#include <stdio.h>

static int print_body(filch_http_client *client, const char *url, filch_error *error)
{
    filch_http_response *response;
    int r = 0;

    FILCH_TRY(error, filch_http_get(client, url, &response, error, filch_after(10 * FILCH_SECOND)),
              "fetch");
    if (filch_http_response_status(response) == 200)
        printf("%s", filch_http_response_body(response, NULL));
    else
        r = filch_error_set(error, -ENOENT, "the server says %d",
                            filch_http_response_status(response));
    filch_http_response_free(response);
    return r;
}

static int fetch(const char *url, filch_error *error)
{
    filch_http_client *client;
    int r;

    FILCH_TRY(error, filch_http_client_new(NULL, &client), "make a client");
    r = print_body(client, url, error);
    filch_http_client_close(client);
    return r;
}

static int fetch_main(void *arg)
{
    filch_error error = FILCH_ERROR_INIT;
    int r = fetch(arg, &error);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL\n", argv[0]);
        return 2;
    }
    return filch_main(fetch_main, argv[1], NULL) < 0;
}
