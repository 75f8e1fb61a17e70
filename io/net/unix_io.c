/* The bytes of Unix stream connections: transfer.c by its public names, and a connection as a
 * reader and a writer. */
#include <filch/unix.h>

#include "io/net/ends.h"
#include "io/net/transfer.h"

ssize_t filch_unix_read(filch_unix *conn, void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_read(conn, buf, bytes, until);
}

ssize_t filch_unix_readv(filch_unix *conn, const struct iovec *iov, size_t count, filch_time until)
{
    return filch__transfer_readv(conn, iov, count, until);
}

int filch_unix_read_exact(filch_unix *conn, void *buf, size_t bytes, size_t *ret_done,
                          filch_time until)
{
    return filch__transfer_read_exact(conn, buf, bytes, ret_done, until);
}

ssize_t filch_unix_write(filch_unix *conn, const void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_write(conn, buf, bytes, until);
}

int filch_unix_write_all(filch_unix *conn, const void *buf, size_t bytes, size_t *ret_done,
                         filch_time until)
{
    return filch__transfer_write_all(conn, buf, bytes, ret_done, until);
}

ssize_t filch_unix_writev(filch_unix *conn, const struct iovec *iov, size_t count, filch_time until)
{
    return filch__transfer_writev(conn, iov, count, until);
}

int filch_unix_writev_all(filch_unix *conn, const struct iovec *iov, size_t count, size_t *ret_done,
                          filch_time until)
{
    return filch__transfer_writev_all(conn, iov, count, ret_done, until);
}

filch_reader filch_unix_reader(filch_unix *conn)
{
    return filch__socket_reader(conn);
}

filch_writer filch_unix_writer(filch_unix *conn)
{
    return filch__socket_writer(conn);
}

filch_io filch_unix_io(filch_unix *conn)
{
    return (filch_io){.reader = filch_unix_reader(conn), .writer = filch_unix_writer(conn)};
}
