/* A configuration that every request reads and a reload replaces: readers take no lock, and the old
 * one is freed when the last request that saw it has moved on. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVERS 4
#define REQUESTS 1000
#define RELOADS 20

struct config {
    filch_rcu_head head;
    int version;
    int limit; /* always ten times the version */
};

static struct config *current; /* through filch_rcu_...() only */

static struct config *config_new(int version)
{
    struct config *config = calloc(1, sizeof *config);

    if (config) {
        config->version = version;
        config->limit = 10 * version;
    }
    return config;
}

static void config_free(filch_rcu_head *head)
{
    free(head); /* its first member */
}

static int request(void)
{
    const struct config *config;
    int r;

    filch_rcu_read_begin(); /* no suspension from here ... */
    config = filch_rcu_load(&current);
    r = config->limit == 10 * config->version ? 0 : -EBADMSG;
    filch_rcu_read_end(); /* ... to here */
    return r;
}

static int server(void *arg)
{
    (void)arg;
    for (int i = 0; i < REQUESTS; i++) {
        int r = request();

        if (r < 0)
            return r;
        filch_task_yield(); /* what a request would wait for */
    }
    return 0;
}

static int reloader(void *arg)
{
    (void)arg;
    for (int version = 2; version <= RELOADS; version++) {
        struct config *config = config_new(version);
        struct config *old;
        int r;

        if (!config)
            return -ENOMEM;
        old = filch_rcu_exchange(&current, config);
        r = filch_rcu_call(&old->head, config_free);
        if (r < 0)
            return r; /* `old` is lost: nobody may free it yet */
        filch_task_yield();
    }
    return 0;
}

static int config_main(void *arg)
{
    FILCH_SCOPE(scope);
    int r = 0, joined;

    (void)arg;
    filch_rcu_store(&current, config_new(1));
    if (!filch_rcu_load(&current))
        return -ENOMEM;
    for (int i = 0; i < SERVERS && r == 0; i++)
        r = filch_scope_spawn(&scope, server, NULL);
    if (r == 0)
        r = filch_scope_spawn(&scope, reloader, NULL);
    joined = filch_scope_join(&scope, FILCH_NEVER);
    r = r < 0 ? r : joined;
    if (r == 0)
        r = filch_rcu_barrier(); /* all old ones are freed */
    if (r == 0)
        printf("version %d, limit %d\n", current->version, current->limit);
    free(current);
    return r;
}

int main(void)
{
    int r = filch_main(config_main, NULL, NULL);

    if (r < 0)
        fprintf(stderr, "config_reload: %s\n", filch_strerror(r));
    return r < 0;
}
