/* Addresses of IP sockets, as values: for what is sent to and from many of them.
 *
 * As text: "127.0.0.1:7000", "[::1]:7000", "[fe80::1%eth0]:7000", ":7000" (all addresses, IPv6 and
 * IPv4). Names of hosts are not looked up here. An IPv4 address that the kernel gives in IPv6's
 * form
 * (::ffff:127.0.0.1) is an IPv4 address.
 */
#ifndef FILCH_ADDR_H
#define FILCH_ADDR_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* Room for any address as text, with its port and a NUL. */
#define FILCH_ADDR_BYTES 64

typedef struct filch_addr {
    uint8_t ip[16];       /* in the order of the network; of IPv4 the first four, the rest is 0 */
    uint32_t scope;       /* of a link-local IPv6 address: the index of its interface; else 0 */
    uint16_t port;        /* in the order of the host */
    uint8_t family;       /* 4, 6; 0: none */
    uint8_t private_byte; /* 0 */
} filch_addr;

/** filch_addr_parse() - an address of a text. Suspends: no. Return: 0; -EINVAL (NULL, no such
 * address); -ENODEV (no such interface). */
FILCH_API FILCH_MUST_CHECK int filch_addr_parse(const char *text, filch_addr *ret_addr);

/** filch_addr_text() - the text of an address. @ret_text: FILCH_ADDR_BYTES. Suspends: no. Return:
 * 0; -EINVAL (NULL, no family). */
FILCH_API int filch_addr_text(const filch_addr *addr, char *ret_text);

/** filch_addr_equal() - are they the same, port and interface included? NULL is equal to NULL. */
FILCH_API bool filch_addr_equal(const filch_addr *a, const filch_addr *b);

FILCH_END_DECLS

#endif
