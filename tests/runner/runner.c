/* A small test runner in libcriterion's place, so that the same test objects also run under
 * sanitizers, Valgrind and in soaks: link them with this file instead of -lcriterion.
 *
 * Why: Criterion does not look at the exit code of a test that has passed, so what LeakSanitizer
 * (1), ThreadSanitizer (66) or Valgrind found when the process ended goes unnoticed; and its
 * sandbox does not start under ThreadSanitizer. Here each test is one fork without further threads,
 * and the child's end decides.
 *
 *     runner [SUBSTRING]       run the tests whose suite/name contains SUBSTRING
 *     REPEAT=n                 run all of them n times
 *     NOFORK=1                 in this process, for a debugger; stops at the first crash
 *     FILCH_TEST_TIMEOUT=s     instead of each test's own limit (of which sanitizers have four
 * times as much, and Valgrind ten times)
 *
 * It knows what the classic macros use: Test and TestSuite with init, fini, signal, exit_code,
 * disabled and timeout; cr_assert*, cr_expect*, cr_skip_test, cr_log_*. Not parameterised tests,
 * theories, redirection, or the criterion/new headers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/logging.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/check.h"

#define DEFAULT_TIMEOUT_S 60
#define EXIT_SKIPPED 77
#ifdef T_SANITIZED
#define SLOWER 4
#else
#define SLOWER 1
#endif

enum outcome { PASSED, FAILED, SKIPPED };

/* The linker collects the tests; a program without suites has no second section. */
extern struct criterion_test *__start_cr_tst[];
extern struct criterion_test *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

/* The test that runs. Only its own thread may leave it by a jump. */
static struct criterion_test *current_test;
static struct criterion_suite *current_suite;
static pthread_t test_thread;
static jmp_buf test_end;
static bool test_failed;
static bool test_skipped;

/* What the macros of Criterion call. */

int cr_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    int r;

    va_start(args, format);
    r = vasprintf(ret_text, format, args);
    va_end(args);
    return r;
}

void cr_asprintf_free(char *text)
{
    free(text);
}

char *cr_translate_assert_msg(int message, ...)
{
    const char *expression;
    char *text;
    va_list args;

    va_start(args, message);
    expression = message == CRITERION_ASSERT_MSG_FAIL ? "" : va_arg(args, const char *);
    va_end(args);
    return cr_asprintf(&text, "does not hold: %s", expression) < 0 ? NULL : text;
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed)
        fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line, stats->message);
}

void cri_asserts_passed_incr(void)
{
}

void cr_log(enum criterion_severity severity, const char *format, ...)
{
    va_list args;

    (void)severity;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static _Noreturn void leave_test(void)
{
    if (!pthread_equal(pthread_self(), test_thread)) {
        fprintf(stderr, "an assertion failed outside of the test's thread: use T_CHECK there\n");
        abort();
    }
    longjmp(test_end, 1);
}

void criterion_continue_test(void)
{
    test_failed = true;
}

void criterion_abort_test(void)
{
    test_failed = true;
    leave_test();
}

void criterion_test_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    criterion_abort_test();
}

void criterion_skip_test(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s/%s skipped: ", current_test->category, current_test->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    test_skipped = true;
    leave_test();
}

void criterion_internal_test_setup(void)
{
    if (setjmp(test_end))
        return;
    if (current_suite && current_suite->data->init)
        current_suite->data->init();
    if (current_test->data->init)
        current_test->data->init();
}

void criterion_internal_test_main(void (*body)(void))
{
    /* A set-up that failed or skipped has decided already. */
    if (!test_failed && !test_skipped && !setjmp(test_end))
        body();
}

void criterion_internal_test_teardown(void)
{
    if (setjmp(test_end))
        return;
    if (current_test->data->fini)
        current_test->data->fini();
    if (current_suite && current_suite->data->fini)
        current_suite->data->fini();
}

/* Running. */

static struct criterion_suite *suite_of(const struct criterion_test *test)
{
    struct criterion_suite **suite;

    for (suite = __start_cr_sts; suite && suite < __stop_cr_sts; suite++) {
        if (*suite && strcmp((*suite)->name, test->category) == 0)
            return *suite;
    }
    return NULL;
}

static unsigned timeout_of(const struct criterion_test *test)
{
    const char *override = getenv("FILCH_TEST_TIMEOUT");
    double seconds = test->data->timeout;

    if (override)
        return (unsigned)strtoul(override, NULL, 10);
    if (seconds <= 0 && current_suite)
        seconds = current_suite->data->timeout;
    if (seconds <= 0)
        seconds = DEFAULT_TIMEOUT_S;
    return (unsigned)((RUNNING_ON_VALGRIND || getenv("FILCH_TEST_SLOW") ? 10 : SLOWER) * seconds +
                      0.999);
}

static enum outcome run_here(struct criterion_test *test)
{
    test_thread = pthread_self();
    test_failed = false;
    test_skipped = false;
    alarm(timeout_of(test));
    test->test();
    alarm(0);
    if (test_failed)
        return FAILED;
    return test_skipped ? SKIPPED : PASSED;
}

static enum outcome judge(const struct criterion_test *test, int status)
{
    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) == test->data->signal)
            return PASSED;
        if (WTERMSIG(status) == SIGALRM)
            printf("  timed out after %u s\n", timeout_of(test));
        else
            printf("  killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return FAILED;
    }
    if (WEXITSTATUS(status) == EXIT_SKIPPED)
        return SKIPPED;
    if (test->data->signal == 0 && WEXITSTATUS(status) == test->data->exit_code)
        return PASSED;
    printf("  exit code %d\n", WEXITSTATUS(status));
    return FAILED;
}

static enum outcome run_forked(struct criterion_test *test)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        return FAILED;
    }
    if (pid == 0) {
        enum outcome outcome = run_here(test);

        /* exit(), so that the leak checkers have their say. */
        exit(outcome == PASSED ? 0 : outcome == SKIPPED ? EXIT_SKIPPED : 1);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    return judge(test, status);
}

static enum outcome run_one(struct criterion_test *test)
{
    static const char *const words[] = {"ok  ", "FAIL", "skip"};
    enum outcome outcome;

    current_test = test;
    current_suite = suite_of(test);
    if (test->data->disabled || (current_suite && current_suite->data->disabled))
        outcome = SKIPPED;
    else if (getenv("NOFORK"))
        outcome = run_here(test);
    else
        outcome = run_forked(test);
    printf("%s %s/%s\n", words[outcome], test->category, test->name);
    return outcome;
}

int main(int argc, char **argv)
{
    const char *filter = argc > 1 ? argv[1] : "";
    const char *repeat = getenv("REPEAT");
    long rounds = repeat ? strtol(repeat, NULL, 10) : 1;
    unsigned count[3] = {0, 0, 0};
    struct criterion_test **test;
    char name[512];

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (long round = 0; round < rounds; round++) {
        for (test = __start_cr_tst; test < __stop_cr_tst; test++) {
            if (!*test)
                continue;
            snprintf(name, sizeof(name), "%s/%s", (*test)->category, (*test)->name);
            if (strstr(name, filter))
                count[run_one(*test)]++;
        }
    }
    printf("%u passed, %u failed, %u skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return count[FAILED] != 0;
}
