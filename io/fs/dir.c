/* Directories: their entries in batches, and walks. A batch is what one call of the kernel gives,
 * fetched by a blocking thread; entries that were not asked for yet stay in the buffer. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/fs/call.h"

#define BATCH_BYTES (32 << 10)
#define DEPTH_DEFAULT 64

struct filch_dir {
    int fd;
    size_t begin, end; /* of what is left in the buffer */
    _Alignas(struct dirent64) char buffer[BATCH_BYTES];
};

int filch_dir_open(const char *path, filch_dir **ret_dir, filch_time until)
{
    filch_dir *dir;
    bool waits;

    if (!path || !ret_dir)
        return -EINVAL;
    dir = malloc(sizeof *dir);
    if (!dir)
        return -ENOMEM;
    dir->begin = dir->end = 0;
    dir->fd = filch__file_open_fd(path, O_RDONLY | O_DIRECTORY, 0, &waits, until);
    if (dir->fd < 0) {
        int r = dir->fd;

        free(dir);
        return r;
    }
    *ret_dir = dir;
    return 0;
}

void filch_dir_close(filch_dir *dir)
{
    if (!dir)
        return;
    close(dir->fd);
    free(dir);
}

static int fetch(const struct filch__fs_call *c)
{
    return (int)getdents64(c->fd, c->out, BATCH_BYTES);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Takes from the buffer. Return: how many. */
static size_t take(filch_dir *dir, filch_dir_entry *entries, size_t max)
{
    size_t n = 0;

    while (n < max && dir->begin < dir->end) {
        const struct dirent64 *from = (const void *)(dir->buffer + dir->begin);

        dir->begin += from->d_reclen;
        if (is_dots(from->d_name))
            continue;
        entries[n].inode = from->d_ino;
        entries[n].type = filch__file_type(DTTOIF(from->d_type));
        snprintf(entries[n].name, sizeof entries[n].name, "%.255s", from->d_name);
        n++;
    }
    return n;
}

ssize_t filch_dir_read(filch_dir *dir, filch_dir_entry *entries, size_t max, filch_time until)
{
    struct filch__fs_call call = {.direct = fetch};
    size_t n;

    if (!dir || !entries || !max)
        return -EINVAL;
    call.fd = dir->fd;
    call.out = dir->buffer;
    while (!(n = take(dir, entries, max))) {
        int r = filch__fs_call(&call, until);

        if (r <= 0)
            return r;
        dir->begin = 0;
        dir->end = (size_t)r;
    }
    return (ssize_t)n;
}

/* ---- walks ---- */

#define BATCH 64

/* A directory that a walk is in. */
struct level {
    filch_dir *dir;
    size_t path_bytes;
    ssize_t count, next; /* of the entries */
    filch_dir_entry entries[BATCH];
    struct level *above;
};

struct walk {
    unsigned depth, depth_max;
    uint64_t left; /* entries that may be shown */
    int (*fn)(void *context, const char *path, const filch_dir_entry *entry);
    void *context;
    filch_time until;
    struct level *level;
    char path[PATH_MAX];
};

static int enter_dir(struct walk *w)
{
    struct level *level = malloc(sizeof *level);
    int r;

    if (!level)
        return -ENOMEM;
    r = filch_dir_open(w->path, &level->dir, w->until);
    if (r < 0) {
        free(level);
        return r;
    }
    level->path_bytes = strlen(w->path);
    level->count = level->next = 0;
    level->above = w->level;
    w->level = level;
    w->depth++;
    return 0;
}

static void leave_dir(struct walk *w)
{
    struct level *level = w->level;

    w->level = level->above;
    w->depth--;
    filch_dir_close(level->dir);
    free(level);
}

/* Is it a directory, on a file system that does not say so in its entries, too? */
static bool is_dir(struct walk *w, const filch_dir_entry *entry)
{
    filch_file_info info;

    if (entry->type != FILCH_FILE_UNKNOWN)
        return entry->type == FILCH_FILE_DIRECTORY;
    return filch_path_stat(w->path, false, &info, w->until) == 0 &&
           info.type == FILCH_FILE_DIRECTORY;
}

static int show(struct walk *w, const filch_dir_entry *entry)
{
    size_t at = w->level->path_bytes;
    int n = snprintf(w->path + at, sizeof w->path - at, "%s%s",
                     at && w->path[at - 1] == '/' ? "" : "/", entry->name);
    int r;

    if ((size_t)n >= sizeof w->path - at)
        return -ENAMETOOLONG;
    if (!w->left--)
        return -E2BIG;
    r = w->fn(w->context, w->path, entry);
    if (r != 0)
        return r > 0 ? 0 : r;
    if (w->depth > w->depth_max || !is_dir(w, entry))
        return 0;
    r = enter_dir(w);
    return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

/* One entry, or one batch more, or the end of the directory. */
static int step(struct walk *w)
{
    struct level *level = w->level;

    if (level->next < level->count)
        return show(w, &level->entries[level->next++]);
    level->next = 0;
    level->count = filch_dir_read(level->dir, level->entries, BATCH, w->until);
    if (level->count < 0 && level->count != -ENOENT)
        return (int)level->count;
    if (level->count <= 0)
        leave_dir(w);
    return 0;
}

int filch_dir_walk(const char *path, const filch_walk_opts *opts,
                   int (*fn)(void *context, const char *path, const filch_dir_entry *entry),
                   void *context, filch_time until)
{
    struct walk *w;
    int r;

    if (!path || !fn)
        return -EINVAL;
    if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
    w = malloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    w->depth = 0;
    w->depth_max = opts && opts->depth_max ? opts->depth_max : DEPTH_DEFAULT;
    w->left = opts && opts->entries_max ? opts->entries_max : UINT64_MAX;
    w->fn = fn;
    w->context = context;
    w->until = until;
    w->level = NULL;
    strcpy(w->path, path);
    r = enter_dir(w);
    while (r == 0 && w->level)
        r = step(w);
    while (w->level)
        leave_dir(w);
    free(w);
    return r;
}
