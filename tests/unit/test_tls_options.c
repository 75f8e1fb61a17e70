/* Description: what the options of <filch/tls.h> promise, agreed and refused: protocols, clients'
 * certificates, files, the system's roots, reloading, classes of handshakes, half-closed
 * connections. */
#include <errno.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "io/tls/tls.h"
#include "tests/runner/gate.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(tls_options, .timeout = 120);

static const char *const old_and_new[] = {"h2", "http/1.1", NULL};
static const char *const old_only[] = {"http/1.1", NULL};
static const char *const neither[] = {"spdy/3", NULL};

static filch_tls_opts server_opts(const struct identity *identity)
{
    return (filch_tls_opts){.cert = {.text = identity->cert}, .key = {.text = identity->key}};
}

static filch_tls_opts client_opts(const struct identity *identity)
{
    return (filch_tls_opts){.ca = {.text = identity->cert}};
}

/* A connection between contexts that are given up with end_all(). */
static void begin_all(struct both *both, const filch_tls_opts *client, const filch_tls_opts *server)
{
    begin_both(both, new_context(false, client), new_context(true, server), "localhost", 0);
}

static void end_all(struct both *both)
{
    end_both(both);
    filch_tls_context_unref(both->client.context);
    filch_tls_context_unref(both->server.context);
}

static void converse(struct both *both)
{
    char got[4];

    T_OK(filch_tls_write_all(both->client.tls, "ping", 4, NULL, T_LIMIT));
    T_OK(filch_tls_read_exact(both->server.tls, got, 4, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "ping", 4) == 0);
    T_OK(filch_tls_write_all(both->server.tls, "pong", 4, NULL, T_LIMIT));
    T_OK(filch_tls_read_exact(both->client.tls, got, 4, NULL, T_LIMIT));
    T_CHECK(memcmp(got, "pong", 4) == 0);
}

/* ---- protocols ---- */

static void agree(const char *const *client_has, const char *const *server_has, const char *agreed)
{
    struct identity identity;
    filch_tls_opts client, server;
    filch_tls_info info;
    struct both both;

    make_identity(&identity, "DNS:localhost", 0, 3600);
    client = client_opts(&identity);
    client.alpn = client_has;
    server = server_opts(&identity);
    server.alpn = server_has;
    begin_all(&both, &client, &server);
    if (agreed) {
        T_OK(both.connected);
        T_OK(both.accepted);
        T_OK(filch_tls_get_info(both.client.tls, &info));
        T_CHECK(strcmp(info.alpn, agreed) == 0);
        T_OK(filch_tls_get_info(both.server.tls, &info));
        T_CHECK(strcmp(info.alpn, agreed) == 0);
        T_CHECK(strcmp(info.server_name, "localhost") == 0);
    } else {
        T_IS(both.connected, -EPROTO);
        T_IS(both.accepted, -EPROTO);
        T_CHECK(strstr(both.client.error.text, "no application protocol"));
    }
    end_all(&both);
}

static int protocols(void *arg)
{
    (void)arg;
    agree(old_and_new, old_and_new, "h2");
    agree(old_and_new, old_only, "http/1.1");
    agree(old_and_new, NULL, "");
    agree(NULL, old_and_new, "");
    agree(neither, old_and_new, NULL);
    return 0;
}

Test(tls_options, a_protocol_is_agreed_on_or_the_handshake_fails)
{
    T_OK(run_in_runtime(0, protocols, NULL));
}

/* ---- certificates of clients ---- */

static void ask(enum filch_tls_ask how, const struct identity *has, int accepted, int peer_is)
{
    struct identity ours, theirs;
    filch_tls_opts client, server;
    filch_tls_peer peer;
    struct both both;
    char byte;

    make_identity(&ours, "DNS:localhost", 0, 3600);
    make_identity(&theirs, "DNS:client", 0, 3600);
    client = client_opts(&ours);
    if (has || peer_is == 0) {
        client.cert.text = has ? has->cert : theirs.cert;
        client.key.text = has ? has->key : theirs.key;
    }
    server = server_opts(&ours);
    server.ask = how;
    server.ca.text = theirs.cert;
    begin_all(&both, &client, &server);
    T_OK(both.connected); /* the client is done before the server has judged it */
    T_IS(both.accepted, accepted);
    if (accepted == 0) {
        T_IS(filch_tls_get_peer(both.server.tls, &peer), peer_is);
        if (peer_is == 0)
            T_CHECK(peer.verified && strcmp(peer.names, "DNS:client") == 0);
        converse(&both);
    } else {
        T_IS(both.server.error.domain, FILCH_ERROR_TLS);
        T_IS(filch_tls_read(both.client.tls, &byte, 1, T_LIMIT), -EPROTO);
        T_IS(filch_tls_failure(both.client.tls, &both.client.error), -EPROTO);
        T_CHECK(strstr(both.client.error.text, "the peer refuses"));
        T_IS(filch_tls_write(both.client.tls, "x", 1, T_LIMIT), -EPROTO);
    }
    end_all(&both);
}

static int client_certificates(void *arg)
{
    struct identity stranger;

    (void)arg;
    make_identity(&stranger, "DNS:client", 0, 3600);
    ask(FILCH_TLS_REQUIRE_CERT, NULL, 0, 0);
    ask(FILCH_TLS_REQUIRE_CERT, NULL, -EKEYREJECTED, -ENOENT);
    ask(FILCH_TLS_REQUIRE_CERT, &stranger, -EKEYREJECTED, -ENOENT);
    ask(FILCH_TLS_ASK_CERT, NULL, 0, 0);
    ask(FILCH_TLS_ASK_CERT, NULL, 0, -ENOENT);
    ask(FILCH_TLS_ASK_CERT, &stranger, -EKEYREJECTED, -ENOENT);
    return 0;
}

Test(tls_options, clients_show_the_certificates_that_are_asked_for)
{
    T_OK(run_in_runtime(0, client_certificates, NULL));
}

/* ---- files ---- */

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    T_CHECK(file && fputs(text, file) >= 0);
    T_OK(fclose(file));
}

static void name_by_hash(const struct temp_dir *dir, const char *text, char *name, size_t room)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    T_CHECK(cert);
    snprintf(name, room, "%s/%08lx.0", dir->path, X509_subject_name_hash(cert));
    X509_free(cert);
    BIO_free(bio);
}

static int from_files(void *arg)
{
    struct identity identity, other;
    struct temp_dir dir;
    filch_tls_opts client = {0}, server = {0};
    filch_tls_context *context;
    filch_error error = FILCH_ERROR_INIT;
    char hashed[128];
    struct both both;

    (void)arg;
    temp_dir_make(&dir);
    make_identity(&identity, "DNS:localhost", 0, 3600);
    make_identity(&other, "DNS:localhost", 0, 3600);
    write_text(in_dir(&dir, "cert.pem"), identity.cert);
    write_text(in_dir(&dir, "key.pem"), identity.key);
    write_text(in_dir(&dir, "other.pem"), other.key);
    name_by_hash(&dir, identity.cert, hashed, sizeof hashed);
    write_text(hashed, identity.cert);
    server.cert_file = in_dir(&dir, "cert.pem");
    server.key_file = in_dir(&dir, "key.pem");
    client.ca_file = in_dir(&dir, "cert.pem");
    for (int i = 0; i < 2; i++) {
        begin_all(&both, &client, &server);
        T_OK(both.connected);
        T_OK(both.accepted);
        converse(&both);
        end_all(&both);
        client = (filch_tls_opts){.ca_dir = dir.path};
    }
    server.key_file = in_dir(&dir, "other.pem");
    T_IS(filch_tls_server_new(&server, &context, &error), -EINVAL);
    T_CHECK(strstr(error.text, "mismatch"));
    server.key_file = in_dir(&dir, "cert.pem");
    T_IS(filch_tls_server_new(&server, &context, &error), -EINVAL);
    server.key_file = in_dir(&dir, "none.pem");
    T_IS(filch_tls_server_new(&server, &context, &error), -ENOENT);
    T_CHECK(strstr(error.text, "none.pem"));
    temp_dir_remove(&dir);
    return 0;
}

Test(tls_options, certificates_come_from_files)
{
    T_OK(run_in_runtime(0, from_files, NULL));
}

/* The path is OpenSSL's way to say which ones are the system's. */
static int system_roots(void *path)
{
    struct identity known, other;
    filch_tls_opts server;
    struct both both;

    make_identity(&known, "DNS:localhost", 0, 3600);
    make_identity(&other, "DNS:localhost", 0, 3600);
    write_text(path, known.cert);
    server = server_opts(&known);
    begin_all(&both, NULL, &server);
    T_OK(both.connected);
    T_OK(both.accepted);
    converse(&both);
    end_all(&both);
    server = server_opts(&other);
    begin_all(&both, NULL, &server);
    T_IS(both.connected, -EKEYREJECTED);
    end_all(&both);
    server = server_opts(&known); /* what is given takes their place */
    begin_all(&both, &(filch_tls_opts){.ca = {.text = other.cert}}, &server);
    T_IS(both.connected, -EKEYREJECTED);
    end_all(&both);
    return 0;
}

Test(tls_options, who_is_given_no_roots_trusts_those_of_the_system)
{
    struct temp_dir dir;
    char path[128];

    temp_dir_make(&dir);
    snprintf(path, sizeof path, "%s", in_dir(&dir, "roots.pem"));
    T_OK(setenv("SSL_CERT_FILE", path, 1));
    T_OK(setenv("SSL_CERT_DIR", dir.path, 1));
    T_OK(run_in_runtime(0, system_roots, path));
    temp_dir_remove(&dir);
}

/* ---- reloading ---- */

static int reload(void *arg)
{
    struct identity old, new;
    filch_tls_opts opts;
    filch_tls_context *client, *server;
    filch_tls_peer before, after;
    filch_tls_info info;
    struct both first, second;
    char both_texts[8192];

    (void)arg;
    make_identity(&old, "DNS:localhost", 0, 3600);
    make_identity(&new, "DNS:localhost", 0, 3600);
    snprintf(both_texts, sizeof both_texts, "%s%s", old.cert, new.cert);
    client = new_context(false, &(filch_tls_opts){.ca = {.text = both_texts}});
    opts = server_opts(&old);
    server = new_context(true, &opts);
    begin_both(&first, client, server, "localhost", 0);
    T_OK(first.connected);
    converse(&first);
    T_OK(filch_tls_get_peer(first.client.tls, &before));
    opts.key.text = new.key;
    T_IS(filch_tls_context_reload(server, &opts, NULL), -EINVAL); /* the old ones hold */
    opts.cert.text = new.cert;
    T_OK(filch_tls_context_reload(server, &opts, NULL));
    begin_both(&second, client, server, "localhost", 0);
    T_OK(second.connected);
    T_OK(second.accepted);
    T_OK(filch_tls_get_info(second.client.tls, &info));
    T_CHECK(!info.resumed);
    T_OK(filch_tls_get_peer(second.client.tls, &after));
    T_CHECK(memcmp(before.fingerprint, after.fingerprint, sizeof before.fingerprint) != 0);
    converse(&second);
    converse(&first);
    filch_tls_context_unref(client);
    filch_tls_context_unref(server); /* connections have their own references */
    converse(&first);
    end_both(&second);
    end_both(&first);
    return 0;
}

Test(tls_options, a_reload_is_for_new_handshakes_and_old_connections_go_on)
{
    T_OK(run_in_runtime(0, reload, NULL));
}

/* Sessions are not continued by rules that would refuse their server; not those that were kept
 * before the reload, and not those that old connections get behind it. */
static int reload_of_trust(void *arg)
{
    struct identity known, other;
    filch_tls_opts opts;
    filch_tls_context *client, *server;
    struct both first, second;

    (void)arg;
    make_identity(&known, "DNS:localhost", 0, 3600);
    make_identity(&other, "DNS:localhost", 0, 3600);
    opts = server_opts(&known);
    server = new_context(true, &opts);
    for (int i = 0; i < 2; i++) {
        opts = client_opts(&known);
        client = new_context(false, &opts);
        begin_both(&first, client, server, "localhost", 0);
        T_OK(first.connected);
        if (i == 0)
            converse(&first); /* sessions come with what is read */
        opts = client_opts(&other);
        T_OK(filch_tls_context_reload(client, &opts, NULL));
        if (i == 1)
            converse(&first);
        begin_both(&second, client, server, "localhost", 0);
        T_IS(second.connected, -EKEYREJECTED);
        converse(&first);
        end_both(&second);
        end_both(&first);
        filch_tls_context_unref(client);
    }
    filch_tls_context_unref(server);
    return 0;
}

Test(tls_options, no_session_goes_on_across_a_reload)
{
    T_OK(run_in_runtime(0, reload_of_trust, NULL));
}

struct shared {
    filch_tls_context *client, *server;
};

static int connect_often(void *arg)
{
    struct shared *shared = arg;
    struct both both;

    for (int i = 0; i < 8; i++) {
        begin_both(&both, shared->client, shared->server, "localhost", 0);
        T_OK(both.connected);
        T_OK(both.accepted);
        converse(&both);
        end_both(&both);
    }
    return 0;
}

static int reload_meanwhile(void *arg)
{
    struct identity identity;
    filch_tls_opts client, server;
    struct shared shared;
    filch_task *tasks[4];

    (void)arg;
    make_identity(&identity, "DNS:localhost", 0, 3600);
    client = client_opts(&identity);
    server = server_opts(&identity);
    shared = (struct shared){new_context(false, &client), new_context(true, &server)};
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(connect_often, &shared);
    for (int i = 0; i < 20; i++) {
        T_OK(filch_tls_context_reload(shared.server, &server, NULL));
        T_OK(filch_tls_context_reload(shared.client, &client, NULL));
        filch_task_yield();
    }
    for (int i = 0; i < 4; i++)
        T_OK(join(tasks[i]));
    filch_tls_context_unref(shared.client);
    filch_tls_context_unref(shared.server);
    return 0;
}

Test(tls_options, contexts_are_reloaded_while_others_connect)
{
    T_OK(run_in_runtime(0, reload_meanwhile, NULL));
}

/* ---- the rest ---- */

static int no_sessions(void *arg)
{
    struct identity identity;
    filch_tls_opts client, server;
    filch_tls_context *contexts[2];
    filch_tls_info info;
    struct both both;

    (void)arg;
    make_identity(&identity, "DNS:localhost", 0, 3600);
    client = client_opts(&identity);
    client.no_resumption = true;
    server = server_opts(&identity);
    contexts[0] = new_context(false, &client);
    contexts[1] = new_context(true, &server);
    for (int i = 0; i < 2; i++) {
        begin_both(&both, contexts[0], contexts[1], "localhost", 0);
        T_OK(both.connected);
        converse(&both);
        T_OK(filch_tls_get_info(both.client.tls, &info));
        T_CHECK(!info.resumed);
        end_both(&both);
    }
    filch_tls_context_unref(contexts[0]);
    filch_tls_context_unref(contexts[1]);
    return 0;
}

Test(tls_options, sessions_do_not_go_on_where_they_may_not)
{
    T_OK(run_in_runtime(0, no_sessions, NULL));
}

static int no_verification(void *arg)
{
    struct identity identity;
    filch_tls_opts client = {.no_verify = true}, server;
    filch_tls_peer peer;
    struct both both;

    (void)arg;
    make_identity(&identity, "DNS:elsewhere", 0, 3600);
    server = server_opts(&identity);
    server.version_min = FILCH_TLS_1_3;
    server.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
    begin_all(&both, &client, &server);
    T_OK(both.connected);
    T_OK(filch_tls_get_peer(both.client.tls, &peer));
    T_CHECK(!peer.verified);
    converse(&both);
    end_all(&both);
    begin_all(&both, NULL, &server); /* the system's roots have never heard of it */
    T_IS(both.connected, -EKEYREJECTED);
    end_all(&both);
    return 0;
}

Test(tls_options, strangers_are_trusted_only_by_those_who_say_so)
{
    T_OK(run_in_runtime(0, no_verification, NULL));
}

static int class_of_handshakes(void *arg)
{
    filch_blocking_class_opts class_opts = {.name = "handshakes", .threads_max = 1};
    struct identity identity;
    filch_tls_opts client, server;
    filch_blocking_stats stats;
    struct both both;

    (void)arg;
    make_identity(&identity, "DNS:localhost", 0, 3600);
    client = client_opts(&identity);
    server = server_opts(&identity);
    T_OK(filch_blocking_class_new(filch_runtime_self(), &class_opts, &server.handshake_class));
    begin_all(&both, &client, &server);
    T_OK(both.connected);
    T_OK(both.accepted);
    T_OK(filch_blocking_class_stats(filch_runtime_self(), server.handshake_class, &stats));
    T_CHECK(stats.jobs >= 2); /* its answer, and the end */
    converse(&both);
    end_all(&both);
    return 0;
}

Test(tls_options, handshakes_are_computed_by_their_class)
{
    T_OK(run_in_runtime(0, class_of_handshakes, NULL));
}

/* A handshake that computes until the gate opens: OpenSSL asks for the certificate within it. */
static int compute(SSL *ssl, void *gate)
{
    (void)ssl;
    pass_gate(gate);
    return 1;
}

#define HANDSHAKES 6
#define HANDSHAKE_THREADS 2

static int go_on_meanwhile(void *arg)
{
    filch_blocking_class_opts class_opts = {.name = "handshakes", .threads_max = HANDSHAKE_THREADS};
    static struct gate gate = GATE_INIT;
    struct identity identity;
    filch_tls_opts client, server;
    filch_tls_context *context;
    filch_blocking_stats stats;
    struct both old, both[HANDSHAKES];
    filch_task *accepts[HANDSHAKES], *connects[HANDSHAKES];

    (void)arg;
    make_identity(&identity, "DNS:localhost", 0, 3600);
    client = client_opts(&identity);
    server = server_opts(&identity);
    T_OK(filch_blocking_class_new(filch_runtime_self(), &class_opts, &server.handshake_class));
    begin_all(&old, &client, &server);
    T_OK(old.connected);
    context = old.server.context;
    SSL_CTX_set_cert_cb(context->setup->ctx, compute, &gate);
    memset(both, 0, sizeof both);
    for (int i = 0; i < HANDSHAKES; i++) {
        connect_pair(&both[i].pair);
        both[i].client = (struct side){
            .context = old.client.context, .conn = both[i].pair.client, .name = "localhost"};
        both[i].server = (struct side){.context = context, .conn = both[i].pair.server};
        accepts[i] = spawn(shake, &both[i].server);
        connects[i] = spawn(shake, &both[i].client);
    }
    do {
        T_OK(filch_blocking_class_stats(filch_runtime_self(), server.handshake_class, &stats));
        converse(&old);
    } while (stats.running < HANDSHAKE_THREADS || stats.queued < HANDSHAKES - HANDSHAKE_THREADS);
    for (int i = 0; i < 100; i++)
        converse(&old);
    T_OK(filch_blocking_class_stats(filch_runtime_self(), server.handshake_class, &stats));
    T_IS(stats.running, HANDSHAKE_THREADS);
    T_IS(atomic_load(&gate.done), 0);
    open_gate(&gate);
    for (int i = 0; i < HANDSHAKES; i++) {
        T_OK(join(accepts[i]));
        T_OK(join(connects[i]));
        converse(&both[i]);
        end_both(&both[i]);
    }
    T_CHECK(atomic_load(&gate.most_inside) <= HANDSHAKE_THREADS);
    end_all(&old);
    return 0;
}

/* On one worker: who would compute in a task would hold all others up. */
Test(tls_options, others_go_on_while_handshakes_compute)
{
    T_OK(run_in_runtime(1, go_on_meanwhile, NULL));
}

static void one_ends_first(struct both *both, filch_tls *first, filch_tls *second)
{
    static char sent[100000], got[100000];
    size_t done = 0;
    ssize_t n;

    (void)both;
    memset(sent, 'h', sizeof sent);
    T_OK(filch_tls_finish(first, T_LIMIT));
    T_OK(filch_tls_finish(first, T_LIMIT));
    T_IS(filch_tls_write(first, "x", 1, T_LIMIT), -EPIPE);
    T_IS(filch_tls_read(second, got, 1, T_LIMIT), 0);
    T_IS(filch_tls_read(second, got, 1, T_LIMIT), 0);
    for (size_t at = 0; at < sizeof sent; at += 10000) {
        T_OK(filch_tls_write_all(second, sent + at, 10000, NULL, T_LIMIT));
        T_OK(filch_tls_read_exact(first, got + at, 10000, NULL, T_LIMIT));
    }
    T_CHECK(memcmp(sent, got, sizeof sent) == 0);
    T_OK(filch_tls_finish(second, T_LIMIT));
    while ((n = filch_tls_read(first, got, sizeof got, T_LIMIT)) > 0)
        done += (size_t)n;
    T_IS(n, 0);
    T_IS(done, 0);
    T_IS(filch_tls_read_exact(first, got, 1, &done, T_LIMIT), -EPIPE);
}

static int half_closed(void *arg)
{
    filch_tls_context *client, *server;
    struct both both;

    (void)arg;
    make_contexts("DNS:localhost", 0, 3600, &client, &server);
    for (int i = 0; i < 2; i++) {
        begin_both(&both, client, server, "localhost", 0);
        T_OK(both.connected);
        one_ends_first(&both, i ? both.client.tls : both.server.tls,
                       i ? both.server.tls : both.client.tls);
        end_both(&both);
    }
    filch_tls_context_unref(client);
    filch_tls_context_unref(server);
    return 0;
}

Test(tls_options, one_side_ends_and_the_other_goes_on)
{
    T_OK(run_in_runtime(0, half_closed, NULL));
}
