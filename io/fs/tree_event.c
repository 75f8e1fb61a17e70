/* Watches of trees: events of the kernel, as changes of the tree and as what is told. See
 * tree_watch.c.
 *
 * What happens in a directory that is held has no path, so it is not told: it either leaves the
 * tree, or is told anew as a whole. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/fs/tree_watch.h"

struct event {
    int number;
    uint32_t mask, cookie;
    char name[NAME_MAX + 1];
};

/* Copies the next event. Return: its bytes; -EAGAIN (none); -errno. */
static int look(filch_tree_watch *watch, struct event *ret_event)
{
    struct inotify_event event;

    if (watch->begin == watch->end) {
        ssize_t n;

        do {
            n = read(watch->fd.fd.fd, watch->batch, sizeof watch->batch);
        } while (n < 0 && errno == EINTR);
        if (n <= 0)
            return n < 0 ? -errno : -EAGAIN;
        watch->begin = 0;
        watch->end = (size_t)n;
    }
    memcpy(&event, watch->batch + watch->begin, sizeof event);
    ret_event->number = event.wd;
    ret_event->mask = event.mask;
    ret_event->cookie = event.cookie;
    ret_event->name[0] = 0;
    if (event.len)
        strncat(ret_event->name, watch->batch + watch->begin + sizeof event, NAME_MAX);
    return (int)(sizeof event + event.len);
}

/* Is it told, and not by a search already? */
static void tell(filch_tree_watch *watch, const struct event *event,
                 const struct filch__tree_node *node)
{
    unsigned told = IN_CREATE | IN_DELETE | IN_MOVED_FROM;

    if (event->mask & told && filch__tree_forget_seen(&watch->tree, node, event->name) &&
        event->mask & IN_CREATE)
        return;
    if (filch__tree_has(watch, node))
        filch__tree_tell(watch, event->mask, event->cookie, node, event->name, NULL, NULL);
}

/* Has it looked at, before the next event. */
static void appear(filch_tree_watch *watch, struct filch__tree_node *node, const char *name)
{
    watch->appeared_in = node;
    strcpy(watch->appeared, name);
}

/* ---- renames ---- */

/* The nodes of a rename, and of what is in its new place; NULL: not known. */
struct rename {
    struct filch__tree_node *from, *to, *moved, *replaced;
};

static bool is_within(filch_tree_watch *watch, const struct event *from, const struct event *to,
                      struct filch__tree_node *node, struct rename *ret_rename)
{
    struct filch__tree *tree = &watch->tree;
    struct rename rename = {.from = node};

    if (!(to->mask & IN_MOVED_TO) || to->cookie != from->cookie)
        return false;
    rename.to = filch__tree_by_number(tree, to->number);
    if (!rename.to || !filch__tree_has(watch, rename.to) || !filch__tree_has(watch, node))
        return false;
    rename.moved = filch__tree_child(tree, node, from->name);
    rename.replaced = filch__tree_child(tree, rename.to, to->name);
    /* A directory that is not known has no contents to take along; one that is known, when a file
     * was moved, was found there by a search, and comes later. */
    if (!rename.moved != !(from->mask & IN_ISDIR))
        return false;
    if (rename.moved && filch__tree_is_in(rename.to, rename.moved)) {
        watch->lost = true; /* it was another one */
        return false;
    }
    *ret_rename = rename;
    return true;
}

/* Is the other half the next event? Then they are told as one. */
static bool rename_within(filch_tree_watch *watch, const struct event *from,
                          struct filch__tree_node *node)
{
    struct filch__tree *tree = &watch->tree;
    struct rename rename;
    struct event to;
    int bytes = look(watch, &to);

    if (bytes < 0 || !is_within(watch, from, &to, node, &rename))
        return false;
    watch->begin += (size_t)bytes;
    (void)filch__tree_forget_seen(tree, node, from->name);
    filch__tree_tell(watch, from->mask | to.mask, from->cookie, rename.to, to.name, node,
                     from->name);
    if (rename.replaced && rename.replaced != rename.moved)
        filch__tree_doom(tree, rename.replaced);
    if (!rename.moved)
        return true;
    if (filch__tree_move(tree, rename.moved, rename.to, to.name) < 0) {
        filch__tree_doom(tree, rename.moved);
        watch->lost = true;
        watch->error = -ENOMEM;
    }
    appear(watch, rename.to, to.name);
    return true;
}

/* ---- events ---- */

static void handle_name(filch_tree_watch *watch, const struct event *event,
                        struct filch__tree_node *node)
{
    struct filch__tree_node *child;

    if (event->mask & IN_MOVED_FROM && rename_within(watch, event, node))
        return;
    tell(watch, event, node);
    if (event->mask & IN_ISDIR && event->mask & (IN_CREATE | IN_MOVED_TO))
        appear(watch, node, event->name);
    if (!(event->mask & (IN_MOVED_FROM | IN_DELETE)))
        return;
    /* With the name goes what was told below it: also of a directory that a search has found in the
     * place of a file. */
    child = filch__tree_child(&watch->tree, node, event->name);
    if (child && event->mask & IN_ISDIR && event->mask & IN_MOVED_FROM)
        filch__tree_hold(&watch->tree, child);
    else if (child)
        filch__tree_doom(&watch->tree, child);
}

static void handle_self(filch_tree_watch *watch, const struct event *event,
                        struct filch__tree_node *node)
{
    struct filch__tree *tree = &watch->tree;
    bool is_root = node == &tree->root;

    if ((is_root || event->mask & IN_UNMOUNT) && filch__tree_has(watch, node))
        filch__tree_tell(watch, event->mask & ~(unsigned)IN_IGNORED, 0, node, NULL, NULL, NULL);
    if (is_root && event->mask & IN_MOVE_SELF)
        watch->doubted = true;
    if (!(event->mask & IN_IGNORED))
        return;
    if (is_root)
        filch__tree_end(watch);
    else
        filch__tree_doom(tree, node);
}

int filch__tree_take_event(filch_tree_watch *watch)
{
    struct filch__tree_node *node;
    struct event event;
    int bytes = look(watch, &event);

    if (bytes < 0)
        return bytes;
    watch->begin += (size_t)bytes;
    if (event.mask & IN_Q_OVERFLOW) {
        filch__tree_tell(watch, FILCH_CHANGE_OVERFLOW, 0, &watch->tree.root, NULL, NULL, NULL);
        filch__tree_search_everything(watch);
        return 0;
    }
    node = filch__tree_by_number(&watch->tree, event.number);
    if (!node)
        return 0; /* forgotten meanwhile */
    if (event.name[0])
        handle_name(watch, &event, node);
    else
        handle_self(watch, &event, node);
    return 0;
}
