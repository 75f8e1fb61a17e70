/* Records by number, in chunks that are made on demand and never move.
 *
 * Numbers are used again, and the kernel forgets a registration with the last descriptor of what it
 * was for. So each number has an epoch, for the whole process, which is counted up whenever a
 * handle is opened on it: a record of another epoch starts anew. Counting is a store by whoever
 * opens; nothing is to be done when a descriptor is closed, by us or behind our back.
 *
 * Epochs are not counted until there is an epoll driver. They lie in memory that is zero and costs
 * nothing until it is touched: so counting cannot fail.
 */
#include "io/epoll/record.h"

#include <stdlib.h>

#define NUMBERS (FILCH__RECORD_CHUNK * FILCH__RECORD_CHUNKS)

/* Relaxed: who is told of a descriptor has seen it opened. */
static filch_atomic_u32 epochs[NUMBERS];
/* 1: they are counted. Relaxed: a descriptor comes to a runtime's tasks after its start. */
static filch_atomic_u32 counting;

void filch__fd_renew(int fd)
{
    if (filch_load_relaxed(&counting) && fd >= 0 && fd < NUMBERS)
        filch_fetch_add_relaxed(&epochs[fd], 1);
}

uint32_t filch__fd_epoch(int fd)
{
    return filch_load_relaxed(&epochs[fd]);
}

void filch__fd_epochs_begin(void)
{
    filch_store_relaxed(&counting, 1);
}

static struct filch__record *make_chunk(unsigned index)
{
    struct filch__record *records = calloc(FILCH__RECORD_CHUNK, sizeof *records);

    for (unsigned i = 0; records && i < FILCH__RECORD_CHUNK; i++) {
        records[i].fd = (int)(index * FILCH__RECORD_CHUNK + i);
        filch_spinlock_init(&records[i].lock);
        records[i].ready[FILCH_IN] = records[i].ready[FILCH_OUT] = true;
        filch__list_init(&records[i].ops[FILCH_IN]);
        filch__list_init(&records[i].ops[FILCH_OUT]);
        filch__list_init(&records[i].polls);
    }
    return records;
}

struct filch__record *filch__record_get(struct filch__records *records, int fd)
{
    filch_atomic_ptr *slot;
    void *chunk;

    if (fd < 0 || fd >= NUMBERS)
        return NULL;
    slot = &records->chunk[fd / FILCH__RECORD_CHUNK];
    chunk = filch_load_acquire(slot); /* [record-chunk] */
    if (!chunk) {
        void *made = make_chunk((unsigned)fd / FILCH__RECORD_CHUNK);

        if (made && !filch_cas_acq_rel(slot, &chunk, made)) /* [record-chunk] */
            free(made);
        else
            chunk = made;
    }
    return chunk ? (struct filch__record *)chunk + fd % FILCH__RECORD_CHUNK : NULL;
}

void filch__records_each(struct filch__records *records, void (*fn)(struct filch__record *))
{
    for (unsigned i = 0; i < FILCH__RECORD_CHUNKS; i++) {
        struct filch__record *chunk = filch_load_acquire(&records->chunk[i]); /* [record-chunk] */

        for (unsigned j = 0; chunk && j < FILCH__RECORD_CHUNK; j++)
            fn(&chunk[j]);
    }
}

void filch__records_free(struct filch__records *records)
{
    for (unsigned i = 0; i < FILCH__RECORD_CHUNKS; i++)
        free(filch_load_acquire(&records->chunk[i])); /* [record-chunk] */
}
