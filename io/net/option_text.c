/* Options of sockets that are names: of a device, of an algorithm. The kernel cuts a name that is
 * too long and takes what is left of it for meant; here it is a name that nothing has. */
#include <errno.h>
#include <string.h>

#include "io/net/option.h"
#include "io/net/socket.h"
#include "io/net/udp.h"

#define NAME_BYTES FILCH_TCP_TEXT_BYTES

_Static_assert(FILCH_TCP_TEXT_BYTES == FILCH_UDP_TEXT_BYTES, "one function fills both");

int filch__socket_bind_device(int fd, const char *device)
{
    size_t bytes = strlen(device) + 1;

    if (bytes > NAME_BYTES)
        return -ENODEV;
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)bytes) < 0 ? -errno : 0;
}

static int set_text(int fd, const struct filch__option_row *row, const char *text)
{
    size_t bytes = strlen(text) + 1;

    if (row->level == SOL_SOCKET && row->name == SO_BINDTODEVICE)
        return filch__socket_bind_device(fd, text);
    if (bytes > NAME_BYTES)
        return -ENOENT;
    return setsockopt(fd, row->level, row->name, text, (socklen_t)bytes) < 0 ? -errno : 0;
}

/* The kernel ends none, or fills it up with zeros, as it likes. */
static int get_text(int fd, const struct filch__option_row *row, char *ret_text)
{
    char text[NAME_BYTES + 1] = {0};
    socklen_t bytes = NAME_BYTES;

    if (getsockopt(fd, row->level, row->name, text, &bytes) < 0)
        return -errno;
    text[NAME_BYTES - 1] = 0;
    memcpy(ret_text, text, strlen(text) + 1);
    return 0;
}

static const struct filch__option_row *text_row_of(const struct filch__options *options, int option)
{
    const struct filch__option_row *row = filch__option_row_of(options, option);

    return row && row->form == FILCH__FORM_TEXT ? row : NULL;
}

int filch__option_set_text_on(const struct filch__options *options, const void *handle, int option,
                              const char *text)
{
    const struct filch__option_row *row = text_row_of(options, option);
    struct filch__fd *object;
    int r;

    if (!row || !text)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = set_text(object->fd, row, text);
    filch__fd_leave(object);
    return r;
}

int filch__option_get_text_on(const struct filch__options *options, const void *handle, int option,
                              char *ret_text)
{
    const struct filch__option_row *row = text_row_of(options, option);
    struct filch__fd *object;
    int r;

    if (!row || !ret_text)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = get_text(object->fd, row, ret_text);
    filch__fd_leave(object);
    return r;
}

int filch_tcp_set_text(filch_tcp *conn, enum filch_tcp_option option, const char *text)
{
    return filch__option_set_text_on(&filch__tcp_options, conn, (int)option, text);
}

int filch_tcp_get_text(filch_tcp *conn, enum filch_tcp_option option, char *ret_text)
{
    return filch__option_get_text_on(&filch__tcp_options, conn, (int)option, ret_text);
}

int filch_listener_set_text(filch_listener *listener, enum filch_tcp_option option,
                            const char *text)
{
    return filch__option_set_text_on(&filch__tcp_options, listener, (int)option, text);
}

int filch_listener_get_text(filch_listener *listener, enum filch_tcp_option option, char *ret_text)
{
    return filch__option_get_text_on(&filch__tcp_options, listener, (int)option, ret_text);
}
