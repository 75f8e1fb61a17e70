/* Description: where CPUs are and whom a worker robs first, on made-up machines: two sockets of
 * eight cores with two threads each, chiplets with a cache each, a machine that tells nothing; and
 * workers that are bound to CPUs. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "runtime/base/handle.h"
#include "runtime/sched/topology.h"
#include "runtime/sched/worker.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(topology, .timeout = 60);

static void make_dir(const char *path)
{
    T_CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static void put(const char *root, int cpu, const char *file, const char *text)
{
    char path[512];
    FILE *out;

    snprintf(path, sizeof path, "%s/cpu/cpu%d/%s", root, cpu, file);
    out = fopen(path, "w");
    T_CHECK(out);
    fprintf(out, "%s\n", text);
    T_OK(fclose(out));
}

struct made_up {
    int sockets, cores, threads; /* cores of a socket, threads of a core */
    int caches;                  /* of a socket */
};

/* Linux numbers the first threads of all cores, then the second ones. */
static void make_cpu(const char *root, const struct made_up *m, int socket, int core, int thread)
{
    int all = m->sockets * m->cores;
    int number = socket * m->cores + core, cpu = thread * all + number;
    int per_cache = m->cores / m->caches, first = number - core % per_cache;
    char path[512], text[64];

    snprintf(path, sizeof path, "%s/cpu/cpu%d", root, cpu);
    make_dir(path);
    snprintf(path, sizeof path, "%s/cpu/cpu%d/topology", root, cpu);
    make_dir(path);
    snprintf(path, sizeof path, "%s/cpu/cpu%d/cache", root, cpu);
    make_dir(path);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/cpu/cpu%d/cache/index%d", root, cpu, i);
        make_dir(path);
    }
    snprintf(path, sizeof path, "%s/cpu/cpu%d/node%d", root, cpu, socket);
    make_dir(path);
    snprintf(text, sizeof text, "%d", socket);
    put(root, cpu, "topology/physical_package_id", text);
    snprintf(text, sizeof text, "%d,%d", number, number + all);
    put(root, cpu, "topology/thread_siblings_list", text);
    put(root, cpu, "cache/index0/level", "1");
    put(root, cpu, "cache/index0/shared_cpu_list", text);
    put(root, cpu, "cache/index1/level", "3");
    snprintf(text, sizeof text, "%d-%d,%d-%d", first, first + per_cache - 1, first + all,
             first + all + per_cache - 1);
    put(root, cpu, "cache/index1/shared_cpu_list", text);
}

static void make_machine(const char *root, const struct made_up *m)
{
    char path[512];

    snprintf(path, sizeof path, "%s/cpu", root);
    make_dir(path);
    for (int socket = 0; socket < m->sockets; socket++)
        for (int core = 0; core < m->cores; core++)
            for (int thread = 0; thread < m->threads; thread++)
                make_cpu(root, m, socket, core, thread);
}

static void read_all(const char *root, struct filch__cpu_place *places, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        places[i] = filch__topology_read(root, (int)i);
}

/* Nobody twice, nobody missing, and never one who is nearer after one who is farther. */
static void check_order(const struct filch__cpu_place *places, unsigned n, unsigned self)
{
    uint16_t order[64];
    bool seen[64] = {0};
    unsigned last = 0;

    filch__topology_victims(places, n, self, order);
    for (unsigned i = 0; i < n - 1; i++) {
        unsigned distance = filch__topology_distance(&places[self], &places[order[i]]);

        T_CHECK(order[i] < n && order[i] != self && !seen[order[i]]);
        T_CHECK(distance >= last);
        seen[order[i]] = true;
        last = distance;
    }
}

Test(topology, two_sockets_of_eight_cores_with_two_threads)
{
    struct made_up machine = {2, 8, 2, 1};
    struct filch__cpu_place places[32];
    uint16_t order[31];
    struct temp_dir dir;
    const char *root = dir.path;

    temp_dir_make(&dir);
    make_machine(root, &machine);
    read_all(root, places, 32);
    filch__topology_victims(places, 32, 3, order);
    T_CHECK(order[0] == 19); /* the other thread of its core */
    for (int i = 1; i < 15; i++)
        T_CHECK(places[order[i]].package == 0); /* then its socket, whose cache it shares */
    T_CHECK(order[1] == 4);                     /* beginning with the next one */
    for (int i = 15; i < 31; i++)
        T_CHECK(places[order[i]].package == 1);
    for (unsigned i = 0; i < 32; i++)
        check_order(places, 32, i);
    temp_dir_remove(&dir);
}

Test(topology, chiplets_have_a_cache_each)
{
    struct made_up machine = {1, 8, 1, 4};
    struct filch__cpu_place places[8];
    uint16_t order[7];
    struct temp_dir dir;
    const char *root = dir.path;

    temp_dir_make(&dir);
    make_machine(root, &machine);
    read_all(root, places, 8);
    filch__topology_victims(places, 8, 4, order);
    T_CHECK(order[0] == 5);
    T_CHECK(order[1] == 6);
    T_CHECK(filch__topology_distance(&places[4], &places[5]) == 1);
    T_CHECK(filch__topology_distance(&places[4], &places[6]) == 2);
    temp_dir_remove(&dir);
}

Test(topology, workers_have_a_core_each_before_any_is_shared)
{
    struct made_up machine = {2, 2, 2, 1};
    struct filch__cpu_place places[8], shuffled[4];
    struct temp_dir dir;
    const char *root = dir.path;

    temp_dir_make(&dir);
    make_machine(root, &machine);
    read_all(root, places, 8);
    filch__topology_spread(places, 8);
    for (int i = 0; i < 8; i++)
        T_CHECK(places[i].cpu == i); /* as Linux numbers them */
    shuffled[0] = places[0];
    shuffled[1] = places[4];
    shuffled[2] = places[1];
    shuffled[3] = places[5];
    filch__topology_spread(shuffled, 4);
    T_CHECK(shuffled[0].cpu == 0 && shuffled[1].cpu == 1);
    T_CHECK(shuffled[2].core == 0 && shuffled[3].core == 1);
    temp_dir_remove(&dir);
}

Test(topology, a_machine_that_tells_nothing)
{
    struct filch__cpu_place places[4];
    uint16_t order[3];
    struct temp_dir dir;
    const char *root = dir.path;

    temp_dir_make(&dir);
    read_all(root, places, 4);
    filch__topology_victims(places, 4, 2, order);
    T_CHECK(order[0] == 3 && order[1] == 0 && order[2] == 1);
    filch__topology_spread(places, 4);
    for (int i = 0; i < 4; i++)
        T_CHECK(places[i].cpu == i);
    temp_dir_remove(&dir);
}

/* ---- workers ---- */

static cpu_set_t allowed;

static int looks_where_it_is(void *arg)
{
    cpu_set_t set;

    (void)arg;
    T_OK(sched_getaffinity(0, sizeof set, &set));
    T_CHECK(CPU_COUNT(&set) == 1);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        T_CHECK(!CPU_ISSET(cpu, &set) || CPU_ISSET(cpu, &allowed));
    return sched_getcpu();
}

Test(topology, bound_workers_stay_on_a_CPU_that_is_allowed)
{
    unsigned n = test_workers() + 1; /* more than there are CPUs, at times */
    filch_runtime *rt =
        test_start(&(filch_runtime_opts){.workers = n, .bind_workers = true, .spare_workers = 1});

    T_OK(sched_getaffinity(0, sizeof allowed, &allowed));
    for (unsigned i = 1; i <= n; i++) {
        filch_task *task;

        T_OK(filch_runtime_spawn(rt, looks_where_it_is, NULL,
                                 &(filch_task_opts){.pinned = true, .worker = i}, &task));
        T_CHECK(CPU_ISSET(join(task), &allowed));
    }
    stop_runtime(rt);
}

static atomic_uint ran;

static int runs(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ran, 1);
    return 0;
}

static int spawns_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++)
        T_OK(filch_spawn(runs, NULL));
    return 0;
}

Test(topology, bound_workers_take_from_each_other)
{
    filch_runtime *rt =
        test_start(&(filch_runtime_opts){.workers = test_workers(), .bind_workers = true});

    T_OK(filch_runtime_block_on(rt, spawns_many, NULL, NULL, FILCH_NEVER));
    T_WAIT_UNTIL(atomic_load(&ran) == 20000);
    stop_runtime(rt);
}

/* ---- whom a worker takes from ---- */

#define ROW 4

/* Each worker is held by a task; all but the first have one more in their queue, and are behind. */
static struct {
    atomic_uint held;
    atomic_uint queued;
    atomic_bool over;
    filch_task *child[ROW];
    bool backwards;
} row;

static int queues_a_child(void *arg)
{
    struct filch__worker *self = filch__worker_self();

    (void)arg;
    atomic_fetch_add(&row.held, 1);
    while (atomic_load(&row.held) < ROW)
        sched_yield();
    T_OK(filch_task_spawn(runs, NULL, NULL, &row.child[self->index]));
    filch_store_seq_cst(&self->behind, 1);
    atomic_fetch_add(&row.queued, 1);
    while (!atomic_load(&row.over))
        sched_yield();
    return 0;
}

static int takes_from_all(void *arg)
{
    struct filch__worker *self = filch__worker_self();
    struct filch__task *taken[ROW - 1];

    (void)arg;
    T_CHECK(self->index == 0 && self->victims);
    atomic_fetch_add(&row.held, 1);
    while (atomic_load(&row.queued) < ROW - 1)
        sched_yield();
    /* The order is used, whatever it is: this one no start at random gives. */
    for (unsigned i = 0; i < ROW - 1 && row.backwards; i++)
        self->victims[i] = (uint16_t)(ROW - 1 - i);
    for (unsigned i = 0; i < ROW - 1; i++) {
        taken[i] = filch__worker_steal(self);
        T_CHECK(taken[i] == filch__handle_object(row.child[self->victims[i]]));
    }
    T_CHECK(!filch__worker_steal(self));
    for (unsigned i = 0; i < ROW - 1; i++)
        filch__worker_push_back(self, taken[i]);
    atomic_store(&row.over, true);
    return 0;
}

static void take_in_order(bool backwards)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){
        .workers = ROW, .bind_workers = true, .spare_workers = FILCH_NO_SPARES});
    filch_task *tasks[ROW];

    memset(&row, 0, sizeof row);
    row.backwards = backwards;
    for (unsigned i = 0; i < ROW; i++)
        T_OK(filch_runtime_spawn(rt, i ? queues_a_child : takes_from_all, NULL,
                                 &(filch_task_opts){.pinned = true, .worker = i + 1}, &tasks[i]));
    for (unsigned i = 0; i < ROW; i++)
        T_OK(join(tasks[i]));
    for (unsigned i = 1; i < ROW; i++)
        T_OK(join(row.child[i]));
    stop_runtime(rt);
}

Test(topology, a_bound_worker_takes_from_its_neighbours_first)
{
    if (test_in_chaos())
        cr_skip_test("what is queued goes anywhere");
    take_in_order(false);
    take_in_order(true);
}
