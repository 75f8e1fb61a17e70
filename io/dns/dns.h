/* What the files on names share. */
#ifndef FILCH_IO_DNS_DNS_H
#define FILCH_IO_DNS_DNS_H

#include <filch/dns.h>

#define FILCH__HOST_BYTES 254

/* Looks a name up on this thread, by the C library. @ret_detail: what that has called its failure,
 * or 0. Return: 0; as filch_dns_lookup(). */
int filch__dns_query(const char *host, enum filch_dns_family family, filch_dns_addrs *ret_addrs,
                     int *ret_detail);

/* Says in words why a lookup has failed. @detail: as above. Return: @code. */
int filch__dns_tell(filch_error *error, int code, int detail, const char *host);

/* A host that is a number. Return: 0; -ENOENT (of the other family); -EAGAIN (it is a name). */
int filch__dns_number(const char *host, enum filch_dns_family family, filch_dns_addrs *ret_addrs);

/* Addresses without ports get one. Return: 0; -EIO (one is none, or there is none at all). */
int filch__dns_add_port(filch_dns_addrs *addrs, uint16_t port);

/* The order in which to try: the families in turn, the first one first. */
void filch__dns_interleave(filch_dns_addrs *addrs);

#endif
