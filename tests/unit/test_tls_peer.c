/* Description: TLS with peers that are not ours: the programs `openssl s_client` and `openssl
 * s_server`, on ports that the kernel chooses. Each is ended by its own number. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "tests/runner/programs.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(tls_peer, .timeout = 120, .init = test_starts_programs);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

struct files {
    struct temp_dir dir;
    char cert[128], key[128];
    struct identity identity;
};

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    T_CHECK(file && fputs(text, file) >= 0);
    T_OK(fclose(file));
}

static void files_make(struct files *files)
{
    temp_dir_make(&files->dir);
    snprintf(files->cert, sizeof files->cert, "%s/cert.pem", files->dir.path);
    snprintf(files->key, sizeof files->key, "%s/key.pem", files->dir.path);
    make_identity(&files->identity, "DNS:localhost", 0, 3600);
    write_text(files->cert, files->identity.cert);
    write_text(files->key, files->identity.key);
}

struct program {
    filch_process *process;
    filch_file *in, *out;
};

static void program_start(struct program *program, const char *const *argv)
{
    filch_process_opts opts = {
        .in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &program->in},
        .out = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &program->out},
        .err = {.kind = FILCH_STDIO_NULL},
        .flags = FILCH_PROCESS_KILL_ON_CLOSE,
    };

    memset(program, 0, sizeof *program);
    T_OK(filch_process_spawn(argv, &opts, &program->process, T_LIMIT));
}

/* Return: its exit code; -1: a signal. */
static int program_end(struct program *program, int by_signal)
{
    filch_process_status status;

    if (by_signal)
        T_OK(filch_process_kill(program->process, by_signal));
    T_OK(filch_process_wait(program->process, &status, T_LIMIT));
    T_OK(filch_file_close(program->in));
    T_OK(filch_file_close(program->out));
    T_OK(filch_process_close(program->process));
    return status.code;
}

/* ---- their client ---- */

#define BYTES 200000

static char sent[BYTES], heard[BYTES], got[BYTES];

static int feed(void *arg)
{
    return filch_file_write_all(arg, sent, BYTES, NULL, T_LIMIT);
}

static int hear(void *arg)
{
    for (size_t done = 0; done < BYTES;) {
        ssize_t n = filch_file_read(arg, heard + done, BYTES - done, T_LIMIT);

        T_CHECK(n > 0);
        done += (size_t)n;
    }
    return 0;
}

static void serve_program(struct files *files, const char *version, const char *reports)
{
    filch_tls_context *context =
        new_context(true, &(filch_tls_opts){.cert_file = files->cert,
                                            .key_file = files->key,
                                            .alpn = (const char *const[]){"h2", "http/1.1", NULL}});
    struct tcp_pair pair;
    struct program program;
    filch_task *tasks[2];
    filch_tls *tls = NULL;
    filch_tls_info info;
    char byte;

    listen_any(&pair);
    program_start(&program,
                  ARGV("openssl", "s_client", "-quiet", version, "-connect", pair.addr, "-CAfile",
                       files->cert, "-verify_return_error", "-servername", "localhost",
                       "-verify_hostname", "localhost", "-alpn", "http/1.1"));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tls_accept(context, filch_tcp_io(pair.server), &tls, NULL, T_LIMIT));
    T_OK(filch_tls_get_info(tls, &info));
    T_CHECK(strcmp(info.version, reports) == 0);
    T_CHECK(strcmp(info.alpn, "http/1.1") == 0);
    T_CHECK(strcmp(info.server_name, "localhost") == 0);
    tasks[0] = spawn(feed, program.in);
    tasks[1] = spawn(hear, program.out);
    T_OK(filch_tls_read_exact(tls, got, BYTES, NULL, T_LIMIT));
    T_CHECK(memcmp(got, sent, BYTES) == 0);
    T_OK(filch_tls_write_all(tls, got, BYTES, NULL, T_LIMIT));
    T_OK(join(tasks[0]));
    T_OK(join(tasks[1]));
    T_CHECK(memcmp(heard, sent, BYTES) == 0);
    T_OK(filch_tls_finish(tls, T_LIMIT)); /* upon which it ends, and says so */
    T_IS(filch_tls_read(tls, &byte, 1, T_LIMIT), 0);
    T_IS(program_end(&program, 0), 0);
    filch_tls_free(tls);
    close_pair(&pair);
    filch_tls_context_unref(context);
}

/* How many sessions a handshake leaves with the client. */
static void count_sessions(struct files *files, unsigned asked, int wanted)
{
    filch_tls_context *context = new_context(
        true,
        &(filch_tls_opts){.cert_file = files->cert, .key_file = files->key, .sessions = asked});
    struct tcp_pair pair;
    struct program program;
    filch_tls *tls = NULL;
    size_t bytes = 0;
    ssize_t n;
    int sessions = 0;

    listen_any(&pair);
    program_start(&program, ARGV("openssl", "s_client", "-tls1_3", "-connect", pair.addr));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tls_accept(context, filch_tcp_io(pair.server), &tls, NULL, T_LIMIT));
    T_OK(filch_tls_finish(tls, T_LIMIT));
    while ((n = filch_file_read(program.out, heard + bytes, BYTES - 1 - bytes, T_LIMIT)) > 0)
        bytes += (size_t)n;
    T_IS(n, 0);
    heard[bytes] = '\0';
    for (const char *at = heard; (at = strstr(at, "New Session Ticket arrived")); at++)
        sessions++;
    T_IS(sessions, wanted);
    T_IS(program_end(&program, 0), 0);
    filch_tls_free(tls);
    close_pair(&pair);
    filch_tls_context_unref(context);
}

static void refuse_program(struct files *files)
{
    filch_tls_context *context = new_context(true, &(filch_tls_opts){.cert_file = files->cert,
                                                                     .key_file = files->key,
                                                                     .version_min = FILCH_TLS_1_3});
    struct tcp_pair pair;
    struct program program;
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls = NULL;

    listen_any(&pair);
    program_start(&program, ARGV("openssl", "s_client", "-tls1_2", "-connect", pair.addr));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_IS(filch_tls_accept(context, filch_tcp_io(pair.server), &tls, &error, T_LIMIT), -EPROTO);
    T_IS(error.domain, FILCH_ERROR_TLS);
    T_CHECK(strstr(error.text, "unsupported protocol"));
    T_OK(filch_tcp_close(pair.server));
    pair.server = NULL;
    T_CHECK(program_end(&program, 0) != 0);
    close_pair(&pair);
    filch_tls_context_unref(context);
}

/* What may be agreed on once more by an old protocol, in the middle of a connection, is not. */
static void refuse_renegotiation(struct files *files)
{
    filch_tls_context *context =
        new_context(true, &(filch_tls_opts){.cert_file = files->cert, .key_file = files->key});
    struct tcp_pair pair;
    struct program program;
    filch_tls *tls = NULL;
    filch_error error;
    char byte;

    listen_any(&pair);
    program_start(&program, ARGV("openssl", "s_client", "-tls1_2", "-connect", pair.addr));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tls_accept(context, filch_tcp_io(pair.server), &tls, NULL, T_LIMIT));
    T_OK(filch_file_write_all(program.in, "R\n", 2, NULL, T_LIMIT));
    T_IS(filch_tls_read(tls, &byte, 1, T_LIMIT), -EPROTO);
    T_IS(filch_tls_failure(tls, &error), -EPROTO);
    T_CHECK(strstr(error.text, "the peer refuses"));
    T_CHECK(program_end(&program, 0) != 0);
    filch_tls_free(tls);
    close_pair(&pair);
    filch_tls_context_unref(context);
}

static int their_client(void *arg)
{
    struct files files;

    (void)arg;
    for (int i = 0; i < BYTES; i++)
        sent[i] = (char)(i * 13 + i / 249);
    files_make(&files);
    serve_program(&files, "-tls1_3", "TLSv1.3");
    serve_program(&files, "-tls1_2", "TLSv1.2");
    count_sessions(&files, 0, 1);
    count_sessions(&files, 3, 3);
    refuse_program(&files);
    refuse_renegotiation(&files);
    temp_dir_remove(&files.dir);
    return 0;
}

Test(tls_peer, s_client_is_served)
{
    T_OK(run_in_runtime(0, their_client, NULL));
}

/* ---- their server ---- */

/* Starts it; its address is in what it says first. */
static void server_start(struct program *program, struct files *files, const char *version,
                         const char *mode, char *ret_addr)
{
    char said[256];
    size_t done = 0;
    char *at = NULL;

    program_start(program, ARGV("openssl", "s_server", "-accept", "127.0.0.1:0", version, "-cert",
                                files->cert, "-key", files->key, mode, "-alpn", "h2"));
    while (!at || !strchr(at, '\n')) {
        ssize_t n = filch_file_read(program->out, said + done, sizeof said - 1 - done, T_LIMIT);

        T_CHECK(n > 0);
        done += (size_t)n;
        said[done] = 0;
        at = strstr(said, "ACCEPT ");
    }
    *strchr(at, '\n') = 0;
    snprintf(ret_addr, FILCH_ADDR_BYTES, "%s", at + 7);
}

/* It turns lines round. */
static void turn_round(filch_tls *tls)
{
    char line[6];

    T_OK(filch_tls_write_all(tls, "hello\n", 6, NULL, T_LIMIT));
    T_OK(filch_tls_read_exact(tls, line, 6, NULL, T_LIMIT));
    T_CHECK(memcmp(line, "olleh\n", 6) == 0);
}

static void ask_program(struct files *files, const char *version, const char *reports)
{
    filch_tls_context *context =
        new_context(false, &(filch_tls_opts){.ca_file = files->cert,
                                             .alpn = (const char *const[]){"h2", NULL}});
    struct program program;
    char addr[FILCH_ADDR_BYTES], byte;
    filch_tls_info info;
    filch_tls *tls = NULL;
    filch_tcp *conn;

    server_start(&program, files, version, "-rev", addr);
    for (int i = 0; i < 2; i++) {
        T_OK(filch_tcp_connect(addr, &conn, T_LIMIT));
        T_OK(filch_tls_connect(context, filch_tcp_io(conn), "localhost", &tls, NULL, T_LIMIT));
        T_OK(filch_tls_get_info(tls, &info));
        T_CHECK(strcmp(info.version, reports) == 0);
        T_CHECK(strcmp(info.alpn, "h2") == 0);
        T_IS(info.resumed, i == 1);
        turn_round(tls);
        if (i == 0) {
            T_OK(filch_tls_finish(tls, T_LIMIT));
            T_OK(filch_tcp_shutdown_write(conn));
            filch_tls_free(tls);
            T_OK(filch_tcp_close(conn));
        }
    }
    T_IS(program_end(&program, SIGKILL), -1);
    T_IS(filch_tls_read(tls, &byte, 1, T_LIMIT), -ECONNRESET); /* it could not say that it ends */
    filch_tls_free(tls);
    T_OK(filch_tcp_close(conn));
    filch_tls_context_unref(context);
}

static void refused_by_version(struct files *files)
{
    filch_tls_context *context =
        new_context(false, &(filch_tls_opts){.ca_file = files->cert, .version_min = FILCH_TLS_1_3});
    struct program program;
    char addr[FILCH_ADDR_BYTES];
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls = NULL;
    filch_tcp *conn;

    server_start(&program, files, "-tls1_2", "-rev", addr);
    T_OK(filch_tcp_connect(addr, &conn, T_LIMIT));
    T_IS(filch_tls_connect(context, filch_tcp_io(conn), "localhost", &tls, &error, T_LIMIT),
         -EPROTO);
    T_IS(error.domain, FILCH_ERROR_TLS);
    T_CHECK(strstr(error.text, "version"));
    T_OK(filch_tcp_close(conn));
    T_IS(program_end(&program, SIGTERM), -1);
    filch_tls_context_unref(context);
}

static void asked_for_renegotiation(struct files *files)
{
    filch_tls_context *context = new_context(false, &(filch_tls_opts){.ca_file = files->cert});
    struct program program;
    char addr[FILCH_ADDR_BYTES], byte;
    filch_tls *tls = NULL;
    filch_tcp *conn;

    server_start(&program, files, "-tls1_2", "-no_ticket", addr);
    T_OK(filch_tcp_connect(addr, &conn, T_LIMIT));
    T_OK(filch_tls_connect(context, filch_tcp_io(conn), "localhost", &tls, NULL, T_LIMIT));
    T_OK(filch_file_write_all(program.in, "r\n", 2, NULL, T_LIMIT));
    T_IS(filch_tls_read(tls, &byte, 1, T_LIMIT), -EPROTO); /* its answer to our refusal */
    filch_tls_free(tls);
    T_OK(filch_tcp_close(conn));
    T_IS(program_end(&program, SIGKILL), -1);
    filch_tls_context_unref(context);
}

static int their_server(void *arg)
{
    struct files files;

    (void)arg;
    files_make(&files);
    ask_program(&files, "-tls1_3", "TLSv1.3");
    ask_program(&files, "-tls1_2", "TLSv1.2");
    refused_by_version(&files);
    asked_for_renegotiation(&files);
    temp_dir_remove(&files.dir);
    return 0;
}

Test(tls_peer, s_server_is_asked)
{
    T_OK(run_in_runtime(0, their_server, NULL));
}
