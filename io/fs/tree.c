/* See tree.h. Tables with chains, that grow; when they cannot, their chains do. */
#include "io/fs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64
#define SEEN_MAX 65536

struct seen {
    struct filch__tree_link link;
    int number;
    char name[];
};

/* ---- tables ---- */

static uint32_t hash_number(int number)
{
    return (uint32_t)number * 0x9e3779b1u;
}

static uint32_t hash_name(uint64_t in, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u ^ in;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash >> 32);
}

static int table_init(struct filch__tree_table *table)
{
    table->count = 0;
    table->size = SIZE_MIN;
    table->chains = calloc(SIZE_MIN, sizeof *table->chains);
    return table->chains ? 0 : -ENOMEM;
}

static struct filch__tree_link **chain_of(struct filch__tree_table *table, uint32_t hash)
{
    return &table->chains[hash & (table->size - 1)];
}

static void table_put(struct filch__tree_table *table, struct filch__tree_link *link)
{
    struct filch__tree_link **chain = chain_of(table, link->hash);

    link->next = *chain;
    *chain = link;
}

static void table_grow(struct filch__tree_table *table)
{
    struct filch__tree_table old = *table;
    struct filch__tree_link **chains = calloc(old.size * 2, sizeof *chains);

    if (!chains)
        return;
    table->chains = chains;
    table->size = old.size * 2;
    for (size_t i = 0; i < old.size; i++)
        for (struct filch__tree_link *link = old.chains[i], *next; link; link = next) {
            next = link->next;
            table_put(table, link);
        }
    free(old.chains);
}

static void table_insert(struct filch__tree_table *table, struct filch__tree_link *link,
                         uint32_t hash)
{
    if (table->count >= table->size)
        table_grow(table);
    link->hash = hash;
    table_put(table, link);
    table->count++;
}

static void table_remove(struct filch__tree_table *table, struct filch__tree_link *link)
{
    struct filch__tree_link **at = chain_of(table, link->hash);

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    table->count--;
}

/* ---- nodes ---- */

static uint32_t hash_child(const struct filch__tree_node *parent, const char *name)
{
    return hash_name((uintptr_t)parent, name);
}

static void link_below(struct filch__tree_node *node, struct filch__tree_node *parent)
{
    node->parent = parent;
    node->next = parent->children;
    node->link = &parent->children;
    if (node->next)
        node->next->link = &node->next;
    parent->children = node;
}

static void unlink_node(struct filch__tree_node *node)
{
    *node->link = node->next;
    if (node->next)
        node->next->link = node->link;
}

int filch__tree_init(struct filch__tree *tree)
{
    *tree = (struct filch__tree){.root.number = -1, .held.number = -1, .doomed.number = -1};
    filch__list_init(&tree->searches);
    filch__list_init(&tree->root.search);
    if (table_init(&tree->by_number) < 0)
        goto fail_number;
    if (table_init(&tree->by_name) < 0)
        goto fail_name;
    if (table_init(&tree->seen) < 0)
        goto fail_seen;
    return 0;
fail_seen:
    free(tree->by_name.chains);
fail_name:
    free(tree->by_number.chains);
fail_number:
    return -ENOMEM;
}

static void node_free(struct filch__tree_node *node)
{
    free(node->name);
    free(node);
}

void filch__tree_fini(struct filch__tree *tree)
{
    for (size_t i = 0; i < tree->by_name.size; i++)
        for (struct filch__tree_link *link = tree->by_name.chains[i], *next; link; link = next) {
            next = link->next;
            node_free(filch_container_of(link, struct filch__tree_node, by_name));
        }
    filch__tree_forget_all_seen(tree);
    free(tree->by_number.chains);
    free(tree->by_name.chains);
    free(tree->seen.chains);
}

void filch__tree_set_root(struct filch__tree *tree, int number)
{
    struct filch__tree_node *root = &tree->root;

    if (root->number >= 0)
        table_remove(&tree->by_number, &root->by_number);
    root->number = number;
    if (number >= 0)
        table_insert(&tree->by_number, &root->by_number, hash_number(number));
}

struct filch__tree_node *filch__tree_add(struct filch__tree *tree, struct filch__tree_node *parent,
                                         const char *name, int number)
{
    struct filch__tree_node *node = calloc(1, sizeof *node);

    if (!node)
        return NULL;
    node->name = strdup(name);
    if (!node->name) {
        free(node);
        return NULL;
    }
    node->number = number;
    filch__list_init(&node->search);
    link_below(node, parent);
    table_insert(&tree->by_number, &node->by_number, hash_number(number));
    table_insert(&tree->by_name, &node->by_name, hash_child(parent, name));
    return node;
}

static void relink(struct filch__tree *tree, struct filch__tree_node *node,
                   struct filch__tree_node *parent)
{
    unlink_node(node);
    link_below(node, parent);
    table_insert(&tree->by_name, &node->by_name, hash_child(parent, node->name));
}

int filch__tree_move(struct filch__tree *tree, struct filch__tree_node *node,
                     struct filch__tree_node *parent, const char *name)
{
    char *copy = strdup(name);

    if (!copy)
        return -ENOMEM;
    table_remove(&tree->by_name, &node->by_name);
    free(node->name);
    node->name = copy;
    relink(tree, node, parent);
    return 0;
}

void filch__tree_hold(struct filch__tree *tree, struct filch__tree_node *node)
{
    table_remove(&tree->by_name, &node->by_name);
    relink(tree, node, &tree->held);
}

void filch__tree_doom(struct filch__tree *tree, struct filch__tree_node *node)
{
    table_remove(&tree->by_name, &node->by_name);
    relink(tree, node, &tree->doomed);
}

void filch__tree_remove(struct filch__tree *tree, struct filch__tree_node *node)
{
    while (node->children)
        filch__tree_doom(tree, node->children);
    unlink_node(node);
    filch__list_remove(&node->search);
    table_remove(&tree->by_name, &node->by_name);
    table_remove(&tree->by_number, &node->by_number);
    node_free(node);
}

struct filch__tree_node *filch__tree_by_number(struct filch__tree *tree, int number)
{
    struct filch__tree_link *link = *chain_of(&tree->by_number, hash_number(number));

    for (; link; link = link->next) {
        struct filch__tree_node *node =
            filch_container_of(link, struct filch__tree_node, by_number);

        if (node->number == number)
            return node;
    }
    return NULL;
}

struct filch__tree_node *filch__tree_child(struct filch__tree *tree,
                                           const struct filch__tree_node *parent, const char *name)
{
    uint32_t hash = hash_child(parent, name);
    struct filch__tree_link *link = *chain_of(&tree->by_name, hash);

    for (; link; link = link->next) {
        struct filch__tree_node *node = filch_container_of(link, struct filch__tree_node, by_name);

        if (link->hash == hash && node->parent == parent && strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

bool filch__tree_is_in(const struct filch__tree_node *node, const struct filch__tree_node *above)
{
    while (node && node != above)
        node = node->parent;
    return node != NULL;
}

struct filch__tree_node *filch__tree_walk(const struct filch__tree_node *node,
                                          const struct filch__tree_node *above, bool below)
{
    if (below && node->children)
        return node->children;
    while (node != above && !node->next)
        node = node->parent;
    return node == above ? NULL : node->next;
}

/* ---- paths ---- */

size_t filch__tree_path_bytes(const struct filch__tree_node *node, const char *name)
{
    size_t bytes = name ? strlen(name) + 1 : 0;

    for (; node->parent; node = node->parent)
        bytes += strlen(node->name) + 1;
    return bytes ? bytes - 1 : 0;
}

/* From the end to the beginning. */
void filch__tree_path(const struct filch__tree_node *node, const char *name, char *ret_path)
{
    char *end = ret_path + filch__tree_path_bytes(node, name);

    *end = 0;
    if (!name && node->parent) {
        name = node->name;
        node = node->parent;
    }
    while (name) {
        size_t bytes = strlen(name);

        end -= bytes;
        memcpy(end, name, bytes);
        name = node->name; /* the root's is NULL */
        node = node->parent;
        if (name)
            *--end = '/';
    }
}

/* ---- what a search has told ---- */

static struct seen *find_seen(struct filch__tree *tree, int number, const char *name, uint32_t hash)
{
    struct filch__tree_link *link = *chain_of(&tree->seen, hash);

    for (; link; link = link->next) {
        struct seen *seen = filch_container_of(link, struct seen, link);

        if (link->hash == hash && seen->number == number && strcmp(seen->name, name) == 0)
            return seen;
    }
    return NULL;
}

void filch__tree_note_seen(struct filch__tree *tree, const struct filch__tree_node *node,
                           const char *name)
{
    uint32_t hash = hash_name((uint64_t)node->number, name);
    size_t bytes = strlen(name) + 1;
    struct seen *seen;

    if (tree->seen.count >= SEEN_MAX || find_seen(tree, node->number, name, hash))
        return;
    seen = malloc(sizeof *seen + bytes);
    if (!seen)
        return;
    seen->number = node->number;
    memcpy(seen->name, name, bytes);
    table_insert(&tree->seen, &seen->link, hash);
}

bool filch__tree_forget_seen(struct filch__tree *tree, const struct filch__tree_node *node,
                             const char *name)
{
    struct seen *seen;

    if (!tree->seen.count)
        return false;
    seen = find_seen(tree, node->number, name, hash_name((uint64_t)node->number, name));
    if (!seen)
        return false;
    table_remove(&tree->seen, &seen->link);
    free(seen);
    return true;
}

void filch__tree_forget_all_seen(struct filch__tree *tree)
{
    for (size_t i = 0; tree->seen.count && i < tree->seen.size; i++)
        while (tree->seen.chains[i]) {
            struct filch__tree_link *link = tree->seen.chains[i];

            table_remove(&tree->seen, link);
            free(filch_container_of(link, struct seen, link));
        }
}
