/* Moving bytes through sockets behind handles; the public functions are these with a type. For what
 * they do and return see <filch/tcp.h>. @handle: of a struct filch__fd. */
#ifndef FILCH_IO_NET_TRANSFER_H
#define FILCH_IO_NET_TRANSFER_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <filch/base.h>

#include "io/fd.h"
#include "io/op_list.h"

/* What a handle of a datagram socket stands for. A shutdown does not end a receive of datagrams as
 * it ends one of a stream: the kernel goes on saying that there is nothing. So its ops are in a
 * list, for the close to end them. */
struct filch__datagram_socket {
    struct filch__fd fd;
    struct filch__op_list ops;
};

ssize_t filch__transfer_read(const void *handle, void *buf, size_t bytes, filch_time until);
ssize_t filch__transfer_readv(const void *handle, const struct iovec *iov, size_t count,
                              filch_time until);
int filch__transfer_read_exact(const void *handle, void *buf, size_t bytes, size_t *ret_done,
                               filch_time until);
ssize_t filch__transfer_write(const void *handle, const void *buf, size_t bytes, filch_time until);
int filch__transfer_write_all(const void *handle, const void *buf, size_t bytes, size_t *ret_done,
                              filch_time until);
ssize_t filch__transfer_writev(const void *handle, const struct iovec *iov, size_t count,
                               filch_time until);
int filch__transfer_writev_all(const void *handle, const struct iovec *iov, size_t count,
                               size_t *ret_done, filch_time until);

/* One message, with an address or control data as the caller has prepared it, and as the kernel
 * leaves it. The parts of @message are the caller's and stay until the call returns.
 * @flags: more flags for recvmsg(2) and sendmsg(2)
 * @datagram: of a struct filch__datagram_socket: nothing is a message, too; else no bytes give 0 at
 * once */
ssize_t filch__transfer_message(const void *handle, bool out, struct msghdr *message, int flags,
                                bool datagram, filch_time until);

#endif
