/* Description: the HTTP client over TLS: whom it trusts and whom not, with errors that say the URL,
 * the phase and the reason; certificates of its own; ends that are cuts. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <criterion/criterion.h>
#include <curl/curl.h>

#include <filch/http_client.h>
#include <filch/http_tls.h>

#include "io/tls/tls.h"
#include "tests/runner/http_site.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(http_client_tls, .timeout = 120);

struct site {
    struct http_site http;
    struct temp_dir dir;
    struct identity identity;
    filch_tls_context *context;
    filch_http_wrap wrap;
};

static int hello(filch_exchange *x, void *context)
{
    filch_tls_peer peer = {0};
    filch_tls_info info;

    (void)context;
    T_OK(filch_tls_get_info(filch_exchange_wrapped(x), &info));
    if (filch_tls_get_peer(filch_exchange_wrapped(x), &peer) == 0)
        T_OK(filch_exchange_set(x, "X-Peer", peer.subject));
    T_OK(filch_exchange_set(x, "X-Version", info.version));
    T_OK(filch_exchange_set(x, "X-Cipher", info.cipher));
    return filch_exchange_reply(x, 200, "text/plain", "hello", 5, FILCH_NEVER);
}

/* Ends before its answer does, whose length was not told. */
static int cut(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER));
    T_OK(filch_exchange_write_all(x, "begun", 5, NULL, FILCH_NEVER));
    T_OK(filch_exchange_flush(x, FILCH_NEVER));
    return -EIO;
}

static const char *write_text(const struct temp_dir *dir, const char *name, const char *text)
{
    const char *path = in_dir(dir, name);
    FILE *file = fopen(path, "w");

    T_CHECK(file && fputs(text, file) >= 0);
    T_OK(fclose(file));
    return path;
}

/* What libcurl is told of the places of roots. */
static struct told {
    bool file, dir; /* something */
    const char *what_file, *what_dir;
} told;

CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);

CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    va_list args;
    void *value; /* all are as wide as a register */

    va_start(args, option);
    value = va_arg(args, void *);
    va_end(args);
    if (option == CURLOPT_CAINFO) {
        told.file = true;
        told.what_file = value;
    } else if (option == CURLOPT_CAPATH) {
        told.dir = true;
        told.what_dir = value;
    }
    return __real_curl_easy_setopt(easy, option, value);
}

static void site_open(struct site *site, const char *names, long begins_s, long ends_s,
                      filch_tls_opts tls)
{
    memset(site, 0, sizeof(*site));
    temp_dir_make(&site->dir);
    make_identity(&site->identity, names, begins_s, ends_s);
    tls.cert.text = site->identity.cert;
    tls.key.text = site->identity.key;
    site->context = new_context(true, &tls);
    site->wrap = filch_http_over_tls(site->context);
    http_site_new(&site->http, &(filch_http_server_opts){.wrap = &site->wrap});
    T_OK(filch_http_route(site->http.server, "GET", "/", hello, NULL));
    T_OK(filch_http_route(site->http.server, "GET", "/cut", cut, NULL));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    http_site_close(&site->http);
    filch_tls_context_unref(site->context);
    temp_dir_remove(&site->dir);
}

/* Fetches with a client that is made for that. Return: what it says; *response is NULL then. */
static int fetch(const struct site *site, const char *path, filch_http_client_opts opts,
                 filch_http_response **response, filch_error *error)
{
    filch_http_client *client;
    char url[128];
    int r;

    *response = NULL;
    opts.proxy = "";
    snprintf(url, sizeof(url), "https://%s%s", site->http.addr, path);
    T_OK(filch_http_client_new(&opts, &client));
    r = filch_http_get(client, url, response, error, T_LIMIT);
    filch_http_client_close(client);
    if (r < 0)
        T_CHECK(error->code == r && strstr(error->text, url));
    return r;
}

static void expect_hello(const struct site *site, filch_http_client_opts opts, const char *peer)
{
    filch_http_response *response;
    filch_error error;
    const char *said;
    int r = fetch(site, "/", opts, &response, &error);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    T_IS(filch_http_response_status(response), 200);
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
    said = filch_http_response_header(response, "X-Peer");
    T_CHECK(peer ? said && strstr(said, peer) : !said);
    filch_http_response_free(response);
}

static void expect_failure(const struct site *site, filch_http_client_opts opts, int code,
                           enum filch_http_phase phase, const char *words)
{
    filch_http_response *response;
    filch_error error;
    int r = fetch(site, "/", opts, &response, &error);

    if (r != code || error.detail != (int)phase || !strstr(error.text, words))
        fprintf(stderr, "%s (%s, phase %d)\n", error.text, filch_strerror(r), error.detail);
    T_IS(r, code);
    T_IS(error.domain, FILCH_ERROR_HTTP);
    T_IS(error.detail, (int)phase);
    T_CHECK(strstr(error.text, words) && !response);
    T_CHECK(strstr(error.text, phase == FILCH_HTTP_TLS ? "the TLS handshake" : "preparing"));
}

static void expect_refusal(const struct site *site, filch_http_client_opts opts, int code,
                           const char *words)
{
    expect_failure(site, opts, code, FILCH_HTTP_TLS, words);
}

/* A request that is sent step by step is refused likewise. */
static void expect_refused_send(const struct site *site)
{
    const filch_http_client_opts opts = {.proxy = ""};
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;
    char url[128];

    snprintf(url, sizeof(url), "https://%s/", site->http.addr);
    T_OK(filch_http_client_new(&opts, &client));
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_IS(filch_http_send(request, &response, NULL, T_LIMIT), -EKEYREJECTED);
    filch_http_request_free(request);
    filch_http_client_close(client);
}

/* ---- servers ---- */

static void judge(const char *names, long begins_s, long ends_s, const char *words)
{
    struct site site;
    filch_http_client_opts opts = {0};

    site_open(&site, names, begins_s, ends_s, (filch_tls_opts){0});
    expect_refusal(&site, opts, -EKEYREJECTED, "certificate"); /* the system knows nothing of it */
    opts.ca_file = write_text(&site.dir, "ca.pem", site.identity.cert);
    if (words)
        expect_refusal(&site, opts, -EKEYREJECTED, words);
    else
        expect_hello(&site, opts, NULL);
    expect_hello(&site, (filch_http_client_opts){.insecure = true}, NULL);
    site_close(&site);
}

static int servers(void *arg)
{
    struct site site;
    struct identity other;
    filch_http_client_opts opts = {0};

    (void)arg;
    judge("IP:127.0.0.1", 0, 3600, NULL);
    judge("DNS:example.com", 0, 3600, "127.0.0.1");
    judge("IP:127.0.0.1", -7200, -3600, "expired");
    judge("IP:127.0.0.1", 3600, 7200, "not yet valid");
    site_open(&site, "IP:127.0.0.1", 0, 3600, (filch_tls_opts){0});
    make_identity(&other, "IP:127.0.0.1", 0, 3600);
    opts.ca_file = write_text(&site.dir, "other.pem", other.cert);
    expect_refusal(&site, opts, -EKEYREJECTED, "certificate");
    expect_refused_send(&site);
    site_close(&site);
    return 0;
}

Test(http_client_tls, a_server_is_believed_only_with_a_certificate_that_is_good)
{
    T_OK(run_in_runtime(0, servers, NULL));
}

/* As a directory of roots wants it. */
static void name_by_hash(const char *text, char *name, size_t room)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    T_CHECK(cert);
    snprintf(name, room, "%08lx.0", X509_subject_name_hash(cert));
    X509_free(cert);
    BIO_free(bio);
}

/* A file, a directory, both; and libcurl, which has a place of its own for each, is told to forget
 * that of the other. */
static int places_of_roots(void *arg)
{
    struct site site, other;
    filch_http_client_opts opts = {0};
    char name[32];

    (void)arg;
    site_open(&site, "IP:127.0.0.1", 0, 3600, (filch_tls_opts){0});
    site_open(&other, "IP:127.0.0.1", 0, 3600, (filch_tls_opts){0});
    name_by_hash(site.identity.cert, name, sizeof(name));
    write_text(&site.dir, name, site.identity.cert);
    told = (struct told){0};
    expect_refusal(&site, opts, -EKEYREJECTED, "certificate");
    T_CHECK(!told.file && !told.dir); /* libcurl knows where the system's are */

    opts.ca_dir = site.dir.path;
    expect_hello(&site, opts, NULL);
    T_CHECK(told.file && !told.what_file && told.dir && told.what_dir);
    expect_refusal(&other, opts, -EKEYREJECTED, "certificate");

    opts.ca_file = write_text(&other.dir, "ca.pem", other.identity.cert);
    expect_hello(&site, opts, NULL);
    expect_hello(&other, opts, NULL);

    opts.ca_dir = NULL;
    told = (struct told){0};
    expect_hello(&other, opts, NULL);
    T_CHECK(told.file && told.what_file && told.dir && !told.what_dir);
    expect_refusal(&site, opts, -EKEYREJECTED, "certificate");
    site_close(&site);
    site_close(&other);
    return 0;
}

Test(http_client_tls, roots_that_are_given_take_the_place_of_the_systems)
{
    T_OK(run_in_runtime(0, places_of_roots, NULL));
}

/* ---- the client's own ---- */

static int clients(void *arg)
{
    struct site site;
    struct identity ours;
    filch_http_client_opts opts = {0};

    (void)arg;
    make_identity(&ours, "DNS:client", 0, 3600);
    site_open(&site, "IP:127.0.0.1", 0, 3600,
              (filch_tls_opts){.ask = FILCH_TLS_REQUIRE_CERT, .ca = {.text = ours.cert}});
    opts.ca_file = write_text(&site.dir, "ca.pem", site.identity.cert);
    expect_refusal(&site, opts, -EPROTO, "alert");
    opts.cert_file = write_text(&site.dir, "cert.pem", ours.cert);
    opts.key_file = write_text(&site.dir, "key.pem", ours.key);
    expect_hello(&site, opts, "filch test");
    opts.key_file = write_text(&site.dir, "other.pem", site.identity.key);
    expect_failure(&site, opts, -EINVAL, FILCH_HTTP_PREPARE, "key");
    opts.key_file = in_dir(&site.dir, "none.pem");
    expect_failure(&site, opts, -EINVAL, FILCH_HTTP_PREPARE, "none.pem");
    opts = (filch_http_client_opts){.ca_file = in_dir(&site.dir, "none.pem")};
    expect_failure(&site, opts, -EINVAL, FILCH_HTTP_PREPARE, "none.pem");
    site_close(&site);
    return 0;
}

Test(http_client_tls, a_client_shows_its_certificate_where_it_is_asked_for)
{
    T_OK(run_in_runtime(0, clients, NULL));
}

/* ---- ends, and versions ---- */

static int ends(void *arg)
{
    struct site site;
    filch_http_client_opts opts = {0};
    filch_http_response *response;
    filch_error error;

    (void)arg;
    site_open(&site, "IP:127.0.0.1", 0, 3600,
              (filch_tls_opts){.version_min = FILCH_TLS_1_3,
                               .alpn = (const char *const[]){"http/1.1", NULL}});
    opts.ca_file = write_text(&site.dir, "ca.pem", site.identity.cert);
    T_OK(fetch(&site, "/", opts, &response, &error));
    T_CHECK(strcmp(filch_http_response_header(response, "X-Version"), "TLSv1.3") == 0);
    T_IS(filch_http_response_version(response), 11);
    filch_http_response_free(response);
    T_CHECK(fetch(&site, "/cut", opts, &response, &error) < 0);
    T_IS(error.detail, FILCH_HTTP_RECEIVE);
    site_close(&site);
    return 0;
}

Test(http_client_tls, an_answer_that_is_cut_off_is_an_error)
{
    T_OK(run_in_runtime(0, ends, NULL));
}

static void expect_agreement(const struct site *site, filch_http_client_opts opts,
                             const char *version, const char *cipher)
{
    filch_http_response *response;
    filch_error error;
    int r = fetch(site, "/", opts, &response, &error);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    T_CHECK(strcmp(filch_http_response_header(response, "X-Version"), version) == 0);
    if (cipher)
        T_CHECK(strcmp(filch_http_response_header(response, "X-Cipher"), cipher) == 0);
    filch_http_response_free(response);
}

static int versions(void *arg)
{
    static const char new_cipher[] = "TLS_CHACHA20_POLY1305_SHA256",
                      old_cipher[] = "ECDHE-ECDSA-CHACHA20-POLY1305";
    struct site site;
    filch_http_client_opts opts = {.insecure = true};

    (void)arg;
    site_open(&site, "IP:127.0.0.1", 0, 3600, (filch_tls_opts){0});
    expect_agreement(&site, opts, "TLSv1.3", NULL);
    opts.tls_min = 13;
    opts.ciphersuites = new_cipher;
    expect_agreement(&site, opts, "TLSv1.3", new_cipher);
    opts.ciphersuites = "NONE";
    expect_failure(&site, opts, -EINVAL, FILCH_HTTP_PREPARE, "NONE");

    /* A server of yesterday. */
    SSL_CTX_set_max_proto_version(site.context->setup->ctx, TLS1_2_VERSION);
    opts = (filch_http_client_opts){.insecure = true, .tls_min = 12};
    expect_agreement(&site, opts, "TLSv1.2", NULL);
    opts.ciphers = old_cipher;
    expect_agreement(&site, opts, "TLSv1.2", old_cipher);
    opts.ciphers = "NONE";
    expect_failure(&site, opts, -EINVAL, FILCH_HTTP_PREPARE, "NONE");
    opts = (filch_http_client_opts){.insecure = true, .tls_min = 13};
    expect_refusal(&site, opts, -EPROTO, "version");
    site_close(&site);
    return 0;
}

Test(http_client_tls, versions_and_ciphers_are_agreed_on_as_told)
{
    T_OK(run_in_runtime(0, versions, NULL));
}
