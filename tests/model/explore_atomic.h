/* The atomics vocabulary as steps of the explorer: see explore.h, and runtime/base/atomic.h for
 * what each means. */
#ifndef FILCH_TESTS_MODEL_EXPLORE_ATOMIC_H
#define FILCH_TESTS_MODEL_EXPLORE_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xp_location {
    uint64_t execution; /* the one in which it got its number */
    uint64_t initial;
    unsigned number;
};

typedef struct {
    struct xp_location location;
    uint32_t type[0];
} filch_atomic_u32;

typedef struct {
    struct xp_location location;
    uint64_t type[0];
} filch_atomic_u64;

typedef struct {
    struct xp_location location;
    void *type[0];
} filch_atomic_ptr;

/* What a spin lock is to all models but the one that is about it. */
struct xp_lock {
    uint64_t execution;
    unsigned number;
};

enum xp_order { XP_RELAXED, XP_ACQUIRE, XP_RELEASE, XP_ACQ_REL, XP_SEQ_CST };

/* One place in the source where an operation is done. All those that are compiled into a program
 * are found through pointers in a section of their own: the places that no model comes to, too. */
struct xp_site {
    const char *file;
    int line;
    const char *function; /* known when it is executed */
    const char *operation;
    enum xp_order order;
    int kind; /* 0 load, 1 store, 2 read-modify-write, 3 fence */
    struct xp_site *next;
    bool known;
};

void xp_init(struct xp_location *location, uint64_t value);
uint64_t xp_load(struct xp_location *location, struct xp_site *site);
void xp_store(struct xp_location *location, uint64_t value, struct xp_site *site);
enum xp_rmw { XP_EXCHANGE, XP_ADD, XP_SUB, XP_OR, XP_AND };
uint64_t xp_rmw(struct xp_location *location, enum xp_rmw what, uint64_t operand, uint64_t mask,
                struct xp_site *site);
bool xp_cas(struct xp_location *location, uint64_t *expected, uint64_t value, struct xp_site *site);
bool xp_fence_heavy(struct xp_site *site);
void xp_plain(const void *address, bool write);
void xp_relax(void);
void xp_lock(struct xp_lock *lock);
bool xp_try_lock(struct xp_lock *lock);
void xp_unlock(struct xp_lock *lock);

#define XP_TYPE(p) __typeof__((p)->type[0])
#define XP_WORD(p, v) ((uint64_t)(XP_TYPE(p))(v))
#define XP_MASK(p) (sizeof(XP_TYPE(p)) == 4 ? UINT32_MAX : UINT64_MAX)
#define XP_SITE(op, o, k)                                                                          \
    static struct xp_site xp_site_ = {                                                             \
        .file = __FILE__, .line = __LINE__, .operation = #op, .order = o, .kind = k};              \
    __attribute__((section("xp_sites"), used)) static struct xp_site *xp_site_entry_ = &xp_site_;  \
    xp_site_.function = __func__
#define XP_LOAD(op, o, p)                                                                          \
    __extension__({                                                                                \
        XP_SITE(op, o, 0);                                                                         \
        (XP_TYPE(p)) xp_load((struct xp_location *)(uintptr_t) & (p)->location, &xp_site_);        \
    })
#define XP_STORE(op, o, p, v)                                                                      \
    __extension__({                                                                                \
        XP_SITE(op, o, 1);                                                                         \
        xp_store(&(p)->location, XP_WORD(p, v), &xp_site_);                                        \
    })
#define XP_RMW(op, o, what, p, v)                                                                  \
    __extension__({                                                                                \
        XP_SITE(op, o, 2);                                                                         \
        (XP_TYPE(p)) xp_rmw(&(p)->location, what, XP_WORD(p, v), XP_MASK(p), &xp_site_);           \
    })
#define XP_CAS(op, o, p, expected, v)                                                              \
    __extension__({                                                                                \
        XP_SITE(op, o, 2);                                                                         \
        uint64_t xp_expected_ = (uint64_t)(*(expected));                                           \
        bool xp_done_ = xp_cas(&(p)->location, &xp_expected_, XP_WORD(p, v), &xp_site_);           \
        *(expected) = (XP_TYPE(p))xp_expected_;                                                    \
        xp_done_;                                                                                  \
    })

#define XP_FENCE_HEAVY()                                                                           \
    __extension__({                                                                                \
        XP_SITE(fence_heavy, XP_SEQ_CST, 3);                                                       \
        xp_fence_heavy(&xp_site_);                                                                 \
    })

#define filch_atomic_init(p, v) xp_init(&(p)->location, XP_WORD(p, v))
#define filch_load_relaxed(p) XP_LOAD(load_relaxed, XP_RELAXED, p)
#define filch_load_acquire(p) XP_LOAD(load_acquire, XP_ACQUIRE, p)
#define filch_load_seq_cst(p) XP_LOAD(load_seq_cst, XP_SEQ_CST, p)
#define filch_store_relaxed(p, v) XP_STORE(store_relaxed, XP_RELAXED, p, v)
#define filch_store_release(p, v) XP_STORE(store_release, XP_RELEASE, p, v)
#define filch_store_seq_cst(p, v) XP_STORE(store_seq_cst, XP_SEQ_CST, p, v)
#define filch_exchange_acquire(p, v) XP_RMW(exchange_acquire, XP_ACQUIRE, XP_EXCHANGE, p, v)
#define filch_exchange_acq_rel(p, v) XP_RMW(exchange_acq_rel, XP_ACQ_REL, XP_EXCHANGE, p, v)
#define filch_exchange_seq_cst(p, v) XP_RMW(exchange_seq_cst, XP_SEQ_CST, XP_EXCHANGE, p, v)
#define filch_cas_weak_relaxed(p, e, v) XP_CAS(cas_weak_relaxed, XP_RELAXED, p, e, v)
#define filch_cas_weak_acq_rel(p, e, v) XP_CAS(cas_weak_acq_rel, XP_ACQ_REL, p, e, v)
#define filch_cas_weak_seq_cst(p, e, v) XP_CAS(cas_weak_seq_cst, XP_SEQ_CST, p, e, v)
#define filch_cas_relaxed(p, e, v) XP_CAS(cas_relaxed, XP_RELAXED, p, e, v)
#define filch_cas_acquire(p, e, v) XP_CAS(cas_acquire, XP_ACQUIRE, p, e, v)
#define filch_cas_release(p, e, v) XP_CAS(cas_release, XP_RELEASE, p, e, v)
#define filch_cas_acq_rel(p, e, v) XP_CAS(cas_acq_rel, XP_ACQ_REL, p, e, v)
#define filch_cas_seq_cst(p, e, v) XP_CAS(cas_seq_cst, XP_SEQ_CST, p, e, v)
#define filch_fetch_add_relaxed(p, v) XP_RMW(fetch_add_relaxed, XP_RELAXED, XP_ADD, p, v)
#define filch_fetch_add_release(p, v) XP_RMW(fetch_add_release, XP_RELEASE, XP_ADD, p, v)
#define filch_fetch_add_acq_rel(p, v) XP_RMW(fetch_add_acq_rel, XP_ACQ_REL, XP_ADD, p, v)
#define filch_fetch_add_seq_cst(p, v) XP_RMW(fetch_add_seq_cst, XP_SEQ_CST, XP_ADD, p, v)
#define filch_fetch_sub_relaxed(p, v) XP_RMW(fetch_sub_relaxed, XP_RELAXED, XP_SUB, p, v)
#define filch_fetch_sub_release(p, v) XP_RMW(fetch_sub_release, XP_RELEASE, XP_SUB, p, v)
#define filch_fetch_sub_acq_rel(p, v) XP_RMW(fetch_sub_acq_rel, XP_ACQ_REL, XP_SUB, p, v)
#define filch_fetch_sub_seq_cst(p, v) XP_RMW(fetch_sub_seq_cst, XP_SEQ_CST, XP_SUB, p, v)
#define filch_fetch_or_acq_rel(p, v) XP_RMW(fetch_or_acq_rel, XP_ACQ_REL, XP_OR, p, v)
#define filch_fetch_or_seq_cst(p, v) XP_RMW(fetch_or_seq_cst, XP_SEQ_CST, XP_OR, p, v)
#define filch_fetch_and_acq_rel(p, v) XP_RMW(fetch_and_acq_rel, XP_ACQ_REL, XP_AND, p, v)
#define filch_fetch_and_seq_cst(p, v) XP_RMW(fetch_and_seq_cst, XP_SEQ_CST, XP_AND, p, v)

/* runtime/base/fence.h. */
enum xp_fences { XP_FENCES_BY_KERNEL, XP_FENCES_BY_STORES, XP_FENCES_REFUSED };
extern enum xp_fences xp_fences; /* a model may change it as it is reset */
#define filch__fence_is_by_kernel() (xp_fences != XP_FENCES_BY_STORES)
#define filch_fence_heavy() XP_FENCE_HEAVY()

#define filch_plain_read(p) xp_plain((p), false)
#define filch_plain_write(p) xp_plain((p), true)
#define filch_cpu_relax() xp_relax()

#ifndef FILCH_MODEL_SPINLOCK
typedef struct xp_lock filch_spinlock;

static inline void filch_spinlock_init(filch_spinlock *lock)
{
    lock->execution = 0;
}
#define filch_spinlock_lock(lock) xp_lock(lock)
#define filch_spinlock_try(lock) xp_try_lock(lock)
#define filch_spinlock_try_free(lock) xp_try_lock(lock)
#define filch_spinlock_unlock(lock) xp_unlock(lock)
#endif

#endif
