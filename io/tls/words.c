/* What OpenSSL says, in words: its error queue, and the reason why a certificate is not good.
 *
 * The queue belongs to the thread, so these are called right behind the call that failed, with no
 * suspension in between. */
#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "io/tls/tls.h"

/* Reasons from here on are alerts that the peer has sent. */
#define ALERTS SSL_AD_REASON_OFFSET

static bool is_of_memory(unsigned long e)
{
    return ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
}

static const char *reason_of(unsigned long e)
{
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    return reason ? reason : "OpenSSL does not say why";
}

static int bad_certificate(filch_tls *tls, filch_error *error)
{
    int verified = (int)SSL_get_verify_result(tls->ssl);
    const char *why = X509_verify_cert_error_string(verified);

    if (tls->bad_subject[0])
        return filch_error_set_detail(error, -EKEYREJECTED, FILCH_ERROR_TLS, verified,
                                      "certificate of the peer: %s (%s, depth %d)", why,
                                      tls->bad_subject, tls->bad_depth);
    return filch_error_set_detail(error, -EKEYREJECTED, FILCH_ERROR_TLS, verified,
                                  "certificate of the peer: %s", why);
}

int filch__tls_explain(filch_tls *tls, filch_error *error)
{
    unsigned long e = ERR_get_error(); /* the first one is the cause */
    int reason = ERR_GET_REASON(e);
    int code = -EPROTO;

    ERR_clear_error();
    if (is_of_memory(e))
        code = filch_error_set(error, -ENOMEM, NULL);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && SSL_get_verify_result(tls->ssl) != 0)
        code = bad_certificate(tls, error);
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        code = filch_error_set_detail(error, -EKEYREJECTED, FILCH_ERROR_TLS, X509_V_ERR_UNSPECIFIED,
                                      "the peer has no certificate");
    else if (reason > ALERTS)
        filch_error_set_detail(error, code, FILCH_ERROR_TLS, reason, "the peer refuses: %s",
                               reason_of(e));
    else
        filch_error_set_detail(error, code, FILCH_ERROR_TLS, reason, "%s", reason_of(e));
    return code;
}

int filch__tls_explain_setup(filch_error *error, const char *what, const char *which)
{
    unsigned long e = ERR_get_error();
    int code = -EINVAL;

    ERR_clear_error();
    if (is_of_memory(e))
        return filch_error_set(error, -ENOMEM, NULL);
    if (ERR_GET_LIB(e) == ERR_LIB_SYS) {
        code = -ERR_GET_REASON(e);
        filch_error_set_detail(error, code, FILCH_ERROR_TLS, 0, "%s %s: %s", what, which,
                               filch_strerror(code));
    } else {
        filch_error_set_detail(error, code, FILCH_ERROR_TLS, ERR_GET_REASON(e), "%s %s: %s", what,
                               which, reason_of(e));
    }
    return code;
}
