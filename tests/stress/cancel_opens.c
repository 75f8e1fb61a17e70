/* See stress_cancel.c: opens of files, and files that are replaced as a whole. Whatever is
 * cancelled, what was opened is closed, a file holds what the last call that succeeded has written,
 * and nothing else is left in the directory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/cancel.h"

enum { OPENERS = 3, FILE_BYTES = 10000 };

struct opener {
    struct attempt attempt; /* first */
    char path[256];
    filch_file *file;
    unsigned char version;
    unsigned char data[FILE_BYTES];
};

static long open_once(struct attempt *attempt)
{
    struct opener *opener = (struct opener *)attempt;

    return filch_file_open(opener->path, roll(&attempt->dice, 2) ? O_RDONLY : O_RDWR | O_CREAT,
                           0600, &opener->file, attempt->until);
}

static long replace_once(struct attempt *attempt)
{
    struct opener *opener = (struct opener *)attempt;

    return filch_write_file(opener->path, opener->data, FILE_BYTES, 0600, attempt->until);
}

static void check_content(struct opener *opener)
{
    unsigned char back[FILE_BYTES];

    T_IS(filch_file_pread(opener->file, back, FILE_BYTES, 0, T_LIMIT), FILE_BYTES);
    for (unsigned i = 0; i < FILE_BYTES; i++)
        T_IS(back[i], opener->version);
}

static void replace(struct opener *opener)
{
    unsigned char next = opener->version + 1;
    long r;

    memset(opener->data, next, FILE_BYTES);
    opener->attempt.what = REPLACE;
    r = attempted(&opener->attempt, replace_once);
    opener->attempt.what = OPEN;
    if (r == 0)
        opener->version = next;
    else
        T_CHECK(is_given_up(r));
}

static int open_and_replace(void *arg)
{
    struct opener *opener = arg;

    attempt_init(&opener->attempt, OPEN);
    T_OK(filch_write_file(opener->path, opener->data, FILE_BYTES, 0600, T_LIMIT));
    while (!is_over()) {
        long r;

        if (roll(&opener->attempt.dice, 64) == 0) {
            replace(opener);
            continue;
        }
        r = attempted(&opener->attempt, open_once);
        if (r == 0) {
            check_content(opener);
            T_OK(filch_file_close(opener->file));
        } else {
            T_CHECK(is_given_up(r));
        }
    }
    return 0;
}

int opens_part(void *arg)
{
    struct opener *openers = calloc(OPENERS, sizeof *openers);
    char dir[128];
    FILCH_SCOPE(scope);

    (void)arg;
    T_CHECK(openers);
    snprintf(dir, sizeof dir, "%s/files", world.dir.path);
    T_OK(mkdir(dir, 0700));
    for (int i = 0; i < OPENERS; i++) {
        snprintf(openers[i].path, sizeof openers[i].path, "%s/%d", dir, i);
        T_OK(filch_scope_spawn(&scope, open_and_replace, &openers[i]));
    }
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (int i = 0; i < OPENERS; i++)
        T_OK(unlink(openers[i].path));
    T_OK(rmdir(dir)); /* it is empty */
    free(openers);
    return 0;
}
