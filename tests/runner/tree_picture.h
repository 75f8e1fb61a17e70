/* Pictures of a tree, as a program keeps them that watches it (<filch/tree_watch.h>). */
#ifndef FILCH_TESTS_RUNNER_TREE_PICTURE_H
#define FILCH_TESTS_RUNNER_TREE_PICTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/runner/run.h"

#define BOTH (FILCH_CHANGE_MOVED_FROM | FILCH_CHANGE_MOVED_TO)
/* What changes the picture. */
#define NAMES (FILCH_CHANGE_CREATED | FILCH_CHANGE_REMOVED | BOTH)

static inline void make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    T_CHECK(fd >= 0);
    T_OK(close(fd));
}

static inline filch_tree_watch *watch_names(const char *path, bool tell_present)
{
    filch_tree_watch_opts opts = {.changes = NAMES, .tell_present = tell_present};
    filch_tree_watch *watch;

    T_OK(filch_tree_watch_open(path, &opts, &watch, T_LIMIT));
    return watch;
}

static inline filch_tree_change next(filch_tree_watch *watch)
{
    filch_tree_change change;

    T_OK(filch_tree_watch_next(watch, &change, T_LIMIT));
    return change;
}

struct picture {
    char **path; /* a directory's ends in '/' */
    size_t count, room;
    unsigned overflows;
};

static inline bool is_at_or_below(const char *path, const char *above)
{
    size_t bytes = strlen(above);

    return strncmp(path, above, bytes) == 0 && (!path[bytes] || path[bytes] == '/');
}

static inline void picture_remove(struct picture *picture, const char *path)
{
    for (size_t i = picture->count; i-- > 0;)
        if (is_at_or_below(picture->path[i], path)) {
            free(picture->path[i]);
            picture->path[i] = picture->path[--picture->count];
        }
}

static inline void picture_add(struct picture *picture, const char *path, const char *rest)
{
    char *copy = malloc(strlen(path) + strlen(rest) + 1);

    T_CHECK(copy != NULL);
    strcpy(stpcpy(copy, path), rest);
    for (size_t i = 0; i < picture->count; i++)
        if (strcmp(picture->path[i], copy) == 0) {
            free(copy);
            return;
        }
    if (picture->count == picture->room) {
        picture->room = picture->room * 2 + 16;
        picture->path = realloc(picture->path, picture->room * sizeof *picture->path);
        T_CHECK(picture->path != NULL);
    }
    picture->path[picture->count++] = copy;
}

static inline void picture_move(struct picture *picture, const char *from, const char *path)
{
    size_t bytes = strlen(from);

    for (size_t i = picture->count; i-- > 0;)
        if (is_at_or_below(picture->path[i], from)) {
            char *old = picture->path[i];

            picture->path[i] = picture->path[--picture->count];
            picture_add(picture, path, old + bytes);
            free(old);
        }
}

static inline void picture_apply(struct picture *picture, const filch_tree_change *change)
{
    const char *rest = change->what & FILCH_CHANGE_DIRECTORY ? "/" : "";

    if (change->what & FILCH_CHANGE_OVERFLOW) {
        picture->overflows++;
        while (picture->count)
            free(picture->path[--picture->count]);
    }
    if (change->from) {
        picture_remove(picture, change->path);
        picture_move(picture, change->from, change->path);
    } else if (change->what & (FILCH_CHANGE_REMOVED | FILCH_CHANGE_MOVED_FROM)) {
        picture_remove(picture, change->path);
    }
    if (change->what & (FILCH_CHANGE_CREATED | FILCH_CHANGE_MOVED_TO))
        picture_add(picture, change->path, rest);
}

static inline void picture_free(struct picture *picture)
{
    while (picture->count)
        free(picture->path[--picture->count]);
    free(picture->path);
    *picture = (struct picture){0};
}

static inline bool picture_has(const struct picture *picture, const char *path)
{
    for (size_t i = 0; i < picture->count; i++)
        if (strcmp(picture->path[i], path) == 0)
            return true;
    return false;
}

/* What there is. @probe: makes a file in each directory first. */
static inline void picture_take(struct picture *picture, const char *root, const char *below,
                                const char *probe)
{
    char path[600], name[600];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof path, "%s/%s", root, below);
    if (probe) {
        snprintf(name, sizeof name, "%s%s", path, probe);
        make(name);
    }
    dir = opendir(path);
    T_CHECK(dir != NULL);
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s%s%s", below, entry->d_name,
                 entry->d_type == DT_DIR ? "/" : "");
        picture_add(picture, name, "");
        if (entry->d_type == DT_DIR)
            picture_take(picture, root, name, probe);
    }
    closedir(dir);
}

static inline bool picture_equals(const struct picture *told, const struct picture *is)
{
    bool equal = true;

    for (size_t i = 0; i < told->count; i++)
        if (!picture_has(is, told->path[i])) {
            fprintf(stderr, "told, but is not: %s\n", told->path[i]);
            equal = false;
        }
    for (size_t i = 0; i < is->count; i++)
        if (!picture_has(told, is->path[i])) {
            fprintf(stderr, "is, but was not told: %s\n", is->path[i]);
            equal = false;
        }
    return equal;
}

/* Takes what is told until @name is, which is made in the root now. */
static inline void take_until(filch_tree_watch *watch, struct picture *picture, const char *root,
                              const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    make(path);
    while (!picture_has(picture, name)) {
        filch_tree_change change = next(watch);

        picture_apply(picture, &change);
    }
    T_OK(unlink(path));
    while (picture_has(picture, name)) {
        filch_tree_change change = next(watch);

        picture_apply(picture, &change);
    }
}

/* The picture is the tree when all that has happened was told, and each directory is watched. */
static inline bool agrees(filch_tree_watch *watch, struct picture *told, const char *root)
{
    struct picture is = {0};
    bool equal;

    /* The first one may have been found by a search, with events before its own left. */
    take_until(watch, told, root, "end1");
    take_until(watch, told, root, "end2");
    picture_take(&is, root, "", NULL);
    equal = picture_equals(told, &is);
    picture_free(&is);
    picture_take(&is, root, "", "probe");
    take_until(watch, told, root, "end3");
    equal = picture_equals(told, &is) && equal;
    picture_free(&is);
    return equal;
}

#endif
