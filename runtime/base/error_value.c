/* Errors in words.
 *
 *     text:  connect 127.0.0.1:1: ...: Connection refused
 *            |  contexts, newest first |  cause, at cause_at
 *
 * A context goes in front, so the contexts move right. The cause never shrinks once it is set (it
 * has half of the room at most), nor does the newest context as long as it fits: what is cut is the
 * right end of the contexts, where the dots stand then. */
#include <stdio.h>
#include <string.h>

#include <filch/error.h>

#define ROOM (FILCH_ERROR_TEXT_BYTES - 1)
#define COLON ": "
#define DOTS "...: "

/* The greatest length of at most @bytes that cuts no character of UTF-8 in two. */
static size_t whole_characters(const char *text, size_t bytes)
{
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

/* It is for logs and terminals: a peer's words must not begin a line of their own. */
static void without_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

/* Prints at most @room bytes and a NUL. Return: their number. */
__attribute__((format(printf, 4, 0))) static size_t
print_bounded(char *text, size_t room, const char *end_if_cut, const char *format, va_list args)
{
    int n = vsnprintf(text, room + 1, format, args);

    if (n < 0)
        n = snprintf(text, room + 1, "?");
    if ((size_t)n > room) { /* then text has room bytes */
        size_t kept = whole_characters(text, room - strlen(end_if_cut));

        strcpy(text + kept, end_if_cut);
        n = (int)(kept + strlen(end_if_cut));
    }
    without_controls(text);
    return (size_t)n;
}

__attribute__((format(printf, 5, 0))) static int set(filch_error *error, int code,
                                                     enum filch_error_domain domain, int detail,
                                                     const char *format, va_list args)
{
    char cause[ROOM / 2 + 1]; /* apart: the old text may be among @args */

    if (!error || code >= 0)
        return code;
    if (format)
        print_bounded(cause, ROOM / 2, "...", format, args);
    else
        snprintf(cause, sizeof cause, "%s", filch_strerror(code));
    error->code = code;
    error->domain = domain;
    error->detail = detail;
    error->cause_at = 0;
    strcpy(error->text, cause);
    return code;
}

int filch_error_set(filch_error *error, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set(error, code, FILCH_ERROR_SYSTEM, 0, format, args);
    va_end(args);
    return code;
}

int filch_error_set_detail(filch_error *error, int code, enum filch_error_domain domain, int detail,
                           const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set(error, code, domain, detail, format, args);
    va_end(args);
    return code;
}

/* Puts @context (it has room for the colon behind it) in front. */
static void put_in_front(filch_error *error, const char *context)
{
    char all[2 * FILCH_ERROR_TEXT_BYTES];
    char *cause = error->text + error->cause_at;
    size_t cause_bytes = strlen(cause);
    size_t room = ROOM - cause_bytes;
    size_t n = (size_t)snprintf(all, sizeof all, "%s" COLON "%.*s", context, (int)error->cause_at,
                                error->text);

    if (n > room) {
        n = whole_characters(all, room - strlen(DOTS));
        strcpy(all + n, DOTS);
        n += strlen(DOTS);
    }
    memmove(error->text + n, cause, cause_bytes + 1);
    memcpy(error->text, all, n);
    error->cause_at = (uint32_t)n;
}

int filch_error_note(filch_error *error, int code, const char *format, ...)
{
    char context[FILCH_ERROR_TEXT_BYTES - sizeof COLON];
    va_list args;

    if (!error || code >= 0)
        return code;
    if (error->code != code)
        filch_error_set(error, code, NULL);
    if (!format || !*format)
        return code;
    va_start(args, format);
    print_bounded(context, sizeof context - 1, "...", format, args);
    va_end(args);
    put_in_front(error, context);
    return code;
}

void filch_error_clear(filch_error *error)
{
    if (error)
        error->code = 0;
}

const char *filch_error_text(const filch_error *error)
{
    return error && error->code < 0 ? error->text : filch_strerror(0);
}
