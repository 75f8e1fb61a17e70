/* How connections begin.
 *
 * Nobody else knows the connection yet, so its locks are taken for form's sake only. A handshake
 * that fails sends its alert, if the stream below takes it at once: the peer is to read why, but
 * nobody waits for that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "io/tls/tls.h"

static bool is_ip(const char *name)
{
    unsigned char address[16];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Asks for @name and verifies it. */
static bool use_name(filch_tls *tls)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    bool ip = is_ip(tls->name);

    if (!ip && SSL_set_tlsext_host_name(tls->ssl, tls->name) != 1)
        return false;
    if (!tls->setup->verifies)
        return true;
    if (ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, tls->name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, tls->name, 0) == 1;
}

static void continue_session(filch_tls *tls)
{
    SSL_SESSION *session = NULL;

    if (tls->setup->resumes && tls->name[0])
        session = filch__tls_session_take(&tls->context->sessions, tls->name);
    if (session)
        SSL_set_session(tls->ssl, session);
    SSL_SESSION_free(session);
}

static bool make_ssl(filch_tls *tls)
{
    BIO *bio;

    tls->ssl = SSL_new(tls->setup->ctx);
    bio = tls->ssl ? filch__tls_bio_new(&tls->in, &tls->out) : NULL;
    if (!bio)
        return false;
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    if (tls->context->server) {
        SSL_set_accept_state(tls->ssl);
        return true;
    }
    SSL_set_connect_state(tls->ssl);
    return !tls->name[0] || use_name(tls);
}

static int tls_new(filch_tls_context *context, filch_io io, const char *name, filch_tls **ret_tls,
                   filch_error *error)
{
    filch_tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        return filch_error_set(error, -ENOMEM, NULL);
    tls->io = io;
    tls->context = filch_tls_context_ref(context);
    tls->setup = filch__tls_setup_get(context);
    if (name)
        strcpy(tls->name, name);
    pthread_mutex_init(&tls->lock, NULL);
    ERR_clear_error();
    if (!make_ssl(tls)) {
        ERR_clear_error();
        filch_tls_free(tls);
        return filch_error_set(error, -ENOMEM, NULL);
    }
    if (!context->server)
        continue_session(tls);
    *ret_tls = tls;
    return 0;
}

/* With TLS 1.3 a server is done when it has the client's last word; what it sends then are tickets
 * for later sessions. A client that has gone meanwhile may have left its request. */
static bool has_only_tickets_left(const filch_tls *tls)
{
    return tls->context->server && SSL_version(tls->ssl) >= TLS1_3_VERSION;
}

/* One side's turns, until both are done. */
static int exchange(filch_tls *tls, filch_time until)
{
    struct filch__tls_step step = {.tls = tls, .verb = FILCH__TLS_HANDSHAKE};
    int r;

    for (;;) {
        r = filch__tls_take(&step, until);
        if (r < 0)
            return r;
        if (step.result < 0 && step.result != -EAGAIN) {
            (void)filch__tls_send(tls, FILCH_NOW);
            return (int)step.result;
        }
        r = filch__tls_send(tls, until);
        if (step.result == 0 && tls->out_broken && has_only_tickets_left(tls))
            return 0;
        if (r < 0 || step.result == 0)
            return r;
        r = filch__tls_fill(tls, until);
        if (r < 0)
            return r;
    }
}

static int begin(filch_tls_context *context, filch_io io, const char *name, filch_tls **ret_tls,
                 filch_error *error, filch_time until)
{
    filch_tls *tls = NULL;
    int r = tls_new(context, io, name, &tls, error);

    if (r < 0)
        return r;
    if ((r = filch_mutex_lock(&tls->in_lock, FILCH_NEVER)) == 0) {
        if ((r = filch_mutex_lock(&tls->out_lock, FILCH_NEVER)) == 0) {
            r = exchange(tls, until);
            filch_mutex_unlock(&tls->out_lock);
        }
        filch_mutex_unlock(&tls->in_lock);
    }
    if (r < 0) {
        if (!tls->failure.code)
            filch_error_set(error, r, NULL);
        else if (error)
            *error = tls->failure;
        filch_tls_free(tls);
        return r;
    }
    *ret_tls = tls;
    return 0;
}

int filch_tls_connect(filch_tls_context *context, filch_io io, const char *name,
                      filch_tls **ret_tls, filch_error *error, filch_time until)
{
    if (!context || context->server || !io.reader.read || !io.writer.write || !ret_tls)
        return filch_error_set(error, -EINVAL, NULL);
    if (name && (!*name || strlen(name) >= FILCH__TLS_NAME_BYTES))
        return filch_error_set(error, -EINVAL, "a server's name has 1 to 255 bytes");
    if (!name) {
        struct filch__tls_setup *setup = filch__tls_setup_get(context);
        bool verifies = setup->verifies;

        filch__tls_setup_unref(setup);
        if (verifies)
            return filch_error_set(error, -EINVAL, "there is no name to verify");
    }
    return begin(context, io, name, ret_tls, error, until);
}

int filch_tls_accept(filch_tls_context *context, filch_io io, filch_tls **ret_tls,
                     filch_error *error, filch_time until)
{
    if (!context || !context->server || !io.reader.read || !io.writer.write || !ret_tls)
        return filch_error_set(error, -EINVAL, NULL);
    return begin(context, io, NULL, ret_tls, error, until);
}
