/* Streams that come and go, each under a key: a ring of entries, and a tree to find them by key.
 *
 *     ring: next to be asked -> ... -> asked last -> the ring's head
 *
 * An entry that had an item goes to the end of the ring, so each has its turn. One that has ended
 * leaves the ring and the tree before it is dropped: its drop may suspend, and nobody finds it
 * meanwhile. Read first: sync/stream.c. */
#include "sync/stream.h"

#include "runtime/base/list.h"
#include "sync/key_tree.h"

_Static_assert(sizeof(struct filch__list) <= sizeof(((filch_keyed_entry *)0)->private_link),
               "a link fits the room that the header reserves");
_Static_assert(sizeof(struct filch__key_node) <= sizeof(((filch_keyed_entry *)0)->private_node),
               "a node fits the room that the header reserves");

static struct filch__list *ring_of(filch_keyed_stream *stream)
{
    return (struct filch__list *)(void *)stream->private_ring;
}

static struct filch__list *link_of(filch_keyed_entry *entry)
{
    return (struct filch__list *)(void *)entry->private_link;
}

static filch_keyed_entry *entry_of_link(struct filch__list *link)
{
    return filch_container_of(link, filch_keyed_entry, private_link);
}

static struct filch__key_node *node_of(filch_keyed_entry *entry)
{
    return (struct filch__key_node *)(void *)entry->private_node;
}

static struct filch__key_node **root_of(filch_keyed_stream *stream)
{
    return (struct filch__key_node **)(void *)&stream->private_root;
}

/* Return: its stream, which is the caller's now. */
static filch_stream *take_out(filch_keyed_stream *stream, filch_keyed_entry *entry)
{
    filch__list_remove(link_of(entry));
    filch__key_remove(node_of(entry));
    stream->private_count--;
    return entry->from;
}

static int keyed_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_keyed_stream *stream = (filch_keyed_stream *)self;
    struct filch__list *ring = ring_of(stream);
    struct filch__list *next;

    for (struct filch__list *link = ring->next; link != ring; link = next) {
        filch_keyed_entry *entry = entry_of_link(link);
        int r = filch__stream_poll(entry->from, cx, (unsigned char *)item + sizeof(uint64_t));

        next = link->next;
        if (r == 0) {
            filch_stream_drop(take_out(stream, entry));
        } else if (r != -EAGAIN) {
            if (r > 0)
                memcpy(item, &node_of(entry)->key, sizeof(uint64_t));
            else
                stream->failed_key = node_of(entry)->key;
            filch__list_remove(link);
            filch__list_push_back(ring, link);
            return r;
        }
    }
    return stream->private_count ? -EAGAIN : 0;
}

static void keyed_drop(filch_stream *self)
{
    filch_keyed_stream *stream = (filch_keyed_stream *)self;
    struct filch__list *ring = ring_of(stream);

    while (!filch__list_is_empty(ring))
        filch_stream_drop(take_out(stream, entry_of_link(ring->next)));
}

int filch_keyed_stream_init(filch_keyed_stream *stream, size_t item_bytes)
{
    if (!stream || item_bytes - 1 >= FILCH_STREAM_ITEM_MAX)
        return -EINVAL;
    filch__stream_base(&stream->base, keyed_next, keyed_drop, sizeof(uint64_t) + item_bytes);
    filch__list_init(ring_of(stream));
    stream->private_root = NULL;
    stream->private_count = 0;
    stream->failed_key = 0;
    return 0;
}

int filch_keyed_stream_insert(filch_keyed_stream *stream, filch_keyed_entry *entry, uint64_t key,
                              filch_stream *from)
{
    if (!stream || !stream->base.drop || !entry || !filch__stream_is_fit(from) ||
        sizeof key + from->item_bytes != stream->base.item_bytes)
        return -EINVAL;
    if (filch__key_find(*root_of(stream), key))
        return -EEXIST;
    entry->from = from;
    node_of(entry)->key = key;
    filch__key_insert(root_of(stream), node_of(entry));
    filch__list_push_back(ring_of(stream), link_of(entry));
    stream->private_count++;
    stream->base.ended = false;
    return 0;
}

filch_stream *filch_keyed_stream_remove(filch_keyed_stream *stream, uint64_t key)
{
    struct filch__key_node *node = stream ? filch__key_find(*root_of(stream), key) : NULL;

    return node ? take_out(stream, filch_container_of(node, filch_keyed_entry, private_node))
                : NULL;
}

size_t filch_keyed_stream_count(const filch_keyed_stream *stream)
{
    return stream ? stream->private_count : 0;
}
