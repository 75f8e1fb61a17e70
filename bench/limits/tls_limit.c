/* What OpenSSL itself takes for a full handshake of TLS 1.3, without a runtime, a socket or a
 * system call: both ends in one thread, over memory, and the CPU time of each.
 *
 *     tls_limit CERT KEY [SECONDS]
 *
 * Prints `result name=tls_limit metric=server_cpu_us value=... unit=us check=ok`, the same for
 * client_cpu_us, and for what of the server's is arithmetic: sign_us, keygen_us (X25519),
 * derive_us. The server makes the two tickets of OpenSSL's default, and both sides end with a
 * close_notify. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SIGNED_BYTES 130 /* of a transcript, with its context */

static void fail(const char *what)
{
    fprintf(stderr, "tls_limit: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail(#call);                                                                           \
    } while (0)

static double now_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void say(const char *metric, double us)
{
    printf("result name=tls_limit metric=%s value=%.2f unit=us check=ok\n", metric, us);
}

/* ---- handshakes ---- */

/* One end: what it has to send is the other's input. */
struct end {
    SSL *ssl;
    double cpu_us;
};

/* Return: has its handshake ended? */
static bool step(struct end *end)
{
    double begun = now_us(CLOCK_THREAD_CPUTIME_ID);
    int r = SSL_do_handshake(end->ssl);

    if (r != 1 && SSL_get_error(end->ssl, r) != SSL_ERROR_WANT_READ)
        fail("a handshake has failed");
    end->cpu_us += now_us(CLOCK_THREAD_CPUTIME_ID) - begun;
    return r == 1;
}

static void open_end(struct end *end, SSL_CTX *ctx, BIO *in, BIO *out, bool server)
{
    double begun = now_us(CLOCK_THREAD_CPUTIME_ID);

    MUST(end->ssl = SSL_new(ctx));
    MUST(BIO_up_ref(in) && BIO_up_ref(out));
    SSL_set_bio(end->ssl, in, out);
    if (server)
        SSL_set_accept_state(end->ssl);
    else
        SSL_set_connect_state(end->ssl);
    end->cpu_us += now_us(CLOCK_THREAD_CPUTIME_ID) - begun;
}

static void close_end(struct end *end)
{
    double begun = now_us(CLOCK_THREAD_CPUTIME_ID);

    (void)SSL_shutdown(end->ssl);
    SSL_free(end->ssl);
    end->cpu_us += now_us(CLOCK_THREAD_CPUTIME_ID) - begun;
}

static BIO *memory(void)
{
    BIO *bio = BIO_new(BIO_s_mem());

    MUST(bio);
    BIO_set_mem_eof_return(bio, -1);
    return bio;
}

static void handshake(SSL_CTX *of_server, SSL_CTX *of_client, struct end *server,
                      struct end *client)
{
    BIO *up = memory(), *down = memory();
    bool done_server = false, done_client = false;

    open_end(server, of_server, up, down, true);
    open_end(client, of_client, down, up, false);
    while (!done_server || !done_client) {
        done_client |= step(client);
        done_server |= step(server);
    }
    MUST(SSL_version(server->ssl) == TLS1_3_VERSION && !SSL_session_reused(server->ssl));
    close_end(client);
    close_end(server);
    BIO_free(up);
    BIO_free(down);
}

static void handshakes(const char *cert, const char *key, double seconds)
{
    SSL_CTX *of_server = SSL_CTX_new(TLS_server_method());
    SSL_CTX *of_client = SSL_CTX_new(TLS_client_method());
    struct end server = {0}, client = {0};
    double until;
    unsigned count = 0;

    MUST(of_server && of_client);
    MUST(SSL_CTX_use_certificate_chain_file(of_server, cert) == 1);
    MUST(SSL_CTX_use_PrivateKey_file(of_server, key, SSL_FILETYPE_PEM) == 1);
    SSL_CTX_set_session_cache_mode(of_server, SSL_SESS_CACHE_OFF);
    for (int i = 0; i < 100; i++) /* warm up */
        handshake(of_server, of_client, &server, &client);
    server.cpu_us = client.cpu_us = 0;
    until = now_us(CLOCK_MONOTONIC) + seconds * 1e6;
    while (now_us(CLOCK_MONOTONIC) < until) {
        handshake(of_server, of_client, &server, &client);
        count++;
    }
    say("server_cpu_us", server.cpu_us / count);
    say("client_cpu_us", client.cpu_us / count);
    SSL_CTX_free(of_server);
    SSL_CTX_free(of_client);
}

/* ---- arithmetic ---- */

static void sign(void *arg)
{
    static const unsigned char text[SIGNED_BYTES];
    unsigned char out[512];
    EVP_PKEY *key = arg;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey;
    size_t bytes = sizeof(out);

    MUST(ctx && EVP_DigestSignInit(ctx, &pkey, EVP_sha256(), NULL, key) == 1);
    if (EVP_PKEY_is_a(key, "RSA"))
        MUST(EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) > 0 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, RSA_PSS_SALTLEN_DIGEST) > 0);
    MUST(EVP_DigestSign(ctx, out, &bytes, text, sizeof(text)) == 1);
    EVP_MD_CTX_free(ctx);
}

static void make_key(void *arg)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

    (void)arg;
    MUST(key);
    EVP_PKEY_free(key);
}

static void derive(void *arg)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(arg, NULL);
    unsigned char secret[32];
    size_t bytes = sizeof(secret);

    MUST(ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, arg) == 1 &&
         EVP_PKEY_derive(ctx, secret, &bytes) == 1);
    EVP_PKEY_CTX_free(ctx);
}

static void measure(const char *metric, void (*run)(void *), void *arg, double seconds)
{
    double begun, until;
    unsigned count = 0;

    for (int i = 0; i < 100; i++)
        run(arg);
    begun = now_us(CLOCK_THREAD_CPUTIME_ID);
    until = begun + seconds * 1e6;
    while (now_us(CLOCK_THREAD_CPUTIME_ID) < until) {
        run(arg);
        count++;
    }
    say(metric, (now_us(CLOCK_THREAD_CPUTIME_ID) - begun) / count);
}

int main(int argc, char **argv)
{
    double seconds = argc > 3 ? atof(argv[3]) : 1;
    EVP_PKEY *key, *share;
    BIO *file;

    if (argc < 3) {
        fprintf(stderr, "usage: %s CERT KEY [SECONDS]\n", argv[0]);
        return 2;
    }
    handshakes(argv[1], argv[2], seconds);
    MUST(file = BIO_new_file(argv[2], "r"));
    MUST(key = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL));
    MUST(share = EVP_PKEY_Q_keygen(NULL, NULL, "X25519"));
    measure("sign_us", sign, key, seconds / 4);
    measure("keygen_us", make_key, NULL, seconds / 4);
    measure("derive_us", derive, share, seconds / 4);
    EVP_PKEY_free(key);
    EVP_PKEY_free(share);
    BIO_free(file);
    return 0;
}
