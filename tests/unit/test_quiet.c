/* Description: an idle runtime costs nothing: once all is quiet, neither its workers, one of which
 * had watched over the others, nor the thread that watches over all run at all, also while
 * connections wait. Counted by the kernel: how often each thread was given a CPU. */
#include <dirent.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(quiet, .timeout = 120);

/* So long an interval: a look each 10 ms, or a monitor's visit, would be seen many times. */
#define INTERVAL_NS (200 * FILCH_MILLISECOND)

/* ---- what the kernel counts ---- */

struct switches {
    unsigned threads; /* of the runtime */
    unsigned long long times;
};

static void add_thread(struct switches *sum, const char *tid)
{
    char path[300], line[256], name[64] = "";
    unsigned long long times = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        unsigned long long n;

        (void)sscanf(line, "Name: %63s", name);
        if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
            times += n;
    }
    if (file)
        fclose(file);
    if (strncmp(name, "quiet-w", 7) && strncmp(name, "quiet-m", 7))
        return;
    sum->threads++;
    sum->times += times;
}

static struct switches count_switches(void)
{
    struct switches sum = {0};
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;

    T_CHECK(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            add_thread(&sum, entry->d_name);
    closedir(dir);
    return sum;
}

static bool nobody_runs(void)
{
    struct switches before = count_switches();

    T_OK(filch_sleep(filch_after(INTERVAL_NS)));
    return count_switches().times == before.times;
}

/* ---- what there was to do before ---- */

static struct tcp_pair pair;

static int opens(void *arg)
{
    (void)arg;
    connect_pair(&pair);
    return 0;
}

static int reads(void *arg)
{
    char byte;

    (void)arg;
    T_IS((int)filch_tcp_read(pair.server, &byte, 1, FILCH_NEVER), 1);
    return 0;
}

static int ends_the_reader(void *arg)
{
    filch_task *reader = arg;

    T_OK(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT));
    T_OK(join(reader));
    close_pair(&pair);
    return 0;
}

static int sleeps(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    return 0;
}

Test(quiet, an_idle_runtime_runs_nothing)
{
    filch_runtime *rt;
    filch_task *tasks[6], *reader;

    if (T_THREAD_SANITIZER)
        cr_skip_test("there each wait for a futex is one for 10 ms, again and again");
    rt = test_start(&(filch_runtime_opts){
        .workers = 3, .spare_workers = FILCH_NO_SPARES, .thread_name = "quiet"});
    T_OK(filch_runtime_block_on(rt, opens, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_spawn(rt, reads, NULL, NULL, &reader));
    for (unsigned i = 0; i < 6; i++)
        T_OK(filch_runtime_spawn(rt, sleeps, NULL, NULL, &tasks[i]));
    for (unsigned i = 0; i < 6; i++)
        T_OK(join(tasks[i]));
    T_WAIT_UNTIL(count_switches().threads == 4);
    T_CHECK(count_switches().times > 0);
    T_WAIT_UNTIL(nobody_runs());
    T_OK(filch_runtime_block_on(rt, ends_the_reader, reader, NULL, FILCH_NEVER));
    stop_runtime(rt);
}
