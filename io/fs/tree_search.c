/* Watches of trees: what opens directories, adds watches and drops them, on a blocking thread. See
 * tree_watch.c.
 *
 * A directory gets its watch first and is searched then, by the same descriptor, which is only open
 * meanwhile. It is opened by its path: what that leads to, through whatever link or other directory
 * has taken a place on the way, is told by the number of its watch. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filch/task.h>

#include "io/fs/tree_watch.h"

#define DROP_AT_ONCE 256
#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

static struct filch__tree_node *of_search(struct filch__list *link)
{
    return filch_container_of(link, struct filch__tree_node, search);
}

static void search_later(filch_tree_watch *watch, struct filch__tree_node *node, bool deep)
{
    node->deep |= deep;
    filch__list_remove(&node->search);
    filch__list_push_front(&watch->tree.searches, &node->search);
}

static bool is_gone(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

/* Why a directory is not watched. Gone or replaced, which is told by what comes; not for us to
 * read, which is for good; else something that somebody should know, once. */
static void refuse(filch_tree_watch *watch, int error)
{
    if (is_gone(error) || error == -EACCES || error == -EPERM || watch->refused)
        return;
    watch->refused = true;
    watch->error = error;
}

/* ---- watches ---- */

/* Return: the number; -errno. */
static int add_watch(filch_tree_watch *watch, int fd)
{
    char path[32];
    int number;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    number = inotify_add_watch(watch->fd.fd.fd, path, watch->mask);
    if (number < 0)
        return errno == ENOENT ? -EOPNOTSUPP : -errno; /* there always is, with /proc */
    return number;
}

static void drop_watch(filch_tree_watch *watch, int number)
{
    /* Fails when the directory is gone. */
    (void)inotify_rm_watch(watch->fd.fd.fd, number);
}

/* Forgets @max nodes that are doomed. */
static void drop_doomed(filch_tree_watch *watch, size_t max)
{
    struct filch__tree_node *node;

    while (max-- && (node = watch->tree.doomed.children)) {
        drop_watch(watch, node->number);
        filch__tree_remove(&watch->tree, node);
    }
}

/* Forgets a node that is not where its events have it, so that it is found anew. */
static void forget(filch_tree_watch *watch, struct filch__tree_node *node)
{
    if (filch__tree_has(watch, node))
        filch__tree_tell(watch, FILCH_CHANGE_REMOVED | FILCH_CHANGE_DIRECTORY, 0, node, NULL, NULL,
                         NULL);
    filch__tree_doom(&watch->tree, node);
    drop_doomed(watch, SIZE_MAX);
}

/* ---- opening ---- */

/* Opens an absolute path of any length, whose end is no link. Return: the descriptor; -errno. */
static int open_path(char *path)
{
    int at = -1, fd;

    while (strlen(path) >= PATH_MAX) {
        char *cut = memrchr(path, '/', PATH_MAX - 1);

        *cut = 0;
        fd = openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (at >= 0)
            close(at);
        if (fd < 0)
            return -errno;
        at = fd;
        path = cut + 1;
    }
    fd = openat(at, path, OPEN_FLAGS);
    if (fd < 0)
        fd = -errno;
    if (at >= 0)
        close(at);
    return fd;
}

static int open_place(filch_tree_watch *watch, const struct filch__tree_node *node)
{
    size_t bytes = strlen(watch->root);
    char *path = malloc(bytes + 1 + filch__tree_path_bytes(node, NULL) + 1);
    int fd;

    if (!path)
        return -ENOMEM;
    memcpy(path, watch->root, bytes);
    path[bytes] = node->parent ? '/' : 0;
    if (node->parent)
        filch__tree_path(node, NULL, path + bytes + 1);
    fd = open_path(path);
    free(path);
    return fd;
}

/* Return: a descriptor of @node's directory; -ENOENT (it is elsewhere); -errno. */
static int open_node(filch_tree_watch *watch, struct filch__tree_node *node)
{
    int fd = filch__tree_has(watch, node) ? open_place(watch, node) : -ENOENT;
    int number = -ENOENT;

    if (fd >= 0)
        number = add_watch(watch, fd);
    node->stale = fd < 0 || number != node->number;
    if (!node->stale)
        return fd;
    if (fd >= 0) {
        if (number >= 0 && !filch__tree_by_number(&watch->tree, number))
            drop_watch(watch, number);
        close(fd);
        /* No room for one more watch: it is another directory. */
        fd = number >= 0 || number == -ENOSPC ? -ENOENT : number;
    }
    watch->doubted |= is_gone(fd);
    refuse(watch, fd);
    return fd;
}

/* ---- what is found ---- */

/* Who has found a directory. */
enum finder {
    EVENT,       /* it has just been told */
    SEARCH,      /* the same, and it is to be searched, known or not */
    SEARCH_STALE /* it was told, or will be */
};

/* Searches what could not be looked at where it was before. */
static void search_stale(filch_tree_watch *watch, struct filch__tree_node *above)
{
    for (struct filch__tree_node *node = above; node; node = filch__tree_walk(node, above, true))
        if (node->stale)
            search_later(watch, node, false);
}

/* A directory that is where it is known to be. */
static void find_there(filch_tree_watch *watch, struct filch__tree_node *node, enum finder finder)
{
    node->generation = watch->generation;
    if (finder == SEARCH)
        search_later(watch, node, true);
    else
        search_stale(watch, node);
}

/* A directory that is not known, or held. */
static void attach(filch_tree_watch *watch, struct filch__tree_node *node,
                   struct filch__tree_node *parent, const char *name, int number)
{
    if (!node)
        node = filch__tree_add(&watch->tree, parent, name, number);
    else if (filch__tree_move(&watch->tree, node, parent, name) < 0)
        node = NULL;
    if (!node) {
        if (!filch__tree_by_number(&watch->tree, number))
            drop_watch(watch, number);
        watch->lost = true;
        watch->error = -ENOMEM;
        return;
    }
    node->generation = watch->generation;
    watch->refused = false;
    search_later(watch, node, true);
}

/* Makes the tree agree with @fd being @name in @parent. Return: 0; -errno. */
static int find(filch_tree_watch *watch, struct filch__tree_node *parent, const char *name, int fd,
                enum finder finder)
{
    struct filch__tree *tree = &watch->tree;
    struct filch__tree_node *there = filch__tree_child(tree, parent, name);
    int number = add_watch(watch, fd);
    struct filch__tree_node *known = filch__tree_by_number(tree, number);

    if (known && known == there) {
        find_there(watch, known, finder);
        return 0;
    }
    if (known && filch__tree_is_in(parent, known)) {
        parent->stale = true; /* it has moved, which will be told */
        return 0;
    }
    if (known && known->parent != &tree->held) {
        forget(watch, known);
        known = NULL;
        number = add_watch(watch, fd);
    }
    if (there)
        forget(watch, there);
    if (there || finder == SEARCH_STALE)
        filch__tree_tell(watch, FILCH_CHANGE_CREATED | FILCH_CHANGE_DIRECTORY, 0, parent, name,
                         NULL, NULL);
    if (number < 0)
        return number;
    attach(watch, known, parent, name, number);
    return 0;
}

static void look_at(filch_tree_watch *watch, struct filch__tree_node *parent, int parent_fd,
                    const char *name, enum finder finder)
{
    int fd = openat(parent_fd, name, OPEN_FLAGS);
    int r = fd < 0 ? -errno : find(watch, parent, name, fd, finder);

    if (r < 0)
        refuse(watch, r);
    if (fd >= 0)
        close(fd);
}

/* ---- searches ---- */

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Also on a file system that does not say so in its entries. */
static bool is_dir(int fd, const struct dirent64 *entry)
{
    struct stat stat;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat.st_mode);
}

static void see(filch_tree_watch *watch, struct filch__tree_node *node, int fd,
                const struct dirent64 *entry, enum finder finder)
{
    bool dir = is_dir(fd, entry);

    if (finder == SEARCH && watch->telling) {
        filch__tree_tell(watch, FILCH_CHANGE_CREATED | (dir ? FILCH_CHANGE_DIRECTORY : 0), 0, node,
                         entry->d_name, NULL, NULL);
        filch__tree_note_seen(&watch->tree, node, entry->d_name);
    }
    if (dir)
        look_at(watch, node, fd, entry->d_name, finder);
}

static void search(filch_tree_watch *watch, struct filch__tree_node *node)
{
    enum finder finder = node->deep ? SEARCH : SEARCH_STALE;
    int fd = open_node(watch, node);
    ssize_t n;

    if (fd < 0)
        return; /* stale, and as deep as before */
    node->deep = false;
    while ((n = getdents64(fd, watch->entries, FILCH__TREE_ENTRY_BYTES)) > 0) {
        const struct dirent64 *entry;

        for (ssize_t at = 0; at < n; at += entry->d_reclen) {
            entry = (const void *)(watch->entries + at);
            if (!is_dots(entry->d_name))
                see(watch, node, fd, entry, finder);
        }
    }
    if (n < 0)
        refuse(watch, -errno);
    close(fd);
}

static void look_at_appeared(filch_tree_watch *watch)
{
    struct filch__tree_node *parent = watch->appeared_in;
    bool stale = parent->stale;
    int fd = open_node(watch, parent);

    watch->appeared_in = NULL;
    if (fd < 0)
        return;
    if (stale) /* and here it is, for the moment */
        search_later(watch, parent, false);
    look_at(watch, parent, fd, watch->appeared, EVENT);
    close(fd);
}

void filch__tree_search_everything(filch_tree_watch *watch)
{
    watch->everything = true;
    watch->generation++;
    search_later(watch, &watch->tree.root, true);
}

/* Forgets what a search of everything has not seen. */
static void end_everything(filch_tree_watch *watch)
{
    struct filch__tree_node *root = &watch->tree.root, *next;

    watch->everything = false;
    for (struct filch__tree_node *node = root; node; node = next) {
        bool seen = node == root || node->generation == watch->generation;

        next = filch__tree_walk(node, root, seen);
        if (!seen)
            filch__tree_doom(&watch->tree, node);
    }
}

/* ---- the root ---- */

void filch__tree_end(filch_tree_watch *watch)
{
    struct filch__tree *tree = &watch->tree;

    drop_watch(watch, tree->root.number);
    filch__tree_set_root(tree, -1);
    while (tree->root.children)
        filch__tree_doom(tree, tree->root.children);
    filch__tree_tell(watch, FILCH_CHANGE_ENDED, 0, &tree->root, NULL, NULL, NULL);
}

/* Something was not where it should be, and nothing more is told: is it that the root is not? */
static void look_at_root(filch_tree_watch *watch)
{
    struct filch__tree_node *root = &watch->tree.root;
    bool stale = root->stale;
    int fd = open_node(watch, root);

    watch->doubted = watch->look_at_root = false;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && stale)
        search_later(watch, root, false);
    if (is_gone(fd))
        filch__tree_end(watch);
}

/* ---- work ---- */

bool filch__tree_has_work(const filch_tree_watch *watch)
{
    return watch->tree.doomed.children || watch->appeared_in || watch->everything ||
           watch->look_at_root || !filch__list_is_empty(&watch->tree.searches);
}

static void do_some(filch_tree_watch *watch)
{
    if (watch->tree.doomed.children)
        drop_doomed(watch, DROP_AT_ONCE);
    else if (watch->appeared_in)
        look_at_appeared(watch);
    else if (!filch__list_is_empty(&watch->tree.searches))
        search(watch, of_search(filch__list_pop_front(&watch->tree.searches)));
    else if (watch->look_at_root)
        look_at_root(watch);
    else
        end_everything(watch);
}

int filch__tree_work(void *arg)
{
    filch_tree_watch *watch = arg;

    while (!watch->first && !watch->error && filch__tree_has_work(watch)) {
        if (filch_task_is_cancelled() || filch__fd_is_closing(&watch->fd.fd))
            return -ECANCELED;
        do_some(watch);
    }
    return 0;
}

int filch__tree_watch_root(filch_tree_watch *watch)
{
    int fd = open_place(watch, &watch->tree.root);
    int number;

    if (fd < 0)
        return fd;
    number = add_watch(watch, fd);
    close(fd);
    if (number < 0)
        return number;
    filch__tree_set_root(&watch->tree, number);
    search_later(watch, &watch->tree.root, true);
    return 0;
}
