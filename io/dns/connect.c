/* Connecting by name: an attempt for each address, begun one after the other as filch_hedge() does
 * it. Whatever was opened and is not the winner is closed here. */
#include <errno.h>

#include <filch/join.h>
#include <filch/time.h>

#include "io/dns/dns.h"
#include "io/net/socket.h"

#define STAGGER (250 * FILCH_MILLISECOND)

struct attempt {
    const char *addr;
    const filch_tcp_opts *opts;
    filch_tcp *conn; /* NULL: none */
};

static int connect_one(void *arg)
{
    struct attempt *attempt = arg;

    return filch_tcp_connect_opts(attempt->addr, attempt->opts, &attempt->conn, FILCH_NEVER);
}

/* Errors of a family or a route that this machine does not have tell nothing of the host. */
static bool tells_something(int error)
{
    switch (error) {
    case -ENETUNREACH:
    case -EAFNOSUPPORT:
    case -EADDRNOTAVAIL:
    case -EINVAL: /* a local address of the other family */
    case -ECANCELED:
        return false;
    default:
        return error < 0;
    }
}

/* Return: that of all that have failed whose error is to be told. */
static unsigned attempt_to_tell(const int results[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (tells_something(results[i]))
            return i;
    return 0;
}

/* How long an address has for itself: no more than its share of the time, so that the turn of the
 * last one comes while there is some left. */
static filch_time turn_of(filch_time stagger_ns, unsigned count, filch_time until)
{
    filch_time now = filch_now();

    if (until == FILCH_NEVER || until <= now)
        return stagger_ns;
    return stagger_ns < (until - now) / count ? stagger_ns : (until - now) / count;
}

/* @ret_told: whose error it is; untouched if it is nobody's. Return: the winner; -errno. */
static int connect_at_once(struct attempt attempts[], unsigned count, filch_time stagger_ns,
                           unsigned *ret_told, filch_time until)
{
    filch_call calls[FILCH_DNS_ADDRS_MAX];
    int results[FILCH_DNS_ADDRS_MAX];
    int winner;

    for (unsigned i = 0; i < count; i++) {
        calls[i] = (filch_call){connect_one, &attempts[i]};
        results[i] = -ECANCELED;
    }
    winner = filch_hedge(calls, count, turn_of(stagger_ns, count, until), results, until);
    for (unsigned i = 0; i < count; i++)
        if ((int)i != winner)
            (void)filch_tcp_close(attempts[i].conn);
    if (winner >= 0 || winner == -ETIMEDOUT || winner == -ECANCELED)
        return winner;
    if (!tells_something(winner))
        return winner;
    *ret_told = attempt_to_tell(results, count);
    return results[*ret_told];
}

static int connect_in_turn(struct attempt attempts[], unsigned count, unsigned *ret_told,
                           filch_time until)
{
    int results[FILCH_DNS_ADDRS_MAX];

    for (unsigned i = 0; i < count; i++) {
        filch_time now = filch_now(), limit = until;

        if (until != FILCH_NEVER && until > now)
            limit = now + (until - now) / (count - i);
        results[i] =
            filch_tcp_connect_opts(attempts[i].addr, attempts[i].opts, &attempts[i].conn, limit);
        if (results[i] == 0)
            return (int)i;
    }
    *ret_told = attempt_to_tell(results, count);
    return results[*ret_told];
}

/* @addr: NULL: it is no address's error. */
static int tell(filch_error *error, int code, const char *addr)
{
    return addr ? filch_error_set(error, code, "%s: %s", addr, filch_strerror(code))
                : filch_error_set(error, code, NULL);
}

static int connect_host(const char *host, uint16_t port, const filch_connect_host_opts *opts,
                        filch_tcp **ret_conn, filch_error *ret_error, filch_time until)
{
    struct attempt attempts[FILCH_DNS_ADDRS_MAX];
    filch_dns_addrs addrs;
    unsigned told = FILCH_DNS_ADDRS_MAX;
    int r;

    r = filch_dns_lookup_error(opts->resolver, host, port, opts->family, &addrs, ret_error, until);
    if (r < 0)
        return r;
    filch__dns_interleave(&addrs);
    for (unsigned i = 0; i < addrs.count; i++)
        attempts[i] = (struct attempt){.addr = addrs.text[i], .opts = opts->tcp};
    if (addrs.count > 1 && filch__in_stackful_task())
        r = connect_at_once(attempts, addrs.count, opts->stagger_ns ? opts->stagger_ns : STAGGER,
                            &told, until);
    else
        r = connect_in_turn(attempts, addrs.count, &told, until);
    if (r < 0)
        return tell(ret_error, r, told < addrs.count ? addrs.text[told] : NULL);
    *ret_conn = attempts[r].conn;
    return 0;
}

int filch_tcp_connect_host_error(const char *host, uint16_t port,
                                 const filch_connect_host_opts *opts, filch_tcp **ret_conn,
                                 filch_error *ret_error, filch_time until)
{
    static const filch_connect_host_opts none;
    int r = ret_conn ? connect_host(host, port, opts ? opts : &none, ret_conn, ret_error, until)
                     : filch_error_set(ret_error, -EINVAL, NULL);

    return filch_error_note(ret_error, r, "connecting to %.253s:%u",
                            host && *host ? host : "nothing", port);
}

int filch_tcp_connect_host(const char *host, uint16_t port, const filch_connect_host_opts *opts,
                           filch_tcp **ret_conn, filch_time until)
{
    return filch_tcp_connect_host_error(host, port, opts, ret_conn, NULL, until);
}
