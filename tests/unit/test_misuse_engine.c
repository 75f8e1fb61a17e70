/* Description: what is said to wrong questions about the engine; see test_misuse.c. */
#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_engine, .timeout = 60);

static int rows(void *arg)
{
    const char *reason = "untouched";

    (void)arg;
    ROW(filch_engine(NULL, NULL) == NULL, true);
    ROW(filch_engine(NULL, &reason) == NULL, true);
    ROW(strcmp(reason, "untouched"), 0);
    return 0;
}

Test(misuse_engine, everywhere)
{
    T_OK(rows(NULL));
    T_OK(run_in_runtime(0, rows, NULL));
    cr_assert_eq(misuse_wrong, 0);
}
