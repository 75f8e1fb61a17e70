/* A leftist heap of intrusive items, ordered by time, then by the order of insertion.
 *
 *   [leftist]  rank(left) >= rank(right), and rank = rank(right) + 1: so the way down the right
 *              sides, which is all that a merge goes, is at most log2(n + 1) long.
 *
 * Each operation is a merge, and for a removal in the middle a way up while ranks change: all
 * logarithmic in the worst case, not only on average, as it is done under a lock. That is why it is
 * not a pairing heap.
 */
#ifndef FILCH_SYNC_DELAY_HEAP_H
#define FILCH_SYNC_DELAY_HEAP_H

#include <filch/base.h>

struct filch__delay_node {
    struct filch__delay_node *left;
    struct filch__delay_node *right;
    struct filch__delay_node *parent; /* NULL: the root */
    filch_time at;
    uint64_t number; /* of the insertion */
    void *owner;     /* NULL: in no heap */
    uint64_t rank;
};

static inline bool filch__delay_before(const struct filch__delay_node *a,
                                       const struct filch__delay_node *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

/* Return: has the rank changed? */
static inline bool filch__delay_repair(struct filch__delay_node *node)
{
    uint64_t left = node->left ? node->left->rank : 0;
    uint64_t right = node->right ? node->right->rank : 0;
    uint64_t rank = (left < right ? left : right) + 1;
    bool changed = rank != node->rank;

    if (left < right) {
        struct filch__delay_node *other = node->left;

        node->left = node->right;
        node->right = other;
    }
    node->rank = rank;
    return changed;
}

/* The parent of the result is for the caller to set. */
static inline struct filch__delay_node *filch__delay_merge(struct filch__delay_node *a,
                                                           struct filch__delay_node *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (filch__delay_before(b, a)) {
        struct filch__delay_node *other = a;

        a = b;
        b = other;
    }
    a->right = filch__delay_merge(a->right, b);
    a->right->parent = a;
    (void)filch__delay_repair(a);
    return a;
}

static inline void filch__delay_insert(struct filch__delay_node **root,
                                       struct filch__delay_node *node)
{
    node->left = node->right = NULL;
    node->rank = 1;
    *root = filch__delay_merge(*root, node);
    (*root)->parent = NULL;
}

static inline void filch__delay_remove(struct filch__delay_node **root,
                                       struct filch__delay_node *node)
{
    struct filch__delay_node *parent = node->parent;
    struct filch__delay_node *rest = filch__delay_merge(node->left, node->right);

    if (rest)
        rest->parent = parent;
    if (!parent)
        *root = rest;
    else if (parent->left == node)
        parent->left = rest;
    else
        parent->right = rest;
    while (parent && filch__delay_repair(parent))
        parent = parent->parent;
}

#endif
