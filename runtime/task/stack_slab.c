/* See stack_slab.h. Everything here but the search is called under the lock of stack.c.
 *
 * Invariants, for each slab:
 *   [bits]   idle_count and blank_count are the numbers of bits; no stack has both; the slab is in
 *            the lists that its counts say.
 *   [ready]  every stack that is neither blank nor absent is below `ready`, and has its guard.
 *            Blank ones are taken lowest first, so the lowest is at most `ready`.
 *
 * Idle memory is given back by the run of neighbours: MADV_DONTNEED leaves guards as they are, so
 * one call serves stacks and what lies between them. When a whole slab is blank its guards go too:
 * they are what keeps its page tables, 0.6 KB for each stack.
 *
 * Rejected: a list through the headers of idle stacks, since trimming would have to read each, and
 * could not give the page of the header back; unmapping slabs, since the handler searches them
 * without a lock.
 */
#include "runtime/task/stack_slab.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/base/assert.h"
#include "runtime/base/pool.h"
#include "runtime/base/valgrind.h"
#include "runtime/task/switch.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef PIDFD_SELF_THREAD
#define PIDFD_SELF_THREAD (-10000)
#endif

#define GUARD FILCH__STACK_GUARD_BYTES
#define GUARD_BATCH 32
#define TRIM_STACKS 64
#define MAPPINGS_PER_STACK 2
#define MAX_MAP_COUNT_DEFAULT 65530

_Static_assert(sizeof(struct filch__stack) <= FILCH_CACHELINE, "the header is one line");

static struct {
    filch_atomic_ptr first; /* as slab.next: [slab-publish] */
    struct filch__stack_slab *last;
    size_t mappings;     /* spent on PROT_NONE guards */
    size_t mappings_max; /* 0: not known yet */
} all;

static struct filch__pool descriptions =
    FILCH__POOL_INITIALISER(struct filch__stack_slab, idle_link.next);

_Static_assert(sizeof(struct filch__stack_slab) % FILCH_CACHELINE == 0, "as the pool wants it");

/* A few hundred megabytes of address space a slab at most. */
static unsigned slab_stacks(enum filch__stack_class size_class)
{
    static const unsigned stacks[FILCH__STACK_CLASSES] = {[FILCH_STACK_16K] = 1024,
                                                          [FILCH_STACK_64K] = 1024,
                                                          [FILCH_STACK_256K] = 1024,
                                                          [FILCH_STACK_1M] = 256};

    return stacks[size_class];
}

static void *stack_header(const struct filch__stack_slab *slab, unsigned index)
{
    return slab->memory + (index + 1) * slab->stride - FILCH_CACHELINE;
}

static char *stack_low(const struct filch__stack_slab *slab, unsigned index)
{
    return slab->memory + index * slab->stride + GUARD;
}

static void bit_set(uint64_t *bits, unsigned index)
{
    bits[index / 64] |= (uint64_t)1 << index % 64;
}

static void bit_clear(uint64_t *bits, unsigned index)
{
    bits[index / 64] &= ~((uint64_t)1 << index % 64);
}

static bool bit_is_set(const uint64_t *bits, unsigned index)
{
    return bits[index / 64] >> index % 64 & 1;
}

/* The lowest bit that is set; there is one. */
static unsigned bit_first(const uint64_t *bits)
{
    unsigned word = 0;

    while (!bits[word])
        word++;
    return word * 64 + (unsigned)__builtin_ctzll(bits[word]);
}

void filch__slab_class_init(struct filch__slab_class *of)
{
    filch__list_init(&of->idle);
    filch__list_init(&of->blank);
    filch__list_init(&of->drained);
    of->unready = NULL;
    of->idle_count = 0;
}

static void set_blank(struct filch__slab_class *of, struct filch__stack_slab *slab, unsigned index)
{
    bit_set(slab->blank, index);
    if (!slab->blank_count++)
        filch__list_push_back(&of->blank, &slab->blank_link);
}

static size_t mappings_max(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long count = 0;

    if (file) {
        if (fscanf(file, "%lu", &count) != 1)
            count = 0;
        fclose(file);
    }
    return (count ? count : MAX_MAP_COUNT_DEFAULT) / 2;
}

static bool budget_is_spent(void)
{
    if (!all.mappings_max)
        all.mappings_max = mappings_max();
    return all.mappings + MAPPINGS_PER_STACK > all.mappings_max;
}

/* Maps @slab, with no access yet. Near a limit on address space a part of a slab must do; and under
 * Valgrind, which notes of each byte what it is: a whole one takes it a second. */
static bool map_memory(struct filch__stack_slab *slab)
{
    unsigned most = slab_stacks(slab->size_class) / (RUNNING_ON_VALGRIND ? 32 : 1);

    for (unsigned count = most; count; count /= 4) {
        void *memory = mmap(NULL, count * slab->stride, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

        if (memory != MAP_FAILED) {
            slab->memory = memory;
            slab->count = count;
            return true;
        }
    }
    return false;
}

static void slab_publish(struct filch__stack_slab *slab)
{
    filch_atomic_init(&slab->next, NULL);
    filch_store_release(all.last ? &all.last->next : &all.first, slab); /* [slab-publish] */
    all.last = slab;
}

/* Return: is it an advised slab? */
static bool make_advised(struct filch__stack_slab *slab)
{
    size_t bytes = slab->count * slab->stride;

    /* The first guard is tried before anything is writable: were memory locked, all would become
     * resident. */
    return madvise(slab->memory, GUARD, MADV_GUARD_INSTALL) == 0 &&
           mprotect(slab->memory, bytes, PROT_READ | PROT_WRITE) == 0;
}

static int map_slab(struct filch__slab_class *of, enum filch__stack_class size_class)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct filch__stack_slab *slab = filch__pool_take(&descriptions);

    if (!slab)
        return -ENOMEM;
    memset(slab, 0, sizeof *slab);
    slab->size_class = size_class;
    filch__list_init(&slab->idle_link);
    filch__list_init(&slab->blank_link);
    filch__list_init(&slab->drained_link);
    /* An odd number of pages: else the hot ends of all stacks share a few sets of the TLB. */
    slab->stride = GUARD + ((filch__slab_usable(size_class) + page - 1) & ~(page - 1)) + page;
    if (!map_memory(slab)) {
        filch__pool_give(&descriptions, slab);
        return -ENOMEM;
    }
    /* A huge page would make each stack cost 2 MB. */
    madvise(slab->memory, slab->count * slab->stride, MADV_NOHUGEPAGE);
    slab->is_advised = make_advised(slab);
    slab_publish(slab);
    of->map_bytes += slab->count * slab->stride;
    if (!slab->is_advised) {
        of->unready = slab;
        return 0;
    }
    for (unsigned i = 0; i < slab->count; i++)
        set_blank(of, slab, i);
    of->mapped += slab->count;
    return 0;
}

/* Makes some stacks of a protected slab writable. Return: 0; -ENOMEM if not even one. */
static int prepare_batch(struct filch__slab_class *of, struct filch__stack_slab *slab)
{
    unsigned n = 0;

    while (n < GUARD_BATCH && slab->ready < slab->count && !budget_is_spent() &&
           mprotect(stack_low(slab, slab->ready), slab->stride - GUARD, PROT_READ | PROT_WRITE) ==
               0) {
        all.mappings += MAPPINGS_PER_STACK;
        set_blank(of, slab, slab->ready++);
        of->mapped++;
        n++;
    }
    if (slab->ready == slab->count)
        of->unready = NULL;
    return n ? 0 : -ENOMEM;
}

int filch__slab_grow(struct filch__slab_class *of, enum filch__stack_class size_class)
{
    if (!of->unready) {
        int r = map_slab(of, size_class);

        if (r < 0 || !of->unready)
            return r;
    }
    return prepare_batch(of, of->unready);
}

static bool put_guard(struct filch__stack_slab *slab, unsigned index)
{
    char *guard = slab->memory + index * slab->stride;

    if (madvise(guard, GUARD, MADV_GUARD_INSTALL) == 0)
        return true;
    if (budget_is_spent() || mprotect(guard, GUARD, PROT_NONE) < 0)
        return false;
    all.mappings += MAPPINGS_PER_STACK;
    slab->has_mapped_guards = true;
    return true;
}

/* Return: how many bytes, from the first range on; negative: none. */
static ssize_t advise_at_once(const struct iovec *ranges, unsigned n, int advice)
{
    if (RUNNING_ON_VALGRIND) /* 3.19 knows no such call */
        return -1;
    return process_madvise(PIDFD_SELF_THREAD, ranges, n, advice, 0);
}

/* Many guards by one call, for kernels that allow it (6.14). Return: how many. */
static unsigned put_guards_at_once(struct filch__stack_slab *slab, unsigned end)
{
    struct iovec guards[GUARD_BATCH];
    unsigned n = end - slab->ready;
    ssize_t done;

    for (unsigned i = 0; i < n; i++)
        guards[i] = (struct iovec){slab->memory + (slab->ready + i) * slab->stride, GUARD};
    done = advise_at_once(guards, n, MADV_GUARD_INSTALL);
    return done > 0 ? (unsigned)((size_t)done / GUARD) : 0;
}

/* The next guards of an advised slab: at least one. */
static void put_guards(struct filch__stack_slab *slab)
{
    unsigned end = slab->ready + GUARD_BATCH;
    unsigned done;

    if (end > slab->count)
        end = slab->count;
    done = put_guards_at_once(slab, end);
    slab->ready += done;
    if (done)
        return;
    if (!put_guard(slab, slab->ready)) {
        munlock(slab->memory, slab->count * slab->stride);
        if (!put_guard(slab, slab->ready))
            filch__throw("a stack's guard cannot be installed");
    }
    do
        slab->ready++;
    while (slab->ready < end && put_guard(slab, slab->ready));
}

unsigned filch__slab_reserve(struct filch__slab_class *of, unsigned max, filch_time now,
                             struct filch__stack_slab **ret_slab, unsigned *ret_first)
{
    struct filch__stack_slab *slab;
    unsigned first, end;

    if (filch__list_is_empty(&of->blank))
        return 0;
    slab = filch_container_of(of->blank.next, struct filch__stack_slab, blank_link);
    first = bit_first(slab->blank);
    if (first == slab->ready)
        put_guards(slab); /* [ready] */
    for (end = first; end < slab->ready && end - first < max && bit_is_set(slab->blank, end); end++)
        bit_clear(slab->blank, end);
    slab->blank_count -= end - first;
    if (!slab->blank_count)
        filch__list_remove(&slab->blank_link);
    filch__list_remove(&slab->drained_link);
    slab->used_at = now;
    *ret_slab = slab;
    *ret_first = first;
    return end - first;
}

void filch__slab_touch(struct filch__stack_slab *slab, unsigned first, unsigned n)
{
    struct iovec pages[FILCH__SLAB_TOUCH_MAX];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (unsigned i = 0; i < n && i < FILCH__SLAB_TOUCH_MAX; i++) {
        char *end = slab->memory + (first + i + 1) * slab->stride;

        pages[i] = (struct iovec){end - page, page};
    }
    (void)advise_at_once(pages, n, MADV_POPULATE_WRITE);
}

struct filch__stack *filch__slab_open(struct filch__stack_slab *slab, unsigned index)
{
    struct filch__stack *stack = stack_header(slab, index);

    stack->next = NULL;
    stack->low = stack_low(slab, index);
    stack->spawn_place = NULL;
    stack->slab = slab;
    stack->index = (uint16_t)index;
    stack->size_class = (uint8_t)slab->size_class;
    return stack;
}

/* When all of it is blank, its page tables can go. */
static void note_drained(struct filch__slab_class *of, struct filch__stack_slab *slab)
{
    if (slab->blank_count == slab->count && slab->is_advised && !slab->has_mapped_guards)
        filch__list_push_back(&of->drained, &slab->drained_link);
}

void filch__slab_unreserve(struct filch__slab_class *of, struct filch__stack_slab *slab,
                           unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        set_blank(of, slab, first + i);
    note_drained(of, slab);
    madvise(stack_low(slab, first), n * slab->stride - GUARD, MADV_DONTNEED);
}

struct filch__stack *filch__slab_take(struct filch__slab_class *of, filch_time now)
{
    struct filch__stack_slab *slab;
    unsigned index;

    if (filch__list_is_empty(&of->idle))
        return NULL;
    slab = filch_container_of(of->idle.next, struct filch__stack_slab, idle_link);
    index = bit_first(slab->idle);
    bit_clear(slab->idle, index);
    of->idle_count--;
    if (!--slab->idle_count)
        filch__list_remove(&slab->idle_link);
    slab->used_at = now;
    return stack_header(slab, index);
}

void filch__slab_give(struct filch__slab_class *of, struct filch__stack *stack, filch_time now)
{
    struct filch__stack_slab *slab = stack->slab;

    filch_assert_state(stack_header(slab, stack->index) == stack);
    filch_assert_state(!bit_is_set(slab->idle, stack->index) &&
                       !bit_is_set(slab->blank, stack->index));
    bit_set(slab->idle, stack->index);
    of->idle_count++;
    if (!slab->idle_count++)
        filch__list_push_front(&of->idle, &slab->idle_link);
    if (now > slab->used_at)
        slab->used_at = now;
}

/* IDLE -> BLANK for a run of neighbours that begins with the lowest. Return: how many. */
static unsigned trim_run(struct filch__slab_class *of, struct filch__stack_slab *slab, unsigned max)
{
    unsigned first = bit_first(slab->idle);
    unsigned end = first;

    for (; end < slab->count && end - first < max && bit_is_set(slab->idle, end); end++) {
        filch__stack_forget(stack_header(slab, end));
        bit_clear(slab->idle, end);
        set_blank(of, slab, end);
    }
    of->idle_count -= end - first;
    slab->idle_count -= end - first;
    if (!slab->idle_count)
        filch__list_remove(&slab->idle_link);
    note_drained(of, slab);
    /* Refused for locked memory, whose owner wants it to be resident. */
    madvise(stack_low(slab, first), (end - first) * slab->stride - GUARD, MADV_DONTNEED);
    return end - first;
}

/* Takes the guards of a blank slab out, from the upper end, so that newer kernels free the page
 * tables. */
static void drain(struct filch__stack_slab *slab)
{
    unsigned from = slab->ready > TRIM_STACKS ? slab->ready - TRIM_STACKS : 0;
    char *memory = slab->memory + from * slab->stride;
    size_t bytes = (slab->ready - from) * slab->stride;

    if (madvise(memory, bytes, MADV_GUARD_REMOVE) == 0) {
        madvise(memory, bytes, MADV_DONTNEED);
        slab->ready = from; /* [ready] */
    }
    if (from == 0 || slab->ready != from)
        filch__list_remove(&slab->drained_link);
}

bool filch__slab_trim(struct filch__slab_class *of, filch_time before)
{
    unsigned left = TRIM_STACKS;
    struct filch__list *link, *next;

    for (link = of->idle.next; link != &of->idle && left; link = next) {
        struct filch__stack_slab *slab =
            filch_container_of(link, struct filch__stack_slab, idle_link);

        next = link->next;
        while (slab->used_at <= before && slab->idle_count && left)
            left -= trim_run(of, slab, left);
    }
    if (left < TRIM_STACKS)
        return true;
    if (filch__list_is_empty(&of->drained))
        return false;
    drain(filch_container_of(of->drained.next, struct filch__stack_slab, drained_link));
    return true;
}

/* Links are of lists that are no more. */
static void forget_all(struct filch__stack_slab *slab)
{
    filch__list_init(&slab->idle_link);
    filch__list_init(&slab->blank_link);
    filch__list_init(&slab->drained_link);
    slab->idle_count = slab->blank_count = 0;
    memset(slab->idle, 0, sizeof slab->idle);
    memset(slab->blank, 0, sizeof slab->blank);
}

void filch__slabs_forked(void)
{
    struct filch__stack_slab *slab = filch_load_relaxed(&all.first);

    for (; slab; slab = filch_load_relaxed(&slab->next)) {
        forget_all(slab);
        all.last = slab;
    }
}

struct filch__stack *filch__slab_find(const void *address, enum filch__stack_class *ret_size_class)
{
    struct filch__stack_slab *slab = filch_load_acquire(&all.first); /* [slab-publish] */

    for (; slab; slab = filch_load_acquire(&slab->next)) {
        size_t offset = (uintptr_t)address - (uintptr_t)slab->memory;

        if (offset >= slab->count * slab->stride)
            continue;
        if (offset % slab->stride >= GUARD)
            return NULL;
        *ret_size_class = slab->size_class;
        return stack_header(slab, (unsigned)(offset / slab->stride));
    }
    return NULL;
}
