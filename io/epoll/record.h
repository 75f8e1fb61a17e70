/* Descriptors as the epoll engine knows them: a record for each, by number. See record.c. */
#ifndef FILCH_IO_EPOLL_RECORD_H
#define FILCH_IO_EPOLL_RECORD_H

#include "io/op.h"
#include "runtime/base/list.h"
#include "runtime/base/spinlock.h"

struct filch__epoll_lane;

enum filch__direction { FILCH_IN, FILCH_OUT };

/* All but the first is guarded by the lock. */
struct filch__record {
    int fd;
    filch_spinlock lock;
    uint32_t epoch;    /* of the number, when the rest was written */
    uint32_t edges;    /* events so far */
    uint32_t interest; /* what it is registered for, or about to be */
    bool registered;   /* with its home's epoll */
    bool ready[2];     /* a try is worth while */
    bool busy[2];      /* somebody carries out ops of the list */
    bool tcp;          /* a read that gives less than it was asked for has taken all there was */
    bool ended;        /* the other side has closed or reset, or there is urgent data: always try */
    struct filch__epoll_lane *home; /* whose epoll it is registered with */
    struct filch__list ops[2];      /* that wait for their turn, or for readiness */
    struct filch__list polls;
};

#define FILCH__RECORD_CHUNK 256
#define FILCH__RECORD_CHUNKS 4096 /* a million numbers: the kernel's own default limit */

/* Records of a driver, made when they are first needed, freed with it. */
struct filch__records {
    /* Arrays of FILCH__RECORD_CHUNK. [record-chunk] CAS release by who makes it -> acquire: what
     * it wrote. */
    filch_atomic_ptr chunk[FILCH__RECORD_CHUNKS];
};

/* Return: NULL: there is no memory, or no room for a number as high as that. */
struct filch__record *filch__record_get(struct filch__records *records, int fd);

void filch__records_each(struct filch__records *records, void (*fn)(struct filch__record *));
void filch__records_free(struct filch__records *records);

/* The number stands for something new: a handle was opened on it. Any thread. */
void filch__fd_renew(int fd);

/* How often that was so. @fd: of a record. */
uint32_t filch__fd_epoch(int fd);

/* From now on, in this process, epochs are counted. */
void filch__fd_epochs_begin(void);

#endif
