/* Names of hosts: their addresses, and connecting by name.
 *
 *     r = filch_tcp_connect_host("example.org", 443, NULL, &conn, until);
 *
 * Looking a name up is the C library's work (getaddrinfo(3): /etc/hosts, DNS, whatever the system
 * is set up for), which blocks, and may hang for minutes. It runs on blocking threads of a class of
 * its own, "dns", so it keeps no other blocking work waiting; a caller whose time is up, or who is
 * cancelled, leaves at once, and what comes of the lookup is dropped. Addresses that are numbers
 * are not looked up and never wait.
 *
 * A resolver adds to that: calls for the same name at the same time share one lookup, results are
 * kept for a while, also that there is no such name, and the lookup itself may be another one.
 *
 * Why a call fails, and with which name or address, is said in words to who asks for them:
 *
 *     r = filch_tcp_connect_host_error("no.such.host", 80, NULL, &conn, &error, until);
 *
 *     connecting to no.such.host:80: looking up no.such.host: Name or service not known
 */
#ifndef FILCH_DNS_H
#define FILCH_DNS_H

#include <filch/base.h>
#include <filch/error.h>
#include <filch/tcp.h>

FILCH_BEGIN_DECLS

typedef struct filch_resolver filch_resolver;

/* Of a host with more addresses the first ones are given. */
#define FILCH_DNS_ADDRS_MAX 16

enum filch_dns_family {
    FILCH_DNS_ANY,
    FILCH_DNS_IPV4,
    FILCH_DNS_IPV6,
};

/* Addresses as text; a plain value. */
typedef struct filch_dns_addrs {
    unsigned count;
    char text[FILCH_DNS_ADDRS_MAX][FILCH_ADDR_BYTES];
} filch_dns_addrs;

/* How to look names up. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_resolver_opts {
    /* Lookups at a time, the others wait; 0: 16. Of the runtime's first resolver: they share it. */
    unsigned threads_max;
    filch_time ttl_ns;          /* how long addresses are kept; 0: they are not */
    filch_time negative_ttl_ns; /* how long it is known that there is no such name; 0: it is not */
    unsigned entries_max;       /* names that are kept; 0: 1024. The oldest go first */
    /* Instead of the C library. Runs on a blocking thread, and may block. @ret_addrs: all zero;
     * addresses without ports, "192.0.2.1", "2001:db8::1", in the order in which they are to be
     * tried. Return: 0; an error. */
    int (*lookup)(void *context, const char *host, enum filch_dns_family family,
                  filch_dns_addrs *ret_addrs);
    void *context;
} filch_resolver_opts;

/**
 * filch_resolver_new() - make a resolver
 * @rt:           whose blocking threads look up; it must outlive the calls in the resolver
 * @opts:         borrowed for the call; NULL for defaults
 * @ret_resolver: ended by filch_resolver_free()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL); -ENOSPC (too many
 * classes of blocking jobs, or too few threads for one more); -ECHILD (in the child of a fork).
 */
FILCH_API FILCH_MUST_CHECK int filch_resolver_new(filch_runtime *rt,
                                                  const filch_resolver_opts *opts,
                                                  filch_resolver **ret_resolver);

/** filch_resolver_free() - end a resolver in which no call waits. Lookups that nobody waits for may
 * still be under way; they end by themselves. NULL is allowed. Suspends: no. */
FILCH_API void filch_resolver_free(filch_resolver *resolver);

/** filch_resolver_forget() - forget what is kept. @host: NULL: of all names. Calls that wait go on.
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_resolver_forget(filch_resolver *resolver, const char *host);

typedef struct filch_resolver_stats {
    uint64_t calls;   /* that were not for numbers */
    uint64_t kept;    /* answered by what was kept */
    uint64_t shared;  /* answered by a lookup that somebody else had begun */
    uint64_t lookups; /* begun */
    uint64_t failed;  /* lookups that gave no address */
    unsigned entries; /* names that are kept or being looked up, at present */
} filch_resolver_stats;

/** filch_resolver_stats_get() - copy a resolver's numbers out. Thread-safety: any thread. Suspends:
 * no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_resolver_stats_get(filch_resolver *resolver, filch_resolver_stats *ret_stats);

/**
 * filch_dns_lookup() - the addresses of a host
 * @resolver:  NULL: the system's, without sharing and keeping
 * @host:      a name, or an address as a number ("127.0.0.1", "::1"); at most 253 bytes; borrowed
 * @port:      goes into the texts
 * @ret_addrs: as text with the port, for filch_tcp_connect(); in the order in which they should be
 *             tried
 *
 * Thread-safety: tasks, jobs and plain threads; a thread outside of runtimes that has no resolver
 * looks up by itself, whatever the time. Suspends: yes, but for numbers and what is kept.
 * Cancellation point: yes; the lookup goes on for others who wait for it.
 * Return: 0; -ENOENT (no such name, or it has no address of the family); -EHOSTDOWN (the name
 * servers do not answer, or cannot at this time: try again); -EIO (they fail, or answer nonsense);
 * -EINVAL (NULL, an empty name, a zone ("%eth0"), a family that does not exist); -ENAMETOOLONG;
 * -ENOMEM; -EMFILE; -EAGAIN (no blocking thread can be had); -ESHUTDOWN (the runtime is stopping);
 * -ETIMEDOUT; -ECANCELED.
 */
FILCH_API FILCH_MUST_CHECK int filch_dns_lookup(filch_resolver *resolver, const char *host,
                                                uint16_t port, enum filch_dns_family family,
                                                filch_dns_addrs *ret_addrs, filch_time until);

/** filch_dns_lookup_error() - the same, and why it fails in words. @ret_error: filled on failure:
 * of the domain FILCH_ERROR_DNS, with what getaddrinfo(3) said (EAI_...) as `detail`, 0 if it was
 * not its failure; may be NULL. Suspends: yes, likewise. Return: as filch_dns_lookup(). */
FILCH_API FILCH_MUST_CHECK int filch_dns_lookup_error(filch_resolver *resolver, const char *host,
                                                      uint16_t port, enum filch_dns_family family,
                                                      filch_dns_addrs *ret_addrs,
                                                      filch_error *ret_error, filch_time until);

/* How to connect by name. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_connect_host_opts {
    filch_resolver *resolver; /* NULL: the system's */
    enum filch_dns_family family;
    const filch_tcp_opts *tcp; /* borrowed; NULL for defaults */
    filch_time stagger_ns;     /* 0: 250 ms */
} filch_connect_host_opts;

/**
 * filch_tcp_connect_host() - connect to a host by its name
 * @host:     as for filch_dns_lookup()
 * @opts:     borrowed; NULL for defaults
 * @ret_conn: gets the connection; ended by filch_tcp_close()
 *
 * Addresses are tried in their order, but IPv6 and IPv4 in turn, each one when those before it have
 * all failed, or none has succeeded `stagger_ns` after the last beginning (RFC 8305); sooner, if
 * the time would not last for all of them: each has its share of it at most. The first connection
 * is taken and the other attempts are closed before the return. In plain threads and jobs they are
 * tried one after the other, each with its share of the time that is left.
 *
 * Suspends: yes. Cancellation point: yes; nothing is left open. Return: 0; when no address answers,
 * the error of the first that was reached, else of the first; -ETIMEDOUT; -ECANCELED; as
 * filch_dns_lookup() and filch_tcp_connect_opts().
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_connect_host(const char *host, uint16_t port,
                                                      const filch_connect_host_opts *opts,
                                                      filch_tcp **ret_conn, filch_time until);

/** filch_tcp_connect_host_error() - the same, and why it fails in words. @ret_error: filled on
 * failure, with the address whose error is returned; of the domain FILCH_ERROR_DNS if there was no
 * address to connect to; may be NULL. Suspends: yes, likewise. Return: as
 * filch_tcp_connect_host(). */
FILCH_API FILCH_MUST_CHECK int
filch_tcp_connect_host_error(const char *host, uint16_t port, const filch_connect_host_opts *opts,
                             filch_tcp **ret_conn, filch_error *ret_error, filch_time until);

FILCH_END_DECLS

#endif
