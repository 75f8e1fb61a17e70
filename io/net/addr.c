/* See addr.h. */
#include "io/net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char *text, in_port_t *ret_port)
{
    unsigned port = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
        if (port > 65535)
            return -EINVAL;
    }
    *ret_port = htons((uint16_t)port);
    return 0;
}

/* The interface behind a '%', which is cut off. Return: 0; -ENODEV. */
static int cut_scope(char *host, uint32_t *ret_scope)
{
    char *percent = strchr(host, '%');
    char *end;

    *ret_scope = 0;
    if (!percent)
        return 0;
    *percent = '\0';
    *ret_scope = if_nametoindex(percent + 1);
    if (!*ret_scope && percent[1] >= '1' && percent[1] <= '9') {
        *ret_scope = (uint32_t)strtoul(percent + 1, &end, 10);
        if (*end)
            *ret_scope = 0;
    }
    return *ret_scope ? 0 : -ENODEV;
}

int filch__addr_parse(const char *text, struct filch__addr *ret_addr)
{
    char host[FILCH_ADDR_BYTES];
    struct filch__addr addr;
    const char *colon = text ? strrchr(text, ':') : NULL;
    size_t length = colon ? (size_t)(colon - text) : 0;
    in_port_t port;

    if (!colon || length >= sizeof host || parse_port(colon + 1, &port) < 0)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    memset(&addr, 0, sizeof addr);
    if (length == 0 || (host[0] == '[' && host[length - 1] == ']' && length > 2)) {
        if (length)
            host[length - 1] = '\0';
        if (cut_scope(host, &addr.v6.sin6_scope_id) < 0)
            return -ENODEV;
        if (inet_pton(AF_INET6, length ? host + 1 : "::", &addr.v6.sin6_addr) != 1)
            return -EINVAL;
        addr.v6.sin6_family = AF_INET6;
        addr.v6.sin6_port = port;
        addr.bytes = sizeof addr.v6;
    } else {
        if (inet_pton(AF_INET, host, &addr.v4.sin_addr) != 1)
            return -EINVAL;
        addr.v4.sin_family = AF_INET;
        addr.v4.sin_port = port;
        addr.bytes = sizeof addr.v4;
    }
    *ret_addr = addr;
    return 0;
}

void filch__addr_format(const struct filch__addr *addr, char *ret_text)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (addr->any.sa_family == AF_INET6) {
        char scope[12] = "";

        inet_ntop(AF_INET6, &addr->v6.sin6_addr, host, sizeof host);
        if (addr->v6.sin6_scope_id)
            snprintf(scope, sizeof scope, "%%%u", addr->v6.sin6_scope_id);
        /* inet_ntop(3) writes 39 characters at most: it knows no longer form of its own. */
        snprintf(ret_text, FILCH_ADDR_BYTES, "[%.39s%s]:%u", host, scope,
                 ntohs(addr->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &addr->v4.sin_addr, host, sizeof host);
        snprintf(ret_text, FILCH_ADDR_BYTES, "%s:%u", host, ntohs(addr->v4.sin_port));
    }
}

int filch__addr_of_value(const filch_addr *value, struct filch__addr *ret_addr)
{
    if (value->family == 4) {
        ret_addr->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(value->port)};
        memcpy(&ret_addr->v4.sin_addr, value->ip, 4);
        ret_addr->bytes = sizeof ret_addr->v4;
        return 0;
    }
    if (value->family != 6)
        return -EINVAL;
    ret_addr->v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(value->port), .sin6_scope_id = value->scope};
    memcpy(&ret_addr->v6.sin6_addr, value->ip, 16);
    ret_addr->bytes = sizeof ret_addr->v6;
    return 0;
}

void filch__addr_to_value(const struct filch__addr *addr, filch_addr *ret_value)
{
    const struct sockaddr_in6 *v6 = &addr->v6;

    *ret_value = (filch_addr){.family = 0};
    if (addr->any.sa_family == AF_INET) {
        ret_value->family = 4;
        ret_value->port = ntohs(addr->v4.sin_port);
        memcpy(ret_value->ip, &addr->v4.sin_addr, 4);
    } else if (addr->any.sa_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);

        ret_value->family = mapped ? 4 : 6;
        ret_value->port = ntohs(v6->sin6_port);
        ret_value->scope = v6->sin6_scope_id;
        memcpy(ret_value->ip, mapped ? &v6->sin6_addr.s6_addr[12] : v6->sin6_addr.s6_addr,
               mapped ? 4 : 16);
    }
}

int filch_addr_parse(const char *text, filch_addr *ret_addr)
{
    struct filch__addr addr;
    int r = ret_addr ? filch__addr_parse(text, &addr) : -EINVAL;

    if (r == 0)
        filch__addr_to_value(&addr, ret_addr);
    return r;
}

int filch_addr_text(const filch_addr *value, char *ret_text)
{
    struct filch__addr addr;

    if (!value || !ret_text || filch__addr_of_value(value, &addr) < 0)
        return -EINVAL;
    filch__addr_format(&addr, ret_text);
    return 0;
}

bool filch_addr_equal(const filch_addr *a, const filch_addr *b)
{
    if (!a || !b)
        return a == b;
    return a->family == b->family && a->port == b->port && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}
