/* Options of sockets, for the tables of the kinds of sockets: option.c, udp_option.c. */
#ifndef FILCH_IO_NET_OPTION_H
#define FILCH_IO_NET_OPTION_H

#include <filch/base.h>

enum filch__form {
    FILCH__FORM_NONE = 0,
    FILCH__FORM_BOOL,
    FILCH__FORM_BYTE, /* 0 to 255 */
    FILCH__FORM_INT,
    FILCH__FORM_SECONDS, /* ours are nanoseconds; rounded up, so that 0 stays what it means */
    FILCH__FORM_MILLISECONDS,
    FILCH__FORM_LINGER,
    FILCH__FORM_ERROR, /* get only */
};

struct filch__option_row {
    int level;
    int name;
    enum filch__form form;
    int name6; /* what it is called for IPv6, where that is another one; else 0 */
};

/* By the number of the public option. */
struct filch__options {
    const struct filch__option_row *rows;
    size_t count;
};

/* On a descriptor, and on a handle of a struct filch__fd. Return: as filch_tcp_set() and
 * filch_tcp_get(). */
int filch__option_set_in(const struct filch__options *options, int fd, int option, int64_t value);
int filch__option_set_on(const struct filch__options *options, const void *handle, int option,
                         int64_t value);
int filch__option_get_on(const struct filch__options *options, const void *handle, int option,
                         int64_t *ret_value);

#endif
