/* Description: what the public functions between HTTP and TLS say to wrong calls; see
 * test_misuse.c. */
#include <errno.h>

#include <criterion/criterion.h>

#include <filch/http_tls.h>

#include "tests/runner/misuse.h"

TestSuite(misuse_https, .timeout = 120);

Test(misuse_https, wrong_calls_are_refused)
{
    filch_http_wrapped wrapped = {0};
    filch_http_wrap wrap;
    filch_tls_context *client = NULL;

    ROW(filch_http_serve_until_signal(NULL, NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_exchange_wrapped(NULL) == NULL, true);
    wrap = filch_http_over_tls(NULL);
    ROW(wrap.begin(wrap.context, NULL, &wrapped, FILCH_NOW), -EINVAL);
    ROW(filch_tls_client_new(&(filch_tls_opts){.no_verify = true}, &client, NULL), 0);
    wrap = filch_http_over_tls(client);
    ROW(wrap.begin(wrap.context, NULL, &wrapped, FILCH_NOW), -EINVAL);
    ROW(wrapped.state == NULL, true);
    filch_tls_context_unref(client);
    cr_assert_eq(misuse_wrong, 0);
}
