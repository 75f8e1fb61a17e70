/* The options of Unix sockets. See option.c. */
#include <sys/socket.h>

#include "io/net/option.h"
#include "io/net/unix.h"

static const struct filch__option_row rows[] = {
    [FILCH_UNIX_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF, FILCH__FORM_INT, 0},
    [FILCH_UNIX_ERROR] = {SOL_SOCKET, SO_ERROR, FILCH__FORM_ERROR, 0},
    [FILCH_UNIX_CREDENTIALS] = {SOL_SOCKET, SO_PASSCRED, FILCH__FORM_BOOL, 0},
    [FILCH_UNIX_COOKIE] = {SOL_SOCKET, SO_COOKIE, FILCH__FORM_COOKIE, 0},
};

static const struct filch__options unix_options = {rows, sizeof rows / sizeof rows[0]};

int filch_unix_set(filch_unix *conn, enum filch_unix_option option, int64_t value)
{
    return filch__option_set_on(&unix_options, conn, (int)option, value);
}

int filch_unix_get(filch_unix *conn, enum filch_unix_option option, int64_t *ret_value)
{
    return filch__option_get_on(&unix_options, conn, (int)option, ret_value);
}

int filch_unix_dgram_set(filch_unix_dgram *sock, enum filch_unix_option option, int64_t value)
{
    return filch__option_set_on(&unix_options, sock, (int)option, value);
}

int filch_unix_dgram_get(filch_unix_dgram *sock, enum filch_unix_option option, int64_t *ret_value)
{
    return filch__option_get_on(&unix_options, sock, (int)option, ret_value);
}
