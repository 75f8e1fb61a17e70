/* Description: streams of connections, lines and directory entries: every item once, whatever gives
 * up in between; ends, errors and drops in the middle leave nothing behind. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(stream_io, .timeout = 120);

/* ---- connections ---- */

#define CLIENTS 20

/* Calls that give up in between take nothing; a stream that is dropped while it waits, or with a
 * connection that nobody took, leaves it to the next one. */
static int accept_some(void *arg)
{
    filch_listener_stream stream;
    filch_tcp *client[CLIENTS], *conn;
    struct tcp_pair pair;

    (void)arg;
    listen_any(&pair);
    T_OK(filch_listener_stream_init(&stream, pair.listener));
    for (int i = 0; i < CLIENTS; i++) {
        T_IS(filch_stream_next(&stream.base, &conn, FILCH_NOW), -ETIMEDOUT);
        T_OK(filch_tcp_connect(pair.addr, &client[i], T_LIMIT));
        T_OK(filch_tcp_write_all(client[i], &(char){(char)i}, 1, NULL, T_LIMIT));
        if (i % 2)
            let_others_run();
        if (i % 4 > 1) {
            filch_stream_drop(&stream.base);
            T_IS(filch_stream_next(&stream.base, &conn, FILCH_NOW), 0);
            T_OK(filch_listener_stream_init(&stream, pair.listener));
        }
        if (i % 5)
            T_IS(filch_stream_next(&stream.base, &conn, T_LIMIT), 1);
        else {
            filch_stream_drop(&stream.base);
            T_OK(filch_listener_accept(pair.listener, &conn, T_LIMIT));
            T_OK(filch_listener_stream_init(&stream, pair.listener));
        }
        char byte = -1;

        T_OK(filch_tcp_read_exact(conn, &byte, 1, NULL, T_LIMIT));
        T_IS(byte, i);
        T_OK(filch_tcp_close(conn));
        T_OK(filch_tcp_close(client[i]));
    }
    T_OK(filch_listener_close(pair.listener)); /* while it waits: the end */
    T_IS(filch_stream_next(&stream.base, &conn, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    T_OK(filch_listener_stream_init(&stream, pair.listener));
    T_IS(filch_stream_next(&stream.base, &conn, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    return 0;
}

Test(stream_io, every_connection_is_given_once)
{
    T_OK(run_in_runtime(0, accept_some, NULL));
}

Test(stream_io, a_plain_thread_is_refused)
{
    filch_listener_stream stream;
    filch_dir_stream dir;
    const filch_dir_entry *entry;
    struct tcp_pair pair;
    filch_tcp *conn;

    listen_any(&pair);
    T_OK(filch_listener_stream_init(&stream, pair.listener));
    T_IS(filch_stream_next(&stream.base, &conn, FILCH_NOW), -EPERM);
    filch_stream_drop(&stream.base);
    T_OK(filch_listener_close(pair.listener));
    T_OK(filch_dir_stream_init(&dir, "/"));
    T_IS(filch_stream_next(&dir.base, &entry, FILCH_NOW), -EPERM);
    filch_stream_drop(&dir.base);
}

/* ---- lines ---- */

/* Gives a text in pieces, an error or a wait before each of some. */
struct script {
    const char *text;
    size_t bytes;
    size_t at;
    size_t piece;
    unsigned turn;
    unsigned fails_every; /* 0: never */
    unsigned waits_every;
};

static ssize_t read_script(void *context, void *buf, size_t bytes, filch_time until)
{
    struct script *script = context;
    size_t n = script->bytes - script->at;

    (void)until;
    script->turn++;
    if (script->fails_every && script->turn % script->fails_every == 0)
        return -ECONNRESET;
    if (script->waits_every && script->turn % script->waits_every == 0)
        filch_task_yield();
    n = n < script->piece ? n : script->piece;
    n = n < bytes ? n : bytes;
    memcpy(buf, script->text + script->at, n);
    script->at += n;
    return (ssize_t)n;
}

static const char text[] = "first\r\nsecond\n\n\r\nthis one is far too long\nstays\rhere\nthe last";
static const char *const lines[] = {"first", "second", "", "", NULL, "stays\rhere", "the last"};

static void check_lines(filch_stream *stream, bool gives_up)
{
    filch_line line;
    int r;

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        do
            r = filch_stream_next(stream, &line, gives_up ? FILCH_NOW : T_LIMIT);
        while (r == -ECONNRESET || (gives_up && r == -ETIMEDOUT && (let_others_run(), true)));
        T_IS(r, lines[i] ? 1 : -EMSGSIZE);
        if (!lines[i])
            continue;
        T_IS(line.bytes, strlen(lines[i]));
        T_CHECK(strcmp(line.text, lines[i]) == 0);
    }
    do
        r = filch_stream_next(stream, &line, T_LIMIT);
    while (r == -ECONNRESET);
    T_IS(r, 0);
}

static int lines_of_pieces(void *arg)
{
    char buffer[16];

    (void)arg;
    for (size_t piece = 1; piece < sizeof text; piece++)
        for (unsigned how = 0; how < 4; how++) {
            struct script script = {.text = text,
                                    .bytes = sizeof text - 1,
                                    .piece = piece,
                                    .fails_every = how & 1 ? 3 : 0,
                                    .waits_every = how & 2 ? 2 : 0};
            filch_reader reader = {.read = read_script, .context = &script};
            filch_lines_stream stream;

            T_OK(filch_lines_stream_init(&stream, reader, buffer, sizeof buffer));
            check_lines(&stream.base, how & 2);
            filch_stream_drop(&stream.base);
        }
    return 0;
}

Test(stream_io, lines_whatever_the_pieces)
{
    T_OK(run_in_runtime(0, lines_of_pieces, NULL));
}

static ssize_t read_too_much(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)until;
    return (ssize_t)bytes + 1;
}

static int lines_at_the_limit(void *arg)
{
    struct script script = {.text = "1234\n12345\n", .bytes = 11, .piece = 100};
    filch_reader reader = {.read = read_script, .context = &script};
    filch_lines_stream stream;
    char buffer[6];
    filch_line line;

    (void)arg;
    T_OK(filch_lines_stream_init(&stream, reader, buffer, sizeof buffer));
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), 1);
    T_CHECK(strcmp(line.text, "1234") == 0);
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), -EMSGSIZE);
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    reader.read = read_too_much;
    T_OK(filch_lines_stream_init(&stream, reader, buffer, sizeof buffer));
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), -EIO);
    filch_stream_drop(&stream.base);
    reader = filch_tcp_reader(NULL);
    T_OK(filch_lines_stream_init(&stream, reader, buffer, sizeof buffer));
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), -EINVAL);
    filch_stream_drop(&stream.base);
    return 0;
}

Test(stream_io, lines_as_long_as_may_be)
{
    T_OK(run_in_runtime(0, lines_at_the_limit, NULL));
}

static int lines_of_a_connection(void *arg)
{
    struct tcp_pair pair;
    filch_lines_stream stream;
    char buffer[64];
    filch_line line;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_lines_stream_init(&stream, filch_tcp_reader(pair.server), buffer, sizeof buffer));
    T_OK(filch_tcp_write_all(pair.client, "half", 4, NULL, T_LIMIT));
    T_IS(filch_stream_next(&stream.base, &line, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_tcp_write_all(pair.client, " a line\r\n", 9, NULL, T_LIMIT));
    T_IS(filch_stream_next(&stream.base, &line, T_LIMIT), 1);
    T_CHECK(strcmp(line.text, "half a line") == 0);
    T_IS(filch_stream_next(&stream.base, &line, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_stream_drop(&stream.base); /* while it reads */
    close_pair(&pair);
    return 0;
}

Test(stream_io, the_beginning_of_a_line_is_kept)
{
    T_OK(run_in_runtime(0, lines_of_a_connection, NULL));
}

/* ---- directories ---- */

#define FILES 150

static int read_dir(void *arg)
{
    char path[] = "/tmp/filch-dir-XXXXXX", name[64], long_path[PATH_MAX + 1];
    bool seen[FILES] = {false};
    filch_dir_stream stream;
    const filch_dir_entry *entry;
    int count = 0, r;

    (void)arg;
    T_CHECK(mkdtemp(path));
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s/%d", path, i);
        r = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        T_CHECK(r >= 0);
        T_OK(close(r));
    }
    T_OK(filch_dir_stream_init(&stream, path));
    while ((r = filch_stream_next(&stream.base, &entry, count % 2 ? FILCH_NOW : T_LIMIT)) != 0) {
        if (r == -ETIMEDOUT) {
            let_others_run();
            continue;
        }
        T_IS(r, 1);
        r = atoi(entry->name);
        T_CHECK(r >= 0 && r < FILES && !seen[r]);
        T_CHECK(entry->inode);
        seen[r] = true;
        count++;
    }
    T_IS(count, FILES);
    filch_stream_drop(&stream.base);

    T_OK(filch_dir_stream_init(&stream, path)); /* dropped at once, under way, and in the middle */
    filch_stream_drop(&stream.base);
    T_OK(filch_dir_stream_init(&stream, path));
    (void)!filch_stream_next(&stream.base, &entry, FILCH_NOW);
    filch_stream_drop(&stream.base);
    T_OK(filch_dir_stream_init(&stream, path));
    T_IS(filch_stream_next(&stream.base, &entry, T_LIMIT), 1);
    filch_stream_drop(&stream.base);

    snprintf(name, sizeof name, "%s/0", path);
    T_OK(filch_dir_stream_init(&stream, name));
    T_IS(filch_stream_next(&stream.base, &entry, T_LIMIT), -ENOTDIR);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s/%d", path, i);
        T_OK(unlink(name));
    }
    T_IS(filch_stream_next(&stream.base, &entry, T_LIMIT), -ENOENT);
    filch_stream_drop(&stream.base);
    T_OK(rmdir(path));
    memset(long_path, 'a', PATH_MAX);
    long_path[PATH_MAX] = '\0';
    T_IS(filch_dir_stream_init(&stream, long_path), -ENAMETOOLONG);
    return 0;
}

Test(stream_io, the_entries_of_a_directory)
{
    T_OK(run_in_runtime(0, read_dir, NULL));
}
