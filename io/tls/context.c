/* Contexts: from options to OpenSSL's SSL_CTX, and reloading.
 *
 * A setup is a set of options that never changes. A context points to one; a reload makes another
 * one and changes the pointer, and connections keep the one they began with. The pointer is read
 * and its setup referenced under a lock that is held for two instructions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "io/tls/tls.h"

/* Of a handshake. */
#define SESSIONS_MAX 16

/* ---- from options to OpenSSL ---- */

static int wrong(filch_error *error, const char *why)
{
    return filch_error_set_detail(error, -EINVAL, FILCH_ERROR_TLS, 0, "%s", why);
}

static BIO *pem_bio(const filch_tls_pem *pem)
{
    size_t bytes = pem->bytes ? pem->bytes : strlen(pem->text);

    return bytes > INT32_MAX ? NULL : BIO_new_mem_buf(pem->text, (int)bytes);
}

/* A key behind a pass phrase must not ask on the terminal. */
static int no_pass_phrase(char *buf, int bytes, int writing, void *arg)
{
    (void)buf;
    (void)bytes;
    (void)writing;
    (void)arg;
    return -1;
}

static int use_cert_text(SSL_CTX *ctx, const filch_tls_pem *pem, filch_error *error)
{
    BIO *bio = pem_bio(pem);
    X509 *cert = bio ? PEM_read_bio_X509_AUX(bio, NULL, no_pass_phrase, NULL) : NULL;
    bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;

    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    BIO_free(bio);
    if (!ok)
        return filch__tls_explain_setup(error, "certificate", "in memory");
    ERR_clear_error(); /* of the end of the text */
    return 0;
}

static int use_key_text(SSL_CTX *ctx, const filch_tls_pem *pem, filch_error *error)
{
    BIO *bio = pem_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;

    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : filch__tls_explain_setup(error, "key", "in memory");
}

static int use_identity(SSL_CTX *ctx, const filch_tls_opts *opts, filch_error *error)
{
    bool has_cert = opts->cert_file || opts->cert.text, has_key = opts->key_file || opts->key.text;
    int r = 0;

    if (has_cert != has_key || (opts->cert_file && opts->cert.text) ||
        (opts->key_file && opts->key.text))
        return wrong(error, "a certificate needs a key, and each is a file or a text");
    if (!has_cert)
        return 0;
    if (opts->cert.text)
        r = use_cert_text(ctx, &opts->cert, error);
    else if (SSL_CTX_use_certificate_chain_file(ctx, opts->cert_file) != 1)
        r = filch__tls_explain_setup(error, "certificate", opts->cert_file);
    if (r < 0)
        return r;
    if (opts->key.text)
        r = use_key_text(ctx, &opts->key, error);
    else if (SSL_CTX_use_PrivateKey_file(ctx, opts->key_file, SSL_FILETYPE_PEM) != 1)
        r = filch__tls_explain_setup(error, "key", opts->key_file);
    if (r == 0 && SSL_CTX_check_private_key(ctx) != 1)
        r = filch__tls_explain_setup(error, "key", "and certificate");
    return r;
}

/* Trusts the certificates of a text; a server also tells clients their names. */
static int trust_text(SSL_CTX *ctx, const filch_tls_pem *pem, bool server, filch_error *error)
{
    BIO *bio = pem_bio(pem);
    X509 *cert;
    int certs = 0;
    bool ok = bio;

    while (ok && (cert = PEM_read_bio_X509_AUX(bio, NULL, no_pass_phrase, NULL))) {
        ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1 &&
             (!server || SSL_CTX_add_client_CA(ctx, cert) == 1);
        X509_free(cert);
        certs++;
    }
    BIO_free(bio);
    if (!ok || certs == 0)
        return filch__tls_explain_setup(error, "trusted certificates", "in memory");
    ERR_clear_error();
    return 0;
}

static int trust_file(SSL_CTX *ctx, const char *file, bool server, filch_error *error)
{
    STACK_OF(X509_NAME) * names;

    if (SSL_CTX_load_verify_file(ctx, file) != 1)
        return filch__tls_explain_setup(error, "trusted certificates", file);
    if (!server)
        return 0;
    names = SSL_load_client_CA_file(file);
    if (!names)
        return filch__tls_explain_setup(error, "trusted certificates", file);
    SSL_CTX_set_client_CA_list(ctx, names);
    return 0;
}

static int use_trust(SSL_CTX *ctx, const filch_tls_opts *opts, bool server, filch_error *error)
{
    bool given = opts->ca_file || opts->ca_dir || opts->ca.text;
    int r = 0;

    if (server && opts->ask != FILCH_TLS_ASK_NOTHING && !given)
        return wrong(error, "a server that asks for certificates must be told whom to trust");
    if (opts->ca_file)
        r = trust_file(ctx, opts->ca_file, server, error);
    if (r == 0 && opts->ca.text)
        r = trust_text(ctx, &opts->ca, server, error);
    if (r == 0 && opts->ca_dir && SSL_CTX_load_verify_dir(ctx, opts->ca_dir) != 1)
        r = filch__tls_explain_setup(error, "trusted certificates", opts->ca_dir);
    if (r == 0 && !server && !given && !opts->no_verify &&
        SSL_CTX_set_default_verify_paths(ctx) != 1)
        r = filch__tls_explain_setup(error, "trusted certificates", "of the system");
    return r;
}

/* Remembers which certificate it is that is not good. */
static int verify_one(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    filch_tls *tls = ssl ? SSL_get_app_data(ssl) : NULL;

    if (!good && tls) {
        tls->bad_depth = X509_STORE_CTX_get_error_depth(store);
        tls->bad_subject[0] = 0;
        if (cert)
            X509_NAME_oneline(X509_get_subject_name(cert), tls->bad_subject,
                              (int)sizeof tls->bad_subject);
    }
    return good;
}

static void use_verification(SSL_CTX *ctx, const filch_tls_opts *opts, bool server)
{
    int mode = SSL_VERIFY_PEER;

    if (server && opts->ask == FILCH_TLS_REQUIRE_CERT)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    if (server ? opts->ask == FILCH_TLS_ASK_NOTHING : opts->no_verify)
        mode = SSL_VERIFY_NONE;
    SSL_CTX_set_verify(ctx, mode, verify_one);
}

static int use_ciphers(SSL_CTX *ctx, const filch_tls_opts *opts, filch_error *error)
{
    int oldest = opts->version_min == FILCH_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    if ((unsigned)opts->version_min > FILCH_TLS_1_3)
        return wrong(error, "there is no such version");
    if (SSL_CTX_set_min_proto_version(ctx, oldest) != 1)
        return filch__tls_explain_setup(error, "version", "");
    if (opts->ciphers && SSL_CTX_set_cipher_list(ctx, opts->ciphers) != 1)
        return filch__tls_explain_setup(error, "ciphers", opts->ciphers);
    if (opts->ciphersuites && SSL_CTX_set_ciphersuites(ctx, opts->ciphersuites) != 1)
        return filch__tls_explain_setup(error, "ciphers", opts->ciphersuites);
    return 0;
}

/* ---- protocols ---- */

static int encode_alpn(struct filch__tls_setup *setup, const char *const *names, filch_error *error)
{
    size_t bytes = 0;

    for (int i = 0; names && names[i]; i++) {
        size_t n = strlen(names[i]);

        if (n == 0 || n > 255 || bytes + n + 1 > 4096)
            return wrong(error, "a protocol's name has 1 to 255 bytes, and all 4,096");
        bytes += n + 1;
    }
    if (bytes == 0)
        return 0;
    setup->alpn = malloc(bytes);
    if (!setup->alpn)
        return filch_error_set(error, -ENOMEM, NULL);
    for (int i = 0; names[i]; i++) {
        size_t n = strlen(names[i]);

        setup->alpn[setup->alpn_bytes] = (unsigned char)n;
        memcpy(setup->alpn + setup->alpn_bytes + 1, names[i], n);
        setup->alpn_bytes += (unsigned)n + 1;
    }
    return 0;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                       const unsigned char *offered, unsigned offered_bytes, void *arg)
{
    const struct filch__tls_setup *setup = arg;

    (void)ssl;
    if (SSL_select_next_proto((unsigned char **)out, out_bytes, setup->alpn, setup->alpn_bytes,
                              offered, offered_bytes) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

static int use_alpn(struct filch__tls_setup *setup, const filch_tls_opts *opts, bool server,
                    filch_error *error)
{
    int r = encode_alpn(setup, opts->alpn, error);

    if (r < 0 || !setup->alpn)
        return r;
    if (server)
        SSL_CTX_set_alpn_select_cb(setup->ctx, choose_alpn, setup);
    else if (SSL_CTX_set_alpn_protos(setup->ctx, setup->alpn, setup->alpn_bytes) != 0)
        return filch_error_set(error, -ENOMEM, NULL);
    return 0;
}

/* ---- sessions ---- */

/* Runs within OpenSSL, with the connection's lock. */
static int session_came(SSL *ssl, SSL_SESSION *session)
{
    filch_tls *tls = SSL_get_app_data(ssl);
    bool keeps;

    if (!tls || !tls->name[0] || !SSL_SESSION_is_resumable(session))
        return 0;
    pthread_mutex_lock(&tls->context->lock);
    keeps = tls->context->setup == tls->setup; /* else it was verified by rules of the past */
    if (keeps)
        filch__tls_session_keep(&tls->context->sessions, tls->name, session);
    pthread_mutex_unlock(&tls->context->lock);
    return keeps;
}

static int use_sessions(struct filch__tls_setup *setup, const filch_tls_opts *opts, bool server,
                        filch_error *error)
{
    static const unsigned char id[] = "filch";

    setup->resumes = !opts->no_resumption;
    if (!setup->resumes) {
        SSL_CTX_set_session_cache_mode(setup->ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(setup->ctx, SSL_OP_NO_TICKET);
        return server && SSL_CTX_set_num_tickets(setup->ctx, 0) != 1
                   ? filch_error_set(error, -ENOMEM, NULL)
                   : 0;
    }
    if (server) {
        /* Tickets: the clients keep them, and nothing here grows. */
        SSL_CTX_set_session_cache_mode(setup->ctx, SSL_SESS_CACHE_OFF);
        if (SSL_CTX_set_num_tickets(setup->ctx, opts->sessions ?: 1) != 1 ||
            SSL_CTX_set_session_id_context(setup->ctx, id, sizeof id - 1) != 1)
            return filch_error_set(error, -ENOMEM, NULL);
    } else {
        SSL_CTX_set_session_cache_mode(setup->ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(setup->ctx, session_came);
    }
    return 0;
}

/* ---- setups ---- */

void filch__tls_setup_unref(struct filch__tls_setup *setup)
{
    /* [setup-end] Uses before the last one that gives up. */
    if (!setup || filch_fetch_sub_acq_rel(&setup->references, 1) != 1)
        return;
    SSL_CTX_free(setup->ctx);
    free(setup->alpn);
    free(setup);
}

static int fill_setup(struct filch__tls_setup *setup, const filch_tls_opts *opts, bool server,
                      filch_error *error)
{
    int r;

    setup->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!setup->ctx)
        return filch__tls_explain_setup(error, "OpenSSL", "");
    SSL_CTX_set_mode(setup->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(setup->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                        SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_default_passwd_cb(setup->ctx, no_pass_phrase);
    SSL_CTX_set_default_read_buffer_len(setup->ctx, FILCH__TLS_RECORD_BYTES);
    SSL_CTX_set_read_ahead(setup->ctx, 1);
    setup->handshake_class = opts->handshake_class;
    setup->verifies = server ? opts->ask != FILCH_TLS_ASK_NOTHING : !opts->no_verify;
    use_verification(setup->ctx, opts, server);
    r = use_ciphers(setup->ctx, opts, error);
    if (r == 0)
        r = use_identity(setup->ctx, opts, error);
    if (r == 0)
        r = use_trust(setup->ctx, opts, server, error);
    if (r == 0)
        r = use_alpn(setup, opts, server, error);
    return r < 0 ? r : use_sessions(setup, opts, server, error);
}

static int setup_new(const filch_tls_opts *opts, bool server, struct filch__tls_setup **ret_setup,
                     filch_error *error)
{
    static const filch_tls_opts defaults;
    struct filch__tls_setup *setup = calloc(1, sizeof *setup);
    int r;

    if (!setup)
        return filch_error_set(error, -ENOMEM, NULL);
    filch_atomic_init(&setup->references, 1);
    opts = opts ? opts : &defaults;
    ERR_clear_error();
    if ((unsigned)opts->ask > FILCH_TLS_REQUIRE_CERT)
        r = wrong(error, "there is no such way to ask for certificates");
    else if (server && !opts->cert_file && !opts->cert.text)
        r = wrong(error, "a server needs a certificate");
    else if (opts->sessions > SESSIONS_MAX)
        r = wrong(error, "a handshake leaves 16 sessions at most");
    else
        r = fill_setup(setup, opts, server, error);
    if (r < 0) {
        filch__tls_setup_unref(setup);
        return r;
    }
    *ret_setup = setup;
    return 0;
}

/* ---- contexts ---- */

struct filch__tls_setup *filch__tls_setup_get(filch_tls_context *context)
{
    struct filch__tls_setup *setup;

    pthread_mutex_lock(&context->lock);
    setup = context->setup;
    filch_fetch_add_relaxed(&setup->references, 1); /* there is one already: the context's */
    pthread_mutex_unlock(&context->lock);
    return setup;
}

static int context_new(const filch_tls_opts *opts, bool server, filch_tls_context **ret_context,
                       filch_error *error)
{
    filch_tls_context *context;
    int r;

    if (!ret_context)
        return filch_error_set(error, -EINVAL, NULL);
    context = calloc(1, sizeof *context);
    if (!context)
        return filch_error_set(error, -ENOMEM, NULL);
    r = setup_new(opts, server, &context->setup, error);
    if (r < 0) {
        free(context);
        return r;
    }
    filch_atomic_init(&context->references, 1);
    context->server = server;
    pthread_mutex_init(&context->lock, NULL);
    filch__tls_sessions_init(&context->sessions);
    *ret_context = context;
    return 0;
}

int filch_tls_client_new(const filch_tls_opts *opts, filch_tls_context **ret_context,
                         filch_error *error)
{
    return context_new(opts, false, ret_context, error);
}

int filch_tls_server_new(const filch_tls_opts *opts, filch_tls_context **ret_context,
                         filch_error *error)
{
    return context_new(opts, true, ret_context, error);
}

int filch_tls_context_reload(filch_tls_context *context, const filch_tls_opts *opts,
                             filch_error *error)
{
    struct filch__tls_setup *setup, *old;
    int r;

    if (!context)
        return filch_error_set(error, -EINVAL, NULL);
    r = setup_new(opts, context->server, &setup, error);
    if (r < 0)
        return r;
    pthread_mutex_lock(&context->lock);
    old = context->setup;
    context->setup = setup;
    /* What was verified by the old rules is not verified by the new ones: whoever gets those finds
     * no session from before. */
    filch__tls_sessions_clear(&context->sessions);
    pthread_mutex_unlock(&context->lock);
    filch__tls_setup_unref(old);
    return 0;
}

filch_tls_context *filch_tls_context_ref(filch_tls_context *context)
{
    if (context)
        filch_fetch_add_relaxed(&context->references, 1); /* the caller has one */
    return context;
}

void filch_tls_context_unref(filch_tls_context *context)
{
    /* [context-end] Uses before the last one that gives up. */
    if (!context || filch_fetch_sub_acq_rel(&context->references, 1) != 1)
        return;
    filch__tls_setup_unref(context->setup);
    filch__tls_sessions_fini(&context->sessions);
    pthread_mutex_destroy(&context->lock);
    free(context);
}
