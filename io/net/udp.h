/* What the files on UDP share. */
#ifndef FILCH_IO_NET_UDP_H
#define FILCH_IO_NET_UDP_H

#include <filch/udp.h>

/* As filch__option_set(). */
int filch__udp_option_set(int fd, enum filch_udp_option option, int64_t value);

#endif
