/* Description: peers that do harm, in numbers, beside others that must not notice: storms of
 * resets, windows without descriptors, peers that do not read. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(tcp_abuse, .timeout = 120);

/* ---- a server that echoes ---- */

struct site {
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];
    filch_task *task;
    atomic_uint accepted;
    atomic_uint ended;  /* by their peer */
    atomic_uint broken; /* reset */
};

struct served {
    struct site *site;
    filch_tcp *conn;
};

static int echo(void *arg)
{
    struct served served = *(struct served *)arg;
    char buffer[256];
    ssize_t n;

    free(arg);
    while ((n = filch_tcp_read(served.conn, buffer, sizeof(buffer), FILCH_NEVER)) > 0) {
        n = filch_tcp_write_all(served.conn, buffer, (size_t)n, NULL, FILCH_NEVER);
        if (n < 0)
            break;
    }
    T_CHECK(n == 0 || n == -ECONNRESET || n == -EPIPE);
    atomic_fetch_add(n == 0 ? &served.site->ended : &served.site->broken, 1);
    return filch_tcp_close(served.conn);
}

/* Until the listener is closed. */
static int serve(void *arg)
{
    struct site *site = arg;
    filch_tcp *conn;
    int r;
    FILCH_SCOPE(scope);

    T_OK(filch_scope_limit(&scope, 200));
    while ((r = filch_listener_accept(site->listener, &conn, FILCH_NEVER)) == 0) {
        struct served *served = malloc(sizeof(*served));

        T_CHECK(served);
        *served = (struct served){site, conn};
        atomic_fetch_add(&site->accepted, 1);
        T_OK(filch_scope_spawn_wait(&scope, echo, served, NULL, T_LIMIT));
    }
    T_CHECK(r == -ECANCELED || r == -EBADF);
    return filch_scope_join(&scope, T_LIMIT);
}

static void site_open(struct site *site)
{
    memset(site, 0, sizeof(*site));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &site->listener));
    T_OK(filch_listener_addr(site->listener, site->addr));
    site->task = spawn(serve, site);
}

static void site_close(struct site *site)
{
    T_OK(filch_listener_close(site->listener));
    T_OK(join(site->task));
    T_IS(atomic_load(&site->accepted), atomic_load(&site->ended) + atomic_load(&site->broken));
}

/* Says something that @seed decides, and hears it. */
static void converse(filch_tcp *conn, unsigned seed)
{
    char said[100], heard[sizeof(said)];

    for (size_t i = 0; i < sizeof(said); i++)
        said[i] = (char)(seed * 31 + i);
    T_OK(filch_tcp_write_all(conn, said, sizeof(said), NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(conn, heard, sizeof(heard), NULL, T_LIMIT));
    T_OK(memcmp(said, heard, sizeof(said)));
}

/* ---- resets ---- */

enum { STORMS = 2, GOOD = 8 };

struct storm {
    struct site site;
    atomic_int over; /* storms that have ended */
    atomic_uint served;
};

/* Connections that are reset at once, after a few bytes, with an answer on its way; some end
 * properly, and early. */
static void *reset_many(void *arg)
{
    struct storm *storm = arg;

    for (int i = 0; i < T_MANY(600); i++) {
        int fd = raw_socket();

        raw_connect(fd, storm->site.addr);
        /* The server may have been quicker than us only where it was told something. */
        if (i % 4 > 0)
            T_IS(send(fd, "reset", 5, MSG_NOSIGNAL), 5);
        if (i % 4 == 3)
            T_OK(close(fd));
        else
            raw_reset(fd);
    }
    atomic_fetch_add(&storm->over, 1);
    return NULL;
}

/* Connections that must be served whole, as long as the storm lasts. */
static int be_good(void *arg)
{
    struct storm *storm = arg;

    for (unsigned i = 0; i < 10 || atomic_load(&storm->over) < STORMS; i++) {
        filch_tcp *conn;
        char byte;

        T_OK(filch_tcp_connect(storm->site.addr, &conn, T_LIMIT));
        converse(conn, i);
        T_OK(filch_tcp_shutdown_write(conn));
        T_IS(filch_tcp_read(conn, &byte, 1, T_LIMIT), 0);
        T_OK(filch_tcp_close(conn));
        atomic_fetch_add(&storm->served, 1);
    }
    return 0;
}

static int storm_body(void *arg)
{
    struct storm storm = {.over = 0};
    unsigned files = process_files();
    filch_task *good[GOOD];
    pthread_t thread[STORMS];

    (void)arg;
    site_open(&storm.site);
    for (int i = 0; i < STORMS; i++)
        T_OK(pthread_create(&thread[i], NULL, reset_many, &storm));
    for (int i = 0; i < GOOD; i++)
        good[i] = spawn(be_good, &storm);
    for (int i = 0; i < GOOD; i++)
        T_OK(join(good[i]));
    for (int i = 0; i < STORMS; i++)
        T_OK(pthread_join(thread[i], NULL));
    T_CHECK(atomic_load(&storm.served) >= 10 * GOOD);
    T_CHECK(atomic_load(&storm.site.ended) >= atomic_load(&storm.served));
    site_close(&storm.site);
    T_IS(process_files(), files);
    return 0;
}

Test(tcp_abuse, good_peers_are_served_in_a_storm_of_resets)
{
    T_OK(run_in_runtime(0, storm_body, NULL));
}

/* ---- no descriptors ---- */

enum { WINDOWS = 5, COMERS = 10, OPENERS = 4, HOGS_MAX = 200 };

struct window {
    struct site site;
    filch_listener *listener; /* a plain thread accepts from it */
    char addr[FILCH_ADDR_BYTES];
    atomic_bool open; /* of the window */
    atomic_int refused;
    int hog[HOGS_MAX];
    int hogs;
};

/* Of this process, which is this test: so few that all of them can be taken. */
static void limit_descriptors(void)
{
    struct rlimit limit;
    int lowest = raw_socket();

    close(lowest);
    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = (rlim_t)lowest + HOGS_MAX;
    T_OK(setrlimit(RLIMIT_NOFILE, &limit));
}

/* Takes all descriptors that there are. The runtime's watch may give one back later: whoever waits
 * for the lack of them takes again. */
static void window_open(struct window *window)
{
    atomic_store(&window->open, true);
    while (window->hogs < HOGS_MAX && (window->hog[window->hogs] = dup(0)) >= 0)
        window->hogs++;
    T_CHECK(window->hogs < HOGS_MAX);
}

static void window_close(struct window *window)
{
    while (window->hogs > 0)
        T_OK(close(window->hog[--window->hogs]));
    atomic_store(&window->open, false);
}

/* Opens files until there is no descriptor, and one when there is. */
static int open_in_time(void *arg)
{
    struct window *window = arg;
    filch_file *file;
    int r;

    while ((r = filch_file_open("/dev/null", O_RDONLY, 0, &file, FILCH_NEVER)) == 0)
        T_OK(filch_file_close(file));
    T_IS(r, -EMFILE);
    atomic_fetch_add(&window->refused, 1);
    while (atomic_load(&window->open))
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_file_open("/dev/null", O_RDONLY, 0, &file, FILCH_NEVER));
    return filch_file_close(file);
}

/* One connection a window, outside all tasks. */
static void *accept_in_thread(void *arg)
{
    struct window *window = arg;

    for (int i = 0; i < WINDOWS; i++) {
        filch_tcp *conn;
        char byte;

        T_OK(filch_listener_accept(window->listener, &conn, FILCH_NEVER));
        T_OK(filch_tcp_read_exact(conn, &byte, 1, NULL, T_LIMIT));
        T_OK(filch_tcp_write_all(conn, &byte, 1, NULL, T_LIMIT));
        T_OK(filch_tcp_close(conn));
    }
    return NULL;
}

static uint64_t backoffs(void)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    return stats.accept_backoffs;
}

/* Connections and files that are wanted while there is no descriptor come when there is one. */
static void look_through(struct window *window, filch_tcp *old, unsigned round)
{
    filch_task *opener[OPENERS];
    filch_tcp *conn[COMERS + 1] = {NULL};
    int fd[COMERS + 1];
    uint64_t before = backoffs();
    char byte = (char)('a' + round);
    filch_tcp *more;
    int r;

    for (int i = 0; i <= COMERS; i++)
        fd[i] = raw_socket();
    atomic_store(&window->refused, 0);
    window_open(window);
    for (int i = 0; i < OPENERS; i++)
        opener[i] = spawn(open_in_time, window);
    for (int i = 0; i <= COMERS; i++) {
        raw_connect(fd[i], i < COMERS ? window->site.addr : window->addr);
        T_OK(filch_tcp_adopt(fd[i], &conn[i]));
        T_OK(filch_tcp_write_all(conn[i], &byte, 1, NULL, T_LIMIT));
    }
    T_WAIT_UNTIL((window_open(window), backoffs() > before));
    T_WAIT_UNTIL((window_open(window), atomic_load(&window->refused) == OPENERS));
    while ((r = filch_tcp_connect(window->site.addr, &more, T_LIMIT)) == 0) {
        T_OK(filch_tcp_close(more));
        window_open(window);
    }
    T_IS(r, -EMFILE);
    converse(old, round); /* who has a connection has no need of descriptors */
    window_close(window);

    for (int i = 0; i <= COMERS; i++) {
        char answer;

        T_OK(filch_tcp_read_exact(conn[i], &answer, 1, NULL, T_LIMIT));
        T_IS(answer, byte);
        /* The server has closed its side: the descriptor is free, and not in the next window. */
        T_OK(filch_tcp_shutdown_write(conn[i]));
        T_IS(filch_tcp_read(conn[i], &answer, 1, T_LIMIT), 0);
        T_OK(filch_tcp_close(conn[i]));
    }
    for (int i = 0; i < OPENERS; i++)
        T_OK(join(opener[i]));
}

static int window_body(void *arg)
{
    struct window window = {.open = false};
    unsigned files = process_files();
    pthread_t thread;
    filch_tcp *old;

    (void)arg;
    limit_descriptors();
    site_open(&window.site);
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &window.listener));
    T_OK(filch_listener_addr(window.listener, window.addr));
    T_OK(pthread_create(&thread, NULL, accept_in_thread, &window));
    T_OK(filch_tcp_connect(window.site.addr, &old, T_LIMIT));
    converse(old, 0);
    for (unsigned round = 0; round < WINDOWS; round++)
        look_through(&window, old, round);
    T_OK(pthread_join(thread, NULL));
    T_OK(filch_tcp_close(old));
    T_OK(filch_listener_close(window.listener));
    site_close(&window.site);
    T_CHECK(atomic_load(&window.site.accepted) >= 1 + COMERS * WINDOWS);
    T_IS(process_files(), files);
    return 0;
}

Test(tcp_abuse, windows_without_descriptors_lose_nothing)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind only pretends to a limit of descriptors: the ring has more");
    T_OK(run_in_runtime(0, window_body, NULL));
}

/* ---- peers that do not read ---- */

enum { SLOW = 40, WANTED = 16 << 20, IN_FLIGHT_MAX = 2 << 20 };

enum way { BY_DEADLINE, BY_CANCEL, BY_CLOSE, BY_RESET, BY_READING };

struct slow {
    enum way way;
    bool vectored;
    int client; /* does not read */
    filch_tcp *server;
    filch_time until;
    filch_task *writer;
    size_t done; /* of the writer */
};

/* What is sent again and again. */
static unsigned char block[1 << 20];

/* More than fits anywhere on its way. */
static int write_much(void *arg)
{
    struct slow *slow = arg;
    struct iovec iov[WANTED / sizeof(block)];
    int r = 0;

    for (size_t i = 0; i < WANTED / sizeof(block); i++)
        iov[i] = (struct iovec){block, sizeof(block)};
    if (slow->vectored)
        return filch_tcp_writev_all(slow->server, iov, WANTED / sizeof(block), &slow->done,
                                    slow->until);
    while (r == 0 && slow->done < WANTED) {
        size_t done = 0;

        r = filch_tcp_write_all(slow->server, block, sizeof(block), &done, slow->until);
        slow->done += done;
    }
    return r;
}

/* The writer ends by itself, and its connection with it. */
static int write_to_the_end(void *arg)
{
    struct slow *slow = arg;

    T_OK(write_much(slow));
    return filch_tcp_close(slow->server);
}

/* With small buffers, so that a hundred of them are little to the kernel. */
static void slow_begin(struct slow *slow, const struct tcp_pair *pair, int i)
{
    int bytes = 32768;

    *slow = (struct slow){.way = i < 2 ? BY_READING : (enum way)(i % 4),
                          .vectored = i % 3 == 0,
                          .until = FILCH_NEVER,
                          .client = raw_socket()};
    T_OK(setsockopt(slow->client, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)));
    raw_connect(slow->client, pair->addr);
    T_OK(filch_listener_accept(pair->listener, &slow->server, T_LIMIT));
    T_OK(filch_tcp_set(slow->server, FILCH_TCP_SEND_BUFFER, bytes));
    if (slow->way == BY_DEADLINE)
        slow->until = filch_after(100 * FILCH_MILLISECOND);
    slow->writer = spawn(slow->way == BY_READING ? write_to_the_end : write_much, slow);
}

/* Has the writer got going? */
static bool slow_is_written_to(const struct slow *slow)
{
    int bytes;

    T_OK(ioctl(slow->client, FIONREAD, &bytes));
    return bytes >= 8192;
}

/* Reads to the end. Return: how much there was. */
static size_t read_blocks(filch_tcp *conn)
{
    unsigned char buffer[8192];
    size_t bytes = 0;
    ssize_t n;

    while ((n = filch_tcp_read(conn, buffer, sizeof(buffer) - bytes % sizeof(buffer), T_LIMIT)) >
           0) {
        T_OK(memcmp(buffer, block + bytes % sizeof(block), (size_t)n));
        bytes += (size_t)n;
    }
    T_OK(n);
    return bytes;
}

/* Ends the writer in its way: what it says was written arrives, and nothing else. */
static void slow_end(struct slow *slow)
{
    filch_tcp *client;
    int r;

    if (slow->way == BY_RESET) {
        raw_reset(slow->client);
        r = join(slow->writer);
        T_CHECK(r == -ECONNRESET || r == -EPIPE);
        T_CHECK(slow->done < IN_FLIGHT_MAX);
        T_OK(filch_tcp_close(slow->server));
        return;
    }
    if (slow->way == BY_DEADLINE) {
        T_IS(join(slow->writer), -ETIMEDOUT);
        T_CHECK(filch_now() >= slow->until);
    } else if (slow->way == BY_CANCEL) {
        T_OK(filch_task_cancel(slow->writer));
        T_IS(join(slow->writer), -ECANCELED);
    } else if (slow->way == BY_CLOSE) {
        T_OK(filch_tcp_close(slow->server));
        r = join(slow->writer);
        T_CHECK(r == -ECANCELED || r == -EBADF); /* in a call, or between two */
    }
    if (slow->way == BY_DEADLINE || slow->way == BY_CANCEL)
        T_OK(filch_tcp_close(slow->server));
    T_OK(filch_tcp_adopt(slow->client, &client));
    if (slow->way == BY_READING) {
        T_IS(read_blocks(client), WANTED);
        T_OK(join(slow->writer));
        T_IS(slow->done, WANTED);
    } else {
        T_CHECK(slow->done < IN_FLIGHT_MAX);
        T_IS(read_blocks(client), slow->done);
    }
    T_OK(filch_tcp_close(client));
}

/* Writers wait, instead of keeping what nobody reads. Sanitizers keep much of their own. */
static bool keeps_little(size_t kb_before)
{
#ifdef T_SANITIZED
    return kb_before > 0;
#else
    return RUNNING_ON_VALGRIND || memory_kb("VmRSS") < kb_before + 4096 + SLOW * 64;
#endif
}

static int slow_body(void *arg)
{
    static struct slow slow[SLOW];
    unsigned files = process_files();
    struct tcp_pair pair;
    size_t kb;

    (void)arg;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (unsigned char)(i * 7 + i / 251);
    listen_any(&pair);
    kb = memory_kb("VmRSS");
    for (int i = 0; i < SLOW; i++)
        slow_begin(&slow[i], &pair, i);
    for (int i = 0; i < SLOW; i++)
        if (slow[i].way != BY_DEADLINE)
            T_WAIT_UNTIL(slow_is_written_to(&slow[i]));
    let_others_run();
    T_CHECK(keeps_little(kb));
    for (int i = SLOW; i-- > 0;)
        slow_end(&slow[i]);
    T_OK(filch_listener_close(pair.listener));
    T_IS(process_files(), files);
    return 0;
}

Test(tcp_abuse, peers_that_do_not_read_hold_writers_back)
{
    T_OK(run_in_runtime(0, slow_body, NULL));
}
