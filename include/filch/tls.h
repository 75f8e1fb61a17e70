/* TLS over any byte stream, by OpenSSL 3. Of the library filch-tls.
 *
 *     filch_tls_context *context;
 *     filch_tls *tls;
 *
 *     FILCH_TRY(error, filch_tls_client_new(NULL, &context, error), "TLS");
 *     r = FILCH_NOTE(error, filch_tls_connect(context, filch_tcp_io(conn), "example.com", &tls,
 *                                             error, filch_after(5 * FILCH_SECOND)),
 *                    "handshake with %s", addr);
 *     r = filch_tls_write_all(tls, request, bytes, NULL, until);
 *     n = filch_tls_read(tls, buf, sizeof buf, until);
 *     r = filch_tls_finish(tls, until);          the peer reads the end
 *     filch_tls_free(tls);
 *     filch_tcp_close(conn);                     what is below is not ours
 *
 * A context holds what many connections share: certificates, whom to trust, protocols, sessions. A
 * client trusts the system's roots and checks the name, unless it is told otherwise; TLS 1.2 is the
 * oldest version. filch_tls_io() makes of a connection what HTTP, buffers, frames and copies take.
 *
 * The end. A peer that ends properly says so (close_notify): reads return 0. A stream below that
 * ends without that was cut off, perhaps by an attacker: reads return -ECONNRESET, never 0.
 *
 * Errors. The calls that make contexts and connections say in words what is wrong, in a filch_error
 * of domain FILCH_ERROR_TLS; filch_tls_failure() does for reads and writes. Codes:
 *
 *     -EKEYREJECTED   the peer's certificate is not good: `detail` is OpenSSL's X509_V_ERR_...
 *     -EPROTO         what the peer sent is not TLS, or not what we accept; or it refuses us (an
 *                     alert): `detail` is the reason, SSL_R_...
 *     -ECONNRESET     cut off without a close_notify
 *     -EPIPE          writing after filch_tls_finish()
 *
 * and what the stream below says: its errors pass as they are. After -EPROTO a connection is of no
 * use any more: each further call returns the same. An error of the stream below stays for its
 * direction: after a write that failed what has come can still be read, and after a read that
 * failed each further one returns the same. A time-out or a cancel leaves a connection as it was;
 * but a handshake that is given up has failed, and the stream below must be closed.
 *
 * Thread-safety: a context is for all. A connection takes one reader and one writer at a time that
 * run at once; further ones wait for their turn. All calls work from tasks and plain threads. A
 * cipher's work is done by the caller: with OpenSSL 3.0 on a server's processor, 3 us for 16 KiB
 * (AES-256-GCM), and for a server's side of a handshake 0.25 ms with an ECDSA certificate (P-256),
 * 0.55 ms with RSA of 2,048 bits, 4 ms with 4,096: a server with many of those names a class of
 * blocking jobs for them (handshake_class). OpenSSL was seen to use 18 KiB of stack: where a task
 * has less than 48 KiB left, its work is done by the blocking pool; that works, but is slower,
 * and a call that must not wait (FILCH_NOW) may then find nothing.
 */
#ifndef FILCH_TLS_H
#define FILCH_TLS_H

#include <filch/base.h>
#include <filch/error.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

typedef struct filch_tls_context filch_tls_context;
typedef struct filch_tls filch_tls;

enum filch_tls_version {
    FILCH_TLS_DEFAULT, /* TLS 1.2 */
    FILCH_TLS_1_2,
    FILCH_TLS_1_3,
};

/* What a server asks of its clients. */
enum filch_tls_ask {
    FILCH_TLS_ASK_NOTHING,
    FILCH_TLS_ASK_CERT,     /* a certificate, if the client has one: see filch_tls_peer() */
    FILCH_TLS_REQUIRE_CERT, /* no certificate, no connection */
};

/* Bytes of text in memory. */
typedef struct filch_tls_pem {
    const char *text; /* borrowed for the call; NULL: none */
    size_t bytes;     /* 0: up to its NUL */
} filch_tls_pem;

/* All zero, or a NULL pointer to it, gives a client's defaults. */
typedef struct filch_tls_opts {
    /* Who we are: a certificate with its chain, ours first, and its private key; each as a file in
     * PEM or as text in memory. A server must have them, a client may. */
    const char *cert_file, *key_file;
    filch_tls_pem cert, key;
    /* Whom we trust: what is given here, and nobody else. Nothing is given: a client trusts the
     * system's roots (also found by SSL_CERT_FILE and SSL_CERT_DIR). A server that asks for
     * certificates must be given something. */
    const char *ca_file, *ca_dir;
    filch_tls_pem ca;
    /* Clients: take any certificate of any name. For tests; such a connection is private, but with
     * whom, nobody knows. */
    bool no_verify;
    enum filch_tls_ask ask; /* servers */
    enum filch_tls_version version_min;
    /* Protocols, the preferred one first, up to a NULL: {"h2", "http/1.1", NULL}. A server that has
     * some refuses clients that have none of them; clients that say nothing are taken. */
    const char *const *alpn;
    /* OpenSSL's lists of ciphers, for TLS 1.2 and for 1.3; NULL: its defaults. */
    const char *ciphers, *ciphersuites;
    bool no_resumption;
    /* Servers: sessions that a handshake leaves with the client, at most 16; each is good for one
     * connection, which brings the next. They cost the server a tenth of a handshake each. 0: 1 */
    unsigned sessions;
    /* Servers: handshakes are computed by jobs of this class; NULL: by the task itself. The class
     * must live as long as the context. */
    filch_blocking_class *handshake_class;
} filch_tls_opts;

/**
 * filch_tls_client_new() - a context for connections that we begin
 * @opts:        borrowed for the call; NULL for defaults
 * @ret_context: gets a reference; ended by filch_tls_context_unref()
 * @error:       may be NULL
 *
 * Reads files and blocks its thread for that. Sessions are kept for up to 64 names, and continued
 * by the next connection to the same name.
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (NULL; options that contradict each other; what is in a file or a text is not
 * what it should be; a key that does not fit its certificate); -ENOENT, -EACCES and what else
 * open(2) says; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tls_client_new(const filch_tls_opts *opts,
                                                    filch_tls_context **ret_context,
                                                    filch_error *error);

/** filch_tls_server_new() - a context for connections that others begin. A certificate is needed.
 * Otherwise the same. */
FILCH_API FILCH_MUST_CHECK int filch_tls_server_new(const filch_tls_opts *opts,
                                                    filch_tls_context **ret_context,
                                                    filch_error *error);

/**
 * filch_tls_context_reload() - new options, for the handshakes that begin from now on
 * @opts: borrowed for the call; all of them, not only what has changed
 *
 * Connections go on with what they have. Sessions are not continued across it. After an error the
 * old options hold.
 *
 * Thread-safety: any, while others connect and accept. Suspends: no. Return: as
 * filch_tls_client_new().
 */
FILCH_API FILCH_MUST_CHECK int filch_tls_context_reload(filch_tls_context *context,
                                                        const filch_tls_opts *opts,
                                                        filch_error *error);

/** filch_tls_context_ref() - one reference more. Connections have their own. Thread-safety: any.
 * Return: @context. */
FILCH_API filch_tls_context *filch_tls_context_ref(filch_tls_context *context);

/** filch_tls_context_unref() - one reference less; the last one frees. NULL is allowed. Suspends:
 * no. */
FILCH_API void filch_tls_context_unref(filch_tls_context *context);

/**
 * filch_tls_connect() - the handshake of a client
 * @context: a client's
 * @io:      the stream below, copied; what it refers to is borrowed until filch_tls_free(), and
 *           nobody else may read from it or write to it
 * @name:    the server's host name or IP address: it is asked for, and the certificate must be for
 *           it. NULL only if the context takes any certificate. At most 255 bytes; copied
 * @ret_tls: gets the connection; ended by filch_tls_free()
 * @error:   may be NULL
 *
 * Suspends: yes. Cancellation point: yes; the handshake has failed then.
 * Return: 0; -EKEYREJECTED; -EPROTO; -ECONNRESET; the errors of @io; -ETIMEDOUT; -ECANCELED;
 * -EINVAL (NULL, not a name, the wrong kind of context); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tls_connect(filch_tls_context *context, filch_io io,
                                                 const char *name, filch_tls **ret_tls,
                                                 filch_error *error, filch_time until);

/** filch_tls_accept() - the handshake of a server. With TLS 1.3 it is over before the client has
 * judged our certificate: if that is refused, the first read says so; and a client that sent its
 * request and went away meanwhile is accepted, and can be read. Otherwise the same, with
 * errors of filch_blocking_run() if there is a handshake_class. */
FILCH_API FILCH_MUST_CHECK int filch_tls_accept(filch_tls_context *context, filch_io io,
                                                filch_tls **ret_tls, filch_error *error,
                                                filch_time until);

/**
 * filch_tls_read() - read what is there, waiting for at least one byte
 *
 * Thread-safety: see above. Suspends: yes. Cancellation point: yes; no byte is lost.
 * Return: bytes read; 0 (the peer has ended its side properly; again at each further call);
 * -ECONNRESET; -EPROTO; the errors of the stream below; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL);
 * -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tls_read(filch_tls *tls, void *buf, size_t bytes,
                                                  filch_time until);

/** filch_tls_read_exact() - read exactly @bytes. @ret_done: bytes read, set also on failure; may be
 * NULL. Return: 0; -EPIPE (the peer ended its side before that); else as filch_tls_read(). */
FILCH_API FILCH_MUST_CHECK int filch_tls_read_exact(filch_tls *tls, void *buf, size_t bytes,
                                                    size_t *ret_done, filch_time until);

/**
 * filch_tls_write() - write some bytes, waiting until at least one is taken
 *
 * At most 32 KiB are taken at once, and sent before it returns. If the time is up or a cancel comes
 * when they were encrypted but not yet sent, they are taken, and sent by the next call on this
 * connection, whichever it is but free.
 *
 * Suspends: yes. Cancellation point: yes; when -ECANCELED or -ETIMEDOUT is returned nothing was
 * taken. Return: bytes taken; -EPIPE (after filch_tls_finish()); else as filch_tls_read().
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tls_write(filch_tls *tls, const void *buf, size_t bytes,
                                                   filch_time until);

/** filch_tls_write_all() - write all of it. @ret_done: bytes taken, set also on failure; may be
 * NULL. Return: 0; else as filch_tls_write(). */
FILCH_API FILCH_MUST_CHECK int filch_tls_write_all(filch_tls *tls, const void *buf, size_t bytes,
                                                   size_t *ret_done, filch_time until);

/**
 * filch_tls_finish() - end our side: the peer reads the end after what was written; reading goes on
 *
 * The stream below is left as it is. Whoever wants to know that the peer has ended, too, reads
 * until 0. Suspends: yes. Cancellation point: yes; the same call again goes on.
 * Return: 0 (also if it was done before); else as filch_tls_write().
 */
FILCH_API FILCH_MUST_CHECK int filch_tls_finish(filch_tls *tls, filch_time until);

/**
 * filch_tls_free() - give a connection back; nothing is sent, so a peer that was not told the end
 * reads -ECONNRESET or what its library calls it
 * @tls: no call is under way in it; NULL is allowed
 *
 * Thread-safety: the last user. Suspends: no.
 */
FILCH_API void filch_tls_free(filch_tls *tls);

/** filch_tls_failure() - in words, why calls on the connection fail: the last failure of a read, a
 * write or a finish, time-outs and cancels aside. Thread-safety: any. Return: its code, as in
 * @ret_error; 0: none, and @ret_error says so. -EINVAL (NULL). */
FILCH_API int filch_tls_failure(filch_tls *tls, filch_error *ret_error);

/* What was agreed on. Texts live as long as the connection. */
typedef struct filch_tls_info {
    const char *version;     /* "TLSv1.3" */
    const char *cipher;      /* "TLS_AES_256_GCM_SHA384" */
    const char *server_name; /* that was asked for; "" if none */
    char alpn[256];          /* "" if none */
    bool resumed;            /* an earlier session goes on */
} filch_tls_info;

/** filch_tls_get_info() - what was agreed on. Thread-safety: any. Suspends: no. Return: 0; -EINVAL.
 */
FILCH_API int filch_tls_get_info(filch_tls *tls, filch_tls_info *ret_info);

/* A certificate. Texts that do not fit end in "...". */
typedef struct filch_tls_peer {
    char subject[512]; /* "CN = example.com, O = ..." (RFC 2253, UTF-8) */
    char issuer[512];
    char names[1024];        /* it is good for: "DNS:example.com, IP:127.0.0.1" */
    uint8_t fingerprint[32]; /* SHA-256 */
    int64_t not_before;      /* seconds since 1970 */
    int64_t not_after;
    bool verified; /* false: it was not checked (no_verify) */
} filch_tls_peer;

/** filch_tls_get_peer() - the peer's certificate. Thread-safety: any. Suspends: no. Return: 0;
 * -ENOENT (it has shown none); -EINVAL; -ENOMEM. */
FILCH_API int filch_tls_get_peer(filch_tls *tls, filch_tls_peer *ret_peer);

/** filch_tls_reader() - a reader of a connection, which is borrowed. NULL: a reader whose reads
 * give -EINVAL. */
FILCH_API filch_reader filch_tls_reader(filch_tls *tls);

/** filch_tls_writer() - a writer of a connection, which is borrowed; finish is filch_tls_finish().
 * NULL: a writer whose calls give -EINVAL. */
FILCH_API filch_writer filch_tls_writer(filch_tls *tls);

/** filch_tls_io() - both. */
FILCH_API filch_io filch_tls_io(filch_tls *tls);

FILCH_END_DECLS

#endif
