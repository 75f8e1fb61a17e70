/* What loads see and what stores carry.
 *
 *      location   store 0 (initial)   store 1   store 2   newest        modification order = order of execution
 *                                       ^ view of a thread: a load returns this one or a later one
 *
 * Invariants:
 *   [coherence]  a thread's view of a location only grows: read and write both raise it
 *   [publish]    a store's `carried` is a view that the acquiring reader joins; empty for a relaxed store; a
 *                read-modify-write joins that of the store it replaces (release sequence)
 *   [epoch]      a thread's clock grows after each release, never before: what it does later is not carried by it
 *   [sc]         sc_floor is per location: it orders seq_cst accesses of one location, and publishes nothing
 */
#include "tests/model/explorer_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifndef XP_STORES
#define XP_STORES 32
#endif
/* "Stores become visible in finite time": how often a thread repeats a stale read in a loop that does not relax. */
#ifndef XP_STALE_READS
#define XP_STALE_READS 6
#endif
#define XP_PLAINS 128 /* a power of two */

_Static_assert(XP_STORES < UINT8_MAX, "views hold indices of stores in bytes");

struct store {
    xp_view carried;
    uint64_t value;
};

struct history {
    int n;
    /* filch_atomic_init() is no atomic access: others must be ordered after it. */
    uint8_t init_clock;
    int init_by;
    struct store store[XP_STORES];
};

struct plain {
    const volatile void *address;
    uint64_t execution;
    int writer;
    uint8_t write_clock;
    uint8_t read_clock[XP_MAX_THREADS + 1];
};

const char *const xp_order_names[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};

static struct history histories[XP_LOCATIONS];
static unsigned locations;
static xp_view sc_floor;
static struct plain plains[XP_PLAINS];

void xp_memory_begin(void)
{
    locations = 0;
    memset(sc_floor, 0, sizeof sc_floor);
}

void xp_join(uint8_t *into, const uint8_t *from)
{
    for (int i = 0; i < XP_VIEW_BYTES; i++)
        into[i] = into[i] > from[i] ? into[i] : from[i];
}

void xp_trace(const struct xp_site *site, const char *format, ...)
{
    va_list args;

    if (!xp.tracing)
        return;
    if (xp.running == XP_SETUP)
        printf("    setup     ");
    else
        printf("    thread %d  ", xp.running);
    if (site)
        printf("%-24s %-20s ", site->operation, site->operand);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    if (site)
        printf("   %s:%d %s()", xp_basename(site->file), site->line, site->function);
    printf("\n");
}

static struct xp_thread *self(void)
{
    return &xp.thread[xp.running];
}

static uint8_t clock_of(int thread)
{
    return xp.thread[thread].seen[XP_LOCATIONS + thread];
}

/* Whether what `thread` did at `clock` happened before the present step. */
static bool is_ordered(int thread, uint8_t clock)
{
    return clock <= self()->seen[XP_LOCATIONS + thread];
}

static void advance_clock(void)
{
    if (++self()->seen[XP_LOCATIONS + xp.running] == UINT8_MAX)
        xp_prune_execution();
}

static void enlist(struct xp_cell *cell, uint64_t value, int by, uint8_t clock)
{
    struct history *h;

    if (locations == XP_LOCATIONS)
        xp_limit("too many shared words");
    h = &histories[locations];
    h->n = 1;
    h->init_by = by;
    h->init_clock = clock;
    h->store[0].value = value;
    memset(h->store[0].carried, 0, sizeof(xp_view));
    cell->execution = xp.execution;
    cell->number = locations++;
}

/* Loads take const words, but even these must be enlisted. */
static unsigned number_of(const struct xp_cell *cell)
{
    if (cell->execution != xp.execution)
        enlist((struct xp_cell *)(uintptr_t)cell, 0, XP_SETUP, 0);
    return cell->number;
}

void xp_init(struct xp_cell *cell, uint64_t value)
{
    enlist(cell, value, xp.running, clock_of(xp.running));
}

/* The beginning of each atomic operation. Return: the number of the location. */
static unsigned begin(const struct xp_cell *cell, struct xp_site *site)
{
    unsigned l;

    if (!site->known)
        xp_note_site(site);
    xp_schedule();
    l = number_of(cell);
    if (!is_ordered(histories[l].init_by, histories[l].init_clock)) {
        xp_trace(site, "race");
        xp_fail_execution("data race: filch_atomic_init() is not ordered before this access");
    }
    return l;
}

static bool acquires(enum xp_order order)
{
    return order == XP_ACQUIRE || order >= XP_ACQ_REL;
}

static bool releases(enum xp_order order)
{
    return order >= XP_RELEASE;
}

static uint64_t read_store(unsigned l, int i, enum xp_order order)
{
    const struct store *s = &histories[l].store[i];

    self()->seen[l] = (uint8_t)i; /* [coherence] */
    if (acquires(order))
        xp_join(self()->seen, s->carried); /* [publish] */
    if (order == XP_SEQ_CST && sc_floor[l] < i)
        sc_floor[l] = (uint8_t)i; /* [sc] */
    return s->value;
}

static void append_store(unsigned l, uint64_t value, enum xp_order order, const uint8_t *sequence)
{
    struct history *h = &histories[l];
    struct xp_thread *t = self();
    struct store *s = &h->store[h->n];

    if (h->n == XP_STORES) {
        if (xp.running == XP_SETUP)
            xp_limit("too many stores in reset() or check()");
        xp_prune_execution();
    }
    s->value = value;
    t->seen[l] = (uint8_t)h->n; /* [coherence] */
    if (releases(order))
        memcpy(s->carried, t->seen, sizeof(xp_view)); /* [publish] */
    else
        memset(s->carried, 0, sizeof(xp_view));
    if (sequence)
        xp_join(s->carried, sequence);
    if (order == XP_SEQ_CST)
        sc_floor[l] = (uint8_t)h->n; /* [sc] */
    h->n++;
    xp.stores++;
    t->stores++;
    if (releases(order))
        advance_clock(); /* [epoch] */
}

static uint8_t larger(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

/* The fairness of loads: see "Bounds" in explorer.h. */
static void note_stale(struct xp_thread *t, unsigned l, uint8_t i)
{
    t->any_stale = true;
    t->stale[l] = (uint8_t)(i + 1);
    t->rereads[l] = t->seen[l] == i ? (uint8_t)(t->rereads[l] + 1) : 0;
    if (t->rereads[l] >= XP_STALE_READS) {
        t->floor[l] = (uint8_t)(i + 1);
        t->rereads[l] = 0;
    }
}

uint64_t xp_load(const struct xp_cell *cell, struct xp_site *site)
{
    unsigned l = begin(cell, site);
    struct xp_thread *t = self();
    int newest = histories[l].n - 1, oldest = larger(t->seen[l], t->floor[l]), i = newest;
    uint64_t value;

    if (site->order == XP_SEQ_CST)
        oldest = larger((uint8_t)oldest, sc_floor[l]);
    if (oldest < newest && xp.running != XP_SETUP) {
        i -= xp_choose(newest - oldest + 1);
        if (i < newest)
            note_stale(t, l, (uint8_t)i);
    }
    value = read_store(l, i, site->order);
    xp_trace(site, "= %#llx%s", (unsigned long long)value, i < newest ? " (stale)" : "");
    return value;
}

void xp_store(struct xp_cell *cell, uint64_t value, struct xp_site *site)
{
    unsigned l = begin(cell, site);

    append_store(l, value, site->order, NULL);
    xp_trace(site, ":= %#llx", (unsigned long long)value);
}

static uint64_t apply(enum xp_rmw_op op, uint64_t old, uint64_t operand)
{
    switch (op) {
    case XP_EXCHANGE:
        return operand;
    case XP_ADD:
        return old + operand;
    case XP_SUB:
        return old - operand;
    case XP_OR:
        return old | operand;
    case XP_AND:
        return old & operand;
    }
    return 0;
}

/* Return: the value that was replaced. */
static uint64_t replace_newest(unsigned l, uint64_t value, enum xp_order order)
{
    int newest = histories[l].n - 1;
    uint64_t old = read_store(l, newest, order);

    append_store(l, value, order, histories[l].store[newest].carried);
    return old;
}

uint64_t xp_rmw(struct xp_cell *cell, enum xp_rmw_op op, uint64_t operand, uint64_t mask, struct xp_site *site)
{
    unsigned l = begin(cell, site);
    uint64_t old = histories[l].store[histories[l].n - 1].value;
    uint64_t value = apply(op, old, operand) & mask;

    replace_newest(l, value, site->order);
    xp_trace(site, "%#llx := %#llx", (unsigned long long)old, (unsigned long long)value);
    return old;
}

bool xp_cas(struct xp_cell *cell, uint64_t *expected, uint64_t value, struct xp_site *site)
{
    unsigned l = begin(cell, site);
    int newest = histories[l].n - 1;
    uint64_t old = histories[l].store[newest].value;

    if (old != *expected) {
        /* A failure is a load: a release order is worth nothing there. */
        read_store(l, newest, site->order);
        xp_trace(site, "= %#llx, not %#llx", (unsigned long long)old, (unsigned long long)*expected);
        *expected = old;
        return false;
    }
    replace_newest(l, value, site->order);
    xp_trace(site, "%#llx := %#llx", (unsigned long long)old, (unsigned long long)value);
    return true;
}

uint64_t xp_newest(const struct xp_cell *cell)
{
    const struct history *h = &histories[number_of(cell)];

    return h->store[h->n - 1].value;
}

uint64_t xp_read_newest(const struct xp_cell *cell)
{
    unsigned l = number_of(cell);

    return read_store(l, histories[l].n - 1, XP_RELAXED);
}

static struct plain *plain_of(const volatile void *address)
{
    size_t i = ((uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15)) >> 57;

    for (int probes = 0; probes < XP_PLAINS; probes++, i = (i + 1) % XP_PLAINS) {
        struct plain *p = &plains[i];

        if (p->execution == xp.execution && p->address == address)
            return p;
        if (p->execution != xp.execution) {
            memset(p, 0, sizeof *p);
            p->execution = xp.execution;
            p->address = address;
            return p;
        }
    }
    xp_limit("too many plain locations");
    return NULL;
}

/* No scheduling point: if another order of plain accesses matters, they race, and the clocks tell. */
void xp_plain(const volatile void *address, bool is_write, struct xp_site *site)
{
    struct plain *p = plain_of(address);

    xp_trace(site, "%p", (void *)(uintptr_t)address);
    if (!is_ordered(p->writer, p->write_clock))
        xp_fail_execution(is_write ? "data race: two writes" : "data race: a read of a write that was not published");
    if (!is_write) {
        p->read_clock[xp.running] = clock_of(xp.running);
        return;
    }
    for (int t = 0; t <= XP_SETUP; t++)
        if (!is_ordered(t, p->read_clock[t]))
            xp_fail_execution("data race: a write beside a read");
    p->writer = xp.running;
    p->write_clock = clock_of(xp.running);
}

static void enlist_lock(filch_spinlock *lock)
{
    if (lock->execution == xp.execution)
        return;
    lock->execution = xp.execution;
    lock->owner = -1;
    memset(lock->carried, 0, sizeof lock->carried);
}

static void take_lock(filch_spinlock *lock)
{
    lock->owner = xp.running;
    xp_join(self()->seen, lock->carried);
}

void xp_lock(filch_spinlock *lock, struct xp_site *site)
{
    enlist_lock(lock);
    if (xp.running == XP_SETUP) {
        if (lock->owner >= 0)
            xp_fail_execution("reset() or check() takes a lock that is held");
    } else {
        self()->waits = XP_WAIT_LOCK;
        self()->lock = lock;
        xp_schedule();
    }
    take_lock(lock);
    xp_trace(site, "locked");
}

bool xp_try_lock(filch_spinlock *lock, struct xp_site *site)
{
    enlist_lock(lock);
    xp_schedule();
    xp_trace(site, lock->owner < 0 ? "locked" : "busy");
    if (lock->owner >= 0)
        return false;
    take_lock(lock);
    return true;
}

void xp_unlock(filch_spinlock *lock, struct xp_site *site)
{
    enlist_lock(lock);
    xp_schedule();
    if (lock->owner != xp.running)
        xp_fail_execution("unlock of a lock that this thread does not hold");
    memcpy(lock->carried, self()->seen, sizeof(xp_view));
    lock->owner = -1;
    xp.stores++;
    self()->stores++;
    advance_clock(); /* [epoch] */
    xp_trace(site, "unlocked");
}

void xp_relax(struct xp_site *site)
{
    struct xp_thread *t = self();
    uint32_t others = xp.stores - t->stores;

    if (xp.running == XP_SETUP)
        return;
    /* Going round again is of use if memory changed during this round, or if it read what it will not read again. */
    if (t->any_stale)
        xp_join(t->floor, t->stale);
    else if (others == t->others_at_relax)
        t->waits = XP_WAIT_STORE;
    memset(t->stale, 0, sizeof t->stale);
    t->any_stale = false;
    t->others_at_relax = others;
    t->relaxing = true;
    xp_trace(site, t->waits == XP_WAIT_STORE ? "sleeps until a store" : "goes round");
    xp_schedule();
}
