/* The bytes of TCP connections: transfer.c by its public names, and a connection as a reader and a
 * writer. */
#include <filch/tcp.h>

#include "io/net/ends.h"
#include "io/net/transfer.h"

ssize_t filch_tcp_read(filch_tcp *conn, void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_read(conn, buf, bytes, until);
}

ssize_t filch_tcp_readv(filch_tcp *conn, const struct iovec *iov, size_t count, filch_time until)
{
    return filch__transfer_readv(conn, iov, count, until);
}

int filch_tcp_read_exact(filch_tcp *conn, void *buf, size_t bytes, size_t *ret_done,
                         filch_time until)
{
    return filch__transfer_read_exact(conn, buf, bytes, ret_done, until);
}

ssize_t filch_tcp_write(filch_tcp *conn, const void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_write(conn, buf, bytes, until);
}

int filch_tcp_write_all(filch_tcp *conn, const void *buf, size_t bytes, size_t *ret_done,
                        filch_time until)
{
    return filch__transfer_write_all(conn, buf, bytes, ret_done, until);
}

ssize_t filch_tcp_writev(filch_tcp *conn, const struct iovec *iov, size_t count, filch_time until)
{
    return filch__transfer_writev(conn, iov, count, until);
}

int filch_tcp_writev_all(filch_tcp *conn, const struct iovec *iov, size_t count, size_t *ret_done,
                         filch_time until)
{
    return filch__transfer_writev_all(conn, iov, count, ret_done, until);
}

filch_reader filch_tcp_reader(filch_tcp *conn)
{
    return filch__socket_reader(conn);
}

filch_writer filch_tcp_writer(filch_tcp *conn)
{
    return filch__socket_writer(conn);
}

filch_io filch_tcp_io(filch_tcp *conn)
{
    return (filch_io){.reader = filch_tcp_reader(conn), .writer = filch_tcp_writer(conn)};
}
