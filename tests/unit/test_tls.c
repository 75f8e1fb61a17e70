/* Description: what <filch/tls.h> promises: handshakes, bytes both ways, ends that are told from
 * cuts, certificates that are refused with the reason in words, and sessions that go on. */
#include <errno.h>

#include <criterion/criterion.h>
#include "tests/runner/tls_pair.h"

TestSuite(tls, .timeout = 120);

static int echo_all(void *arg)
{
    filch_tls *tls = arg;
    char buf[5000];
    ssize_t n;

    while ((n = filch_tls_read(tls, buf, sizeof buf, T_LIMIT)) > 0)
        T_OK(filch_tls_write_all(tls, buf, (size_t)n, NULL, T_LIMIT));
    T_IS(n, 0);
    T_OK(filch_tls_finish(tls, T_LIMIT));
    return 0;
}

#define BIG 1000000

static char big[BIG];

static int write_big(void *arg)
{
    T_OK(filch_tls_write_all(arg, big, BIG, NULL, T_LIMIT));
    T_OK(filch_tls_finish(arg, T_LIMIT));
    T_IS(filch_tls_write(arg, big, 1, T_LIMIT), -EPIPE);
    return 0;
}

static uint64_t jobs_of_the_pool(void)
{
    filch_blocking_stats stats;

    T_OK(filch_blocking_class_stats(filch_runtime_self(), NULL, &stats));
    return stats.jobs;
}

/* A reader and a writer at once on each side; the server of the first round has a small stack. */
static int bytes_both_ways(void *arg)
{
    filch_tls_context *client, *server;
    filch_tls_info info;
    filch_tls_peer peer;
    struct both both;
    filch_task *echo, *writer;
    uint64_t jobs;
    static char got[BIG];

    (void)arg;
    for (int i = 0; i < BIG; i++)
        big[i] = (char)(i * 31 + i / 255);
    make_contexts("DNS:localhost,IP:127.0.0.1", 0, 3600, &client, &server);
    for (int i = 0; i < 3; i++) {
        jobs = jobs_of_the_pool();
        begin_both(&both, client, server, i == 2 ? "127.0.0.1" : "localhost", i ? 0 : 16384);
        T_OK(both.connected);
        T_OK(both.accepted);
        /* Stacks are larger for sanitizers. */
        T_IS(jobs_of_the_pool() > jobs, both.server.stack_left < (size_t)48 * 1024);
        T_OK(filch_tls_get_info(both.client.tls, &info));
        T_CHECK(strcmp(info.version, "TLSv1.3") == 0);
        T_IS(info.resumed, i == 1);
        T_OK(filch_tls_get_peer(both.client.tls, &peer));
        T_CHECK(strncmp(peer.subject, "CN = filch test", 15) == 0 && peer.verified);
        T_CHECK(strcmp(peer.names, "DNS:localhost, IP:127.0.0.1") == 0);
        T_IS(filch_tls_get_peer(both.server.tls, &peer), -ENOENT);
        T_OK(filch_task_spawn(echo_all, both.server.tls,
                              &(filch_task_opts){.stack_bytes = i ? 0 : 16384}, &echo));
        writer = spawn(write_big, both.client.tls);
        T_OK(filch_tls_read_exact(both.client.tls, got, BIG, NULL, T_LIMIT));
        T_CHECK(memcmp(got, big, BIG) == 0);
        T_IS(filch_tls_read(both.client.tls, got, 1, T_LIMIT), 0);
        T_OK(join(echo));
        T_OK(join(writer));
        end_both(&both);
    }
    filch_tls_context_unref(client);
    filch_tls_context_unref(server);
    return 0;
}

Test(tls, bytes_go_both_ways_and_sessions_go_on)
{
    T_OK(run_in_runtime(0, bytes_both_ways, NULL));
}

static void refused(const char *names, long begins_s, long ends_s, const char *name, int detail,
                    const char *words)
{
    filch_tls_context *client, *server;
    struct both both;

    make_contexts(names, begins_s, ends_s, &client, &server);
    begin_both(&both, client, server, name, 0);
    T_IS(both.connected, -EKEYREJECTED);
    T_IS(both.client.error.domain, FILCH_ERROR_TLS);
    T_IS(both.client.error.detail, detail);
    T_CHECK(strstr(both.client.error.text, words));
    T_IS(both.accepted, -EPROTO);
    T_CHECK(strstr(both.server.error.text, "the peer refuses"));
    end_both(&both);
    filch_tls_context_unref(client);
    filch_tls_context_unref(server);
}

static int bad_certificates(void *arg)
{
    filch_tls_context *client, *other, *server, *unused;
    struct both both;

    (void)arg;
    refused("DNS:localhost", -7200, -3600, "localhost", X509_V_ERR_CERT_HAS_EXPIRED, "expired");
    refused("DNS:localhost", 3600, 7200, "localhost", X509_V_ERR_CERT_NOT_YET_VALID, "not yet");
    refused("DNS:localhost", 0, 3600, "example.com", X509_V_ERR_HOSTNAME_MISMATCH, "hostname");
    refused("DNS:localhost", 0, 3600, "127.0.0.1", X509_V_ERR_IP_ADDRESS_MISMATCH, "IP address");
    make_contexts("DNS:localhost", 0, 3600, &client, &server);
    make_contexts("DNS:localhost", 0, 3600, &other, &unused);
    begin_both(&both, other, server, "localhost", 0);
    T_IS(both.connected, -EKEYREJECTED);
    end_both(&both);
    filch_tls_context_unref(client);
    filch_tls_context_unref(other);
    filch_tls_context_unref(server);
    filch_tls_context_unref(unused);
    return 0;
}

Test(tls, bad_certificates_are_refused_with_the_reason)
{
    T_OK(run_in_runtime(0, bad_certificates, NULL));
}

static int cut_off(void *arg)
{
    filch_tls_context *client, *server;
    filch_error error;
    struct both both;
    char byte;

    (void)arg;
    make_contexts("DNS:localhost", 0, 3600, &client, &server);
    begin_both(&both, client, server, "localhost", 0);
    T_IS(filch_tls_read(both.server.tls, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_tls_write_all(both.client.tls, "x", 1, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(both.pair.client));
    T_IS(filch_tls_read(both.server.tls, &byte, 1, T_LIMIT), 1);
    T_IS(filch_tls_read(both.server.tls, &byte, 1, T_LIMIT), -ECONNRESET);
    T_IS(filch_tls_failure(both.server.tls, &error), -ECONNRESET);
    T_CHECK(strstr(error.text, "close_notify"));
    end_both(&both);
    filch_tls_context_unref(client);
    filch_tls_context_unref(server);
    return 0;
}

Test(tls, a_missing_close_notify_is_an_error)
{
    T_OK(run_in_runtime(0, cut_off, NULL));
}
