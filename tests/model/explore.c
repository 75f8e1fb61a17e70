/* See explore.h. Parts: memory (histories and views), scheduling, the depth-first walk, mutations.
 */
#include "tests/model/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCATIONS 48
#define STORES 24
#define STALE_READS 3
#define PLAINS 32
#define LOCKS 8
#define STACK_BYTES 65536
#define CHOICES 4096
#define MUTANT_EXECUTIONS 300000
#define EXCUSED_EXECUTIONS 10000 /* of each model */
#define EXCUSES 64

/* Indices of stores, then clocks of threads. */
typedef uint8_t view[LOCATIONS + XP_THREADS];

struct store {
    uint64_t value;
    view carried;
};

struct history {
    int n;
    struct store store[STORES];
};

struct plain {
    const void *address;
    int writer;
    uint8_t write_clock;
    uint8_t read_clock[XP_THREADS];
};

struct lock {
    int owner; /* -1: free */
    view carried;
};

struct thread {
    void *sp;
    char *stack;
    view seen;
    bool done;
    int stale_reads; /* in a row */
    bool relaxing;   /* not again before somebody stored */
    bool changed;    /* somebody stored since its last relax */
    bool read_stale; /* since its last relax */
    const struct lock *wants;
    bool (*ready)(void *arg);
    void *ready_arg;
};

/* The present execution. */
static struct thread threads[XP_THREADS];
static struct history histories[LOCATIONS];
static struct plain plains[PLAINS];
static struct lock locks[LOCKS];
static view sc_view;
static int n_threads, running, n_locations, n_plains, n_locks, preempted;
static uint64_t execution;
static const char *failure;
static bool pruned;
static bool resetting, checking; /* on the walker's stack */
static void *walker_sp;

/* The path. */
static struct {
    uint16_t taken, of;
} path[CHOICES];
static int depth, path_length;
static const struct xp_model *model;
static bool tracing;
enum xp_fences xp_fences;

/* Mutation. */
extern struct xp_site *__start_xp_sites[], *__stop_xp_sites[]; /* the linker's names */
static struct xp_site *sites;                                  /* executed ones */
static struct xp_site *mutant;
static enum xp_order mutant_order;

void xp_switch(void **save, void *to);
__asm__(".text\n.globl xp_switch\nxp_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");

/* Ends the execution. Never returns: its threads are never resumed. */
static void leave(void)
{
    void *unused;

    xp_switch(&unused, walker_sp);
}

static void fail(const char *message)
{
    failure = message;
    if (!checking)
        leave();
}

void xp_fail(const char *message)
{
    fail(message);
}

int xp_thread(void)
{
    return running;
}

static int choose(int n)
{
    if (n <= 1)
        return 0;
    if (depth == CHOICES)
        fail("too many choices");
    if (depth == path_length) {
        path[depth].taken = 0;
        path[depth].of = (uint16_t)n;
        path_length++;
    }
    return path[depth++].taken;
}

static void join(uint8_t *into, const uint8_t *from)
{
    for (unsigned i = 0; i < sizeof(view); i++)
        if (from[i] > into[i])
            into[i] = from[i];
}

static bool can_run(const struct thread *t)
{
    if (t->done || t->relaxing || (t->wants && t->wants->owner >= 0))
        return false;
    return !t->ready || t->ready(t->ready_arg);
}

/* Before each step: who takes it? */
static void schedule(void)
{
    int candidates[XP_THREADS];
    int n = 0, next;
    bool can_stay = can_run(&threads[running]);
    bool all_done = true;

    if (can_stay)
        candidates[n++] = running;
    for (int t = 0; t < n_threads; t++) {
        all_done = all_done && threads[t].done;
        if (t != running && can_run(&threads[t]) &&
            (!can_stay || model->preemptions < 0 || preempted < model->preemptions))
            candidates[n++] = t;
    }
    if (!n) {
        if (!all_done)
            failure = "deadlock or lost wake-up";
        leave();
    }
    next = candidates[choose(n)];
    if (can_stay && next != running)
        preempted++;
    threads[next].wants = NULL;
    threads[next].ready = NULL;
    if (next != running) {
        int previous = running;

        running = next;
        xp_switch(&threads[previous].sp, threads[next].sp);
    }
    if (++threads[running].seen[LOCATIONS + running] > 250)
        fail("a thread takes too many steps");
}

static struct history *history_of(struct xp_location *location)
{
    if (location->execution != execution) {
        struct history *h;

        if (n_locations == LOCATIONS)
            fail("too many locations");
        h = &histories[n_locations];
        h->n = 1;
        h->store[0].value = location->initial;
        memset(h->store[0].carried, 0, sizeof(view));
        location->execution = execution;
        location->number = (unsigned)n_locations++;
    }
    return &histories[location->number];
}

void xp_init(struct xp_location *location, uint64_t value)
{
    location->initial = value;
    location->execution = 0;
}

uint64_t xp_peek(const struct xp_location *location)
{
    const struct history *h = &histories[location->number];

    return location->execution == execution ? h->store[h->n - 1].value : location->initial;
}

static enum xp_order order_at(struct xp_site *site)
{
    if (!site->known) {
        site->known = true;
        site->next = sites;
        sites = site;
    }
    return site == mutant ? mutant_order : site->order;
}

static void trace(const char *what, struct xp_location *location, uint64_t value,
                  struct xp_site *site)
{
    if (tracing)
        fprintf(stderr, "    thread %d  %-6s #%-2u = %-8llx  %s %s\n", running, what,
                location->number, (unsigned long long)value, site->function, site->operation);
}

static bool acquires(enum xp_order order)
{
    return order == XP_ACQUIRE || order >= XP_ACQ_REL;
}

static bool releases(enum xp_order order)
{
    return order >= XP_RELEASE;
}

static void read_store(struct xp_location *location, int i, enum xp_order order)
{
    struct thread *t = &threads[running];

    t->seen[location->number] = (uint8_t)i;
    if (order == XP_SEQ_CST && sc_view[location->number] < i)
        sc_view[location->number] = (uint8_t)i;
    if (acquires(order))
        join(t->seen, histories[location->number].store[i].carried);
}

/* What can end the spin of another thread. */
static void memory_changed(void)
{
    for (int i = 0; i < n_threads; i++) {
        if (i == running)
            continue;
        threads[i].relaxing = false;
        threads[i].changed = true;
    }
}

static void append_store(struct xp_location *location, uint64_t value, enum xp_order order,
                         const uint8_t *sequence)
{
    struct history *h = &histories[location->number];
    struct thread *t = &threads[running];
    struct store *s = &h->store[h->n];

    if (h->n == STORES) {
        pruned = true;
        leave();
    }
    s->value = value;
    t->seen[location->number] = (uint8_t)h->n;
    memset(s->carried, 0, sizeof(view));
    if (releases(order))
        memcpy(s->carried, t->seen, sizeof(view));
    s->carried[location->number] = (uint8_t)h->n;
    if (sequence)
        join(s->carried, sequence);
    if (order == XP_SEQ_CST)
        sc_view[location->number] = (uint8_t)h->n;
    h->n++;
    t->seen[LOCATIONS + running]++; /* what comes after is not part of what was carried */
    memory_changed();
}

uint64_t xp_load(struct xp_location *location, struct xp_site *site)
{
    enum xp_order order = order_at(site);
    struct history *h;
    int newest, oldest, i;

    schedule();
    h = history_of(location);
    newest = h->n - 1;
    i = newest;
    oldest = threads[running].seen[location->number];
    if (order == XP_SEQ_CST && sc_view[location->number] > oldest)
        oldest = sc_view[location->number];
    /* Stores become visible in the end: a loop does not read old values for ever. */
    if (threads[running].stale_reads < STALE_READS)
        i -= choose(newest - oldest + 1);
    threads[running].stale_reads = i == newest ? 0 : threads[running].stale_reads + 1;
    threads[running].read_stale |= i != newest;
    read_store(location, i, order);
    trace("load", location, h->store[i].value, site);
    return h->store[i].value;
}

void xp_store(struct xp_location *location, uint64_t value, struct xp_site *site)
{
    enum xp_order order = order_at(site);

    schedule();
    history_of(location);
    append_store(location, value, order, NULL);
    trace("store", location, value, site);
}

static uint64_t apply(enum xp_rmw what, uint64_t old, uint64_t operand)
{
    switch (what) {
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

/* Replaces the newest store, whose value is read. */
static void replace(struct xp_location *location, uint64_t value, enum xp_order order)
{
    struct history *h = &histories[location->number];

    read_store(location, h->n - 1, order);
    append_store(location, value, order, h->store[h->n - 1].carried);
}

uint64_t xp_rmw(struct xp_location *location, enum xp_rmw what, uint64_t operand, uint64_t mask,
                struct xp_site *site)
{
    enum xp_order order = order_at(site);
    struct history *h;
    uint64_t old;

    schedule();
    h = history_of(location);
    old = h->store[h->n - 1].value;
    replace(location, apply(what, old, operand) & mask, order);
    trace("rmw", location, apply(what, old, operand) & mask, site);
    return old;
}

bool xp_cas(struct xp_location *location, uint64_t *expected, uint64_t value, struct xp_site *site)
{
    enum xp_order order = order_at(site);
    struct history *h;
    uint64_t old;

    schedule();
    h = history_of(location);
    old = h->store[h->n - 1].value;
    if (old != *expected) {
        read_store(location, h->n - 1, order == XP_RELEASE ? XP_RELAXED : order);
        *expected = old;
        trace("cas no", location, old, site);
        return false;
    }
    replace(location, value, order);
    trace("cas", location, value, site);
    return true;
}

/* A seq_cst fence in each thread. What they have seen of atomics is exchanged, and no clocks: a
 * fence alone publishes nothing. */
bool xp_fence_heavy(struct xp_site *site)
{
    enum xp_order order = order_at(site);

    schedule();
    if (tracing)
        fprintf(stderr, "    thread %d  fence  %s\n", running, site->function);
    if (xp_fences != XP_FENCES_BY_KERNEL || order != XP_SEQ_CST)
        return xp_fences != XP_FENCES_REFUSED;
    for (int i = 0; i < n_locations; i++) {
        for (int t = 0; t < n_threads; t++)
            if (threads[t].seen[i] > sc_view[i])
                sc_view[i] = threads[t].seen[i];
        for (int t = 0; t < n_threads; t++)
            threads[t].seen[i] = sc_view[i];
    }
    return true;
}

void xp_plain(const void *address, bool write)
{
    uint8_t *seen = threads[running].seen + LOCATIONS;
    struct plain *p = plains;

    if (resetting) /* before all that threads do */
        return;
    while (p < plains + n_plains && p->address != address)
        p++;
    if (p == plains + n_plains) {
        if (n_plains++ == PLAINS)
            fail("too many plain locations");
        memset(p, 0, sizeof *p);
        p->address = address;
    }
    if (p->write_clock > seen[p->writer] && p->writer != running)
        fail(write ? "data race: two writes"
                   : "data race: a read of a write that was not published");
    for (int t = 0; write && t < n_threads; t++)
        if (t != running && p->read_clock[t] > seen[t])
            fail("data race: a write beside a read");
    if (write) {
        p->writer = running;
        p->write_clock = seen[running];
    } else {
        p->read_clock[running] = seen[running];
    }
}

void xp_relax(void)
{
    struct thread *t = &threads[running];

    /* Another round is of use after a store by somebody else, or a stale read: STALE_READS bounds
     * these. */
    t->relaxing = !t->changed && !t->read_stale;
    t->changed = t->read_stale = false;
    schedule();
}

void xp_block_until(bool (*ready)(void *arg), void *arg)
{
    threads[running].ready = ready;
    threads[running].ready_arg = arg;
    schedule();
}

static struct lock *lock_of(struct xp_lock *lock)
{
    if (lock->execution != execution) {
        if (n_locks == LOCKS)
            fail("too many locks");
        locks[n_locks].owner = -1;
        memset(locks[n_locks].carried, 0, sizeof(view));
        lock->execution = execution;
        lock->number = (unsigned)n_locks++;
    }
    return &locks[lock->number];
}

void xp_lock(struct xp_lock *lock)
{
    struct lock *l = lock_of(lock);

    threads[running].wants = l;
    schedule();
    l->owner = running;
    join(threads[running].seen, l->carried);
}

bool xp_try_lock(struct xp_lock *lock)
{
    struct lock *l = lock_of(lock);

    schedule();
    if (l->owner >= 0)
        return false;
    l->owner = running;
    join(threads[running].seen, l->carried);
    return true;
}

void xp_unlock(struct xp_lock *lock)
{
    struct lock *l = lock_of(lock);

    schedule();
    memcpy(l->carried, threads[running].seen, sizeof(view));
    l->owner = -1;
    threads[running].seen[LOCATIONS + running]++; /* as after a release store */
    memory_changed();
}

static void thread_main(void)
{
    model->body[running]();
    threads[running].done = true;
    schedule();
}

static void *fresh_stack(struct thread *t)
{
    uintptr_t *sp = (uintptr_t *)(void *)(t->stack + STACK_BYTES - 64);

    *--sp = 0;
    *--sp = (uintptr_t)thread_main;
    for (int i = 0; i < 6; i++)
        *--sp = 0;
    return sp;
}

static void run_once(void)
{
    execution++;
    depth = n_locations = n_plains = n_locks = preempted = 0;
    failure = NULL;
    pruned = false;
    memset(sc_view, 0, sizeof sc_view);
    for (int t = 0; t < n_threads; t++) {
        char *stack = threads[t].stack;

        memset(&threads[t], 0, sizeof threads[t]);
        threads[t].stack = stack;
        threads[t].seen[LOCATIONS + t] = 1;
        threads[t].sp = fresh_stack(&threads[t]);
    }
    resetting = true;
    model->reset();
    resetting = false;
    running = choose(n_threads);
    xp_switch(&walker_sp, threads[running].sp);
    if (!failure && !pruned) {
        checking = true;
        model->check();
        checking = false;
    }
}

/* Moves to the next path. Return: false when there is none. */
static bool next_path(void)
{
    path_length = depth;
    while (path_length && path[path_length - 1].taken + 1 >= path[path_length - 1].of)
        path_length--;
    if (!path_length)
        return false;
    path[path_length - 1].taken++;
    return true;
}

enum outcome { OUTCOME_EXHAUSTED, OUTCOME_FAILED, OUTCOME_CUT };

static enum outcome explore(const struct xp_model *m, uint64_t most, uint64_t *ret_executions,
                            uint64_t *ret_pruned)
{
    model = m;
    n_threads = m->threads;
    path_length = 0;
    *ret_executions = *ret_pruned = 0;
    for (int t = 0; t < n_threads; t++)
        if (!threads[t].stack)
            threads[t].stack = aligned_alloc(64, STACK_BYTES);
    do {
        run_once();
        ++*ret_executions;
        *ret_pruned += pruned;
        if (failure)
            return OUTCOME_FAILED;
        if (most && *ret_executions >= most)
            return OUTCOME_CUT;
    } while (next_path());
    return OUTCOME_EXHAUSTED;
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool run_model(const struct xp_model *m)
{
    double start = seconds();
    uint64_t executions, cut;
    enum outcome outcome = explore(m, 0, &executions, &cut);
    const char *found = failure;
    bool good = (outcome == OUTCOME_FAILED) == m->must_fail;

    printf("%-4s %-44s %9llu executions, %llu pruned, %.2f s%s%s\n", good ? "ok" : "FAIL", m->name,
           (unsigned long long)executions, (unsigned long long)cut, seconds() - start,
           found ? ": " : "",
           found          ? found
           : m->must_fail ? ": no fault found"
                          : "");
    if (!good && found) {
        tracing = true;
        run_once();
        tracing = false;
    }
    return good;
}

static const char *const order_names[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};

/* Does any model notice? */
static bool is_killed(const struct xp_model *models, int n, struct xp_site *site,
                      enum xp_order order, uint64_t most)
{
    bool killed = false;
    uint64_t executions, cut;

    mutant = site;
    mutant_order = order;
    for (int i = 0; i < n && !killed; i++)
        if (!models[i].must_fail)
            killed = explore(&models[i], most, &executions, &cut) == OUTCOME_FAILED;
    mutant = NULL;
    return killed;
}

/* Return: its index, or -1. */
static int excuse_for(const struct xp_site *site, enum xp_order order,
                      const struct xp_excuse *excuses, int excused)
{
    char name[128];

    snprintf(name, sizeof name, "%s %s -> %s", site->function, site->operation, order_names[order]);
    for (int i = 0; i < excused; i++)
        if (!strcmp(excuses[i].site, name))
            return i;
    return -1;
}

/* One step weaker: up to two ways. A fence without an order is none. */
static int weaker_orders(const struct xp_site *site, enum xp_order *out)
{
    switch (site->order) {
    case XP_SEQ_CST:
        out[0] =
            (const enum xp_order[]){XP_ACQUIRE, XP_RELEASE, XP_ACQ_REL, XP_RELAXED}[site->kind];
        return 1;
    case XP_ACQ_REL:
        out[0] = XP_ACQUIRE;
        out[1] = XP_RELEASE;
        return 2;
    case XP_ACQUIRE:
    case XP_RELEASE:
        out[0] = XP_RELAXED;
        return 1;
    case XP_RELAXED:
        break;
    }
    return 0;
}

/* Of what was tried, for tests/check_orders.py: one line each, its fields between tabs. */
static void note(FILE *results, const char *what, const struct xp_site *site, const char *weaker,
                 const char *reason)
{
    if (results)
        fprintf(results, "%s\t%s\t%d\t%s\t%s\t%s\n", what, site->file, site->line, site->operation,
                weaker, reason);
}

/* A mutant with an excuse would be explored to the end, which takes longest: only if @all. Those of
 * its name that are wrong die soon. */
static int mutate(const struct xp_model *models, int n, const struct xp_excuse *excuses,
                  int excused, bool all, FILE *results, int *ret_killed)
{
    bool needed[EXCUSES] = {false};
    int unexplained = 0;

    for (struct xp_site *site = sites; site; site = site->next) {
        enum xp_order weaker[2];
        int ways = weaker_orders(site, weaker);

        for (int i = 0; i < ways; i++) {
            int excuse = excuse_for(site, weaker[i], excuses, excused);
            const char *to = order_names[weaker[i]];

            if (is_killed(models, n, site, weaker[i],
                          excuse >= 0 && !all ? EXCUSED_EXECUTIONS : MUTANT_EXECUTIONS)) {
                ++*ret_killed;
                note(results, "killed", site, to, "");
                printf("killed    %s %s -> %s\n", site->function, site->operation, to);
                continue;
            }
            if (excuse >= 0) {
                note(results, "survived", site, to, excuses[excuse].reason);
                needed[excuse] = true;
                printf("survived  %s: %s\n", excuses[excuse].site, excuses[excuse].reason);
            } else {
                note(results, "SURVIVED", site, to, "");
                unexplained++;
                printf("SURVIVED  %s %s -> %s\n", site->function, site->operation, to);
            }
        }
    }
    for (int i = 0; i < excused; i++) {
        if (needed[i])
            continue;
        unexplained++;
        printf("NEEDLESS  %s: %s\n", excuses[i].site, excuses[i].reason);
    }
    return unexplained;
}

/* What is compiled in, but nothing has come to. */
static void list_unexecuted(FILE *results)
{
    for (struct xp_site **entry = __start_xp_sites; entry < __stop_xp_sites; entry++) {
        enum xp_order weaker[2];

        if ((*entry)->known || !weaker_orders(*entry, weaker))
            continue;
        note(results, "unexecuted", *entry, "", "");
        printf("unexecuted %s:%d %s\n", (*entry)->file, (*entry)->line, (*entry)->operation);
    }
}

int xp_main(int argc, char **argv, const struct xp_model *models, int n,
            const struct xp_excuse *excuses, int excused)
{
    int passed = 0, killed = 0, unexplained = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (excused > EXCUSES) {
        printf("%d reasons: make room for them\n", excused);
        return 1;
    }
    for (int i = 0; i < n; i++)
        passed += run_model(&models[i]);
    if (argc > 1 && !strncmp(argv[1], "--mutate", 8) && passed == n) {
        bool all = !strcmp(argv[1], "--mutate-all");
        FILE *results = argc > 2 ? fopen(argv[2], "w") : NULL;

        if (argc > 2 && !results) {
            perror(argv[2]);
            return 1;
        }
        unexplained = mutate(models, n, excuses, excused, all, results, &killed);
        list_unexecuted(results);
        printf("%d mutants killed, %d survived without a reason or have one needlessly\n", killed,
               unexplained);
        if (results && (fprintf(results, "end\n") < 0 || fclose(results))) {
            perror(argv[2]);
            return 1;
        }
    }
    printf("%d passed, %d failed\n", passed, n - passed + (unexplained > 0));
    return passed == n && !unexplained ? 0 : 1;
}
