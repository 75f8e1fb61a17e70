/* Description: names (<filch/dns.h>): sharing, keeping, limits, lookups that hang, and connecting
 * by name. Lookups are a function of the test's, so that each can be held, counted and made to
 * fail; for the C library's see test_dns_server.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/dns/dns.h"
#include "tests/runner/tcp_pair.h"

TestSuite(dns, .timeout = 60);

/* ---- a lookup of ours ---- */

static struct {
    atomic_uint calls, running, running_max;
    sem_t gate; /* names that begin with "slow" wait here */
} hook;

static void put(filch_dns_addrs *addrs, const char *text)
{
    snprintf(addrs->text[addrs->count++], FILCH_ADDR_BYTES, "%s", text);
}

/* "bad" is not there, "down" cannot be asked, "odd" is nonsense; the rest is one address or, for
 * "many", all there can be. */
static int lookup(void *context, const char *host, enum filch_dns_family family,
                  filch_dns_addrs *ret_addrs)
{
    unsigned running = atomic_fetch_add(&hook.running, 1) + 1;
    unsigned most = atomic_load(&hook.running_max);

    T_CHECK(context == &hook && ret_addrs->count == 0);
    atomic_fetch_add(&hook.calls, 1);
    while (running > most && !atomic_compare_exchange_weak(&hook.running_max, &most, running))
        ;
    if (strncmp(host, "slow", 4) == 0)
        while (sem_wait(&hook.gate) < 0)
            ;
    atomic_fetch_sub(&hook.running, 1);
    if (strncmp(host, "bad", 3) == 0)
        return -ENOENT;
    if (strncmp(host, "down", 4) == 0)
        return -EHOSTDOWN;
    put(ret_addrs, strncmp(host, "odd", 3) == 0 ? "not an address"
                   : family == FILCH_DNS_IPV6   ? "2001:db8::7"
                                                : "192.0.2.7");
    while (strcmp(host, "many") == 0 && ret_addrs->count < FILCH_DNS_ADDRS_MAX)
        put(ret_addrs, "192.0.2.8");
    return 0;
}

static filch_resolver *make_resolver(filch_resolver_opts opts)
{
    filch_resolver *resolver = NULL;

    opts.lookup = lookup;
    opts.context = &hook;
    atomic_store(&hook.calls, 0);
    T_OK(sem_init(&hook.gate, 0, 0));
    T_OK(filch_resolver_new(filch_runtime_self(), &opts, &resolver));
    return resolver;
}

static void open_gate(unsigned times)
{
    while (times--)
        T_OK(sem_post(&hook.gate));
}

static int ask(filch_resolver *resolver, const char *host, filch_time until)
{
    filch_dns_addrs addrs = {.count = 77};
    int r = filch_dns_lookup(resolver, host, 80, FILCH_DNS_ANY, &addrs, until);

    T_CHECK((r == 0) == (addrs.count != 77)); /* untouched on failure */
    if (r == 0)
        T_CHECK(strcmp(addrs.text[0], "192.0.2.7:80") == 0);
    return r;
}

struct asker {
    filch_resolver *resolver;
    const char *host;
};

static int ask_in_task(void *arg)
{
    struct asker *asker = arg;

    return ask(asker->resolver, asker->host, FILCH_NEVER);
}

/* ---- what needs no lookup ---- */

static int numbers_body(void *arg)
{
    char long_name[300];
    filch_dns_addrs addrs;

    (void)arg;
    T_OK(filch_dns_lookup(NULL, "127.0.0.1", 80, FILCH_DNS_ANY, &addrs, FILCH_NOW));
    T_IS(addrs.count, 1);
    T_CHECK(strcmp(addrs.text[0], "127.0.0.1:80") == 0);
    T_OK(filch_dns_lookup(NULL, "2001:DB8::1", 65535, FILCH_DNS_IPV6, &addrs, FILCH_NOW));
    T_CHECK(strcmp(addrs.text[0], "[2001:db8::1]:65535") == 0);
    T_IS(filch_dns_lookup(NULL, "::1", 0, FILCH_DNS_IPV4, &addrs, FILCH_NOW), -ENOENT);
    T_IS(filch_dns_lookup(NULL, "127.0.0.1", 0, FILCH_DNS_IPV6, &addrs, FILCH_NOW), -ENOENT);
    T_IS(filch_dns_lookup(NULL, "fe80::1%lo", 0, FILCH_DNS_ANY, &addrs, FILCH_NOW), -EINVAL);
    T_IS(filch_dns_lookup(NULL, "", 0, FILCH_DNS_ANY, &addrs, FILCH_NOW), -EINVAL);
    memset(long_name, 'x', sizeof long_name);
    long_name[254] = 0;
    T_IS(filch_dns_lookup(NULL, long_name, 0, FILCH_DNS_ANY, &addrs, FILCH_NOW), -ENAMETOOLONG);
    return 0;
}

Test(dns, numbers_are_not_looked_up)
{
    T_OK(run_in_runtime(0, numbers_body, NULL));
    T_OK(numbers_body(NULL));
}

/* ---- sharing and keeping ---- */

static int sharing_body(void *arg)
{
    filch_resolver *resolver = make_resolver((filch_resolver_opts){.ttl_ns = FILCH_NEVER});
    struct asker asker = {resolver, "slow.example"}, upper = {resolver, "SLOW.Example"};
    filch_task *askers[10];
    filch_resolver_stats stats;
    filch_dns_addrs addrs;

    (void)arg;
    for (int i = 0; i < 10; i++)
        askers[i] = spawn(ask_in_task, i % 2 ? &asker : &upper);
    T_WAIT_UNTIL(atomic_load(&hook.running) == 1);
    do {
        filch_task_yield();
        T_OK(filch_resolver_stats_get(resolver, &stats));
    } while (stats.calls < 10);
    open_gate(1);
    for (int i = 0; i < 10; i++)
        T_OK(join(askers[i]));
    T_IS(atomic_load(&hook.calls), 1);
    /* It is kept: no more waiting. Another family is another question. */
    T_OK(ask(resolver, "slow.example", FILCH_NOW));
    T_IS(atomic_load(&hook.calls), 1);
    open_gate(1);
    T_OK(filch_dns_lookup(resolver, "slow.example", 1, FILCH_DNS_IPV6, &addrs, T_LIMIT));
    T_CHECK(strcmp(addrs.text[0], "[2001:db8::7]:1") == 0);
    T_OK(filch_dns_lookup(resolver, "many", 1, FILCH_DNS_ANY, &addrs, T_LIMIT));
    T_IS(addrs.count, FILCH_DNS_ADDRS_MAX);
    T_OK(filch_resolver_stats_get(resolver, &stats));
    T_IS(stats.calls, 13);
    T_IS(stats.kept, 1);
    T_IS(stats.shared, 9);
    T_IS(stats.lookups, 3);
    T_IS(stats.failed, 0);
    T_IS(stats.entries, 3);
    filch_resolver_free(resolver);
    return 0;
}

Test(dns, calls_for_one_name_share_a_lookup_and_what_it_gave_is_kept)
{
    T_OK(run_in_runtime(0, sharing_body, NULL));
}

static int keeping_body(void *arg)
{
    filch_resolver *resolver = make_resolver((filch_resolver_opts){
        .ttl_ns = FILCH_NEVER, .negative_ttl_ns = FILCH_NEVER, .entries_max = 3});
    filch_resolver_stats stats;

    (void)arg;
    T_IS(ask(resolver, "bad", T_LIMIT), -ENOENT);
    T_IS(ask(resolver, "bad", FILCH_NOW), -ENOENT);
    T_IS(atomic_load(&hook.calls), 1);
    for (unsigned i = 0; i < 2; i++) /* what may be otherwise soon is not kept */
        T_IS(ask(resolver, "down", T_LIMIT), -EHOSTDOWN);
    T_IS(ask(resolver, "odd", T_LIMIT), -EIO);
    T_IS(atomic_load(&hook.calls), 4);
    T_OK(ask(resolver, "a", T_LIMIT));
    T_OK(ask(resolver, "b", T_LIMIT));
    T_OK(ask(resolver, "c", T_LIMIT)); /* "bad" goes */
    T_OK(filch_resolver_stats_get(resolver, &stats));
    T_IS(stats.entries, 3);
    T_IS(stats.failed, 4);
    T_OK(ask(resolver, "a", FILCH_NOW));
    T_IS(ask(resolver, "bad", T_LIMIT), -ENOENT); /* "a" goes */
    T_IS(atomic_load(&hook.calls), 8);
    T_OK(filch_resolver_forget(resolver, "C"));
    T_OK(ask(resolver, "b", FILCH_NOW));
    T_OK(ask(resolver, "c", T_LIMIT));
    T_IS(atomic_load(&hook.calls), 9);
    T_OK(filch_resolver_forget(resolver, NULL));
    T_OK(filch_resolver_stats_get(resolver, &stats));
    T_IS(stats.entries, 0);
    filch_resolver_free(resolver);
    resolver = make_resolver((filch_resolver_opts){.ttl_ns = 1});
    T_OK(ask(resolver, "a", T_LIMIT));
    T_OK(ask(resolver, "a", T_LIMIT)); /* a nanosecond is over */
    T_IS(ask(resolver, "bad", T_LIMIT), -ENOENT);
    T_IS(ask(resolver, "bad", T_LIMIT), -ENOENT);
    T_IS(atomic_load(&hook.calls), 4);
    filch_resolver_free(resolver);
    return 0;
}

Test(dns, what_is_kept_how_long_and_how_much)
{
    T_OK(run_in_runtime(0, keeping_body, NULL));
}

/* ---- lookups that hang ---- */

static int job(void *arg)
{
    (void)arg;
    return 7;
}

static int hanging_body(void *arg)
{
    static const char *const names[] = {"slow1", "slow2", "slow3", "slow4", "slow5"};
    filch_resolver *resolver = make_resolver((filch_resolver_opts){.threads_max = 2});
    struct asker asker[5];
    filch_task *askers[5];
    filch_resolver_stats stats;
    int result = 0;

    (void)arg;
    T_IS(ask(resolver, "slow1", filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    for (int i = 0; i < 5; i++) {
        asker[i] = (struct asker){resolver, names[i]};
        askers[i] = spawn(ask_in_task, &asker[i]);
    }
    T_WAIT_UNTIL(atomic_load(&hook.running) == 2);
    do {
        filch_task_yield();
        T_OK(filch_resolver_stats_get(resolver, &stats));
    } while (stats.calls < 6);
    /* Other blocking work goes on. */
    T_OK(filch_blocking_run(job, NULL, NULL, &result, T_LIMIT));
    T_IS(result, 7);
    T_IS(atomic_load(&hook.calls), 2);
    /* Those that were cancelled while they waited for a thread are not looked up. */
    for (int i = 0; i < 5; i++) {
        T_OK(filch_task_cancel(askers[i]));
        T_IS(join(askers[i]), -ECANCELED);
    }
    open_gate(5);
    T_OK(ask(resolver, "fast", T_LIMIT));
    T_WAIT_UNTIL(atomic_load(&hook.running) == 0);
    T_IS(atomic_load(&hook.calls), 3);
    T_IS(atomic_load(&hook.running_max), 2);
    filch_resolver_free(resolver);
    return 0;
}

Test(dns, lookups_that_hang_hold_neither_callers_nor_other_work)
{
    T_OK(run_in_runtime(0, hanging_body, NULL));
}

static int late_body(void *arg)
{
    filch_resolver *resolver = make_resolver((filch_resolver_opts){.ttl_ns = FILCH_NEVER});
    struct asker asker = {resolver, "slow"};
    filch_task *task = spawn(ask_in_task, &asker);

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&hook.running) == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(ask(resolver, "slow", filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(atomic_load(&hook.calls), 1); /* it is still the same one */
    filch_resolver_free(resolver);
    open_gate(1);
    T_WAIT_UNTIL(atomic_load(&hook.running) == 0);
    return 0;
}

Test(dns, a_resolver_ends_before_its_lookups)
{
    T_OK(run_in_runtime(0, late_body, NULL));
}

struct outside {
    filch_resolver *resolver;
    filch_runtime *rt;
};

static int make_outside(void *arg)
{
    struct outside *outside = arg;

    outside->resolver = make_resolver((filch_resolver_opts){.ttl_ns = FILCH_NEVER});
    return 0;
}

Test(dns, plain_threads_ask_and_leave_in_time)
{
    struct outside outside;

    outside.rt = start_runtime(0);
    T_OK(filch_runtime_block_on(outside.rt, make_outside, &outside, NULL, T_LIMIT));
    T_OK(ask(outside.resolver, "fast", T_LIMIT));
    T_OK(ask(outside.resolver, "fast", FILCH_NOW));
    T_IS(ask(outside.resolver, "slow", filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    open_gate(2);
    filch_resolver_free(outside.resolver);
    stop_runtime(outside.rt);
    T_IS(filch_resolver_new(NULL, NULL, &outside.resolver), -EINVAL);
}

/* ---- in words ---- */

static void check_words(const filch_error *error, int code, enum filch_error_domain domain,
                        const char *text)
{
    if (strcmp(error->text, text) != 0)
        fprintf(stderr, "%s\n", error->text);
    T_CHECK(strcmp(error->text, text) == 0);
    T_IS(error->code, code);
    T_IS(error->domain, domain);
}

static int words_body(void *arg)
{
    filch_dns_addrs addrs;
    filch_error error = FILCH_ERROR_INIT;
    filch_tcp *conn = NULL;
    char addr[FILCH_ADDR_BYTES], text[256];
    int bound = raw_bind(addr); /* nobody listens */
    uint16_t port = (uint16_t)atoi(strrchr(addr, ':') + 1);

    (void)arg;
    T_OK(filch_dns_lookup_error(NULL, "127.0.0.1", 80, FILCH_DNS_ANY, &addrs, &error, T_LIMIT));
    T_IS(error.code, 0);
    T_IS(filch_dns_lookup_error(NULL, "::1", 0, FILCH_DNS_IPV4, &addrs, &error, T_LIMIT), -ENOENT);
    check_words(&error, -ENOENT, FILCH_ERROR_DNS,
                "looking up ::1: there is no such name, or it has no address of the family");
    T_IS(error.detail, 0);
    T_IS(filch_dns_lookup_error(NULL, "", 0, FILCH_DNS_ANY, &addrs, &error, T_LIMIT), -EINVAL);
    snprintf(text, sizeof text, "looking up nothing: %s", filch_strerror(-EINVAL));
    check_words(&error, -EINVAL, FILCH_ERROR_DNS, text);
    T_IS(filch_dns_lookup_error(NULL, "", 0, FILCH_DNS_ANY, &addrs, NULL, T_LIMIT), -EINVAL);

    T_IS(filch_tcp_connect_host_error("a%b", 7, NULL, &conn, &error, T_LIMIT), -EINVAL);
    snprintf(text, sizeof text, "connecting to a%%b:7: looking up a%%b: %s",
             filch_strerror(-EINVAL));
    check_words(&error, -EINVAL, FILCH_ERROR_DNS, text);
    T_IS(filch_tcp_connect_host_error("127.0.0.1", port, NULL, &conn, &error, T_LIMIT),
         -ECONNREFUSED);
    snprintf(text, sizeof text, "connecting to %s: %s: %s", addr, addr,
             filch_strerror(-ECONNREFUSED));
    check_words(&error, -ECONNREFUSED, FILCH_ERROR_SYSTEM, text);
    T_OK(close(bound));
    return 0;
}

Test(dns, failures_in_words)
{
    T_OK(run_in_runtime(0, words_body, NULL));
    T_OK(words_body(NULL));
}

/* ---- connecting ---- */

/* Listens on 127.0.0.@host, @port (0: any). Return: the descriptor. */
static int listen_on(unsigned host, unsigned *port, int backlog)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t bytes = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(0x7f000000 | host);
    T_CHECK(fd >= 0);
    T_OK(bind(fd, (struct sockaddr *)&addr, sizeof addr));
    T_OK(listen(fd, backlog));
    T_OK(getsockname(fd, (struct sockaddr *)&addr, &bytes));
    *port = ntohs(addr.sin_port);
    return fd;
}

/* From here on nobody gets through: the handshakes that fit into the queue are made. */
static void fill(unsigned host, unsigned port, int fds[], unsigned count)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    addr.sin_addr.s_addr = htonl(0x7f000000 | host);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        T_CHECK(fds[i] >= 0);
        (void)!connect(fds[i], (struct sockaddr *)&addr, sizeof addr);
    }
}

static int hosts(void *context, const char *host, enum filch_dns_family family,
                 filch_dns_addrs *ret_addrs)
{
    (void)context;
    (void)family;
    if (strstr(host, "v6"))
        put(ret_addrs, "100::1"); /* goes nowhere */
    for (const char *at = host; (at = strstr(at, "full")); at++)
        put(ret_addrs, "127.0.0.1");
    if (strstr(host, "none"))
        put(ret_addrs, "127.0.0.3");
    if (strstr(host, "good"))
        put(ret_addrs, "127.0.0.2");
    return 0;
}

static unsigned sockets(void)
{
    char link[32], to[16];
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n += readlink(link, to, sizeof to) > 7 && memcmp(to, "socket:", 7) == 0;
    }
    return n;
}

static void expect_connection(const char *host, unsigned port, filch_connect_host_opts *opts)
{
    char peer[FILCH_ADDR_BYTES], wanted[FILCH_ADDR_BYTES];
    unsigned before = sockets();
    filch_tcp *conn = NULL;

    T_OK(filch_tcp_connect_host(host, (uint16_t)port, opts, &conn, T_LIMIT));
    T_IS(sockets(), before + 1); /* those who lost are closed */
    T_OK(filch_tcp_peer_addr(conn, peer));
    snprintf(wanted, sizeof wanted, "127.0.0.2:%u", port);
    T_CHECK(strcmp(peer, wanted) == 0);
    T_OK(filch_tcp_close(conn));
}

static int connect_in_task(void *arg)
{
    filch_tcp *conn = NULL;
    unsigned *port = arg;

    return filch_tcp_connect_host("127.0.0.1", (uint16_t)*port, NULL, &conn, FILCH_NEVER);
}

/* By 127.0.0.3, whatever others there are. */
static void check_refused(const filch_error *error, const char *host, unsigned port)
{
    char text[128];

    snprintf(text, sizeof text, "connecting to %s:%u: 127.0.0.3:%u: %s", host, port, port,
             filch_strerror(-ECONNREFUSED));
    check_words(error, -ECONNREFUSED, FILCH_ERROR_SYSTEM, text);
}

/* @arg: a resolver, for a plain thread; NULL: in a task. */
static int connecting_body(void *arg)
{
    filch_connect_host_opts opts = {.resolver = arg, .stagger_ns = FILCH_MILLISECOND};
    filch_resolver_opts resolver_opts = {.lookup = hosts};
    unsigned port = 0, before;
    int full = listen_on(1, &port, 0), good = listen_on(2, &port, 64), queue[8];
    filch_tcp *conn = NULL;
    filch_error error;
    filch_task *task;

    fill(1, port, queue, 8);
    if (!arg)
        T_OK(filch_resolver_new(filch_runtime_self(), &resolver_opts, &opts.resolver));
    before = sockets();
    T_IS(filch_tcp_connect_host("full", (uint16_t)port, &opts, &conn,
                                filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(filch_tcp_connect_host_error("none", (uint16_t)port, &opts, &conn, &error, T_LIMIT),
         -ECONNREFUSED);
    check_refused(&error, "none", port);
    if (!arg) { /* in a thread each address has its share of 20 seconds */
        expect_connection("full.none.good", port, &opts);
        task = spawn(connect_in_task, &port);
        let_others_run();
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
    }
    /* One that fails does not wait for its turn to be over. */
    opts.stagger_ns = FILCH_NEVER;
    expect_connection("none.good", port, &opts);
    opts.tcp = &(filch_tcp_opts){.local_addr = "127.0.0.1:0"};
    T_IS(filch_tcp_connect_host("v6.none", (uint16_t)port, &opts, &conn, T_LIMIT), -ECONNREFUSED);
    T_IS(filch_tcp_connect_host_error("v6.none", (uint16_t)port, &opts, &conn, &error, T_LIMIT),
         -ECONNREFUSED);
    check_refused(&error, "v6.none", port);
    T_IS(sockets(), before);
    T_CHECK(conn == NULL);
    if (!arg)
        filch_resolver_free(opts.resolver);
    for (int i = 0; i < 8; i++)
        T_OK(close(queue[i]));
    T_OK(close(full));
    T_OK(close(good));
    return 0;
}

/* @body gets a resolver of a runtime that the caller, a plain thread, is not in. */
static void in_plain_thread(filch_fn body)
{
    filch_runtime *rt = start_runtime(0);
    filch_resolver *resolver;

    T_OK(filch_resolver_new(rt, &(filch_resolver_opts){.lookup = hosts}, &resolver));
    T_OK(body(resolver));
    filch_resolver_free(resolver);
    stop_runtime(rt);
}

Test(dns, the_first_address_that_answers_is_taken)
{
    T_OK(run_in_runtime(0, connecting_body, NULL));
}

Test(dns, a_plain_thread_tries_one_after_the_other)
{
    in_plain_thread(connecting_body);
}

/* Each address has its share of the time: those that swallow everything leave some to the last. In
 * tasks the turn of each comes by then, whatever was asked for. */
static int sharing_time_body(void *resolver)
{
    filch_connect_host_opts opts = {.resolver = resolver, .stagger_ns = FILCH_NEVER};
    filch_resolver_opts resolver_opts = {.lookup = hosts};
    filch_time until;
    unsigned port = 0;
    int full = listen_on(1, &port, 0), good = listen_on(2, &port, 64), queue[8];
    filch_tcp *conn = NULL;

    fill(1, port, queue, 8);
    if (!resolver)
        T_OK(filch_resolver_new(filch_runtime_self(), &resolver_opts, &opts.resolver));
    until = filch_after((T_IS_SLOW ? 12 : 1) * FILCH_SECOND);
    T_OK(filch_tcp_connect_host("full.full.good", (uint16_t)port, &opts, &conn, until));
    T_CHECK(filch_now() < until); /* and not at its end, when nothing else was left */
    T_OK(filch_tcp_close(conn));
    if (!resolver)
        filch_resolver_free(opts.resolver);
    for (int i = 0; i < 8; i++)
        T_OK(close(queue[i]));
    T_OK(close(full));
    T_OK(close(good));
    return 0;
}

Test(dns, attempts_leave_time_to_each_address)
{
    T_OK(run_in_runtime(0, sharing_time_body, NULL));
}

Test(dns, a_plain_thread_leaves_time_to_each_address)
{
    in_plain_thread(sharing_time_body);
}

static void expect_order(const char *const from[], const char *const to[])
{
    filch_dns_addrs addrs = {.count = 0};

    while (from[addrs.count])
        put(&addrs, from[addrs.count]);
    filch__dns_interleave(&addrs);
    for (unsigned i = 0; i < addrs.count; i++)
        T_CHECK(strcmp(addrs.text[i], to[i]) == 0);
    T_CHECK(!to[addrs.count]);
}

Test(dns, families_take_turns)
{
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
    expect_order(LIST("[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"),
                 LIST("[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"));
    expect_order(LIST("1.1.1.1:1", "1.1.1.2:1", "[::1]:1"),
                 LIST("1.1.1.1:1", "[::1]:1", "1.1.1.2:1"));
    expect_order(LIST("1.1.1.1:1", "1.1.1.2:1"), LIST("1.1.1.1:1", "1.1.1.2:1"));
    expect_order(LIST(NULL), LIST(NULL));
}
