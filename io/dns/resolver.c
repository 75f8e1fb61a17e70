/* Resolvers: who asks for a name meets the lookup of it.
 *
 *     callers --> lookup, by name and family --> job on a blocking thread
 *                 UNDER WAY --- the job ends ---> KEPT --- ttl, forget, room ---> unlinked
 *                 (token `done`: all who wait go on)
 *
 * A lookup is counted: by the table while it is linked, by its job, by each caller inside. Callers
 * wait for its token and leave whenever they want; the job never waits for them. A job that finds
 * nobody waiting when its turn comes leaves without asking: cancelled callers do not keep threads
 * busy. A name whose lookup has hung for HUNG is asked for anew.
 *
 *   [lookup-result] The result is written by the job before it cancels `done`, and read by others
 * after they have seen that: the token's lock orders the two.
 *
 * `lock` guards the table, its list by age, and whether a lookup is linked. Without a resolver a
 * lookup is in no table and has one caller. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <filch/blocking.h>
#include <filch/cancel.h>
#include <filch/time.h>

#include "io/dns/dns.h"
#include "runtime/base/atomic.h"
#include "runtime/base/list.h"
#include "runtime/sched/worker.h"

#define BUCKETS 256
#define THREADS_MAX 16
#define ENTRIES_MAX 1024
#define HUNG (60 * FILCH_SECOND)

struct lookup {
    filch_atomic_u32 refs;
    filch_atomic_u32 callers; /* inside. Grows under the resolver's lock while it is linked */
    filch_resolver *resolver; /* NULL: none. Counted */
    struct filch__list link;  /* in its bucket; lock */
    struct filch__list age;   /* lock */
    bool linked;              /* lock */
    bool ended;               /* lock; of one with a resolver */
    filch_time begun, expires;
    enum filch_dns_family family;
    char host[FILCH__HOST_BYTES];
    filch_token *done;
    int error;             /* [lookup-result] */
    int detail;            /* [lookup-result] of the C library's error; 0: it is not one */
    filch_dns_addrs addrs; /* [lookup-result] without ports */
};

struct filch_resolver {
    filch_atomic_u32 refs; /* the handle's, and one for each lookup */
    filch_runtime *rt;
    filch_blocking_class *class;
    filch_resolver_opts opts;
    pthread_mutex_t lock;
    struct filch__list buckets[BUCKETS];
    struct filch__list by_age; /* oldest first */
    filch_resolver_stats stats;
};

/* ---- how they begin and end ---- */

static int class_get(filch_runtime *rt, unsigned threads_max, filch_blocking_class **ret_class)
{
    return filch__blocking_class_get(
        rt,
        &(filch_blocking_class_opts){.name = "dns",
                                     .threads_max = threads_max ? threads_max : THREADS_MAX},
        ret_class);
}

int filch_resolver_new(filch_runtime *rt, const filch_resolver_opts *opts,
                       filch_resolver **ret_resolver)
{
    filch_resolver *resolver;
    int r;

    if (!rt || !ret_resolver)
        return -EINVAL;
    resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return -ENOMEM;
    if (opts)
        resolver->opts = *opts;
    if (!resolver->opts.entries_max)
        resolver->opts.entries_max = ENTRIES_MAX;
    r = class_get(rt, resolver->opts.threads_max, &resolver->class);
    if (r < 0) {
        free(resolver);
        return r;
    }
    filch_atomic_init(&resolver->refs, 1);
    resolver->rt = rt;
    pthread_mutex_init(&resolver->lock, NULL);
    filch__list_init(&resolver->by_age);
    for (unsigned i = 0; i < BUCKETS; i++)
        filch__list_init(&resolver->buckets[i]);
    *ret_resolver = resolver;
    return 0;
}

static void resolver_unref(filch_resolver *resolver)
{
    /* [resolver-free] release of a last use -> acquire by who frees. */
    if (resolver && filch_fetch_sub_acq_rel(&resolver->refs, 1) == 1) {
        pthread_mutex_destroy(&resolver->lock);
        free(resolver);
    }
}

static void lookup_unref(struct lookup *lookup)
{
    /* [lookup-free] the same. */
    if (lookup && filch_fetch_sub_acq_rel(&lookup->refs, 1) == 1) {
        filch_token_unref(lookup->done);
        resolver_unref(lookup->resolver);
        free(lookup);
    }
}

/* Counted for the caller. Return: NULL: no memory. */
static struct lookup *lookup_new(filch_resolver *resolver, const char *host,
                                 enum filch_dns_family family)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (!lookup)
        return NULL;
    if (filch_token_new(&lookup->done) < 0) {
        free(lookup);
        return NULL;
    }
    filch_atomic_init(&lookup->refs, 1);
    filch_atomic_init(&lookup->callers, 1);
    lookup->resolver = resolver;
    lookup->family = family;
    lookup->begun = filch_now();
    memcpy(lookup->host, host, strlen(host) + 1);
    if (resolver)
        filch_fetch_add_relaxed(&resolver->refs, 1);
    return lookup;
}

/* ---- the table ---- */

static struct filch__list *bucket_of(filch_resolver *resolver, const char *host)
{
    uint32_t hash = 2166136261u;

    for (; *host; host++)
        hash = (hash ^ (unsigned char)*host) * 16777619u;
    return &resolver->buckets[hash % BUCKETS];
}

/* The table's reference becomes the caller's, to give up without the lock. */
static void unlink_locked(struct lookup *lookup)
{
    filch__list_remove(&lookup->link);
    filch__list_remove(&lookup->age);
    lookup->linked = false;
    lookup->resolver->stats.entries--;
}

static struct lookup *find_locked(filch_resolver *resolver, const char *host,
                                  enum filch_dns_family family)
{
    struct filch__list *bucket = bucket_of(resolver, host);

    for (struct filch__list *link = bucket->next; link != bucket; link = link->next) {
        struct lookup *lookup = filch_container_of(link, struct lookup, link);

        if (lookup->family == family && strcmp(lookup->host, host) == 0)
            return lookup;
    }
    return NULL;
}

static bool is_of_use(const struct lookup *lookup)
{
    filch_time now = filch_now();

    return lookup->ended ? now < lookup->expires : now - lookup->begun < HUNG;
}

/* The oldest one that has ended. NULL: there is room, or all are under way. */
static struct lookup *make_room_locked(filch_resolver *resolver)
{
    if (resolver->stats.entries < resolver->opts.entries_max)
        return NULL;
    for (struct filch__list *link = resolver->by_age.next; link != &resolver->by_age;
         link = link->next) {
        struct lookup *lookup = filch_container_of(link, struct lookup, age);

        if (lookup->ended) {
            unlink_locked(lookup);
            return lookup;
        }
    }
    return NULL;
}

static void link_locked(filch_resolver *resolver, struct lookup *lookup)
{
    if (resolver->stats.entries >= resolver->opts.entries_max)
        return;
    filch__list_push_back(bucket_of(resolver, lookup->host), &lookup->link);
    filch__list_push_back(&resolver->by_age, &lookup->age);
    lookup->linked = true;
    resolver->stats.entries++;
    filch_fetch_add_relaxed(&lookup->refs, 1);
}

/* ---- the job ---- */

/* Return: does anybody want to know? If not, nobody can join any more. */
static bool is_wanted(struct lookup *lookup)
{
    filch_resolver *resolver = lookup->resolver;
    bool wanted, was_linked = false;

    if (!resolver)
        return filch_load_acquire(&lookup->callers);
    pthread_mutex_lock(&resolver->lock);
    wanted = filch_load_acquire(&lookup->callers);
    if (!wanted && lookup->linked) {
        unlink_locked(lookup);
        was_linked = true;
    }
    resolver->stats.lookups += wanted;
    pthread_mutex_unlock(&resolver->lock);
    if (was_linked)
        lookup_unref(lookup);
    return wanted;
}

static int ask(struct lookup *lookup)
{
    const filch_resolver_opts *opts = lookup->resolver ? &lookup->resolver->opts : NULL;
    filch_dns_addrs with_port;
    int r;

    if (!opts || !opts->lookup)
        return filch__dns_query(lookup->host, lookup->family, &lookup->addrs, &lookup->detail);
    r = opts->lookup(opts->context, lookup->host, lookup->family, &lookup->addrs);
    if (r != 0)
        return r < 0 ? r : -EIO;
    with_port = lookup->addrs;
    return filch__dns_add_port(&with_port, 0); /* are they any? */
}

/* How long a result is of use. */
static filch_time time_to_live(const filch_resolver_opts *opts, int error)
{
    return error == 0 ? opts->ttl_ns : error == -ENOENT ? opts->negative_ttl_ns : 0;
}

static void end(struct lookup *lookup, int error)
{
    filch_resolver *resolver = lookup->resolver;
    bool drop = false;

    lookup->error = error; /* [lookup-result] */
    if (resolver) {
        filch_time ttl = time_to_live(&resolver->opts, error);

        pthread_mutex_lock(&resolver->lock);
        lookup->ended = true;
        lookup->expires = filch_after(ttl);
        resolver->stats.failed += error < 0;
        drop = lookup->linked && !ttl;
        if (drop)
            unlink_locked(lookup);
        pthread_mutex_unlock(&resolver->lock);
    }
    filch_token_cancel(lookup->done, -ECANCELED, NULL); /* [lookup-result] */
    if (drop)
        lookup_unref(lookup);
}

static int lookup_job(void *arg)
{
    struct lookup *lookup = arg;

    if (is_wanted(lookup))
        end(lookup, ask(lookup));
    lookup_unref(lookup);
    return 0;
}

static int start(struct lookup *lookup, filch_runtime *rt, filch_blocking_class *class)
{
    const filch_task_opts opts = {.name = "dns", .blocking_class = class};
    int r;

    filch_fetch_add_relaxed(&lookup->refs, 1);
    r = filch_runtime_blocking_spawn(rt, lookup_job, lookup, &opts, NULL);
    if (r < 0)
        filch_fetch_sub_acq_rel(&lookup->refs, 1); /* not the last one: the caller has one */
    return r;
}

/* ---- calls ---- */

/* Finds the lookup, or begins it. Return: 0, with a reference; -errno. */
static int join_lookup(filch_resolver *resolver, const char *host, enum filch_dns_family family,
                       struct lookup **ret_lookup)
{
    struct lookup *fresh = lookup_new(resolver, host, family), *found, *old = NULL, *evicted = NULL;
    int r;

    if (!fresh)
        return -ENOMEM;
    pthread_mutex_lock(&resolver->lock);
    resolver->stats.calls++;
    found = find_locked(resolver, host, family);
    if (found && is_of_use(found)) {
        filch_fetch_add_relaxed(&found->refs, 1);
        filch_fetch_add_acq_rel(&found->callers, 1);
        *(found->ended ? &resolver->stats.kept : &resolver->stats.shared) += 1;
        pthread_mutex_unlock(&resolver->lock);
        lookup_unref(fresh);
        *ret_lookup = found;
        return 0;
    }
    if (found) {
        unlink_locked(found);
        old = found;
    }
    evicted = make_room_locked(resolver);
    link_locked(resolver, fresh);
    pthread_mutex_unlock(&resolver->lock);
    lookup_unref(old);
    lookup_unref(evicted);
    r = start(fresh, resolver->rt, resolver->class);
    if (r < 0) {
        end(fresh, r); /* for those who have joined meanwhile */
        lookup_unref(fresh);
        return r;
    }
    *ret_lookup = fresh;
    return 0;
}

static int begin_alone(filch_runtime *rt, const char *host, enum filch_dns_family family,
                       struct lookup **ret_lookup)
{
    struct lookup *lookup = lookup_new(NULL, host, family);
    filch_blocking_class *class = NULL;
    int r;

    if (!lookup)
        return -ENOMEM;
    (void)!class_get(rt, 0, &class); /* without threads to spare for it: any thread */
    r = start(lookup, rt, class);
    if (r < 0)
        lookup_unref(lookup);
    else
        *ret_lookup = lookup;
    return r;
}

static int wait_for(struct lookup *lookup, filch_dns_addrs *ret_addrs, int *ret_detail,
                    filch_time until)
{
    int r = filch_token_is_cancelled(lookup->done) ? 0 : filch_token_wait(lookup->done, until);

    if (r == 0) { /* [lookup-result] */
        r = lookup->error;
        *ret_detail = lookup->detail;
    }
    if (r == 0)
        *ret_addrs = lookup->addrs;
    filch_fetch_sub_acq_rel(&lookup->callers, 1);
    lookup_unref(lookup);
    return r;
}

static int look_up(filch_resolver *resolver, const char *host, enum filch_dns_family family,
                   filch_dns_addrs *ret_addrs, int *ret_detail, filch_time until)
{
    filch_runtime *rt = filch_runtime_self();
    struct lookup *lookup;
    int r;

    if (!resolver && !rt)
        return filch__dns_query(host, family, ret_addrs, ret_detail);
    r = resolver ? join_lookup(resolver, host, family, &lookup)
                 : begin_alone(rt, host, family, &lookup);
    return r < 0 ? r : wait_for(lookup, ret_addrs, ret_detail, until);
}

/* The name as it is compared. Return: 0; -EINVAL; -ENAMETOOLONG. */
static int normalise(const char *host, char *ret_host)
{
    size_t length = host ? strnlen(host, FILCH__HOST_BYTES) : 0;

    if (!length)
        return -EINVAL;
    if (length == FILCH__HOST_BYTES)
        return -ENAMETOOLONG;
    for (size_t i = 0; i <= length; i++)
        ret_host[i] = (char)tolower((unsigned char)host[i]);
    return strchr(ret_host, '%') ? -EINVAL : 0;
}

int filch_dns_lookup_error(filch_resolver *resolver, const char *host, uint16_t port,
                           enum filch_dns_family family, filch_dns_addrs *ret_addrs,
                           filch_error *ret_error, filch_time until)
{
    char name[FILCH__HOST_BYTES];
    filch_dns_addrs addrs = {.count = 0};
    int detail = 0;
    int r = ret_addrs && (unsigned)family <= FILCH_DNS_IPV6 ? normalise(host, name) : -EINVAL;

    if (r == 0)
        r = filch__dns_number(name, family, &addrs);
    if (r == -EAGAIN)
        r = look_up(resolver, name, family, &addrs, &detail, until);
    if (r == 0)
        r = filch__dns_add_port(&addrs, port);
    if (r < 0)
        return filch__dns_tell(ret_error, r, detail, host);
    *ret_addrs = addrs;
    return 0;
}

int filch_dns_lookup(filch_resolver *resolver, const char *host, uint16_t port,
                     enum filch_dns_family family, filch_dns_addrs *ret_addrs, filch_time until)
{
    return filch_dns_lookup_error(resolver, host, port, family, ret_addrs, NULL, until);
}

/* ---- the rest ---- */

/* Takes one out that is of this name, or any. Those under way stay in use by who waits. */
static struct lookup *take_out_locked(filch_resolver *resolver, const char *host)
{
    for (struct filch__list *link = resolver->by_age.next; link != &resolver->by_age;
         link = link->next) {
        struct lookup *lookup = filch_container_of(link, struct lookup, age);

        if (!host || strcmp(lookup->host, host) == 0) {
            unlink_locked(lookup);
            return lookup;
        }
    }
    return NULL;
}

static void forget(filch_resolver *resolver, const char *host)
{
    struct lookup *lookup;

    do {
        pthread_mutex_lock(&resolver->lock);
        lookup = take_out_locked(resolver, host);
        pthread_mutex_unlock(&resolver->lock);
        lookup_unref(lookup);
    } while (lookup);
}

int filch_resolver_forget(filch_resolver *resolver, const char *host)
{
    char name[FILCH__HOST_BYTES];

    if (!resolver)
        return -EINVAL;
    if (!host || normalise(host, name) == 0)
        forget(resolver, host ? name : NULL);
    return 0;
}

int filch_resolver_stats_get(filch_resolver *resolver, filch_resolver_stats *ret_stats)
{
    if (!resolver || !ret_stats)
        return -EINVAL;
    pthread_mutex_lock(&resolver->lock);
    *ret_stats = resolver->stats;
    pthread_mutex_unlock(&resolver->lock);
    return 0;
}

void filch_resolver_free(filch_resolver *resolver)
{
    if (!resolver)
        return;
    forget(resolver, NULL);
    resolver_unref(resolver);
}
