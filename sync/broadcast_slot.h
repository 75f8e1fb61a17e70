/* A slot of a broadcast's ring: one message, written under a lock and read without it.
 *
 *     sequence:  0 -> ... -> WRITING(n) -> WRITTEN(n) -> WRITING(n + capacity) -> ...
 *
 * A reader of message n looks at the sequence, copies the words aside, and looks again. [slot] The
 * words are stored with release and loaded with acquire: a reader that has loaded a word of a later
 * message sees at its second look at least that message's WRITING, and throws the copy away.
 * WRITTEN, release, says that the words are there. (No fence: the words' own orders do it, which
 * costs nothing on x86-64 and lets sanitizers and the explorer follow.) */
#ifndef FILCH_SYNC_BROADCAST_SLOT_H
#define FILCH_SYNC_BROADCAST_SLOT_H

#include <string.h>

#include "runtime/base/atomic.h"

#define FILCH__SLOT_WRITING(n) (2 * (n) + 1)
#define FILCH__SLOT_WRITTEN(n) (2 * (n) + 2)

/* Most words of a message that is read without the lock. */
#define FILCH__SLOT_SMALL_WORDS 8

struct filch__slot {
    filch_atomic_u64 sequence; /* [slot]; written under the lock */
    filch_atomic_u64 words[];  /* the same */
};

static inline void filch__slot_write(struct filch__slot *slot, const unsigned char *from,
                                     size_t bytes, uint64_t n)
{
    filch_store_relaxed(&slot->sequence, FILCH__SLOT_WRITING(n)); /* the words carry it along */
    for (size_t i = 0; bytes; i++) {
        size_t part = bytes < sizeof(uint64_t) ? bytes : sizeof(uint64_t);
        uint64_t word = 0;

        memcpy(&word, from, part);
        filch_store_release(&slot->words[i], word); /* [slot] */
        from += part;
        bytes -= part;
    }
    filch_store_release(&slot->sequence, FILCH__SLOT_WRITTEN(n)); /* [slot] */
}

static inline void filch__slot_copy(struct filch__slot *slot, unsigned char *to, size_t bytes)
{
    for (size_t i = 0; bytes; i++) {
        size_t part = bytes < sizeof(uint64_t) ? bytes : sizeof(uint64_t);
        uint64_t word = filch_load_acquire(&slot->words[i]); /* [slot] */

        memcpy(to, &word, part);
        to += part;
        bytes -= part;
    }
}

/* Without the lock. Return: false: it is not there, or was overwritten. */
static inline bool filch__slot_read(struct filch__slot *slot, void *to, size_t bytes, uint64_t n)
{
    uint64_t aside[FILCH__SLOT_SMALL_WORDS];

    if (filch_load_acquire(&slot->sequence) != FILCH__SLOT_WRITTEN(n)) /* [slot] */
        return false;
    filch__slot_copy(slot, (unsigned char *)aside, bytes);
    /* Relaxed: the words were acquired. */
    if (filch_load_relaxed(&slot->sequence) != FILCH__SLOT_WRITTEN(n))
        return false;
    memcpy(to, aside, bytes);
    return true;
}

/* The same for one word: most messages are a pointer or a number. */
static inline bool filch__slot_read_word(struct filch__slot *slot, void *to, uint64_t n)
{
    uint64_t word;

    if (filch_load_acquire(&slot->sequence) != FILCH__SLOT_WRITTEN(n)) /* [slot] */
        return false;
    word = filch_load_acquire(&slot->words[0]);                        /* [slot] */
    if (filch_load_relaxed(&slot->sequence) != FILCH__SLOT_WRITTEN(n)) /* the word was acquired */
        return false;
    memcpy(to, &word, sizeof(word));
    return true;
}

#endif
