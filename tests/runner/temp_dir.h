/* A directory of a test's own. */
#ifndef FILCH_TESTS_RUNNER_TEMP_DIR_H
#define FILCH_TESTS_RUNNER_TEMP_DIR_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/runner/check.h"

struct temp_dir {
    char path[64];
};

static inline void temp_dir_make(struct temp_dir *dir)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir->path, sizeof dir->path, "%s/filch-test-XXXXXX", base && *base ? base : "/tmp");
    T_CHECK(mkdtemp(dir->path) != NULL);
}

/* A path in it; of a ring of a few buffers of the thread's. Not inline: a caller that goes on in
 * another thread must look anew where that one's are. */
__attribute__((noinline, unused)) static const char *in_dir(const struct temp_dir *dir,
                                                            const char *name)
{
    static __thread char path[8][256];
    static __thread unsigned next;
    char *to = path[next++ % 8];

    snprintf(to, sizeof path[0], "%s/%s", dir->path, name);
    return to;
}

static inline void temp_dir_remove(const struct temp_dir *dir)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", dir->path);
    T_IS(system(command), 0);
}

#endif
