/* Two ends of TLS over the loopback, with certificates that are made when the test runs. */
#ifndef FILCH_TESTS_RUNNER_TLS_PAIR_H
#define FILCH_TESTS_RUNNER_TLS_PAIR_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filch/tls.h>

#include "tests/runner/tcp_pair.h"

/* A certificate that signs itself, as texts. */
struct identity {
    char cert[4096], key[4096];
};

static inline void keep_text(BIO *bio, char *to)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);

    T_CHECK(n > 0 && n < 4096);
    memcpy(to, text, (size_t)n);
    to[n] = 0;
    BIO_free(bio);
}

static inline void make_identity(struct identity *identity, const char *names, long begins_s,
                                 long ends_s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    X509_EXTENSION *extension;
    static atomic_int made;
    char name[32];

    T_CHECK(key && cert && bio);
    /* Issuers are looked up by their names. */
    snprintf(name, sizeof name, "filch test %d", atomic_fetch_add(&made, 1));
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), begins_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), ends_s);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    T_CHECK(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
    T_CHECK(X509_sign(cert, key, EVP_sha256()));
    T_CHECK(PEM_write_bio_X509(bio, cert));
    keep_text(bio, identity->cert);
    bio = BIO_new(BIO_s_mem());
    T_CHECK(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    keep_text(bio, identity->key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct side {
    filch_tls_context *context;
    filch_tcp *conn;
    const char *name; /* NULL: the server */
    filch_tls *tls;
    filch_error error;
    size_t stack_left;
};

static inline int shake(void *arg)
{
    struct side *side = arg;
    filch_io io = filch_tcp_io(side->conn);

    side->stack_left = filch_task_stack_left();
    return side->name
               ? filch_tls_connect(side->context, io, side->name, &side->tls, &side->error, T_LIMIT)
               : filch_tls_accept(side->context, io, &side->tls, &side->error, T_LIMIT);
}

struct both {
    struct tcp_pair pair;
    struct side client, server;
    int connected, accepted;
};

static inline void begin_both(struct both *both, filch_tls_context *client,
                              filch_tls_context *server, const char *name, size_t stack_bytes)
{
    filch_task_opts opts = {.stack_bytes = stack_bytes};
    filch_task *task;

    memset(both, 0, sizeof *both);
    connect_pair(&both->pair);
    both->client = (struct side){.context = client, .conn = both->pair.client, .name = name};
    both->server = (struct side){.context = server, .conn = both->pair.server};
    T_OK(filch_task_spawn(shake, &both->server, &opts, &task));
    both->connected = shake(&both->client);
    both->accepted = join(task);
}

static inline void end_both(struct both *both)
{
    filch_tls_free(both->client.tls);
    filch_tls_free(both->server.tls);
    close_pair(&both->pair);
}

static inline filch_tls_context *new_context(bool server, const filch_tls_opts *opts)
{
    filch_tls_context *context = NULL;
    filch_error error = FILCH_ERROR_INIT;
    int r = server ? filch_tls_server_new(opts, &context, &error)
                   : filch_tls_client_new(opts, &context, &error);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    return context;
}

static inline void make_contexts(const char *names, long begins_s, long ends_s,
                                 filch_tls_context **client, filch_tls_context **server)
{
    struct identity identity;

    make_identity(&identity, names, begins_s, ends_s);
    *server = new_context(
        true, &(filch_tls_opts){.cert = {.text = identity.cert}, .key = {.text = identity.key}});
    *client = new_context(false, &(filch_tls_opts){.ca = {.text = identity.cert}});
}

#endif
