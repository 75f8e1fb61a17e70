/* Addresses as text, to and from what the kernel takes. */
#ifndef FILCH_IO_NET_ADDR_H
#define FILCH_IO_NET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include <filch/addr.h>

struct filch__addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};

/* "1.2.3.4:80", "[::1]:80", "[fe80::1%eth0]:80", ":80" (any address of both families). Strict.
 * Return: 0; -EINVAL; -ENODEV (no such interface). */
int filch__addr_parse(const char *text, struct filch__addr *ret_addr);

/* @ret_text: FILCH_ADDR_BYTES. */
void filch__addr_format(const struct filch__addr *addr, char *ret_text);

/* To and from the public form. Return: 0; -EINVAL (no family). */
int filch__addr_of_value(const filch_addr *value, struct filch__addr *ret_addr);
void filch__addr_to_value(const struct filch__addr *addr, filch_addr *ret_value);

#endif
