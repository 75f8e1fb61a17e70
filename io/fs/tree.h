/* The directories of a tree that is watched, by the number of their watch and by name: memory only,
 * no system call.
 *
 * A directory that has left its place is a child of `held`, for its new place may be told next; one
 * that is to be forgotten, with all below it, of `doomed`. Names below those two mean nothing.
 */
#ifndef FILCH_IO_FS_TREE_H
#define FILCH_IO_FS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/list.h"

/* In a chain of a table. */
struct filch__tree_link {
    struct filch__tree_link *next;
    uint32_t hash;
};

struct filch__tree_table {
    struct filch__tree_link **chains;
    size_t size, count; /* size: a power of two */
};

struct filch__tree_node {
    struct filch__tree_link by_number, by_name;
    struct filch__tree_node *parent; /* NULL: root, held, doomed */
    struct filch__tree_node *children, *next, **link;
    char *name;
    int number; /* of the watch; -1: it has ended */
    /* For who searches (tree_search.c). */
    struct filch__list search; /* in `searches`, or alone */
    unsigned generation;       /* of the search of everything that has seen it last */
    bool deep;                 /* search what is below, too */
    bool stale;                /* what appeared in it could not be looked at: it was elsewhere */
};

struct filch__tree {
    struct filch__tree_table by_number, by_name;
    struct filch__tree_table seen; /* names that a search has told, by directory */
    struct filch__tree_node root, held, doomed;
    struct filch__list searches; /* directories to be searched, the next one first */
};

/* Return: 0; -ENOMEM. */
int filch__tree_init(struct filch__tree *tree);
void filch__tree_fini(struct filch__tree *tree);

/* Gives the root its number. */
void filch__tree_set_root(struct filch__tree *tree, int number);

/* A directory that has come. Return: NULL when memory is out. */
struct filch__tree_node *filch__tree_add(struct filch__tree *tree, struct filch__tree_node *parent,
                                         const char *name, int number);

/* Moves it with what is below. @parent is not below @node. Return: 0; -ENOMEM (not moved). */
int filch__tree_move(struct filch__tree *tree, struct filch__tree_node *node,
                     struct filch__tree_node *parent, const char *name);
void filch__tree_hold(struct filch__tree *tree, struct filch__tree_node *node);
void filch__tree_doom(struct filch__tree *tree, struct filch__tree_node *node);

/* Forgets a node of `doomed`, whose children become children of `doomed`. */
void filch__tree_remove(struct filch__tree *tree, struct filch__tree_node *node);

struct filch__tree_node *filch__tree_by_number(struct filch__tree *tree, int number);
struct filch__tree_node *filch__tree_child(struct filch__tree *tree,
                                           const struct filch__tree_node *parent, const char *name);

/* Is @node below @above, or the same? */
bool filch__tree_is_in(const struct filch__tree_node *node, const struct filch__tree_node *above);

/* The one after @node in a walk through @above, in which it is, with or without what is @below it;
 * NULL: none. */
struct filch__tree_node *filch__tree_walk(const struct filch__tree_node *node,
                                          const struct filch__tree_node *above, bool below);

/* The path of @name in @node, or of @node itself (NULL), relative to the root, in which it is.
 * Return: its bytes, without the zero that filch__tree_path() writes, too. */
size_t filch__tree_path_bytes(const struct filch__tree_node *node, const char *name);
void filch__tree_path(const struct filch__tree_node *node, const char *name, char *ret_path);

/* Names that were told before their event has come. Not noted when there are many, or no memory. */
void filch__tree_note_seen(struct filch__tree *tree, const struct filch__tree_node *node,
                           const char *name);
/* Return: was it noted? */
bool filch__tree_forget_seen(struct filch__tree *tree, const struct filch__tree_node *node,
                             const char *name);
void filch__tree_forget_all_seen(struct filch__tree *tree);

#endif
