/* What a watch of a tree consists of: tree_watch.c says how it works. */
#ifndef FILCH_IO_FS_TREE_WATCH_H
#define FILCH_IO_FS_TREE_WATCH_H

#include <limits.h>
#include <sys/inotify.h>

#include <filch/tree_watch.h>

#include "io/fd_wait.h"
#include "io/fs/tree.h"

#define FILCH__TREE_BATCH_BYTES 8192
#define FILCH__TREE_ENTRY_BYTES (32 << 10)

/* A change that nobody has taken. */
struct filch__tree_told {
    struct filch__tree_told *next;
    unsigned what;
    uint32_t cookie;
    const char *from; /* in `path`, behind its end; NULL */
    char path[];
};

struct filch_tree_watch {
    struct filch_fd fd;
    /* 1: a call is in it, and may touch what follows. [tree-busy] acquire to claim it -> release to
     * give it back. */
    filch_atomic_u32 busy;
    /* 1: there is something to do, though the kernel's queue is empty. [tree-more] release at the
     * end of a call -> acquire by a case: what the call did is visible. */
    filch_atomic_u32 more;
    unsigned changes;  /* that are told */
    uint32_t mask;     /* of each watch */
    char *root;        /* its path, without links */
    bool telling;      /* false while it is opened */
    bool lost;         /* something could not be told, so everything has to be told anew */
    bool doubted;      /* the root may not be at its path any more */
    bool look_at_root; /* is it? */
    bool everything;   /* a search of everything goes on: what it has not seen is doomed */
    bool refused;      /* the last watch could not be had, which was told */
    int error;         /* to be returned; 0: none */
    unsigned generation;
    struct filch__tree tree;
    /* Where the last event says that a directory appeared; NULL: there is none to look at. */
    struct filch__tree_node *appeared_in;
    char appeared[NAME_MAX + 1];
    struct filch__tree_told *first, **last; /* changes */
    struct filch__tree_told *taken;         /* which the caller looks at */
    char *entries;                          /* for a search */
    size_t begin, end;                      /* of what was read and not handled */
    char batch[FILCH__TREE_BATCH_BYTES];
};

/* ---- tree_watch.c ---- */

/* Tells a change of @name in @node, or of @node (NULL), which is in the tree. With @from_node it is
 * a rename of @from in it. */
void filch__tree_tell(filch_tree_watch *watch, unsigned what, uint32_t cookie,
                      const struct filch__tree_node *node, const char *name,
                      const struct filch__tree_node *from_node, const char *from);

/* Is it in the tree, as far as was told? */
bool filch__tree_has(const filch_tree_watch *watch, const struct filch__tree_node *node);

/* For a user of a watch: is there something to do, though the kernel's queue is empty? */
bool filch__tree_watch_has_more(struct filch__fd *object);

/* ---- tree_event.c ---- */

/* Handles the next event, or two. Not while there is work. Return: 0; -EAGAIN (there is none);
 * -errno. */
int filch__tree_take_event(filch_tree_watch *watch);

/* ---- tree_search.c ---- */

/* Is there something for filch__tree_work() to do? */
bool filch__tree_has_work(const filch_tree_watch *watch);

/* A blocking job: works until there is something to tell or no more work. Return: 0; -ECANCELED
 * (neither). */
int filch__tree_work(void *watch);

/* Begins to look at everything anew. */
void filch__tree_search_everything(filch_tree_watch *watch);

/* Watches the root, if that is where the path leads. Return: 0; -errno. */
int filch__tree_watch_root(filch_tree_watch *watch);

/* The root is there no more, or watched no more. */
void filch__tree_end(filch_tree_watch *watch);

#endif
