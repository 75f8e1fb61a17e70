/* Options of sockets, for the tables of the kinds of sockets: option.c, udp_option.c. */
#ifndef FILCH_IO_NET_OPTION_H
#define FILCH_IO_NET_OPTION_H

#include <filch/base.h>

enum filch__form {
    FILCH__FORM_NONE = 0,
    FILCH__FORM_BOOL,
    FILCH__FORM_BYTE, /* 0 to 255 */
    FILCH__FORM_HOPS, /* 1 to 255 */
    FILCH__FORM_INT,
    FILCH__FORM_SECONDS, /* ours are nanoseconds; rounded up, so that 0 stays what it means */
    FILCH__FORM_MILLISECONDS,
    FILCH__FORM_MICROSECONDS,
    FILCH__FORM_LINGER,
    FILCH__FORM_RATE, /* 64 bits; 1 and more, or -1 */
    FILCH__FORM_TEXT, /* see option_text.c */
    /* Get only from here on. */
    FILCH__FORM_ERROR,
    FILCH__FORM_NUMBER,
    FILCH__FORM_COOKIE, /* 64 bits */
    FILCH__FORM_DROPPED,
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

/* Return: NULL: there is no such option. */
const struct filch__option_row *filch__option_row_of(const struct filch__options *options,
                                                     int option);

/* On a descriptor, and on a handle of a struct filch__fd. Return: as filch_tcp_set() and
 * filch_tcp_get(). */
int filch__option_set_in(const struct filch__options *options, int fd, int option, int64_t value);
int filch__option_set_on(const struct filch__options *options, const void *handle, int option,
                         int64_t value);
int filch__option_get_on(const struct filch__options *options, const void *handle, int option,
                         int64_t *ret_value);

/* The same for those of type text. Return: as filch_tcp_set_text() and filch_tcp_get_text(). */
int filch__option_set_text_on(const struct filch__options *options, const void *handle, int option,
                              const char *text);
int filch__option_get_text_on(const struct filch__options *options, const void *handle, int option,
                              char *ret_text);

/* The options of TCP sockets. */
extern const struct filch__options filch__tcp_options;

#endif
