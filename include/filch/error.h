/* Errors in words: for what -errno is not enough, a value that says what failed, where and why.
 *
 *     static int fetch(const char *addr, filch_error *error)
 *     {
 *         filch_tcp *conn;
 *         ssize_t n;
 *
 *         FILCH_TRY(error, filch_tcp_connect(addr, &conn, FILCH_NEVER), "connect %s", addr);
 *         n = FILCH_NOTE(error, filch_tcp_read(conn, buf, sizeof buf, FILCH_NEVER), "read");
 *         filch_tcp_close(conn);
 *         return n < 0 ? (int)n : 0;
 *     }
 *
 *     filch_error error = FILCH_ERROR_INIT;
 *
 *     if (FILCH_NOTE(&error, fetch(addr, &error), "fetch the greeting") < 0)
 *         fprintf(stderr, "%s\n", error.text);
 *
 *     fetch the greeting: connect 127.0.0.1:1: Connection refused
 *
 * Functions return -errno as ever, so a caller that only asks whether, or which, needs no more.
 * Those that know better take a `filch_error *error` as well, which may be NULL: the cause goes
 * into it, in words, with a number of its own kind (`domain`, `detail`); and each caller on the way
 * up may put what it was doing in front. Whether the called function knows of errors in words or
 * returns -errno only makes no difference to FILCH_TRY and FILCH_NOTE: for the latter the cause is
 * filch_strerror()'s sentence.
 *
 * The value is the caller's, a struct on its stack for most: nothing is allocated, nothing is to be
 * freed, a copy is an assignment, and out of memory there is no less to say. Success costs a store.
 * The text is one line, of bounded length: control characters in it become '?', and if it gets too
 * long, what lies between the outermost contexts and the cause is left out and "..." stands there.
 *
 * Thread-safety: a value belongs to one task or thread at a time, and goes with what it lies in.
 * Nothing here suspends.
 */
#ifndef FILCH_ERROR_H
#define FILCH_ERROR_H

#include <stdarg.h>

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* Whose number `detail` is. */
enum filch_error_domain {
    FILCH_ERROR_SYSTEM, /* nobody's: `code` says it all; detail is 0 */
    FILCH_ERROR_TLS,    /* see <filch/tls.h> */
    FILCH_ERROR_HTTP,   /* see <filch/http_client.h> */
    FILCH_ERROR_DNS,    /* see <filch/dns.h> */
};

#define FILCH_ERROR_TEXT_BYTES 496

typedef struct filch_error {
    int code; /* the -errno that the function returned; 0: no error, and the rest means nothing */
    enum filch_error_domain domain;
    int detail; /* the domain's number for the cause */
    /* Private: where in the text the cause begins. */
    uint32_t cause_at;
    /* "context: context: cause", with a NUL. */
    char text[FILCH_ERROR_TEXT_BYTES];
} filch_error;

/* No error. Zeros are as good. */
#define FILCH_ERROR_INIT                                                                           \
    {                                                                                              \
        0, FILCH_ERROR_SYSTEM, 0, 0, ""                                                            \
    }

/**
 * filch_error_set() - begin an error: its cause
 * @error:  what was in it is gone; NULL: nothing is written
 * @code:   negative errno constant; 0 and more: no error is set
 * @format: as of printf, for the cause; NULL: filch_strerror()'s sentence. One that is longer than
 *          half of the text is cut
 *
 * Return: @code, so that `return filch_error_set(...)` reads well.
 */
FILCH_API int filch_error_set(filch_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** filch_error_set_detail() - the same with a number of a domain. */
FILCH_API int filch_error_set_detail(filch_error *error, int code, enum filch_error_domain domain,
                                     int detail, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/**
 * filch_error_note() - put what was being done in front of the text
 * @error:  if it holds no error with this @code, the called function knew of -errno only, and the
 *          cause is filch_strerror()'s sentence; NULL: nothing is written
 * @code:   what the called function returned; 0 and more: nothing is done
 * @format: as of printf; NULL or "": nothing is put in front
 *
 * For most, FILCH_NOTE and FILCH_TRY read better. Return: @code.
 */
FILCH_API int filch_error_note(filch_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** filch_error_clear() - make it no error again. NULL is ignored. */
FILCH_API void filch_error_clear(filch_error *error);

/** filch_error_text() - the line. Return: the text; "no error" for NULL and where there is none.
 * Lives as long as @error is left as it is. */
FILCH_API const char *filch_error_text(const filch_error *error);

/* Evaluates @call, whose result is 0 or a count, or -errno; if that is an error, notes in @error
 * what was being done, as of printf. The result is the call's. What was in @error before is gone,
 * also if all goes well: an old cause is never taken for a new one. */
#define FILCH_NOTE(error, call, ...)                                                               \
    __extension__({                                                                                \
        filch_error *filch__error = (error);                                                       \
        filch_error_clear(filch__error);                                                           \
        __typeof__(call) filch__result = (call);                                                   \
        if (__builtin_expect(filch__result < 0, 0))                                                \
            (void)filch_error_note(filch__error, (int)filch__result, __VA_ARGS__);                 \
        filch__result;                                                                             \
    })

/* The same, and an error leaves the function that this stands in, by `return` with the -errno. What
 * it has opened until there is not closed: FILCH_NOTE and a goto are for that. */
#define FILCH_TRY(error, call, ...)                                                                \
    __extension__({                                                                                \
        __typeof__(call) filch__tried = FILCH_NOTE(error, call, __VA_ARGS__);                      \
        if (__builtin_expect(filch__tried < 0, 0))                                                 \
            return (int)filch__tried;                                                              \
        filch__tried;                                                                              \
    })

FILCH_END_DECLS

#endif
