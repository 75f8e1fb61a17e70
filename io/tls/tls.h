/* What the files of TLS share: contexts, connections, and the step by which OpenSSL is called. */
#ifndef FILCH_IO_TLS_TLS_H
#define FILCH_IO_TLS_TLS_H

#include <pthread.h>

#include <openssl/ssl.h>

#include <filch/blocking.h>
#include <filch/mutex.h>
#include <filch/tls.h>

#include "runtime/base/atomic.h"

#define FILCH__TLS_NAME_BYTES 256

/* ---- sessions of a client: session.c ---- */

#define FILCH__TLS_SESSIONS 64

struct filch__tls_sessions {
    pthread_mutex_t lock; /* short: never across a suspension */
    uint64_t clock;       /* counts uses */
    struct filch__tls_session {
        char name[FILCH__TLS_NAME_BYTES];
        SSL_SESSION *session; /* NULL: free */
        uint64_t used;
    } kept[FILCH__TLS_SESSIONS];
};

void filch__tls_sessions_init(struct filch__tls_sessions *sessions);
void filch__tls_sessions_fini(struct filch__tls_sessions *sessions);
void filch__tls_sessions_clear(struct filch__tls_sessions *sessions);

/* Keeps @session, whose reference is consumed, for the next connection to @name. */
void filch__tls_session_keep(struct filch__tls_sessions *sessions, const char *name,
                             SSL_SESSION *session);

/* Return: the session for @name, whose reference is the caller's, and which is not kept any more;
 * NULL: none. */
SSL_SESSION *filch__tls_session_take(struct filch__tls_sessions *sessions, const char *name);

/* ---- contexts: context.c ---- */

/* One set of options; connections keep theirs while a reload brings others. */
struct filch__tls_setup {
    filch_atomic_u32 references;
    SSL_CTX *ctx;
    filch_blocking_class *handshake_class;
    unsigned char *alpn; /* as on the wire */
    unsigned alpn_bytes;
    bool verifies;
    bool resumes;
};

struct filch_tls_context {
    filch_atomic_u32 references;
    bool server;
    /* Of `setup`, the pointer; short. Before the sessions'. */
    pthread_mutex_t lock;
    struct filch__tls_setup *setup;
    struct filch__tls_sessions sessions;
};

/* Return: the present setup with a reference. */
struct filch__tls_setup *filch__tls_setup_get(filch_tls_context *context);
void filch__tls_setup_unref(struct filch__tls_setup *setup);

/* ---- bytes between OpenSSL and the stream below: bio.c ---- */

struct filch__tls_buffer {
    char *bytes;
    size_t begin, end, room;
};

static inline size_t filch__tls_buffered(const struct filch__tls_buffer *buffer)
{
    return buffer->end - buffer->begin;
}

/* Return: false: no memory. */
bool filch__tls_buffer_reserve(struct filch__tls_buffer *buffer, size_t bytes);

/* Return: a BIO that reads from @in and appends to @out; NULL: no memory. */
BIO *filch__tls_bio_new(struct filch__tls_buffer *in, struct filch__tls_buffer *out);

/* ---- connections: tls.c, handshake.c ---- */

struct filch_tls {
    filch_io io;
    filch_tls_context *context;
    struct filch__tls_setup *setup;
    char name[FILCH__TLS_NAME_BYTES];

    /* Whoever calls OpenSSL: never across a suspension, nor is OpenSSL entered without it. Guards
     * all up to `failure`. */
    pthread_mutex_t lock;
    SSL *ssl;
    struct filch__tls_buffer in;  /* ciphertext that OpenSSL has not read; filled with in_lock */
    struct filch__tls_buffer out; /* ciphertext that OpenSSL has written */
    bool unsent;                  /* there is something in `sending` that nobody is sending */
    bool finished;                /* our close_notify is made */
    int broken;                   /* what each further call returns; 0: nothing */
    int out_broken;               /* the stream below takes nothing more: each write returns it */
    filch_error failure;
    int bad_depth; /* of the certificate that is not good; set while verifying */
    char bad_subject[256];

    filch_mutex in_lock; /* the reader; across suspensions */
    bool in_ended;       /* the stream below has; in_lock */
    int in_broken;       /* what the stream below said; each further fill returns it; in_lock */

    filch_mutex out_lock;             /* who sends; across suspensions; within in_lock */
    struct filch__tls_buffer sending; /* out_lock */
};

enum filch__tls_verb {
    FILCH__TLS_HANDSHAKE,
    FILCH__TLS_READ,
    FILCH__TLS_WRITE,
    FILCH__TLS_FINISH,
};

/* One call of OpenSSL. */
struct filch__tls_step {
    filch_tls *tls;
    enum filch__tls_verb verb;
    char *buf;
    size_t bytes;
    /* Results. */
    ssize_t result; /* bytes; 0; -errno; -EAGAIN: more of the stream below is needed */
    bool to_send;
};

#define FILCH__TLS_RECORD_BYTES 16384

/* Takes the step where there is stack for it. Return: 0 (it was taken); what
 * filch_blocking_run() says. */
int filch__tls_take(struct filch__tls_step *step, filch_time until);

/* Sends what OpenSSL has written; the caller has out_lock. Return: 0; the stream's error. */
int filch__tls_send(filch_tls *tls, filch_time until);

/* Waits for something from the stream below; the caller has in_lock. Return: 0; -errno. */
int filch__tls_fill(filch_tls *tls, filch_time until);

/* ---- words: words.c ---- */

/* What OpenSSL's error queue says of a failure, and empties it. Return: the code. */
int filch__tls_explain(filch_tls *tls, filch_error *error);

/* The same where there is no connection. */
int filch__tls_explain_setup(filch_error *error, const char *what, const char *which);

#endif
