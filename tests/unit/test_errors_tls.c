/* Description: errors that <filch/tls.h> promises and that other tests have no cause to provoke: of
 * memory, ours and OpenSSL's, which is refused; of a stream below that fails or brings nonsense;
 * and of calls that come too late. */
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/crypto.h>

#include "tests/runner/refused_memory.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

/* ---- memory ---- */

static void *openssl_malloc(size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    return malloc(bytes);
}

static void *openssl_realloc(void *old, size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    return realloc(old, bytes);
}

static void openssl_free(void *old, const char *file, int line)
{
    (void)file, (void)line;
    free(old);
}

static int takes_ours;

/* Before OpenSSL has any, and libraries have some made when they are loaded. */
static void openssl_takes_ours(void)
{
    takes_ours = CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
}

__attribute__((section(".preinit_array"),
               used)) static void (*first_of_all)(void) = openssl_takes_ours;

static void openssl_has_ours(void)
{
    T_CHECK(takes_ours);
}

TestSuite(errors_tls, .timeout = 120, .init = openssl_has_ours);

/* ---- connections ---- */

/* A connection, in memory, over a stream that fails when it is told to. */
struct link {
    filch_tls_context *client, *server;
    filch_duplex *end, *other;
    int fails; /* what the client's stream says; 0: it works */
    filch_tls *tls, *peer;
};

static ssize_t link_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct link *link = context;

    return link->fails ? link->fails : filch_duplex_read(link->end, buf, bytes, until);
}

static ssize_t link_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct link *link = context;

    return link->fails ? link->fails : filch_duplex_write(link->end, buf, bytes, until);
}

static filch_io link_io(struct link *link)
{
    return (filch_io){.reader = {.read = link_read, .context = link},
                      .writer = {.write = link_write, .context = link}};
}

static int accepts(void *arg)
{
    struct link *link = arg;

    return filch_tls_accept(link->server, filch_duplex_io(link->other), &link->peer, NULL, T_LIMIT);
}

static void begin(struct link *link)
{
    *link = (struct link){.fails = 0};
    make_contexts("DNS:localhost", 0, 3600, &link->client, &link->server);
    T_OK(filch_duplex_new(8192, &link->end, &link->other));
}

static void shake_hands(struct link *link)
{
    filch_task *task;

    begin(link);
    task = spawn(accepts, link);
    T_OK(filch_tls_connect(link->client, link_io(link), "localhost", &link->tls, NULL, T_LIMIT));
    T_OK(join(task));
}

static void end(struct link *link)
{
    filch_tls_free(link->tls);
    filch_tls_free(link->peer);
    filch_duplex_free(link->end);
    filch_duplex_free(link->other);
    filch_tls_context_unref(link->client);
    filch_tls_context_unref(link->server);
}

/* Each on a connection of its own, for what fails for good. */
#define ON_A_LINK(error, before, call)                                                             \
    do {                                                                                           \
        struct link link;                                                                          \
        shake_hands(&link);                                                                        \
        before;                                                                                    \
        T_IS(call, error);                                                                         \
        end(&link);                                                                                \
    } while (0)

/* ---- what is wrong with a file, or a stream ---- */

Test(errors_tls, of_files)
{
    const uid_t nobody = 65534, user = geteuid();
    filch_tls_context *context;
    struct temp_dir dir;
    filch_tls_opts opts = {.ca_file = NULL};

    SAYS(MEMORY, filch_tls_client_new(NULL, &context, NULL), -ENOMEM);
    temp_dir_make(&dir);
    opts.ca_file = in_dir(&dir, "ca");
    T_OK(filch_write_file(opts.ca_file, "", 0, 0, T_LIMIT));
    if (user == 0)
        T_OK(seteuid(nobody)); /* the superuser reads everything */
    T_IS(filch_tls_client_new(&opts, &context, NULL), -EACCES);
    T_OK(seteuid(user));
    temp_dir_remove(&dir);
}

static int connects_cancelled(void *arg)
{
    struct link *link = arg;

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_tls_connect(link->client, link_io(link), "localhost", &link->tls, NULL, T_LIMIT),
         -ECANCELED);
    return 0;
}

static int connects_body(void *arg)
{
    struct link link;
    filch_task *task;

    (void)arg;
    begin(&link);
    SAYS(MEMORY,
         filch_tls_connect(link.client, link_io(&link), "localhost", &link.tls, NULL, T_LIMIT),
         -ENOMEM);
    T_OK(join(spawn(connects_cancelled, &link)));
    end(&link);
    begin(&link);
    task = spawn(accepts, &link);
    T_IS(filch_tls_connect(link.client, link_io(&link), "elsewhere", &link.tls, NULL, T_LIMIT),
         -EKEYREJECTED);
    (void)join(task);
    end(&link);
    begin(&link);
    link.fails = -ECONNRESET;
    T_IS(filch_tls_connect(link.client, link_io(&link), "localhost", &link.tls, NULL, T_LIMIT),
         -ECONNRESET);
    end(&link);
    return 0;
}

Test(errors_tls, of_handshakes)
{
    T_OK(run_in_runtime(1, connects_body, NULL));
}

/* What is no TLS. */
static void talk_nonsense(struct link *link)
{
    T_IS(filch_duplex_write(link->other, "HTTP/1.1 200 OK\r\n\r\n", 19, T_LIMIT), 19);
    T_IS(filch_tls_read(link->tls, &(char){0}, 1, T_LIMIT), -EPROTO);
}

static int streams_body(void *arg)
{
    char byte = 0;

    (void)arg;
    ON_A_LINK(-ECONNRESET, link.fails = -ECONNRESET,
              filch_tls_read_exact(link.tls, &byte, 1, NULL, T_LIMIT));
    ON_A_LINK(-ECONNRESET, link.fails = -ECONNRESET, filch_tls_write(link.tls, "x", 1, T_LIMIT));
    ON_A_LINK(-ECONNRESET, link.fails = -ECONNRESET, filch_tls_finish(link.tls, T_LIMIT));
    ON_A_LINK(-EPROTO, talk_nonsense(&link),
              filch_tls_read_exact(link.tls, &byte, 1, NULL, T_LIMIT));
    ON_A_LINK(-EPROTO, talk_nonsense(&link), filch_tls_write_all(link.tls, "x", 1, NULL, T_LIMIT));
    ON_A_LINK(-EPROTO, talk_nonsense(&link), filch_tls_finish(link.tls, T_LIMIT));
    ON_A_LINK(-EPIPE, T_OK(filch_tls_finish(link.tls, T_LIMIT)),
              filch_tls_write_all(link.tls, "x", 1, NULL, T_LIMIT));
    return 0;
}

Test(errors_tls, of_streams)
{
    T_OK(run_in_runtime(1, streams_body, NULL));
}

/* A peer that gave its connection back has not said that it ends. */
static int freed_body(void *arg)
{
    struct link link;
    char byte;

    (void)arg;
    shake_hands(&link);
    filch_tls_free(link.peer);
    filch_duplex_free(link.other);
    link.peer = NULL;
    link.other = NULL;
    T_IS(filch_tls_read(link.tls, &byte, 1, T_LIMIT), -ECONNRESET);
    end(&link);
    return 0;
}

Test(errors_tls, of_a_peer_that_is_gone)
{
    T_OK(run_in_runtime(1, freed_body, NULL));
}

/* ---- no memory ---- */

static char block[16384];

/* Something to read, of which OpenSSL has read nothing. */
static void send_block(struct link *link)
{
    T_OK(filch_tls_write_all(link->peer, block, 4000, NULL, T_LIMIT));
}

static int memory_body(void *arg)
{
    filch_tls_peer peer;

    (void)arg;
    ON_A_LINK(0, SAYS(MEMORY, filch_tls_get_peer(link.tls, &peer), -ENOMEM),
              filch_tls_get_peer(link.tls, &peer));
    ON_A_LINK(0, send_block(&link);
              SAYS(MEMORY, filch_tls_read(link.tls, block, 1, T_LIMIT), -ENOMEM), link.fails);
    ON_A_LINK(0, send_block(&link);
              SAYS(MEMORY, filch_tls_read_exact(link.tls, block, 1, NULL, T_LIMIT), -ENOMEM),
              link.fails);
    ON_A_LINK(0, SAYS(MEMORY, filch_tls_write(link.tls, block, sizeof block, T_LIMIT), -ENOMEM),
              link.fails);
    ON_A_LINK(
        0, SAYS(MEMORY, filch_tls_write_all(link.tls, block, sizeof block, NULL, T_LIMIT), -ENOMEM),
        link.fails);
    ON_A_LINK(0, SAYS(MEMORY, filch_tls_finish(link.tls, T_LIMIT), -ENOMEM), link.fails);
    return 0;
}

Test(errors_tls, of_memory)
{
    T_OK(run_in_runtime(1, memory_body, NULL));
}

/* ---- what comes too late ---- */

/* With FILCH_NOW the one, in a cancelled task the other. */
#define UNDONE(call, late, cancelled) T_IS(call, until == FILCH_NOW ? (late) : (cancelled))

static int comes_late(struct link *link, filch_time until)
{
    char byte;

    UNDONE(filch_tls_read(link->tls, &byte, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_tls_read_exact(link->tls, &byte, 1, NULL, until), -ETIMEDOUT, -ECANCELED);
    /* More than the stream takes; what was taken of it is sent later. */
    UNDONE(filch_tls_write_all(link->tls, block, sizeof block, NULL, until)
               ?: filch_tls_write_all(link->tls, block, sizeof block, NULL, until),
           -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_tls_write(link->tls, block, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_tls_finish(link->tls, until), -ETIMEDOUT, -ECANCELED);
    return 0;
}

static int comes_cancelled(void *link)
{
    T_OK(filch_task_cancel(filch_task_self()));
    return comes_late(link, T_LIMIT);
}

static int late_body(void *arg)
{
    struct link link;

    (void)arg;
    shake_hands(&link);
    T_OK(comes_late(&link, FILCH_NOW));
    end(&link);
    shake_hands(&link);
    T_OK(join(spawn(comes_cancelled, &link)));
    end(&link);
    return 0;
}

Test(errors_tls, of_calls_that_come_too_late)
{
    T_OK(run_in_runtime(1, late_body, NULL));
}
