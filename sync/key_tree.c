/* The node at depth d was put there by the first 2d bits of its key's hash: each node below has the
 * same ones. So any of them may take the place of a node that leaves, and one without children is
 * the easiest. The hash is a bijection: different keys part after 32 steps at the latest. */
#include "sync/key_tree.h"

#include "runtime/base/assert.h"

static uint64_t hash_of(uint64_t key)
{
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9;
    key = (key ^ (key >> 27)) * 0x94d049bb133111eb;
    return key ^ (key >> 31);
}

struct filch__key_node *filch__key_find(struct filch__key_node *root, uint64_t key)
{
    uint64_t bits = hash_of(key);
    struct filch__key_node *node = root;

    for (; node && node->key != key; bits <<= 2)
        node = node->child[bits >> 62];
    return node;
}

void filch__key_insert(struct filch__key_node **root, struct filch__key_node *node)
{
    struct filch__key_node **place = root;

    for (uint64_t bits = hash_of(node->key); *place; bits <<= 2) {
        filch_assert_state((*place)->key != node->key);
        place = &(*place)->child[bits >> 62];
    }
    *node = (struct filch__key_node){.key = node->key, .place = place};
    *place = node;
}

static struct filch__key_node *any_child(const struct filch__key_node *node)
{
    for (unsigned i = 0; i < 4; i++)
        if (node->child[i])
            return node->child[i];
    return NULL;
}

void filch__key_remove(struct filch__key_node *node)
{
    struct filch__key_node *heir = any_child(node);

    if (heir) {
        struct filch__key_node *below;

        while ((below = any_child(heir)))
            heir = below;
        *heir->place = NULL;
        heir->place = node->place;
        for (unsigned i = 0; i < 4; i++) {
            heir->child[i] = node->child[i];
            if (heir->child[i])
                heir->child[i]->place = &heir->child[i];
        }
    }
    *node->place = heir;
}
