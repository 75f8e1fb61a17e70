/* Description: both engines give the same results. A table of operations in situations, each with
 * the result that it must have, is run by a process of its own under each of: io_uring, io_uring
 * with the smallest rings, io_uring that knows only the opcodes that were asked for at the start,
 * epoll, and io_uring refused by a filter of system calls with EPERM, ENOSYS and EACCES; with 1, 2
 * and 8 workers, and on the host's threads. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/conformance/conformance.h"

static const struct conformance_case *const tables[] = {
    stream_cases, accept_cases, file_cases, local_cases,     udp_cases,
    huge_cases,   reader_cases, move_cases, file_call_cases, system_cases,
};

static void make_place(struct place *p)
{
    int fd;

    connect_pair(&p->pair);
    strcpy(p->dir, "/tmp/filch-test-XXXXXX");
    T_CHECK(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/file", p->dir);
    snprintf(p->none, sizeof p->none, "%s/none", p->dir);
    fd = open(p->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    T_IS(write(fd, "0123456789", 10), 10);
    T_OK(close(fd));
}

static void clear_place(struct place *p)
{
    T_OK(filch_tcp_close(p->pair.client));
    T_OK(filch_tcp_close(p->pair.server));
    T_OK(filch_listener_close(p->pair.listener));
    unlink(p->path);
    unlink(p->none);
    T_OK(rmdir(p->dir));
}

static int run_all(void *ret_wrong)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct conformance_case *c = tables[i]; c->name; c++) {
            struct place place;
            long r;

            make_place(&place);
            r = c->run(&place);
            clear_place(&place);
            if (r != c->want) {
                fprintf(stderr, "%s is %ld, not %ld\n", c->name, r, c->want);
                ++*(int *)ret_wrong;
            }
        }
    return 0;
}

/* ---- the ways to run it ---- */

struct way {
    const char *name;
    filch_runtime_opts opts;
    int refused; /* io_uring_setup fails with this */
    const char *engine;
    bool restricted; /* rings know only the opcodes that were asked for */
};

static const struct way ways[] = {
    {"io_uring", {.engine = FILCH_ENGINE_URING}, 0, "io_uring"},
    {"io_uring, small rings", {.engine = FILCH_ENGINE_URING, .ring_entries = 1}, 0, "io_uring"},
    {"io_uring, no other opcodes", {.engine = FILCH_ENGINE_URING}, 0, "io_uring", true},
    {"epoll", {.engine = FILCH_ENGINE_EPOLL}, 0, "epoll"},
    {"refused with EPERM", {.engine = FILCH_ENGINE_AUTO}, EPERM, "epoll"},
    {"refused with ENOSYS", {.engine = FILCH_ENGINE_AUTO}, ENOSYS, "epoll"},
    {"refused with EACCES", {.engine = FILCH_ENGINE_AUTO}, EACCES, "epoll"},
};

/* Of this process for good. */
static void refuse_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* @workers 0: on the caller's thread. Return: results that are wrong. */
static int run_way(const struct way *way, unsigned workers)
{
    filch_runtime_opts opts = way->opts;
    filch_runtime *rt;
    int wrong = 0, result;

    unsetenv("FILCH_ENGINE");
    if (way->refused)
        refuse_io_uring(way->refused);
    if (way->restricted)
        restrict_rings();
    opts.workers = workers;
    opts.current_thread = workers == 0;
    rt = test_start(&opts);
    T_OK(strcmp(filch_engine(rt, NULL), way->engine));
    T_OK(filch_runtime_block_on(rt, run_all, &wrong, &result, FILCH_NEVER));
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
    return wrong;
}

static unsigned count_cases(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct conformance_case *c = tables[i]; c->name; c++)
            n++;
    return n;
}

static bool io_uring_works(void)
{
    filch_runtime *rt;

    if (filch_runtime_start(&(filch_runtime_opts){.workers = 1, .engine = FILCH_ENGINE_URING},
                            &rt) < 0)
        return false;
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
    return true;
}

int main(void)
{
    static const unsigned workers[] = {0, 1, 2, 8};
    bool uring = io_uring_works();
    int failed = 0;

    if (uring)
        printf("%u opcodes are needed\n", learn_opcodes());
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (size_t j = 0; j < sizeof workers / sizeof *workers; j++) {
            int status = -1;
            pid_t child;

            if (!uring && strcmp(ways[i].engine, "io_uring") == 0) {
                printf("%s, %u workers: skipped, it is refused\n", ways[i].name, workers[j]);
                continue;
            }
            fflush(stdout);
            child = fork();
            T_CHECK(child >= 0);
            if (child == 0)
                _exit(run_way(&ways[i], workers[j]) != 0);
            T_IS(waitpid(child, &status, 0), child);
            printf("%s, %u workers: %s\n", ways[i].name, workers[j],
                   status == 0 ? "as it should be" : "WRONG");
            failed += status != 0;
        }
    printf("%u operations in their situations, %d ways of running them are wrong\n", count_cases(),
           failed);
    return failed != 0;
}
