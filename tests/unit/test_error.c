/* Description: what <filch/error.h> promises: one line that says what, where and why, whatever
 * called functions know of errors, however long it gets, and no allocation. */
#include <errno.h>
#include <malloc.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(error, .timeout = 60);

static bool says(const filch_error *error, const char *text)
{
    if (strcmp(filch_error_text(error), text) == 0)
        return true;
    fprintf(stderr, "it says: %s\n", filch_error_text(error));
    return false;
}

/* Knows of -errno only. */
static ssize_t plain(ssize_t result)
{
    return result;
}

static int in_words(int code, filch_error *error)
{
    return filch_error_set_detail(error, code, FILCH_ERROR_HTTP, 503, "the server says %d", 503);
}

static int try_plain(int result, filch_error *error)
{
    ssize_t n = FILCH_TRY(error, plain(result), "read %s", "here");

    return (int)n + 1;
}

static int try_words(int code, filch_error *error)
{
    FILCH_TRY(error, in_words(code, error), "GET %s", "/");
    return 1;
}

Test(error, no_error_says_so)
{
    filch_error error = FILCH_ERROR_INIT, zeros = {0};

    T_CHECK(says(&error, "no error"));
    T_CHECK(says(&zeros, "no error"));
    T_CHECK(says(NULL, "no error"));
    T_IS(filch_error_set(&error, 0, "fine"), 0);
    T_IS(filch_error_note(&error, 3, "fine"), 3);
    T_IS(error.code, 0);
    T_CHECK(says(&error, "no error"));
}

Test(error, a_cause_is_in_the_functions_words_or_the_librarys)
{
    filch_error error = FILCH_ERROR_INIT;

    T_IS(filch_error_set(&error, -EPROTO, "odd byte %d", 7), -EPROTO);
    T_IS(error.code, -EPROTO);
    T_IS(error.domain, FILCH_ERROR_SYSTEM);
    T_CHECK(says(&error, "odd byte 7"));
    T_IS(filch_error_set(&error, -EBADF, NULL), -EBADF);
    T_CHECK(says(&error, filch_strerror(-EBADF)));
    T_IS(in_words(-EPROTO, &error), -EPROTO);
    T_IS(error.domain, FILCH_ERROR_HTTP);
    T_IS(error.detail, 503);
    filch_error_clear(&error);
    T_CHECK(says(&error, "no error"));
}

Test(error, a_cause_may_be_made_of_the_old_text)
{
    filch_error error = FILCH_ERROR_INIT;

    filch_error_set(&error, -EIO, "first");
    filch_error_set(&error, -EIO, "second after %s", error.text);
    T_CHECK(says(&error, "second after first"));
    filch_error_note(&error, -EIO, "%s", error.text);
    T_CHECK(says(&error, "second after first: second after first"));
}

Test(error, contexts_stand_in_front_the_outermost_first)
{
    filch_error error = FILCH_ERROR_INIT;

    T_IS(FILCH_NOTE(&error, try_words(-EPROTO, &error), "fetch %d of %d", 1, 2), -EPROTO);
    T_CHECK(says(&error, "fetch 1 of 2: GET /: the server says 503"));
    T_IS(error.detail, 503);
    T_IS(FILCH_NOTE(&error, try_plain(-ECONNREFUSED, &error), "fetch"), -ECONNREFUSED);
    T_CHECK(says(&error, "fetch: read here: Connection refused"));
    T_IS(error.domain, FILCH_ERROR_SYSTEM);
    T_IS(error.detail, 0);
    T_IS(filch_error_note(&error, -ECONNREFUSED, NULL), -ECONNREFUSED);
    T_IS(filch_error_note(&error, -ECONNREFUSED, "%s", ""), -ECONNREFUSED);
    T_CHECK(says(&error, ": fetch: read here: Connection refused"));
}

Test(error, success_passes_the_count_and_clears_an_old_error)
{
    filch_error error = FILCH_ERROR_INIT;

    filch_error_set(&error, -EIO, "old");
    T_IS(try_plain(41, &error), 42);
    T_IS(error.code, 0);
    T_CHECK(says(&error, "no error"));
}

/* Also if the code is the same. */
Test(error, an_old_cause_is_not_taken_for_a_new_one)
{
    filch_error error = FILCH_ERROR_INIT;

    T_IS(try_words(-EIO, &error), -EIO);
    T_IS(try_plain(-EIO, &error), -EIO);
    T_CHECK(says(&error, "read here: Input/output error"));
    filch_error_set(&error, -EIO, "old");
    filch_error_note(&error, -EPIPE, "write"); /* by hand: another code, another error */
    T_CHECK(strncmp(error.text, "write: ", 7) == 0 && !strstr(error.text, "old"));
}

Test(error, without_a_value_the_code_passes)
{
    T_IS(try_words(-EPROTO, NULL), -EPROTO);
    T_IS(try_plain(-EIO, NULL), -EIO);
    T_IS(try_plain(1, NULL), 2);
}

Test(error, a_long_cause_is_cut_and_says_so)
{
    char longest[2 * FILCH_ERROR_TEXT_BYTES];
    filch_error error = FILCH_ERROR_INIT;

    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    filch_error_set(&error, -EIO, "%s", longest);
    T_IS(strlen(error.text), (FILCH_ERROR_TEXT_BYTES - 1) / 2);
    T_CHECK(strcmp(error.text + strlen(error.text) - 4, "x...") == 0);
    filch_error_note(&error, -EIO, "%s", longest);
    T_IS(strlen(error.text), FILCH_ERROR_TEXT_BYTES - 1);
    T_CHECK(strstr(error.text, "x...: x"));
}

/* At each depth: the newest context, then older ones as far as they fit, then dots, then the cause.
 */
Test(error, a_deep_chain_keeps_its_ends)
{
    for (unsigned bytes = 1; bytes < 70; bytes++) {
        filch_error error = FILCH_ERROR_INIT;
        char front[100];
        bool cut = false;

        filch_error_set(&error, -EIO, "the cause");
        for (int depth = 0; depth < 300; depth++) {
            filch_error_note(&error, -EIO, "%0*d", (int)bytes, depth);
            snprintf(front, sizeof front, "%0*d: ", (int)bytes, depth);
            T_CHECK(strlen(error.text) < FILCH_ERROR_TEXT_BYTES);
            T_CHECK(strncmp(error.text, front, strlen(front)) == 0);
            T_CHECK(strcmp(error.text + error.cause_at, "the cause") == 0);
            cut = cut || strstr(error.text, "...");
            T_IS(cut, strstr(error.text, "...: the cause") != NULL);
        }
        T_CHECK(cut && strlen(error.text) == FILCH_ERROR_TEXT_BYTES - 1);
    }
}

Test(error, characters_are_not_cut_in_two)
{
    for (int shift = 0; shift < 4; shift++) {
        char text[2 * FILCH_ERROR_TEXT_BYTES] = "";
        filch_error error = FILCH_ERROR_INIT;

        for (int i = 0; i < 250; i++)
            strcat(text, i < shift ? "x" : "\xe2\x82\xac");
        filch_error_set(&error, -EIO, "%s", text);
        T_CHECK(strcmp(error.text + strlen(error.text) - 6, "\xe2\x82\xac...") == 0);
        filch_error_note(&error, -EIO, "%s", text);
        T_CHECK(strstr(error.text, "\xe2\x82\xac...: "));
    }
}

Test(error, a_text_is_one_line)
{
    filch_error error = FILCH_ERROR_INIT;

    filch_error_set(&error, -EIO, "CN=a\nb\x1b[31m\x7f");
    filch_error_note(&error, -EIO, "peer\r\n");
    T_CHECK(says(&error, "peer??: CN=a?b?[31m?"));
}

Test(error, nothing_is_allocated)
{
#ifndef T_SANITIZED /* whose mallinfo2() is empty */
    struct mallinfo2 before = mallinfo2();
    filch_error error = FILCH_ERROR_INIT;

    for (int i = 0; i < 100; i++)
        T_IS(FILCH_NOTE(&error, try_words(-ENOMEM, &error), "%d", i), -ENOMEM);
    T_IS(mallinfo2().uordblks, before.uordblks);
#endif
}

/* A value goes where its owner goes. */
static int fail_far_away(void *arg)
{
    filch_error *error = arg;

    filch_task_yield();
    return try_words(-EPROTO, error);
}

static int errors_of_many(void *arg)
{
    filch_error error[16] = {{0}};
    filch_task *task[16];

    (void)arg;
    for (int i = 0; i < 16; i++)
        task[i] = spawn(fail_far_away, &error[i]);
    for (int i = 0; i < 16; i++) {
        filch_error copy;

        T_IS(join(task[i]), -EPROTO);
        filch_error_note(&error[i], -EPROTO, "task %d", i);
        copy = error[i];
        T_CHECK(strstr(copy.text, ": GET /: the server says 503"));
    }
    return 0;
}

Test(error, values_go_from_task_to_task)
{
    T_OK(run_in_runtime(0, errors_of_many, NULL));
}
