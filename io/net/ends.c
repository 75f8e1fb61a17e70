/* See ends.h. */
#include "io/net/ends.h"

#include <errno.h>
#include <sys/socket.h>

#include "io/net/transfer.h"

static ssize_t read_socket(void *handle, void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_read(handle, buf, bytes, until);
}

static ssize_t write_socket(void *handle, const void *buf, size_t bytes, filch_time until)
{
    return filch__transfer_write(handle, buf, bytes, until);
}

int filch__socket_shutdown_write(void *handle)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    r = shutdown(object->fd, SHUT_WR) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

static int finish_socket(void *handle, filch_time until)
{
    (void)until;
    return filch__socket_shutdown_write(handle);
}

filch_reader filch__socket_reader(void *handle)
{
    return (filch_reader){.read = read_socket, .context = handle};
}

filch_writer filch__socket_writer(void *handle)
{
    return (filch_writer){.write = write_socket, .finish = finish_socket, .context = handle};
}

bool filch__reader_is_socket(filch_reader reader)
{
    return reader.read == read_socket;
}

bool filch__writer_is_socket(filch_writer writer)
{
    return writer.write == write_socket;
}
