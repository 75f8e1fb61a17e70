/* What can be asked of a connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "io/tls/tls.h"

int filch_tls_failure(filch_tls *tls, filch_error *ret_error)
{
    int code;

    if (!tls || !ret_error)
        return -EINVAL;
    pthread_mutex_lock(&tls->lock);
    *ret_error = tls->failure;
    code = tls->failure.code;
    pthread_mutex_unlock(&tls->lock);
    return code;
}

int filch_tls_get_info(filch_tls *tls, filch_tls_info *ret_info)
{
    const unsigned char *alpn;
    const char *name;
    unsigned bytes;

    if (!tls || !ret_info)
        return -EINVAL;
    pthread_mutex_lock(&tls->lock);
    memset(ret_info, 0, sizeof *ret_info);
    name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    ret_info->version = SSL_get_version(tls->ssl);
    ret_info->cipher = SSL_get_cipher_name(tls->ssl);
    ret_info->server_name = name ? name : "";
    ret_info->resumed = SSL_session_reused(tls->ssl);
    SSL_get0_alpn_selected(tls->ssl, &alpn, &bytes);
    memcpy(ret_info->alpn, alpn ? (const char *)alpn : "", alpn ? bytes : 0);
    pthread_mutex_unlock(&tls->lock);
    return 0;
}

/* Copies a text of @n bytes that may not fit. */
static void copy_text(char *to, size_t room, const char *text, size_t n)
{
    snprintf(to, room, "%.*s", (int)n, text);
    if (n >= room)
        strcpy(to + room - 4, "...");
}

static bool print_name(char *to, size_t room, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && X509_NAME_print_ex(bio, name, 0,
                                        (XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) |
                                            ASN1_STRFLGS_UTF8_CONVERT) >= 0;
    char *text;
    long n = ok ? BIO_get_mem_data(bio, &text) : 0;

    if (ok)
        copy_text(to, room, text, (size_t)n);
    BIO_free(bio);
    return ok;
}

/* One entry as "DNS:name" or "IP:address"; "" for kinds that are no names of servers. */
static void print_alternative(char *to, size_t room, const GENERAL_NAME *general)
{
    const ASN1_STRING *text;
    char address[INET6_ADDRSTRLEN];

    *to = 0;
    if (general->type == GEN_DNS || general->type == GEN_EMAIL) {
        text = general->d.ia5;
        snprintf(to, room, "%s:%.*s", general->type == GEN_DNS ? "DNS" : "email",
                 ASN1_STRING_length(text), (const char *)ASN1_STRING_get0_data(text));
    } else if (general->type == GEN_IPADD) {
        int bytes = ASN1_STRING_length(general->d.ip);

        if ((bytes == 4 || bytes == 16) &&
            inet_ntop(bytes == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(general->d.ip),
                      address, sizeof address))
            snprintf(to, room, "IP:%s", address);
    }
}

static void print_names(char *to, size_t room, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;

    *to = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        char one[300];
        size_t n;

        print_alternative(one, sizeof one, sk_GENERAL_NAME_value(names, i));
        n = strlen(one);
        if (n == 0)
            continue;
        if (at + n + 2 + 4 > room) {
            strcpy(to + at, "...");
            break;
        }
        at += (size_t)sprintf(to + at, "%s%s", at > 0 ? ", " : "", one);
    }
    GENERAL_NAMES_free(names);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int describe(X509 *cert, filch_tls_peer *peer)
{
    unsigned bytes = sizeof peer->fingerprint;

    if (!print_name(peer->subject, sizeof peer->subject, X509_get_subject_name(cert)) ||
        !print_name(peer->issuer, sizeof peer->issuer, X509_get_issuer_name(cert)) ||
        X509_digest(cert, EVP_sha256(), peer->fingerprint, &bytes) != 1)
        return -ENOMEM;
    print_names(peer->names, sizeof peer->names, cert);
    peer->not_before = seconds_of(X509_get0_notBefore(cert));
    peer->not_after = seconds_of(X509_get0_notAfter(cert));
    return 0;
}

int filch_tls_get_peer(filch_tls *tls, filch_tls_peer *ret_peer)
{
    filch_tls_peer peer = {.verified = false};
    X509 *cert;
    int r;

    if (!tls || !ret_peer)
        return -EINVAL;
    pthread_mutex_lock(&tls->lock);
    cert = SSL_get1_peer_certificate(tls->ssl);
    peer.verified = tls->setup->verifies;
    r = cert ? describe(cert, &peer) : -ENOENT;
    ERR_clear_error();
    pthread_mutex_unlock(&tls->lock);
    X509_free(cert);
    if (r == 0)
        *ret_peer = peer;
    return r;
}
