/* Things by key, without memory of its own: a tree whose way down is given by the bits of the key's
 * hash, two at a time. Some log4(n) steps for each operation. Not thread-safe. */
#ifndef FILCH_SYNC_KEY_TREE_H
#define FILCH_SYNC_KEY_TREE_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what has the key. */
struct filch__key_node {
    uint64_t key;
    struct filch__key_node **place; /* where the parent points to it */
    struct filch__key_node *child[4];
};

/* NULL is the empty tree. */
struct filch__key_node *filch__key_find(struct filch__key_node *root, uint64_t key);

/* @node->key is not in the tree. */
void filch__key_insert(struct filch__key_node **root, struct filch__key_node *node);

/* @node is in a tree. */
void filch__key_remove(struct filch__key_node *node);

#endif
