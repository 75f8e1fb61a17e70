/* Description: names looked up by the C library, at a name server that misbehaves: one of the
 * test's own, in a network namespace of its own, in a process of its own. And /etc/hosts, anywhere.
 * Needs the right to make namespaces. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(dns_server, .timeout = 120);

#define SKIPPED 77

/* ---- a name server ---- */

#define HEADER 12
#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28

enum rcode {
    OK = 0,
    SERVFAIL = 2,
    NXDOMAIN = 3,
    REFUSED = 5,
};

static bool asks_for(const unsigned char *query, const char *label)
{
    return query[HEADER] == strlen(label) && memcmp(query + HEADER + 1, label, strlen(label)) == 0;
}

static size_t put_record(unsigned char *to, unsigned type, const void *data, unsigned bytes)
{
    const unsigned char head[12] = {
        0xc0, HEADER, 0, (unsigned char)type, 0, 1, 0, 0,
        0,    60,     0, (unsigned char)bytes}; /* "the name that was asked for" */

    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, data, bytes);
    return sizeof head + bytes;
}

/* Makes the query its answer. Return: its bytes; 0: none. */
static size_t answer(unsigned char *message, size_t bytes, size_t question)
{
    static const unsigned char v4[4] = {192, 0, 2, 1};
    static const unsigned char v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    static const unsigned char itself[2] = {0xc0, HEADER};
    unsigned type = message[HEADER + question - 3];
    enum rcode rcode;

    if (asks_for(message, "silent"))
        return 0;
    if (asks_for(message, "garbage")) {
        memset(message + 2, 0xff, bytes - 2);
        return bytes;
    }
    message[2] |= 0x80; /* an answer */
    rcode = asks_for(message, "nx")         ? NXDOMAIN
            : asks_for(message, "servfail") ? SERVFAIL
            : asks_for(message, "refused")  ? REFUSED
                                            : OK;
    message[3] = 0x80 | (unsigned char)rcode; /* recursion available */
    message[10] = message[11] = 0;            /* no additional records */
    bytes = HEADER + question;
    if (asks_for(message, "truncated")) {
        message[2] |= 2; /* the rest by TCP, where nobody is */
        return bytes;
    }
    if (rcode || asks_for(message, "empty") || (asks_for(message, "v4only") && type != TYPE_A))
        return bytes;
    message[7] = 1; /* one record */
    if (asks_for(message, "loop"))
        return bytes + put_record(message + bytes, TYPE_CNAME, itself, sizeof itself);
    if (type == TYPE_A)
        return bytes + put_record(message + bytes, TYPE_A, v4, sizeof v4);
    return bytes + put_record(message + bytes, TYPE_AAAA, v6, sizeof v6);
}

static void *serve(void *arg)
{
    int fd = *(int *)arg;

    for (;;) {
        unsigned char message[1024];
        struct sockaddr_in from;
        socklen_t from_bytes = sizeof from;
        ssize_t n =
            recvfrom(fd, message, sizeof message / 2, 0, (struct sockaddr *)&from, &from_bytes);
        size_t end = HEADER;

        if (n <= HEADER)
            return NULL;
        while (message[end] && end < (size_t)n)
            end += message[end] + 1u;
        n = (ssize_t)answer(message, (size_t)n, end + 5 - HEADER);
        if (n > 0)
            (void)!sendto(fd, message, (size_t)n, 0, (struct sockaddr *)&from, from_bytes);
    }
}

/* ---- what is asked of it ---- */

static filch_resolver *resolver;

static int ask(const char *host, enum filch_dns_family family, filch_time until)
{
    filch_dns_addrs addrs;

    return filch_dns_lookup(resolver, host, 80, family, &addrs, until);
}

static int ask_many(void *arg)
{
    char host[32];

    snprintf(host, sizeof host, "host%zu.example", (size_t)arg);
    return ask(host, FILCH_DNS_ANY, FILCH_NEVER);
}

static void expect_addresses(void)
{
    filch_dns_addrs addrs;
    bool v4 = false, v6 = false;

    T_OK(filch_dns_lookup(resolver, "good.example", 80, FILCH_DNS_ANY, &addrs, T_LIMIT));
    T_IS(addrs.count, 2);
    for (unsigned i = 0; i < addrs.count; i++) {
        v4 |= strcmp(addrs.text[i], "192.0.2.1:80") == 0;
        v6 |= strcmp(addrs.text[i], "[2001:db8::1]:80") == 0;
    }
    T_CHECK(v4 && v6);
    T_OK(filch_dns_lookup(resolver, "v4only.example", 80, FILCH_DNS_ANY, &addrs, T_LIMIT));
    T_IS(addrs.count, 1);
    T_IS(ask("v4only.example", FILCH_DNS_IPV6, T_LIMIT), -ENOENT);
}

static int server_body(void *arg)
{
    FILCH_SCOPE(scope);
    filch_task *asker;
    int r;

    (void)arg;
    T_OK(filch_resolver_new(filch_runtime_self(), NULL, &resolver));
    expect_addresses();
    T_IS(ask("nx.example", FILCH_DNS_ANY, T_LIMIT), -ENOENT);
    T_IS(ask("empty.example", FILCH_DNS_ANY, T_LIMIT), -ENOENT);
    T_IS(ask("servfail.example", FILCH_DNS_ANY, T_LIMIT), -EHOSTDOWN);
    T_IS(ask("refused.example", FILCH_DNS_ANY, T_LIMIT), -EHOSTDOWN);
    T_CHECK(ask("garbage.example", FILCH_DNS_ANY, T_LIMIT) < 0);
    T_CHECK(ask("truncated.example", FILCH_DNS_ANY, T_LIMIT) < 0);
    r = ask("loop.example", FILCH_DNS_ANY, T_LIMIT);
    T_CHECK(r == -ENOENT || r == -EIO || r == -EHOSTDOWN);
    /* More than threads by far. */
    for (size_t i = 0; i < 1000; i++)
        T_OK(filch_scope_spawn(&scope, ask_many, (void *)i));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    /* No answer, and no waiting for it. */
    T_IS(ask("silent.example", FILCH_DNS_ANY, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    asker = spawn(ask_many, (void *)(size_t)5000);
    T_OK(filch_task_cancel(asker));
    r = join(asker);
    T_CHECK(r == -ECANCELED || r == 0);
    expect_addresses();
    filch_resolver_free(resolver);
    return 0;
}

/* ---- a place for it ---- */

static bool loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    close(fd);
    return ok;
}

static bool put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    close(fd);
    return ok;
}

/* Return: in namespaces of our own, with our own name server in resolv.conf. */
static bool move_out(const struct temp_dir *dir)
{
    const char *conf = in_dir(dir, "resolv.conf"), *services = in_dir(dir, "nsswitch.conf");

    return unshare((geteuid() ? CLONE_NEWUSER : 0) | CLONE_NEWNET | CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && loopback_up() &&
           put_file(conf, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n") &&
           put_file(services, "hosts: files dns\n") &&
           mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 &&
           mount(services, "/etc/nsswitch.conf", NULL, MS_BIND, NULL) == 0;
}

static int run_server(const struct temp_dir *dir)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(53)};
    pthread_t thread;
    int fd;

    if (!move_out(dir))
        return SKIPPED;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    T_OK(bind(fd, (struct sockaddr *)&addr, sizeof addr));
    T_OK(pthread_create(&thread, NULL, serve, &fd));
    T_OK(run_in_runtime(0, server_body, NULL));
    T_OK(shutdown(fd, SHUT_RDWR) && errno != ENOTCONN);
    T_OK(pthread_join(thread, NULL));
    close(fd);
    return 0;
}

Test(dns_server, a_name_server_that_misbehaves)
{
    struct temp_dir dir;
    int status, child;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind follows no namespaces");
    temp_dir_make(&dir);
    child = fork();
    if (child == 0)
        _exit(run_server(&dir));
    T_IS(waitpid(child, &status, 0), child);
    temp_dir_remove(&dir);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        cr_skip_test("no right to make namespaces");
    cr_assert_eq(status, 0);
}

/* ---- without one ---- */

static int localhost_body(void *arg)
{
    filch_dns_addrs addrs;

    (void)arg;
    T_OK(filch_dns_lookup(NULL, "localhost", 80, FILCH_DNS_IPV4, &addrs, T_LIMIT));
    T_IS(addrs.count, 1);
    T_CHECK(strcmp(addrs.text[0], "127.0.0.1:80") == 0);
    return 0;
}

Test(dns_server, the_name_of_this_machine_in_tasks_and_threads)
{
    T_OK(run_in_runtime(0, localhost_body, NULL));
    T_OK(localhost_body(NULL));
}
