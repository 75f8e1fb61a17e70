/* Description: what the functions on processes, names and files say to wrong calls; see
 * test_misuse.c. */
#include <errno.h>
#include <signal.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(misuse_fs, .timeout = 60);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void process_rows(filch_process *stale)
{
    static const filch_process_fd numbers[3] = {{.to = 2}, {.to = 256}, {.to = -1}};
    filch_process_opts opts = {0};
    filch_process_status status;
    filch_process_output output;
    filch_process *process = NULL;
    filch_case c;

    ROW(filch_process_spawn(NULL, NULL, &process, FILCH_NOW), -EINVAL);
    ROW(filch_process_spawn(ARGV(NULL), NULL, &process, FILCH_NOW), -EINVAL);
    ROW(filch_process_spawn(ARGV("true"), NULL, NULL, FILCH_NEVER), -EINVAL);
    for (int i = 0; i < 3; i++) {
        opts = (filch_process_opts){.fds = &numbers[i], .fd_count = 1};
        ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    }
    opts = (filch_process_opts){.fds = (filch_process_fd[]){{0, 3}, {0, 3}}, .fd_count = 2};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.fd_count = 1};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.flags = 1u << 31};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.group = -1};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.group = 1, .flags = FILCH_PROCESS_NEW_GROUP};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.out = {.kind = FILCH_STDIO_PIPE}};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.out = {.kind = FILCH_STDIO_FILE}};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.out = {.kind = FILCH_STDIO_OUTPUT}};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    opts = (filch_process_opts){.in = {.kind = FILCH_STDIO_FD, .fd = -1}};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EBADF);
    opts = (filch_process_opts){.in = {.kind = (enum filch_stdio_kind)99}};
    ROW(filch_process_spawn(ARGV("true"), &opts, &process, FILCH_NEVER), -EINVAL);
    ROW(process == NULL, true);
    ROW(filch_process_id(NULL), -EINVAL);
    ROW(filch_process_id(stale), -EBADF);
    ROW(filch_process_wait(NULL, &status, FILCH_NEVER), -EINVAL);
    ROW(filch_process_wait(stale, &status, FILCH_NEVER), -EBADF);
    ROW(filch_process_kill(NULL, SIGTERM), -EINVAL);
    ROW(filch_process_kill(stale, SIGTERM), -EBADF);
    ROW(filch_process_kill_group(NULL, SIGTERM), -EINVAL);
    ROW(filch_process_kill_group(stale, SIGTERM), -EBADF);
    c = filch_case_process(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_process(stale);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), 0);
    ROW(c.result, -EBADF);
    ROW(filch_process_close(NULL), 0);
    ROW(filch_process_close(stale), -EBADF);
    ROW(filch_process_run(ARGV("true"), NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_process_run(ARGV("true"), &(filch_process_run_opts){.input_bytes = 1}, &output,
                          FILCH_NEVER),
        -EINVAL);
}

static void dns_rows(filch_runtime *rt)
{
    filch_connect_host_opts opts = {.family = (enum filch_dns_family)3};
    filch_resolver *resolver = NULL;
    filch_resolver_stats stats;
    filch_dns_addrs addrs = {.count = 77};
    filch_tcp *conn = NULL;

    ROW(filch_resolver_new(NULL, NULL, &resolver), -EINVAL);
    ROW(filch_resolver_new(rt, NULL, NULL), -EINVAL);
    ROW(filch_resolver_forget(NULL, "x"), -EINVAL);
    ROW(filch_resolver_stats_get(NULL, &stats), -EINVAL);
    ROW_VOID(filch_resolver_free(NULL));
    ROW(filch_dns_lookup(NULL, NULL, 1, FILCH_DNS_ANY, &addrs, FILCH_NOW), -EINVAL);
    ROW(filch_dns_lookup(NULL, "", 1, FILCH_DNS_ANY, &addrs, FILCH_NOW), -EINVAL);
    ROW(filch_dns_lookup(NULL, "127.0.0.1", 1, FILCH_DNS_ANY, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_dns_lookup(NULL, "127.0.0.1", 1, opts.family, &addrs, FILCH_NOW), -EINVAL);
    ROW(filch_dns_lookup_error(NULL, NULL, 1, FILCH_DNS_ANY, &addrs, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_dns_lookup_error(NULL, "127.0.0.1", 1, FILCH_DNS_ANY, NULL, NULL, FILCH_NOW),
        -EINVAL);
    ROW(addrs.count, 77);
    ROW(filch_tcp_connect_host_error(NULL, 1, NULL, &conn, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_connect_host_error("127.0.0.1", 1, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_connect_host(NULL, 1, NULL, &conn, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_connect_host("127.0.0.1", 1, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_connect_host("127.0.0.1", 1, &opts, &conn, FILCH_NEVER), -EINVAL);
    opts = (filch_connect_host_opts){.tcp = &(filch_tcp_opts){.local_addr = "nonsense"}};
    ROW(filch_tcp_connect_host("127.0.0.1", 1, &opts, &conn, FILCH_NEVER), -EINVAL);
    ROW(conn == NULL, true);
    if (!rt)
        return;
    T_OK(filch_resolver_new(rt, NULL, &resolver));
    ROW(filch_resolver_stats_get(resolver, NULL), -EINVAL);
    ROW(filch_resolver_forget(resolver, ""), 0);
    filch_resolver_free(resolver);
}

static void file_rows(void)
{
    filch_direct_align align;
    filch_file *file = NULL;
    void *buffer = NULL;
    char byte = 0;

    ROW(filch_file_stdio(-1, &file), -EINVAL);
    ROW(filch_file_stdio(3, &file), -EINVAL);
    ROW(filch_file_stdio(0, NULL), -EINVAL);
    ROW(filch_file_reader(NULL).read(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_writer(NULL).write(NULL, "x", 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_direct_align(NULL, &align, FILCH_NOW), -EINVAL);
    align = (filch_direct_align){512, 512};
    ROW(filch_direct_buffer(NULL, 1, &buffer, NULL), -EINVAL);
    ROW(filch_direct_buffer(&align, 1, NULL, NULL), -EINVAL);
    ROW(filch_direct_buffer(&align, 0, &buffer, NULL), -EINVAL);
    ROW(filch_direct_buffer(&align, SIZE_MAX, &buffer, NULL), -EINVAL);
    align.offset_bytes = 0;
    ROW(filch_direct_buffer(&align, 1, &buffer, NULL), -EINVAL);
    align = (filch_direct_align){24, 512};
    ROW(filch_direct_buffer(&align, 1, &buffer, NULL), -EINVAL);
    ROW(buffer == NULL, true);
    ROW(filch_path_get_xattr(NULL, true, "user.x", &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_get_xattr("/", true, NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_get_xattr("/", true, "user.x", NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_list_xattrs(NULL, true, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_list_xattrs("/", true, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_set_xattr(NULL, true, "user.x", &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_set_xattr("/", true, NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_set_xattr("/", true, "user.x", NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_path_remove_xattr(NULL, true, "user.x", FILCH_NOW), -EINVAL);
    ROW(filch_path_remove_xattr("/", true, NULL, FILCH_NOW), -EINVAL);
    ROW(file == NULL, true);
}

static void watch_rows(void)
{
    filch_file_watch *stale;
    filch_file_change change;
    int number;

    T_OK(filch_file_watch_open(&stale));
    ROW(filch_file_watch_add(stale, "/", 0, &number, FILCH_NOW), -EINVAL);
    ROW(filch_file_watch_add(stale, "/", 1u << 31, &number, FILCH_NOW), -EINVAL);
    ROW(filch_file_watch_add(stale, NULL, FILCH_CHANGE_ANY, &number, FILCH_NOW), -EINVAL);
    ROW(filch_file_watch_add(stale, "/", FILCH_CHANGE_ANY, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_watch_remove(stale, 77), -EINVAL);
    ROW(filch_file_watch_next(stale, NULL, FILCH_NOW), -EINVAL);
    T_OK(filch_file_watch_close(stale));
    ROW(filch_file_watch_open(NULL), -EINVAL);
    ROW(filch_file_watch_add(NULL, "/", FILCH_CHANGE_ANY, &number, FILCH_NOW), -EINVAL);
    ROW(filch_file_watch_add(stale, "/", FILCH_CHANGE_ANY, &number, FILCH_NOW), -EBADF);
    ROW(filch_file_watch_remove(NULL, 1), -EINVAL);
    ROW(filch_file_watch_remove(stale, 1), -EBADF);
    ROW(filch_file_watch_next(NULL, &change, FILCH_NEVER), -EINVAL);
    ROW(filch_file_watch_next(stale, &change, FILCH_NEVER), -EBADF);
    ROW(filch_file_watch_close(NULL), 0);
    ROW(filch_file_watch_close(stale), -EBADF);
}

static void tree_watch_rows(void)
{
    const filch_tree_watch_opts accesses = {.changes = FILCH_CHANGE_ACCESSED};
    const filch_tree_watch_opts unknown = {.changes = 1u << 31};
    filch_tree_watch *stale = NULL;
    filch_tree_change change;
    struct temp_dir dir;

    temp_dir_make(&dir);
    ROW(filch_tree_watch_open(NULL, NULL, &stale, T_LIMIT), -EINVAL);
    ROW(filch_tree_watch_open(dir.path, NULL, NULL, T_LIMIT), -EINVAL);
    ROW(filch_tree_watch_open(dir.path, &accesses, &stale, T_LIMIT), -EINVAL);
    ROW(filch_tree_watch_open(dir.path, &unknown, &stale, T_LIMIT), -EINVAL);
    ROW(stale == NULL, true);
    T_OK(filch_tree_watch_open(dir.path, NULL, &stale, T_LIMIT));
    ROW(filch_tree_watch_next(stale, NULL, FILCH_NOW), -EINVAL);
    T_OK(filch_tree_watch_close(stale));
    ROW(filch_tree_watch_next(NULL, &change, FILCH_NEVER), -EINVAL);
    ROW(filch_tree_watch_next(stale, &change, FILCH_NEVER), -EBADF);
    ROW(FILCH_SELECT(FILCH_NOW, filch_case_tree_changed(NULL)), -EINVAL);
    ROW(filch_tree_watch_close(NULL), 0);
    ROW(filch_tree_watch_close(stale), -EBADF);
    temp_dir_remove(&dir);
}

static void child_rows(void)
{
    filch_process *process = NULL;

    if (RUNNING_ON_VALGRIND)
        return; /* 3.19 does not know pidfd_open(2) */
    T_OK(filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT));
    ROW(filch_process_kill(process, 1000), -EINVAL);
    T_OK(filch_process_wait(process, NULL, T_LIMIT));
    T_OK(filch_process_close(process));
    process_rows(process);
}

static int rows(void *arg)
{
    (void)arg;
    child_rows();
    dns_rows(filch_runtime_self());
    file_rows();
    watch_rows();
    tree_watch_rows();
    return 0;
}

Test(misuse_fs, in_a_task)
{
    filch_process_output output;

    T_OK(run_in_runtime(0, rows, NULL));
    ROW(filch_process_run(NULL, NULL, &output, FILCH_NEVER), -EPERM);
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_fs, in_a_plain_thread)
{
    T_OK(rows(NULL));
    cr_assert_eq(misuse_wrong, 0);
}
