/* The vocabulary of runtime/base/atomic.h and runtime/base/spinlock.h, as steps of the explorer.
 *
 * A shared word holds no value here: it is a ticket (xp_cell) for a history of stores, which the explorer
 * keeps for one execution only. A ticket stamped by another execution is stale and starts again from zero,
 * so that zeroed static storage needs no initialisation, as in the normal build.
 *
 * Each place where an operation stands is a site: a static record with its name, its order, and the text
 * of its operand. Traces print it, and mutation checking weakens it. It is built in an argument of
 * its own, because the operands of one operation may contain another: names would shadow.
 *
 * Read explorer.h first: it says what is explored and what is not.
 */
#ifndef FILCH_TESTS_MODEL_EXPLORER_ATOMIC_H
#define FILCH_TESTS_MODEL_EXPLORER_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XP_MAX_THREADS 4
/* One byte per location, then one clock per thread, and one for reset() and check(). */
#define XP_VIEW_BYTES 64

struct xp_cell {
    uint64_t execution; /* in which `number` is valid; others: a location that holds 0 */
    uint32_t number;
};

/* `value` is never touched: it lends the macros its type. */
typedef union {
    struct xp_cell cell;
    uint32_t value;
} filch_atomic_u32;

typedef union {
    struct xp_cell cell;
    uint64_t value;
} filch_atomic_u64;

typedef union {
    struct xp_cell cell;
    void *value;
} filch_atomic_ptr;

typedef struct {
    uint64_t execution; /* others: free */
    int owner;          /* -1: free */
    uint8_t carried[XP_VIEW_BYTES]; /* what the last holder saw: the next one sees it */
} filch_spinlock;

enum xp_order { XP_RELAXED, XP_ACQUIRE, XP_RELEASE, XP_ACQ_REL, XP_SEQ_CST };
enum xp_kind { XP_LOAD, XP_STORE, XP_RMW, XP_OTHER };
enum xp_rmw_op { XP_EXCHANGE, XP_ADD, XP_SUB, XP_OR, XP_AND };

struct xp_site {
    const char *file;
    const char *function;
    const char *operation;
    const char *operand; /* its source text */
    int line;
    enum xp_kind kind;
    enum xp_order order; /* in force: weakened while this site is the mutant */
    bool known;
    struct xp_site *next;
};

void xp_init(struct xp_cell *cell, uint64_t value);
uint64_t xp_load(const struct xp_cell *cell, struct xp_site *site);
void xp_store(struct xp_cell *cell, uint64_t value, struct xp_site *site);
uint64_t xp_rmw(struct xp_cell *cell, enum xp_rmw_op op, uint64_t operand, uint64_t mask, struct xp_site *site);
bool xp_cas(struct xp_cell *cell, uint64_t *expected, uint64_t value, struct xp_site *site);
void xp_plain(const volatile void *address, bool is_write, struct xp_site *site);
void xp_relax(struct xp_site *site);
void xp_lock(filch_spinlock *lock, struct xp_site *site);
bool xp_try_lock(filch_spinlock *lock, struct xp_site *site);
void xp_unlock(filch_spinlock *lock, struct xp_site *site);

static inline bool xp_cas_u32(struct xp_cell *cell, uint32_t *expected, uint32_t value, struct xp_site *site)
{
    uint64_t word = *expected;
    bool done = xp_cas(cell, &word, value, site);

    *expected = (uint32_t)word;
    return done;
}

static inline bool xp_cas_u64(struct xp_cell *cell, uint64_t *expected, uint64_t value, struct xp_site *site)
{
    return xp_cas(cell, expected, value, site);
}

static inline bool xp_cas_ptr(struct xp_cell *cell, void **expected, void *value, struct xp_site *site)
{
    uint64_t word = (uintptr_t)*expected;
    bool done = xp_cas(cell, &word, (uintptr_t)value, site);

    *expected = (void *)(uintptr_t)word;
    return done;
}

#define XP_SITE(operation_, operand_, kind_, order_)                                               \
    __extension__({                                                                                \
        static struct xp_site site_ = {                                                            \
            .file = __FILE__,                                                                      \
            .operation = operation_,                                                               \
            .operand = operand_,                                                                   \
            .line = __LINE__,                                                                      \
            .kind = kind_,                                                                         \
            .order = order_,                                                                       \
        };                                                                                         \
        site_.function = __func__;                                                                 \
        &site_;                                                                                    \
    })

/* The comma drops the const of a field that is only read. */
#define XP_TYPE(p) __typeof__(((void)0, (p)->value))
#define XP_WORD(p, v) ((uint64_t)(XP_TYPE(p))(v))
#define XP_MASK(p) (UINT64_MAX >> (64 - 8 * sizeof(XP_TYPE(p))))

#define XP_DO_LOAD(op, o, p) ((XP_TYPE(p))xp_load(&(p)->cell, XP_SITE(op, #p, XP_LOAD, o)))
#define XP_DO_STORE(op, o, p, v) xp_store(&(p)->cell, XP_WORD(p, v), XP_SITE(op, #p, XP_STORE, o))
#define XP_DO_RMW(op, o, what, p, v)                                                               \
    ((XP_TYPE(p))xp_rmw(&(p)->cell, what, XP_WORD(p, v), XP_MASK(p), XP_SITE(op, #p, XP_RMW, o)))
#define XP_DO_CAS(op, o, p, expected, v)                                                           \
    _Generic(((void)0, (p)->value), uint32_t : xp_cas_u32, uint64_t : xp_cas_u64, void * : xp_cas_ptr)( \
        &(p)->cell, expected, v, XP_SITE(op, #p, XP_RMW, o))

#define filch_atomic_init(p, v) xp_init(&(p)->cell, XP_WORD(p, v))

#define filch_load_relaxed(p) XP_DO_LOAD("filch_load_relaxed", XP_RELAXED, p)
#define filch_load_acquire(p) XP_DO_LOAD("filch_load_acquire", XP_ACQUIRE, p)
#define filch_load_seq_cst(p) XP_DO_LOAD("filch_load_seq_cst", XP_SEQ_CST, p)

#define filch_store_relaxed(p, v) XP_DO_STORE("filch_store_relaxed", XP_RELAXED, p, v)
#define filch_store_release(p, v) XP_DO_STORE("filch_store_release", XP_RELEASE, p, v)
#define filch_store_seq_cst(p, v) XP_DO_STORE("filch_store_seq_cst", XP_SEQ_CST, p, v)

#define filch_exchange_acquire(p, v) XP_DO_RMW("filch_exchange_acquire", XP_ACQUIRE, XP_EXCHANGE, p, v)
#define filch_exchange_acq_rel(p, v) XP_DO_RMW("filch_exchange_acq_rel", XP_ACQ_REL, XP_EXCHANGE, p, v)
#define filch_exchange_seq_cst(p, v) XP_DO_RMW("filch_exchange_seq_cst", XP_SEQ_CST, XP_EXCHANGE, p, v)

#define filch_cas_weak_relaxed(p, e, v) XP_DO_CAS("filch_cas_weak_relaxed", XP_RELAXED, p, e, v)
#define filch_cas_weak_acq_rel(p, e, v) XP_DO_CAS("filch_cas_weak_acq_rel", XP_ACQ_REL, p, e, v)
#define filch_cas_weak_seq_cst(p, e, v) XP_DO_CAS("filch_cas_weak_seq_cst", XP_SEQ_CST, p, e, v)
#define filch_cas_acq_rel(p, e, v) XP_DO_CAS("filch_cas_acq_rel", XP_ACQ_REL, p, e, v)
#define filch_cas_seq_cst(p, e, v) XP_DO_CAS("filch_cas_seq_cst", XP_SEQ_CST, p, e, v)

#define filch_fetch_add_relaxed(p, v) XP_DO_RMW("filch_fetch_add_relaxed", XP_RELAXED, XP_ADD, p, v)
#define filch_fetch_add_release(p, v) XP_DO_RMW("filch_fetch_add_release", XP_RELEASE, XP_ADD, p, v)
#define filch_fetch_add_acq_rel(p, v) XP_DO_RMW("filch_fetch_add_acq_rel", XP_ACQ_REL, XP_ADD, p, v)
#define filch_fetch_add_seq_cst(p, v) XP_DO_RMW("filch_fetch_add_seq_cst", XP_SEQ_CST, XP_ADD, p, v)
#define filch_fetch_sub_relaxed(p, v) XP_DO_RMW("filch_fetch_sub_relaxed", XP_RELAXED, XP_SUB, p, v)
#define filch_fetch_sub_acq_rel(p, v) XP_DO_RMW("filch_fetch_sub_acq_rel", XP_ACQ_REL, XP_SUB, p, v)
#define filch_fetch_sub_seq_cst(p, v) XP_DO_RMW("filch_fetch_sub_seq_cst", XP_SEQ_CST, XP_SUB, p, v)
#define filch_fetch_or_acq_rel(p, v) XP_DO_RMW("filch_fetch_or_acq_rel", XP_ACQ_REL, XP_OR, p, v)
#define filch_fetch_or_seq_cst(p, v) XP_DO_RMW("filch_fetch_or_seq_cst", XP_SEQ_CST, XP_OR, p, v)
#define filch_fetch_and_acq_rel(p, v) XP_DO_RMW("filch_fetch_and_acq_rel", XP_ACQ_REL, XP_AND, p, v)
#define filch_fetch_and_seq_cst(p, v) XP_DO_RMW("filch_fetch_and_seq_cst", XP_SEQ_CST, XP_AND, p, v)

/* Keyed by exact address: mark each field by the same one everywhere. */
#define filch_plain_read(p) xp_plain((p), false, XP_SITE("filch_plain_read", #p, XP_OTHER, XP_RELAXED))
#define filch_plain_write(p) xp_plain((p), true, XP_SITE("filch_plain_write", #p, XP_OTHER, XP_RELAXED))
#define filch_cpu_relax() xp_relax(XP_SITE("filch_cpu_relax", "", XP_OTHER, XP_RELAXED))

static inline void filch_spinlock_init(filch_spinlock *lock)
{
    lock->execution = 0;
}

#define filch_spinlock_try(p) xp_try_lock((p), XP_SITE("filch_spinlock_try", #p, XP_OTHER, XP_RELAXED))
#define filch_spinlock_lock(p) xp_lock((p), XP_SITE("filch_spinlock_lock", #p, XP_OTHER, XP_RELAXED))
#define filch_spinlock_unlock(p) xp_unlock((p), XP_SITE("filch_spinlock_unlock", #p, XP_OTHER, XP_RELAXED))

#endif
