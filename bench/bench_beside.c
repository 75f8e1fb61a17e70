/* An echo server with something beside it in the same runtime: how much do its clients, and a task
 * that only wants to wake up each millisecond, notice? The client is bench/load, a process of its
 * own, whose figures are read from what it prints.
 *
 * hol: all workers but one run tasks that compute for 100 ms; compared with the same computing in
 * other processes (metrics apart_...), which is as good as it can get with what the kernel does by
 * itself; and with workers that ask it for time slices of 0.1 ms (short_...), as a host may do in
 * on_thread_start.
 *
 * hol_read: all workers are in read(2) of an empty pipe; compared with nobody beside.
 *
 * groups: a computation made of forks without end, weight 1, and the server, weight 3, on all CPUs
 * but the last, which the client has to itself (else the computation would take the client's time,
 * and the server's share be what the client leaves); compared with the server alone. A client that
 * does not saturate its group leaves the rest to the computation, whose share is then more than a
 * quarter.
 *
 * monitor: what it costs that workers are watched over: CPU time of the process for a message, or
 * for a task spawned and joined, compared with the same without rescue and spare workers, in turn.
 * The watch is there either way, so its thread's own share of the CPU time is shown, too; and, as
 * it is paced by the clock, how much of a CPU it takes while workers run, which is the same where
 * they get little of theirs (tools/monitor_cost).
 */
#include "bench/bench.h"
#include "bench/process.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNS 50
#define BYTES 64
#define TICK FILCH_MILLISECOND
#define SPIN (100 * FILCH_MILLISECOND)

static atomic_bool stop;
static atomic_uint running; /* tasks beside, and the ticker */

/* ---- the server ---- */

static char port[16];

static int echo(void *arg)
{
    filch_tcp *conn = arg;
    char buf[BYTES];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buf, sizeof buf, FILCH_NEVER)) > 0)
        if ((n = filch_tcp_write_all(conn, buf, (size_t)n, NULL, FILCH_NEVER)) < 0)
            break;
    filch_tcp_close(conn);
    return 0;
}

/* Until it is cancelled. @arg: gets a word when the port is known. */
static int serve(void *arg)
{
    char addr[FILCH_ADDR_BYTES];
    filch_listener *ln;
    filch_tcp *conn;
    int told = 0;

    BENCH_OK(filch_listener_open("127.0.0.1:0", NULL, &ln));
    BENCH_OK(filch_listener_addr(ln, addr));
    snprintf(port, sizeof port, "%s", strrchr(addr, ':') + 1);
    BENCH_OK(filch_chan_send(arg, &told, FILCH_NEVER));
    FILCH_SCOPE(conns);
    while (filch_listener_accept(ln, &conn, FILCH_NEVER) == 0)
        if (filch_scope_spawn(&conns, echo, conn) < 0)
            filch_tcp_close(conn);
    filch_scope_cancel_join(&conns);
    filch_listener_close(ln);
    return 0;
}

static filch_task *start_server(filch_runtime *rt, filch_group *group)
{
    filch_chan *ready;
    filch_task *task;
    int told;

    BENCH_OK(filch_chan_new(sizeof(int), 1, &ready));
    BENCH_OK(filch_runtime_spawn(rt, serve, ready, &(filch_task_opts){.group = group}, &task));
    BENCH_OK(filch_chan_recv(ready, &told, FILCH_NEVER));
    filch_chan_unref(ready);
    return task;
}

static void end_server(filch_task *task)
{
    BENCH_OK(filch_task_cancel(task));
    BENCH_OK(filch_task_join(task, NULL, FILCH_NEVER));
}

/* ---- the client ---- */

struct load {
    double msgs_s, p99_us;
};

static double field(const char *line, const char *key)
{
    const char *at = strstr(line, key);

    if (!at)
        bench_fail(line, -EINVAL);
    return strtod(at + strlen(key), NULL);
}

/* The program lies beside this one. */
static struct load run_load(double warmup, int cpu)
{
    char path[4096], command[4400], where[32] = "", line[512] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    struct load load;
    FILE *out;

    if (n < 0)
        bench_fail("readlink", -errno);
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
    if (cpu >= 0)
        snprintf(where, sizeof where, "--cpu %d", cpu);
    snprintf(command, sizeof command, "'%s/load/load' 127.0.0.1 %s %d %d %s --warmup %g %s", path,
             port, CONNS, BYTES, bench_quick ? "0.5" : "3", warmup, where);
    out = popen(command, "r");
    if (!out || !fgets(line, sizeof line, out) || pclose(out) != 0)
        bench_fail(command, -EIO);
    load.msgs_s = field(line, "msgs_s=");
    load.p99_us = field(line, "p99_us=");
    return load;
}

/* ---- beside ---- */

static void spin_until(filch_time end)
{
    while (filch_now() < end)
        ;
}

static int spins(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        spin_until(filch_after(SPIN));
        filch_task_yield();
    }
    atomic_fetch_sub(&running, 1);
    return 0;
}

static _Atomic(filch_time) gap; /* the largest between two ticks */

static int ticks(void *arg)
{
    filch_time last = filch_now();

    (void)arg;
    while (!atomic_load(&stop)) {
        filch_time now;

        BENCH_OK(filch_sleep(last + TICK));
        now = filch_now();
        if (now - last > atomic_load(&gap))
            atomic_store(&gap, now - last);
        last = now;
    }
    atomic_fetch_sub(&running, 1);
    return 0;
}

static void start_beside(filch_runtime *rt, filch_fn fn, void *arg, filch_group *group)
{
    atomic_fetch_add(&running, 1);
    BENCH_OK(filch_runtime_spawn(rt, fn, arg, &(filch_task_opts){.group = group}, NULL));
}

static void end_beside(void)
{
    atomic_store(&stop, true);
    while (atomic_load(&running))
        usleep(1000);
    atomic_store(&stop, false);
}

/* What runs beside has begun, and the ticker counts from then on. */
static struct load measure(filch_runtime *rt, double *ret_gap_us)
{
    struct load load;

    start_beside(rt, ticks, NULL, NULL);
    usleep(20000);
    atomic_store(&gap, 0);
    load = run_load(0.2, -1);
    *ret_gap_us = (double)atomic_load(&gap) / 1e3;
    end_beside();
    return load;
}

static unsigned workers_of(filch_runtime *rt)
{
    filch_stats stats;

    BENCH_OK(filch_runtime_stats(rt, &stats));
    return stats.workers;
}

/* ---- hol ---- */

static pid_t spawn_spinner(void)
{
    pid_t pid = fork();

    if (pid < 0)
        bench_fail("fork", -errno);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            spin_until(filch_after(SPIN));
    }
    return pid;
}

/* Since Linux 6.12: who wakes up then goes before those with longer slices, within its share. */
static void ask_for_short_slices(void *arg)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = sizeof attr};

    (void)arg;
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) < 0)
        return;
    attr.runtime = 100 * FILCH_MICROSECOND;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

static struct load measure_spins(filch_runtime *rt, double *ret_gap_us)
{
    for (unsigned i = 1; i < workers_of(rt); i++)
        start_beside(rt, spins, NULL, NULL);
    return measure(rt, ret_gap_us);
}

static void measure_short_slices(unsigned workers)
{
    filch_runtime_opts opts = {.workers = workers, .on_thread_start = ask_for_short_slices};
    filch_runtime *rt;
    filch_task *server;
    struct load load;
    double gap_us;

    BENCH_OK(filch_runtime_start(&opts, &rt));
    server = start_server(rt, NULL);
    load = measure_spins(rt, &gap_us);
    bench_also("short_p99_us", "us", load.p99_us);
    bench_also("short_gap_us", "us", gap_us);
    end_server(server);
    BENCH_OK(filch_runtime_shutdown(rt, FILCH_NEVER));
}

static bool run_hol(filch_runtime *rt, double *ret_value)
{
    filch_task *server = start_server(rt, NULL);
    unsigned n = workers_of(rt) - 1;
    pid_t pids[256];
    struct load load;
    double gap_us;

    load = measure_spins(rt, &gap_us);
    *ret_value = load.p99_us;
    bench_also("gap_us", "us", gap_us);
    for (unsigned i = 0; i < n; i++)
        pids[i] = spawn_spinner();
    load = measure(rt, &gap_us);
    bench_also("apart_p99_us", "us", load.p99_us);
    bench_also("apart_gap_us", "us", gap_us);
    for (unsigned i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    end_server(server);
    measure_short_slices(n + 1);
    return true;
}

/* ---- hol_read ---- */

static int reads(void *arg)
{
    char byte;

    if (read(*(int *)arg, &byte, 1) != 1)
        bench_fail("read", -errno);
    atomic_fetch_sub(&running, 1);
    return 0;
}

static bool run_hol_read(filch_runtime *rt, double *ret_value)
{
    filch_task *server = start_server(rt, NULL);
    unsigned n = workers_of(rt);
    struct load alone, load;
    double gap_us;
    int fds[2];

    if (pipe(fds) < 0)
        bench_fail("pipe", -errno);
    alone = measure(rt, &gap_us);
    for (unsigned i = 0; i < n; i++)
        start_beside(rt, reads, &fds[0], NULL);
    start_beside(rt, ticks, NULL, NULL);
    usleep(20000);
    atomic_store(&gap, 0);
    load = run_load(0.2, -1);
    gap_us = (double)atomic_load(&gap) / 1e3;
    for (unsigned i = 0; i < n; i++)
        if (write(fds[1], "x", 1) != 1)
            bench_fail("write", -errno);
    end_beside();
    *ret_value = alone.msgs_s / load.msgs_s;
    bench_also("gap_us", "us", gap_us);
    end_server(server);
    close(fds[0]);
    close(fds[1]);
    return true;
}

/* ---- groups ---- */

FILCH_TASK1(long, fib, int, n)
{
    FILCH_FORKED(fib) left;
    long right;

    if (n < 2)
        return n;
    FILCH_FORK(fib, &left, n - 1);
    right = FILCH_CALL(fib, n - 2);
    return FILCH_JOIN(fib, &left) + right;
}

static atomic_bool wrong;

static int computes(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop))
        if (fib(27) != 196418)
            atomic_store(&wrong, true);
    atomic_fetch_sub(&running, 1);
    return 0;
}

static double cpu_ns(filch_group *group)
{
    filch_group_numbers numbers;

    BENCH_OK(filch_group_stats(group, &numbers));
    return (double)numbers.cpu_ns;
}

/* Leaves the last CPU, if there are two, to the client. Return: that CPU; -1. */
static int leave_last_cpu(cpu_set_t *all, unsigned *ret_left)
{
    int last = -1;
    cpu_set_t left;

    if (sched_getaffinity(0, sizeof *all, all) < 0)
        bench_fail("sched_getaffinity", -errno);
    left = *all;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, all))
            last = cpu;
    *ret_left = (unsigned)CPU_COUNT(all);
    if (*ret_left < 2)
        return -1;
    (*ret_left)--;
    CPU_CLR(last, &left);
    if (sched_setaffinity(0, sizeof left, &left) < 0)
        bench_fail("sched_setaffinity", -errno);
    return last;
}

static filch_group *group_of(filch_runtime *rt, unsigned weight, filch_group_kind kind)
{
    filch_group *group;

    BENCH_OK(filch_group_new(rt, &(filch_group_opts){.weight = weight, .kind = kind}, &group));
    return group;
}

static void measure_groups(filch_runtime *rt, unsigned workers, int client_cpu, double *ret_value)
{
    filch_group *serving = group_of(rt, 300, FILCH_GROUP_LATENCY);
    filch_group *batch = group_of(rt, 100, FILCH_GROUP_BATCH);
    filch_task *server = start_server(rt, serving);
    struct load alone = run_load(0.2, client_cpu), load;
    double served, computed;

    for (unsigned i = 0; i < workers; i++)
        start_beside(rt, computes, NULL, batch);
    usleep(20000);
    served = cpu_ns(serving);
    computed = cpu_ns(batch);
    load = run_load(0.2, client_cpu);
    served = cpu_ns(serving) - served;
    computed = cpu_ns(batch) - computed;
    end_beside();
    *ret_value = load.p99_us / alone.p99_us;
    bench_also("p99_us", "us", load.p99_us);
    bench_also("alone_p99_us", "us", alone.p99_us);
    bench_also("batch_share", "percent", 100 * computed / (served + computed));
    bench_also("slower", "times", alone.msgs_s / load.msgs_s);
    end_server(server);
    BENCH_OK(filch_group_free(serving));
    BENCH_OK(filch_group_free(batch));
}

/* In a runtime of its own, as the number of workers is that of the CPUs that are left. */
static bool run_groups(filch_runtime *rt, double *ret_value)
{
    filch_runtime *own;
    cpu_set_t all;
    unsigned workers;
    int client_cpu = leave_last_cpu(&all, &workers);

    (void)rt;
    BENCH_OK(filch_runtime_start(&(filch_runtime_opts){.workers = workers}, &own));
    measure_groups(own, workers, client_cpu, ret_value);
    BENCH_OK(filch_runtime_shutdown(own, FILCH_NEVER));
    (void)sched_setaffinity(0, sizeof all, &all);
    return !atomic_load(&wrong);
}

/* ---- monitor ---- */

#define MONITOR_TASKS 300000

struct cost {
    double cpu_ns, watch_ns, wall_ns, units;
};

/* CPU time of the runtime's watch, which is the thread named filch-m0. */
static double watch_cpu_ns(void)
{
    DIR *all = opendir("/proc/self/task");
    double ns = 0;

    for (struct dirent *one; all && (one = readdir(all));) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%s/comm", one->d_name);
        if (!(file = fopen(path, "re")))
            continue;
        if (!fgets(name, sizeof name, file))
            name[0] = '\0';
        fclose(file);
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", one->d_name);
        if (strcmp(name, "filch-m0\n") || !(file = fopen(path, "re")))
            continue;
        if (fscanf(file, "%lf", &ns) != 1)
            ns = 0;
        fclose(file);
    }
    if (all)
        closedir(all);
    return ns;
}

static void serve_messages(filch_runtime *rt, double *units)
{
    filch_task *server = start_server(rt, NULL);

    *units += run_load(0, -1).msgs_s * (bench_quick ? 0.5 : 3);
    end_server(server);
}

static int one(void *arg)
{
    (void)arg;
    return 1;
}

static int spawn_and_join(void *arg)
{
    filch_task **tasks = arg;
    int result;

    for (int i = 0; i < MONITOR_TASKS; i++)
        BENCH_OK(filch_task_spawn(one, NULL, NULL, &tasks[i]));
    for (int i = 0; i < MONITOR_TASKS; i++) {
        BENCH_OK(filch_task_join(tasks[i], &result, FILCH_NEVER));
        if (result != 1)
            atomic_store(&wrong, true);
    }
    return 0;
}

static void spawn_tasks(filch_runtime *rt, double *units)
{
    filch_task **tasks = bench_alloc(MONITOR_TASKS * sizeof *tasks);

    for (int i = 0; i < (bench_quick ? 10 : 60); i++) {
        BENCH_OK(filch_runtime_block_on(rt, spawn_and_join, tasks, NULL, FILCH_NEVER));
        *units += MONITOR_TASKS;
    }
    free(tasks);
}

/* In a runtime of its own, whose own threads alone run meanwhile. */
static void add_cost(struct cost *cost, void (*work)(filch_runtime *, double *), bool watched)
{
    filch_runtime_opts opts = {.workers = 2};
    filch_runtime *rt;
    double cpu_ns;
    filch_time start;

    if (!watched) {
        opts.no_rescue = true;
        opts.spare_workers = FILCH_NO_SPARES;
        opts.hog_ns = FILCH_NEVER;
    }
    BENCH_OK(filch_runtime_start(&opts, &rt));
    start = filch_now();
    cpu_ns = (double)process_cpu_ns();
    work(rt, &cost->units);
    cost->cpu_ns += (double)process_cpu_ns() - cpu_ns;
    cost->wall_ns += (double)(filch_now() - start);
    cost->watch_ns += watch_cpu_ns();
    BENCH_OK(filch_runtime_shutdown(rt, FILCH_NEVER));
}

static bool measure_cost(void (*work)(filch_runtime *, double *), double *ret_value)
{
    struct cost with = {0}, without = {0}, warm_up = {0};

    add_cost(&warm_up, work, true);
    for (int i = 0; i < (bench_quick ? 2 : 4); i++) {
        add_cost(&with, work, true);
        add_cost(&without, work, false);
    }
    *ret_value = 100 * (with.cpu_ns / with.units / (without.cpu_ns / without.units) - 1);
    bench_also("watch_share", "percent of CPU", 100 * with.watch_ns / with.cpu_ns);
    bench_also("watch_load", "percent of a CPU", 100 * with.watch_ns / with.wall_ns);
    bench_also("cpu", "CPU ns", with.cpu_ns / with.units);
    return !atomic_load(&wrong);
}

/* The bench's own runtime is idle: its watch sleeps. */
static bool run_monitor_echo(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return measure_cost(serve_messages, ret_value);
}

static bool run_monitor_spawn(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return measure_cost(spawn_tasks, ret_value);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"hol", "us", run_hol, BENCH_OUTSIDE | BENCH_COLD, "p99_us"},
        {"hol_read", "times", run_hol_read, BENCH_OUTSIDE | BENCH_COLD, "slower"},
        {"groups", "times", run_groups, BENCH_OUTSIDE | BENCH_COLD, "p99_ratio"},
        {"monitor_echo", "percent", run_monitor_echo, BENCH_OUTSIDE | BENCH_COLD, "cost"},
        {"monitor_spawn", "percent", run_monitor_spawn, BENCH_OUTSIDE | BENCH_COLD, "cost"},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
