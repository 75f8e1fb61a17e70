/* Heads of requests: see parse.c. */
#ifndef FILCH_IO_HTTP_PARSE_H
#define FILCH_IO_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http_field {
    char *name, *value;
    uint32_t name_bytes, value_bytes;
};

/* How far the end of a head was looked for. All zero: a head begins. */
struct http_scan {
    size_t at;   /* looked through up to here */
    size_t line; /* where the present line begins */
};

/* A head that was read; its texts lie in the bytes that it was read from. */
struct http_head {
    const char *method;
    char *target;
    size_t target_bytes;
    char *host;     /* field Host; "" if there is none */
    int version;    /* 10, 11; 0: the first line could not be read */
    int64_t length; /* of the body; -1: chunks */
    bool keep;      /* the connection may be used again */
    bool continues; /* Expect: 100-continue */
    bool upgrades;  /* offers another protocol */
    unsigned count; /* of the fields */
    unsigned max;   /* room for fields */
    struct http_field *fields;
};

/* Looks for the end of the head at the front of @text. Return: its bytes, with the empty line; 0
 * (not there yet); -1 (a line that ends or begins as none may). */
ssize_t http_head_find(const char *text, size_t bytes, struct http_scan *scan);

/* Reads a head that http_head_find() has found, and puts zeroes behind its texts. @head: with
 * fields and max. Return: 0, or the status with which it is refused. */
int http_head_parse(struct http_head *head, char *text, size_t bytes);

/* Is it a token of RFC 9110, 5.6.2? */
bool http_is_token(const char *text, size_t bytes);

/* Is it a field's value: no control characters but tabs? */
bool http_is_value(const char *text, size_t bytes);

/* Looks a field up by its name, in any case. Return: NULL if there is none. */
const struct http_field *http_head_field(const struct http_head *head, const char *name);

/* Does a list of tokens, separated by commas, have this one (in small letters)? */
bool http_list_has(const char *list, const char *token);

#endif
