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

static int error_to_tell(const int results[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (tells_something(results[i]))
            return results[i];
    return results[0];
}

/* Return: the winner; -errno. */
static int connect_at_once(struct attempt attempts[], unsigned count, filch_time stagger_ns,
                           filch_time until)
{
    filch_call calls[FILCH_DNS_ADDRS_MAX];
    int results[FILCH_DNS_ADDRS_MAX];
    int winner;

    for (unsigned i = 0; i < count; i++) {
        calls[i] = (filch_call){connect_one, &attempts[i]};
        results[i] = -ECANCELED;
    }
    winner = filch_hedge(calls, count, stagger_ns, results, until);
    for (unsigned i = 0; i < count; i++)
        if ((int)i != winner)
            (void)filch_tcp_close(attempts[i].conn);
    if (winner >= 0 || winner == -ETIMEDOUT || winner == -ECANCELED)
        return winner;
    return tells_something(winner) ? error_to_tell(results, count) : winner;
}

static int connect_in_turn(struct attempt attempts[], unsigned count, filch_time until)
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
    return error_to_tell(results, count);
}

int filch_tcp_connect_host(const char *host, uint16_t port, const filch_connect_host_opts *opts,
                           filch_tcp **ret_conn, filch_time until)
{
    static const filch_connect_host_opts none;
    struct attempt attempts[FILCH_DNS_ADDRS_MAX];
    filch_dns_addrs addrs;
    int r;

    if (!opts)
        opts = &none;
    if (!ret_conn)
        return -EINVAL;
    r = filch_dns_lookup(opts->resolver, host, port, opts->family, &addrs, until);
    if (r < 0)
        return r;
    filch__dns_interleave(&addrs);
    for (unsigned i = 0; i < addrs.count; i++)
        attempts[i] = (struct attempt){.addr = addrs.text[i], .opts = opts->tcp};
    if (addrs.count > 1 && filch__in_stackful_task())
        r = connect_at_once(attempts, addrs.count, opts->stagger_ns ? opts->stagger_ns : STAGGER,
                            until);
    else
        r = connect_in_turn(attempts, addrs.count, until);
    if (r < 0)
        return r;
    *ret_conn = attempts[r].conn;
    return 0;
}
