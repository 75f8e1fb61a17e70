/* Description: what TLS says to wrong calls; see test_misuse.c. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include <filch/tls.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_tls, .timeout = 60);

Test(misuse_tls, wrong_calls_are_refused)
{
    filch_tls_context *client = NULL;
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls;
    filch_tls_info info;
    filch_tls_peer peer;
    char byte = 0;

    ROW(filch_tls_client_new(NULL, NULL, &error), -EINVAL);
    ROW(filch_tls_server_new(NULL, NULL, NULL), -EINVAL);
    ROW(filch_tls_server_new(NULL, &client, &error), -EINVAL);
    ROW(filch_tls_client_new(&(filch_tls_opts){.cert_file = "x"}, &client, &error), -EINVAL);
    ROW(filch_tls_client_new(&(filch_tls_opts){.ca_file = "/nowhere"}, &client, &error), -ENOENT);
    ROW(strstr(error.text, "/nowhere") != NULL, true);
    ROW(filch_tls_client_new(&(filch_tls_opts){.version_min = 9}, &client, &error), -EINVAL);
    ROW(filch_tls_client_new(&(filch_tls_opts){.sessions = 17}, &client, &error), -EINVAL);
    ROW(filch_tls_client_new(NULL, &client, &error), 0);
    ROW(filch_tls_context_reload(NULL, NULL, &error), -EINVAL);
    ROW(filch_tls_context_reload(client, &(filch_tls_opts){.ca_file = "/nowhere"}, NULL), -ENOENT);
    ROW(filch_tls_context_ref(NULL) == NULL, true);
    ROW_VOID(filch_tls_context_unref(NULL));
    ROW(filch_tls_connect(NULL, filch_tls_io(NULL), "x", &tls, &error, FILCH_NOW), -EINVAL);
    ROW(filch_tls_connect(client, (filch_io){0}, "x", &tls, &error, FILCH_NOW), -EINVAL);
    ROW(filch_tls_connect(client, filch_tls_io(NULL), NULL, &tls, &error, FILCH_NOW), -EINVAL);
    ROW(filch_tls_connect(client, filch_tls_io(NULL), "", &tls, &error, FILCH_NOW), -EINVAL);
    ROW(filch_tls_accept(client, filch_tls_io(NULL), &tls, &error, FILCH_NOW), -EINVAL);
    ROW(filch_tls_read(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tls_read_exact(NULL, &byte, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tls_write(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tls_write_all(NULL, &byte, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tls_finish(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tls_failure(NULL, &error), -EINVAL);
    ROW(filch_tls_get_info(NULL, &info), -EINVAL);
    ROW(filch_tls_get_peer(NULL, &peer), -EINVAL);
    ROW(filch_tls_reader(NULL).read(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tls_writer(NULL).write(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_task_stack_left() == SIZE_MAX, true);
    ROW_VOID(filch_tls_free(NULL));
    filch_tls_context_unref(client);
    cr_assert_eq(misuse_wrong, 0);
}
