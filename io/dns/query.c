/* Names: one lookup by the C library, its errors as ours and in words, and what is known without
 * it. */
#include "io/dns/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "io/net/addr.h"

static int error_of(int error, int system_error)
{
    switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    case EAI_AGAIN:
        return -EHOSTDOWN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return system_error ? -system_error : -EIO;
    case EAI_FAMILY:
        return -EAFNOSUPPORT;
    case EAI_BADFLAGS:
    case EAI_IDN_ENCODE:
        return -EINVAL;
    default:
        return -EIO;
    }
}

static int family_of(enum filch_dns_family family)
{
    return family == FILCH_DNS_IPV4 ? AF_INET : family == FILCH_DNS_IPV6 ? AF_INET6 : AF_UNSPEC;
}

static void add(filch_dns_addrs *addrs, const struct sockaddr *addr)
{
    const void *bytes = addr->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)addr)->sin_addr;
    char *text = addrs->text[addrs->count];

    if (inet_ntop(addr->sa_family, bytes, text, sizeof addrs->text[0]))
        addrs->count++;
}

int filch__dns_query(const char *host, enum filch_dns_family family, filch_dns_addrs *ret_addrs,
                     int *ret_detail)
{
    struct addrinfo hints = {.ai_family = family_of(family), .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host, NULL, &hints, &list);

    *ret_detail = error;
    if (error)
        return error_of(error, errno);
    for (const struct addrinfo *info = list; info; info = info->ai_next)
        if (ret_addrs->count < FILCH_DNS_ADDRS_MAX &&
            (info->ai_family == AF_INET || info->ai_family == AF_INET6))
            add(ret_addrs, info->ai_addr);
    freeaddrinfo(list);
    return ret_addrs->count ? 0 : -ENOENT;
}

/* Where the C library has said nothing, and the system's sentence is one about files. */
static const char *words_of(int code)
{
    switch (code) {
    case -ENOENT:
        return "there is no such name, or it has no address of the family";
    case -EHOSTDOWN:
        return "the name servers do not answer";
    default:
        return filch_strerror(code);
    }
}

int filch__dns_tell(filch_error *error, int code, int detail, const char *host)
{
    bool said = detail && detail != EAI_SYSTEM;

    filch_error_set_detail(error, code, FILCH_ERROR_DNS, detail, "%s",
                           said ? gai_strerror(detail) : words_of(code));
    return filch_error_note(error, code, "looking up %.253s", host && *host ? host : "nothing");
}

int filch__dns_number(const char *host, enum filch_dns_family family, filch_dns_addrs *ret_addrs)
{
    unsigned char bytes[16];
    bool v4 = inet_pton(AF_INET, host, bytes) == 1;

    if (!v4 && inet_pton(AF_INET6, host, bytes) != 1)
        return -EAGAIN;
    if (family == (v4 ? FILCH_DNS_IPV6 : FILCH_DNS_IPV4))
        return -ENOENT;
    ret_addrs->count = 1;
    snprintf(ret_addrs->text[0], sizeof ret_addrs->text[0], "%s", host);
    return 0;
}

int filch__dns_add_port(filch_dns_addrs *addrs, uint16_t port)
{
    if (!addrs->count || addrs->count > FILCH_DNS_ADDRS_MAX)
        return -EIO;
    for (unsigned i = 0; i < addrs->count; i++) {
        char host[INET6_ADDRSTRLEN];
        unsigned char bytes[16];
        size_t length = strnlen(addrs->text[i], sizeof host);

        if (length == sizeof host)
            return -EIO;
        memcpy(host, addrs->text[i], length + 1);
        if (inet_pton(AF_INET, host, bytes) == 1)
            snprintf(addrs->text[i], FILCH_ADDR_BYTES, "%s:%u", host, port);
        else if (inet_pton(AF_INET6, host, bytes) == 1)
            snprintf(addrs->text[i], FILCH_ADDR_BYTES, "[%s]:%u", host, port);
        else
            return -EIO;
    }
    return 0;
}

static bool is_v6(const char *text)
{
    return text[0] == '[';
}

void filch__dns_interleave(filch_dns_addrs *addrs)
{
    const filch_dns_addrs from = *addrs;
    bool wanted = from.count && is_v6(from.text[0]);
    unsigned next[2] = {0, 0}; /* to look at: of IPv4, of IPv6 */

    for (unsigned i = 0; i < from.count; i++, wanted = !wanted) {
        for (int turn = 0; turn < 2; turn++) {
            while (next[wanted] < from.count && is_v6(from.text[next[wanted]]) != wanted)
                next[wanted]++;
            if (next[wanted] < from.count)
                break;
            wanted = !wanted; /* one family has no more */
        }
        memcpy(addrs->text[i], from.text[next[wanted]++], sizeof addrs->text[i]);
    }
}
