/* Description: what each public function of the HTTP client says to wrong calls; see test_misuse.c.
 */
#include <errno.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_http_client, .timeout = 120);

static void wrong_everywhere(void)
{
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;
    filch_error error;
    const char *name;
    size_t bytes = 1;
    char byte;

    ROW(filch_http_client_new(NULL, NULL), -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.http1 = true, .http2 = true}, &client),
        -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.no_retries = true, .retries = 1}, &client),
        -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.cert_file = "a"}, &client), -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.stall_ns = 1}, &client), -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.tls_min = 11}, &client), -EINVAL);
    ROW(filch_http_client_new(&(filch_http_client_opts){.tls_min = 14}, &client), -EINVAL);
    ROW_VOID(filch_http_client_close(NULL));
    ROW(filch_http_get(NULL, "http://x/", &response, &error, FILCH_NOW), -EINVAL);
    ROW(error.code, -EINVAL);
    ROW(filch_http_post(NULL, "http://x/", NULL, "a", 1, &response, &error, FILCH_NOW), -EINVAL);
    ROW(error.code, -EINVAL);
    ROW(filch_http_request_new(NULL, "GET", "http://x/", &request), -EINVAL);
    ROW_VOID(filch_http_request_free(NULL));
    ROW(filch_http_request_set(NULL, "a", "b"), -EINVAL);
    ROW(filch_http_request_set_trailer(NULL, "a", "b"), -EINVAL);
    ROW(filch_http_request_body(NULL, "a", 1), -EINVAL);
    ROW(filch_http_request_reader(NULL, (filch_reader){0}, 0), -EINVAL);
    ROW(filch_http_send(NULL, &response, NULL, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_http_response_free(NULL));
    ROW(filch_http_response_status(NULL), 0);
    ROW(filch_http_response_version(NULL), 0);
    ROW(*filch_http_response_url(NULL), 0);
    ROW(filch_http_response_header(NULL, "a") != NULL, false);
    ROW(filch_http_response_header_at(NULL, 0, &name, &name), -EINVAL);
    ROW(filch_http_response_trailer(NULL, "a") != NULL, false);
    ROW(filch_http_response_trailer_at(NULL, 0, &name, &name), -EINVAL);
    ROW(filch_http_request_progress(NULL, NULL, NULL), -EINVAL);
    ROW(filch_http_response_progress(NULL, NULL, NULL), -EINVAL);
    ROW(filch_http_response_read(NULL, &byte, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_response_read_all(NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(*filch_http_response_body(NULL, &bytes), 0);
    ROW(bytes, 0);
    ROW(filch_http_response_reader(NULL).read(NULL, &byte, 1, FILCH_NOW), -EINVAL);
}

static int wrong_in_task(void *arg)
{
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;
    filch_reader reader = {0};

    (void)arg;
    wrong_everywhere();
    T_OK(filch_http_client_new(NULL, &client));
    ROW(filch_http_get(client, NULL, &response, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_get(client, "http://x/", NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_post(client, NULL, NULL, "a", 1, &response, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_post(client, "http://x/", NULL, "a", 1, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_post(client, "http://x/", NULL, NULL, 1, &response, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_post(client, "http://x/", "a\r\nb: c", "a", 1, &response, NULL, FILCH_NOW),
        -EINVAL);
    ROW(filch_http_request_new(client, NULL, "http://x/", &request), -EINVAL);
    ROW(filch_http_request_new(client, "", "http://x/", &request), -EINVAL);
    ROW(filch_http_request_new(client, "GET / HTTP/1.1\r\nA:", "http://x/", &request), -EINVAL);
    ROW(filch_http_request_new(client, "GET", NULL, &request), -EINVAL);
    ROW(filch_http_request_new(client, "GET", "http://x/", NULL), -EINVAL);
    T_OK(filch_http_request_new(client, "PUT", "http://127.0.0.1:1/\r\nA: b", &request));
    ROW(filch_http_request_set(request, NULL, "b"), -EINVAL);
    ROW(filch_http_request_set(request, "a", NULL), -EINVAL);
    ROW(filch_http_request_set(request, "a:", "b"), -EINVAL);
    ROW(filch_http_request_set(request, "a", "b\r\nc: d"), -EINVAL);
    ROW(filch_http_request_set(request, "content-length", "1"), -EINVAL);
    ROW(filch_http_request_set(request, "Transfer-Encoding", "chunked"), -EINVAL);
    ROW(filch_http_request_set_trailer(request, NULL, "b"), -EINVAL);
    ROW(filch_http_request_set_trailer(request, "a", NULL), -EINVAL);
    ROW(filch_http_request_set_trailer(request, "a:", "b"), -EINVAL);
    ROW(filch_http_request_set_trailer(request, "a", "b\r\nc: d"), -EINVAL);
    ROW(filch_http_request_set_trailer(request, "content-length", "1"), -EINVAL);
    ROW(filch_http_request_set_trailer(request, "a", "b"), -EPROTO);
    ROW(filch_http_request_body(request, NULL, 1), -EINVAL);
    ROW(filch_http_request_reader(request, reader, 1), -EINVAL);
    ROW(filch_http_request_body(request, "a", 1), 0);
    ROW(filch_http_request_body(request, "a", 1), -EINVAL);
    ROW(filch_http_send(request, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_http_send(request, &response, NULL, T_LIMIT), -EINVAL); /* the URL */
    filch_http_request_free(request);
    filch_http_client_close(client);
    return 0;
}

Test(misuse_http_client, wrong_calls_of_a_task)
{
    T_OK(run_in_runtime(0, wrong_in_task, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_http_client, wrong_calls_of_a_plain_thread)
{
    filch_http_client *client;

    wrong_everywhere();
    ROW(filch_http_client_new(NULL, &client), -EPERM);
    cr_assert_eq(misuse_wrong, 0);
}
