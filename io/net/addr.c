/* See addr.h. */
#include "io/net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <filch/tcp.h>

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
        inet_ntop(AF_INET6, &addr->v6.sin6_addr, host, sizeof host);
        snprintf(ret_text, FILCH_ADDR_BYTES, "[%s]:%u", host, ntohs(addr->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &addr->v4.sin_addr, host, sizeof host);
        snprintf(ret_text, FILCH_ADDR_BYTES, "%s:%u", host, ntohs(addr->v4.sin_port));
    }
}
