/* The HTTP client: options, and the shards among which its requests are shared out (shard.c).
 *
 * A shard is one task, so it has one CPU's worth of libcurl, some 25,000 to 50,000 requests a
 * second, and connections of its own. A client may have as many as there are workers, as long as
 * each may have enough connections to a host. They are filled one after the other: while there is
 * little to do one has all of it, so that connections are used again and streams of HTTP/2 share
 * them; only when that one has FULL requests in progress does the next begin, or get some, and when
 * all have, the one that has least.
 *
 * Cookies are common, under a lock that libcurl takes for moments. */
#include "io/http_client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/runtime.h>

/* Connections to a host that a shard must be allowed to have. */
#define SHARD_CONNECTIONS_MIN 8
#define SHARDS_MAX 16
#define FULL 8

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_ALL);
}

/* ---- shards ---- */

static bool is_full(struct http_shard *shard, uint32_t load)
{
    return load >= FULL || load >= shard->host_connections_max;
}

/* The first one that is not full, or the one that has least, of those that have begun. */
static struct http_shard *least_loaded(filch_http_client *client, bool *ret_full)
{
    unsigned begun = filch_load_acquire(&client->begun); /* [http-shards] */
    struct http_shard *chosen = client->shards;
    uint32_t least = UINT32_MAX;

    *ret_full = true;
    for (unsigned i = 0; i < begun && *ret_full; i++) {
        uint32_t load = filch_load_relaxed(&client->shards[i].load);

        *ret_full = is_full(&client->shards[i], load);
        if (!*ret_full || load < least) {
            chosen = &client->shards[i];
            least = load;
        }
    }
    return chosen;
}

/* Return: one more; NULL: there are as many as there may be, or no memory. */
static struct http_shard *begin_shard(filch_http_client *client)
{
    struct http_shard *shard = NULL;
    unsigned begun;

    pthread_mutex_lock(&client->begin_lock);
    begun = filch_load_relaxed(&client->begun); /* under the lock */
    if (begun < client->shard_count && !client->closing &&
        http_shard_start(&client->shards[begun]) == 0) {
        shard = &client->shards[begun];
        filch_store_release(&client->begun, begun + 1); /* [http-shards] */
    }
    pthread_mutex_unlock(&client->begin_lock);
    return shard;
}

struct http_shard *http_client_choose_shard(filch_http_client *client)
{
    bool full;
    struct http_shard *chosen = least_loaded(client, &full);

    /* relaxed: it is looked at again, under the lock. */
    if (full && filch_load_relaxed(&client->begun) < client->shard_count)
        chosen = begin_shard(client) ?: chosen;
    filch_fetch_add_relaxed(&chosen->load, 1);
    return chosen;
}

static unsigned count_shards(const filch_http_client_opts *opts)
{
    unsigned most = opts->host_connections_max < opts->connections_max ? opts->host_connections_max
                                                                       : opts->connections_max;
    unsigned count = opts->shards;
    filch_stats stats;

    if (!count)
        count = filch_runtime_stats(filch_runtime_self(), &stats) < 0 ? 1 : stats.workers;
    if (!opts->shards && count > most / SHARD_CONNECTIONS_MIN)
        count = most / SHARD_CONNECTIONS_MIN;
    if (count > SHARDS_MAX) /* that many workers */
        count = SHARDS_MAX;
    if (count > most)
        count = most;
    return count ?: 1;
}

/* Of @all, for shard @index. */
static unsigned share_of(unsigned all, unsigned count, unsigned index)
{
    return all / count + (index < all % count);
}

static int make_shards(filch_http_client *client)
{
    const filch_http_client_opts *opts = &client->opts;
    unsigned count = count_shards(opts);
    int r;

    client->shards = calloc(count, sizeof(*client->shards));
    if (!client->shards)
        return -ENOMEM;
    client->shard_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct http_shard *shard = &client->shards[i];

        http_shard_init(shard, client);
        shard->connections_max = share_of(opts->connections_max, count, i);
        shard->host_connections_max = share_of(opts->host_connections_max, count, i);
    }
    r = http_shard_start(client->shards);
    if (r == 0)
        filch_atomic_init(&client->begun, 1);
    return r;
}

/* ---- cookies ---- */

static void lock_cookies(CURL *easy, curl_lock_data what, curl_lock_access access, void *context)
{
    (void)easy;
    (void)what;
    (void)access;
    pthread_mutex_lock(&((filch_http_client *)context)->cookies_lock);
}

static void unlock_cookies(CURL *easy, curl_lock_data what, void *context)
{
    (void)easy;
    (void)what;
    pthread_mutex_unlock(&((filch_http_client *)context)->cookies_lock);
}

static int make_cookies(filch_http_client *client)
{
    if (!client->opts.cookies)
        return 0;
    client->cookies = curl_share_init();
    if (!client->cookies)
        return -ENOMEM;
    curl_share_setopt(client->cookies, CURLSHOPT_LOCKFUNC, lock_cookies);
    curl_share_setopt(client->cookies, CURLSHOPT_UNLOCKFUNC, unlock_cookies);
    curl_share_setopt(client->cookies, CURLSHOPT_USERDATA, client);
    curl_share_setopt(client->cookies, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    return 0;
}

/* ---- making and ending ---- */

void http_client_unref(filch_http_client *client)
{
    /* [http-client-ref] who comes last sees what the others did */
    if (filch_fetch_sub_acq_rel(&client->refs, 1) != 1)
        return;
    for (size_t i = 0; i < sizeof(client->texts) / sizeof(*client->texts); i++)
        free(client->texts[i]);
    for (unsigned i = 0; i < client->shard_count; i++)
        http_shard_fini(&client->shards[i]);
    pthread_mutex_destroy(&client->cookies_lock);
    pthread_mutex_destroy(&client->begin_lock);
    free(client->shards);
    free(client);
}

static int copy_opts(filch_http_client *client, const filch_http_client_opts *opts)
{
    filch_http_client_opts *o = &client->opts;
    const char **texts[HTTP_CLIENT_TEXTS] = {&o->user_agent, &o->proxy,       &o->ca_file,
                                             &o->ca_dir,     &o->cert_file,   &o->key_file,
                                             &o->ciphers,    &o->ciphersuites};

    if (opts)
        *o = *opts;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (!*texts[i])
            continue;
        client->texts[i] = strdup(*texts[i]);
        if (!client->texts[i])
            return -ENOMEM;
        *texts[i] = client->texts[i];
    }
    o->connections_max = o->connections_max ?: 256;
    o->host_connections_max = o->host_connections_max ?: 64;
    o->redirects_max = o->redirects_max ?: 10;
    o->retries = o->no_retries ? 0 : o->retries ?: 2;
    o->connect_ns = o->connect_ns ?: 10 * FILCH_SECOND;
    o->stall_ns = o->stall_ns ?: 60 * FILCH_SECOND;
    o->body_bytes_max = o->body_bytes_max ?: (size_t)64 * 1024 * 1024;
    return 0;
}

/* What libcurl gets wrong, by its version. Before 8.1 it gives bytes of a stream of HTTP/2 that is
 * held up out twice when others go on beside it on its connection. Before 8.0 it begins with HTTP/2
 * anew on a connection that has begun with it, without asking, for a request before. */
static void look_at_version(filch_http_client *client)
{
    unsigned version = curl_version_info(CURLVERSION_NOW)->version_num;

    client->may_share = version >= 0x080100;
    client->may_reuse_http2 = version >= 0x080000;
}

static bool is_valid(const filch_http_client_opts *opts)
{
    return !(opts->http1 && opts->http2) && !(opts->no_retries && opts->retries) &&
           opts->shards <= SHARDS_MAX && !(opts->no_redirects && opts->redirects_max) &&
           (!opts->cert_file == !opts->key_file) &&
           (!opts->tls_min || opts->tls_min == 12 || opts->tls_min == 13) &&
           (!opts->stall_ns || opts->stall_ns >= FILCH_SECOND);
}

int filch_http_client_new(const filch_http_client_opts *opts, filch_http_client **ret_client)
{
    filch_http_client *client;
    int r;

    if (!ret_client || (opts && !is_valid(opts)))
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK)
        return -ENOMEM;
    client = calloc(1, sizeof(*client));
    if (!client)
        return -ENOMEM;
    filch_atomic_init(&client->refs, 1);
    filch_atomic_init(&client->begun, 0);
    pthread_mutex_init(&client->begin_lock, NULL);
    pthread_mutex_init(&client->cookies_lock, NULL);
    client->group = filch_group_self() ?: FILCH_NO_GROUP;
    look_at_version(client);
    r = copy_opts(client, opts);
    if (r == 0)
        r = make_cookies(client);
    if (r == 0)
        r = make_shards(client);
    if (r < 0) {
        if (client->cookies)
            curl_share_cleanup(client->cookies);
        http_client_unref(client);
        return r;
    }
    *ret_client = client;
    return 0;
}

void filch_http_client_close(filch_http_client *client)
{
    unsigned begun;

    if (!client)
        return;
    pthread_mutex_lock(&client->begin_lock);
    client->closing = true;
    begun = filch_load_relaxed(&client->begun); /* under the lock */
    pthread_mutex_unlock(&client->begin_lock);
    while (begun)
        http_shard_stop(&client->shards[--begun]);
    if (client->cookies)
        curl_share_cleanup(client->cookies);
    http_client_unref(client);
}
