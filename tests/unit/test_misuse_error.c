/* Description: what errors in words say to wrong calls; see test_misuse.c. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_error, .timeout = 60);

Test(misuse_error, wrong_calls_pass_the_code)
{
    filch_error error = FILCH_ERROR_INIT;

    ROW(filch_error_set(NULL, -EIO, "x"), -EIO);
    ROW(filch_error_set(&error, 7, "x"), 7);
    ROW(filch_error_set(&error, INT_MIN, NULL), INT_MIN);
    ROW(strcmp(filch_error_text(&error), "unknown error"), 0);
    ROW(filch_error_set_detail(NULL, -EIO, FILCH_ERROR_DNS, 1, "x"), -EIO);
    ROW(filch_error_set_detail(&error, -EIO, FILCH_ERROR_DNS, INT_MIN, NULL), -EIO);
    ROW(filch_error_note(NULL, -EIO, "x"), -EIO);
    ROW(filch_error_note(&error, -EIO, NULL), -EIO);
    ROW(filch_error_note(&error, 0, NULL), 0);
    ROW_VOID(filch_error_clear(NULL));
    ROW(strcmp(filch_error_text(NULL), "no error"), 0);
    cr_assert_eq(misuse_wrong, 0);
}
