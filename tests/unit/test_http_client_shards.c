/* Description: the shards of an HTTP client: the first has all of a light load, none has more than
 * its share of a heavy one; limits of connections hold for all of them together; cookies are
 * common; a close ends what any of them does. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/notify.h>

#include "io/http_client/client.h"
#include "tests/runner/http_site.h"
#include "tests/runner/process.h"

TestSuite(http_client_shards, .timeout = 120);

#define MANY 40
#define EACH 20

static filch_notify open_gate = FILCH_NOTIFY_INIT;
static atomic_bool is_open;
static atomic_uint inside;

/* Answers when the gate is open. */
static int hold(filch_exchange *x, void *context)
{
    (void)context;
    atomic_fetch_add(&inside, 1);
    while (!atomic_load(&is_open)) {
        int r = filch_notify_wait(&open_gate, filch_after(10 * FILCH_MILLISECOND));

        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
    return filch_exchange_reply(x, 200, NULL, "held", 4, FILCH_NEVER);
}

static int cookie(filch_exchange *x, void *context)
{
    const char *got = filch_exchange_header(x, "Cookie") ?: "none";

    (void)context;
    if (filch_exchange_set(x, "Set-Cookie", "a=b") < 0)
        return 500;
    return filch_exchange_reply(x, 200, NULL, got, strlen(got), FILCH_NEVER);
}

struct scene {
    struct http_site site;
    filch_http_client *client;
    const char *path;
    filch_task *tasks[MANY];
    atomic_uint done;
};

static void scene_open(struct scene *scene, filch_http_client_opts opts)
{
    opts.proxy = "";
    atomic_store(&is_open, false);
    atomic_store(&inside, 0);
    http_site_new(&scene->site, NULL);
    T_OK(filch_http_route(scene->site.server, "GET", "/hold", hold, NULL));
    T_OK(filch_http_route(scene->site.server, "GET", "/cookie", cookie, NULL));
    http_site_open(&scene->site);
    T_OK(filch_http_client_new(&opts, &scene->client));
}

static void scene_close(struct scene *scene)
{
    filch_http_client_close(scene->client);
    http_site_close(&scene->site);
}

static void open_the_gate(void)
{
    atomic_store(&is_open, true);
    (void)!filch_notify_all(&open_gate);
}

static int get(struct scene *scene, const char *path, const char *want)
{
    char url[128];
    filch_http_response *response;
    int r;

    snprintf(url, sizeof(url), "http://%s%s", scene->site.addr, path);
    r = filch_http_get(scene->client, url, &response, NULL, T_LIMIT);
    if (r < 0)
        return r;
    T_IS(filch_http_response_status(response), 200);
    T_CHECK(strcmp(filch_http_response_body(response, NULL), want) == 0);
    filch_http_response_free(response);
    return 0;
}

static int get_held(void *arg)
{
    struct scene *scene = arg;
    int r = get(scene, "/hold", "held");

    atomic_fetch_add(&scene->done, 1);
    return r;
}

static void begin_many(struct scene *scene, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        scene->tasks[i] = spawn(get_held, scene);
}

static void join_many(struct scene *scene, unsigned n, int want)
{
    for (unsigned i = 0; i < n; i++)
        T_IS(join(scene->tasks[i]), want);
}

static unsigned load_of(struct scene *scene, unsigned shard)
{
    return filch_load_relaxed(&scene->client->shards[shard].load);
}

static unsigned whole_load(struct scene *scene)
{
    unsigned load = 0;

    for (unsigned i = 0; i < scene->client->shard_count; i++)
        load += load_of(scene, i);
    return load;
}

/* ---- shares ---- */

static int share(void *arg)
{
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 4, .host_connections_max = MANY});
    begin_many(&scene, 5);
    T_WAIT_UNTIL(atomic_load(&inside) == 5);
    T_IS(load_of(&scene, 0), 5);
    open_the_gate();
    join_many(&scene, 5, 0);
    T_IS(whole_load(&scene), 0);

    atomic_store(&is_open, false);
    atomic_store(&inside, 0);
    begin_many(&scene, MANY);
    T_WAIT_UNTIL(atomic_load(&inside) == MANY); /* each shard may have ten connections */
    T_IS(whole_load(&scene), MANY);
    for (unsigned i = 0; i < 4; i++)
        T_CHECK(load_of(&scene, i) >= 8);
    open_the_gate();
    join_many(&scene, MANY, 0);
    T_IS(whole_load(&scene), 0);
    scene_close(&scene);
    return 0;
}

Test(http_client_shards, a_light_load_stays_together_and_a_heavy_one_is_shared)
{
    /* One worker: who chooses sees what the last one chose. */
    T_OK(run_in_runtime(1, share, NULL));
}

static int one_after_the_other(void *arg)
{
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 8});
    for (int i = 0; i < 30; i++)
        T_OK(get(&scene, "/cookie", "none"));
    T_IS(http_site_stats(&scene.site).connections, 1);
    scene_close(&scene);
    return 0;
}

Test(http_client_shards, requests_one_after_the_other_have_one_connection)
{
    T_OK(run_in_runtime(0, one_after_the_other, NULL));
}

/* ---- limits ---- */

static void check_counts(unsigned shards, unsigned all, unsigned host, unsigned want)
{
    const filch_http_client_opts opts = {
        .shards = shards, .connections_max = all, .host_connections_max = host};
    unsigned all_sum = 0, host_sum = 0;
    filch_http_client *client;

    T_OK(filch_http_client_new(&opts, &client));
    T_IS(client->shard_count, want);
    for (unsigned i = 0; i < want; i++) {
        T_CHECK(client->shards[i].connections_max && client->shards[i].host_connections_max);
        all_sum += client->shards[i].connections_max;
        host_sum += client->shards[i].host_connections_max;
    }
    T_IS(all_sum, all ? all : 256);
    T_IS(host_sum, host ? host : 64);
    filch_http_client_close(client);
}

static int counts(void *arg)
{
    filch_http_client *client;

    (void)arg;
    check_counts(0, 0, 0, 3); /* as workers */
    check_counts(0, 0, 23, 2);
    check_counts(0, 15, 0, 1);
    check_counts(0, 1, 1, 1);
    check_counts(1, 0, 0, 1);
    check_counts(16, 0, 0, 16);
    check_counts(16, 0, 5, 5);
    check_counts(7, 100, 10, 7);
    T_IS(filch_http_client_new(&(filch_http_client_opts){.shards = 17}, &client), -EINVAL);
    return 0;
}

Test(http_client_shards, shares_make_up_the_limits)
{
    T_OK(run_in_runtime(3, counts, NULL));
}

static int limited(void *arg)
{
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 3, .host_connections_max = 7});
    begin_many(&scene, MANY);
    T_WAIT_UNTIL(atomic_load(&inside) == 7);
    open_the_gate();
    join_many(&scene, MANY, 0);
    T_CHECK(http_site_stats(&scene.site).connections <= 7);
    scene_close(&scene);
    return 0;
}

Test(http_client_shards, all_together_keep_to_the_limit)
{
    T_OK(run_in_runtime(0, limited, NULL));
}

/* ---- what is common ---- */

static int get_cookies(void *arg)
{
    for (int i = 0; i < EACH; i++)
        T_OK(get(arg, "/cookie", "a=b"));
    return 0;
}

static int common(void *arg)
{
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 4, .cookies = true});
    T_OK(get(&scene, "/cookie", "none"));
    for (unsigned i = 0; i < MANY; i++)
        scene.tasks[i] = spawn(get_cookies, &scene);
    join_many(&scene, MANY, 0);
    scene_close(&scene);
    return 0;
}

Test(http_client_shards, cookies_are_common)
{
    T_OK(run_in_runtime(0, common, NULL));
}

static int close_with_many(void *arg)
{
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 4});
    begin_many(&scene, MANY);
    T_WAIT_UNTIL(atomic_load(&inside) == MANY);
    filch_http_client_close(scene.client);
    join_many(&scene, MANY, -ECANCELED);
    open_the_gate();
    http_site_close(&scene.site);
    return 0;
}

Test(http_client_shards, a_close_ends_what_each_of_them_does)
{
    T_OK(run_in_runtime(0, close_with_many, NULL));
}

/* ---- they begin when they are needed ---- */

static unsigned begun(struct scene *scene)
{
    return filch_load_relaxed(&scene->client->begun);
}

static int begin_late(void *arg)
{
    unsigned descriptors = process_files();
    struct scene scene = {0};

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 3, .host_connections_max = 6});
    T_IS(begun(&scene), 1);
    begin_many(&scene, 2);
    T_WAIT_UNTIL(atomic_load(&inside) == 2);
    T_IS(begun(&scene), 1);
    scene.tasks[2] = spawn(get_held, &scene);
    T_WAIT_UNTIL(atomic_load(&inside) == 3);
    T_IS(begun(&scene), 2);
    T_IS(load_of(&scene, 1), 1);
    open_the_gate();
    join_many(&scene, 3, 0);
    scene_close(&scene);
    T_IS(process_files(), descriptors);
    return 0;
}

Test(http_client_shards, one_begins_when_the_others_are_full)
{
    T_OK(run_in_runtime(0, begin_late, NULL));
}

/* Without descriptors for another one, the first has all. */
static int begin_in_vain(void *arg)
{
    struct rlimit before, none;
    struct scene scene = {0};
    int kept[3];

    (void)arg;
    scene_open(&scene, (filch_http_client_opts){.shards = 2, .host_connections_max = 2});
    T_OK(get(&scene, "/cookie", "none")); /* it has its connection */
    T_OK(getrlimit(RLIMIT_NOFILE, &before));
    for (int i = 0; i < 3; i++)
        T_CHECK((kept[i] = dup(0)) >= 0);
    none = (struct rlimit){(rlim_t)kept[2] + 1, before.rlim_max};
    T_OK(setrlimit(RLIMIT_NOFILE, &none));
    begin_many(&scene, 4);
    T_WAIT_UNTIL(whole_load(&scene) == 4);
    T_IS(begun(&scene), 1);
    T_OK(setrlimit(RLIMIT_NOFILE, &before));
    for (int i = 0; i < 3; i++)
        close(kept[i]);
    open_the_gate();
    join_many(&scene, 4, 0);
    scene_close(&scene);
    return 0;
}

Test(http_client_shards, one_that_cannot_begin_is_done_without)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind only pretends to a limit of descriptors");
    T_OK(run_in_runtime(0, begin_in_vain, NULL));
}
