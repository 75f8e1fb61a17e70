/* Description: the HTTP client where its owner takes bytes between two pieces that libcurl hands
 * over in one call: libcurl was told to pause at the first, and there is room again at the second.
 * The transfer goes on nevertheless, by both versions. Here libcurl's pause is the owner: so it is
 * there each time, and not once in a thousand runs. */
#include <errno.h>

#include <criterion/criterion.h>
#include <curl/curl.h>

#include <filch/http_client.h>

#include "tests/runner/http_site.h"

TestSuite(http_client_pause, .timeout = 120);

#define BODY_BYTES ((size_t)4 << 20)
/* More than the half of a buffer, below which the owner asks to go on. */
#define LEFT_BYTES ((int64_t)33000)

static struct {
    filch_http_response *response;
    size_t taken;
    unsigned between; /* how often */
} owner;

/* Takes what is there, but for LEFT_BYTES. */
static void take_some(void)
{
    static char buf[1 << 17];
    int64_t came = 0, there;
    ssize_t n;

    T_OK(filch_http_response_progress(owner.response, &came, NULL));
    there = came - (int64_t)owner.taken;
    if (there <= LEFT_BYTES)
        return;
    n = filch_http_response_read(owner.response, buf, (size_t)(there - LEFT_BYTES), NULL,
                                 FILCH_NOW);
    T_IS(n, there - LEFT_BYTES);
    owner.taken += (size_t)n;
    owner.between++;
}

CURLcode __real_curl_easy_pause(CURL *easy, int action);
CURLcode __wrap_curl_easy_pause(CURL *easy, int action);

CURLcode __wrap_curl_easy_pause(CURL *easy, int action)
{
    CURLcode code = __real_curl_easy_pause(easy, action);

    if (action == CURLPAUSE_ALL && owner.response)
        take_some();
    return code;
}

static int answer(filch_exchange *x, void *context)
{
    return filch_exchange_reply(x, 200, NULL, context, BODY_BYTES, FILCH_NEVER);
}

static void get(const char *url, bool http2)
{
    const filch_http_client_opts opts = {.http1 = !http2, .http2 = http2, .proxy = ""};
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;
    char buf[4000];
    ssize_t n;

    T_OK(filch_http_client_new(&opts, &client));
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    owner = (typeof(owner)){.response = response};
    while ((n = filch_http_response_read(response, buf, sizeof(buf), NULL, T_LIMIT)) > 0)
        owner.taken += (size_t)n;
    T_OK(n);
    T_IS(owner.taken, BODY_BYTES);
    T_CHECK(owner.between > 0);
    owner.response = NULL;
    filch_http_response_free(response);
    filch_http_request_free(request);
    filch_http_client_close(client);
}

static int both_versions(void *arg)
{
    char *body = calloc(1, BODY_BYTES);
    struct http_site site;
    char url[128];

    (void)arg;
    T_CHECK(body != NULL);
    http_site_new(&site, NULL);
    T_OK(filch_http_route(site.server, "GET", "/", answer, body));
    http_site_open(&site);
    snprintf(url, sizeof(url), "http://%s/", site.addr);
    get(url, false);
    get(url, true);
    http_site_close(&site);
    free(body);
    return 0;
}

/* One worker: while libcurl's task runs, its owner's does not. */
Test(http_client_pause, room_between_two_pieces_is_no_standstill)
{
    T_OK(run_in_runtime(1, both_versions, NULL));
}
