/* A key-value server that speaks RESP, the protocol of redis-cli and redis-benchmark.
 *
 *     resp_server ADDR [WORKERS]       resp_server 127.0.0.1:6379
 *
 * Each connection is a task that reads what has come, does all commands that are complete, and
 * sends their replies in one write. The store is shared by all workers: shards, each a hash table
 * behind a mutex that is held for one command on one key. Commands: PING, ECHO, GET, SET, DEL,
 * EXISTS, INCR, INCRBY, DECR, DBSIZE, FLUSHALL, and COMMAND, CONFIG, SELECT, QUIT as far as clients
 * need them. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHARDS 64
#define ARGS_MAX 64
#define BULK_MAX ((size_t)16 * 1024 * 1024) /* bytes of a key or value */
#define IN_BYTES ((size_t)16 * 1024)        /* grows for a larger command */
#define OUT_BYTES ((size_t)64 * 1024)

struct text {
    const char *bytes;
    size_t count;
};

/* ---- the store ---- */

struct entry {
    struct entry *next;
    uint64_t hash;
    size_t key_bytes, value_bytes;
    char *value;
    char key[];
};

struct shard {
    filch_mutex lock;
    struct entry **buckets;
    size_t size, count; /* buckets, a power of two; entries */
} __attribute__((aligned(64)));

static struct shard shards[SHARDS];

static uint64_t hash_of(struct text key)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (size_t i = 0; i < key.count; i++)
        hash = (hash ^ (unsigned char)key.bytes[i]) * 0x100000001b3;
    return hash ^ hash >> 29;
}

static struct shard *shard_of(uint64_t hash)
{
    return &shards[hash >> 58];
}

/* Where the entry is, or would be put. The shard is locked. */
static struct entry **find(struct shard *shard, struct text key, uint64_t hash)
{
    struct entry **at = &shard->buckets[hash & (shard->size - 1)];

    while (*at && ((*at)->hash != hash || (*at)->key_bytes != key.count ||
                   memcmp((*at)->key, key.bytes, key.count) != 0))
        at = &(*at)->next;
    return at;
}

static void grow(struct shard *shard)
{
    size_t size = shard->size * 2;
    struct entry **buckets = calloc(size, sizeof(*buckets));

    if (!buckets)
        return; /* longer chains */
    for (size_t i = 0; i < shard->size; i++) {
        for (struct entry *entry = shard->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            entry->next = buckets[entry->hash & (size - 1)];
            buckets[entry->hash & (size - 1)] = entry;
        }
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->size = size;
}

/* Return: 0; -ENOMEM: nothing has changed. */
static int put_locked(struct shard *shard, struct text key, uint64_t hash, struct text value)
{
    struct entry **at = find(shard, key, hash), *entry = *at;
    char *copy = malloc(value.count + 1);

    if (!copy)
        return -ENOMEM;
    if (!entry) {
        entry = malloc(sizeof(*entry) + key.count);
        if (!entry) {
            free(copy);
            return -ENOMEM;
        }
        *entry = (struct entry){.hash = hash, .key_bytes = key.count};
        memcpy(entry->key, key.bytes, key.count);
        *at = entry;
        shard->count++;
    }
    memcpy(copy, value.bytes, value.count);
    free(entry->value);
    entry->value = copy;
    entry->value_bytes = value.count;
    if (shard->count > shard->size)
        grow(shard);
    return 0;
}

static bool remove_locked(struct shard *shard, struct text key, uint64_t hash)
{
    struct entry **at = find(shard, key, hash), *entry = *at;

    if (!entry)
        return false;
    *at = entry->next;
    shard->count--;
    free(entry->value);
    free(entry);
    return true;
}

static void clear_locked(struct shard *shard)
{
    for (size_t i = 0; i < shard->size; i++) {
        for (struct entry *entry = shard->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            free(entry->value);
            free(entry);
        }
        shard->buckets[i] = NULL;
    }
    shard->count = 0;
}

/* ---- connections ---- */

struct client {
    filch_tcp *conn;
    char *in;
    size_t in_room, in_count, in_at; /* in[in_at..in_count) has come */
    size_t out_count;
    int error; /* of a write */
    bool quit;
    char out[OUT_BYTES];
};

static void flush(struct client *client)
{
    if (client->error == 0 && client->out_count)
        client->error =
            filch_tcp_write_all(client->conn, client->out, client->out_count, NULL, FILCH_NEVER);
    client->out_count = 0;
}

static void reply_bytes(struct client *client, const void *bytes, size_t count)
{
    if (client->out_count + count > OUT_BYTES)
        flush(client);
    if (count > OUT_BYTES) {
        if (client->error == 0)
            client->error = filch_tcp_write_all(client->conn, bytes, count, NULL, FILCH_NEVER);
        return;
    }
    memcpy(client->out + client->out_count, bytes, count);
    client->out_count += count;
}

#define REPLY(client, literal) reply_bytes((client), (literal), sizeof(literal) - 1)

/* "$3\r\n" or ":3\r\n". */
static void reply_number(struct client *client, char mark, long long number)
{
    char text[24];
    size_t at = sizeof(text);
    unsigned long long left =
        number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (number < 0)
        text[--at] = '-';
    text[--at] = mark;
    reply_bytes(client, text + at, sizeof(text) - at);
}

static void reply_bulk(struct client *client, struct text text)
{
    reply_number(client, '$', (long long)text.count);
    reply_bytes(client, text.bytes, text.count);
    REPLY(client, "\r\n");
}

/* ---- commands ---- */

typedef void (*command_fn)(struct client *client, const struct text *args, size_t count);

static void do_ping(struct client *client, const struct text *args, size_t count)
{
    if (count == 1)
        REPLY(client, "+PONG\r\n");
    else
        reply_bulk(client, args[1]);
}

static void do_get(struct client *client, const struct text *args, size_t count)
{
    uint64_t hash = hash_of(args[1]);
    struct shard *shard = shard_of(hash);
    struct text value = {NULL, 0};
    char small[1024], *copy = small;
    struct entry *entry = NULL;

    (void)count;
    FILCH_LOCKED(&shard->lock)
    {
        entry = *find(shard, args[1], hash);
        if (entry) { /* copied, as a reply may wait for the peer */
            value.count = entry->value_bytes;
            copy = value.count <= sizeof(small) ? small : malloc(value.count);
            if (copy)
                memcpy(copy, entry->value, value.count);
            value.bytes = copy;
        }
    }
    if (!entry)
        REPLY(client, "$-1\r\n");
    else if (!copy)
        REPLY(client, "-ERR out of memory\r\n");
    else
        reply_bulk(client, value);
    if (copy != small)
        free(copy);
}

static void do_set(struct client *client, const struct text *args, size_t count)
{
    uint64_t hash = hash_of(args[1]);
    struct shard *shard = shard_of(hash);
    int r = 0;

    if (count > 3) {
        REPLY(client, "-ERR syntax error\r\n");
        return;
    }
    FILCH_LOCKED(&shard->lock)
    {
        r = put_locked(shard, args[1], hash, args[2]);
    }
    if (r == 0)
        REPLY(client, "+OK\r\n");
    else
        REPLY(client, "-ERR out of memory\r\n");
}

/* DEL and EXISTS. */
static void count_keys(struct client *client, const struct text *args, size_t count, bool remove)
{
    unsigned n = 0;

    for (size_t i = 1; i < count; i++) {
        uint64_t hash = hash_of(args[i]);
        struct shard *shard = shard_of(hash);

        FILCH_LOCKED(&shard->lock)
        {
            n += remove ? remove_locked(shard, args[i], hash) : *find(shard, args[i], hash) != NULL;
        }
    }
    reply_number(client, ':', n);
}

static void do_del(struct client *client, const struct text *args, size_t count)
{
    count_keys(client, args, count, true);
}

static void do_exists(struct client *client, const struct text *args, size_t count)
{
    count_keys(client, args, count, false);
}

/* A whole number, and nothing else. */
static bool parse_number(struct text text, long long *ret_number)
{
    char digits[24], *end;

    if (!text.count || text.count >= sizeof(digits))
        return false;
    memcpy(digits, text.bytes, text.count);
    digits[text.count] = '\0';
    errno = 0;
    *ret_number = strtoll(digits, &end, 10);
    return !*end && digits[0] != ' ' && errno == 0;
}

static void add_to(struct client *client, struct text key, long long by)
{
    uint64_t hash = hash_of(key);
    struct shard *shard = shard_of(hash);
    long long number = 0;
    bool is_number = true;
    int r = 0;

    FILCH_LOCKED(&shard->lock)
    {
        struct entry *entry = *find(shard, key, hash);
        char digits[24];

        if (entry)
            is_number = parse_number((struct text){entry->value, entry->value_bytes}, &number);
        is_number = is_number && !__builtin_add_overflow(number, by, &number);
        if (is_number) {
            int n = snprintf(digits, sizeof(digits), "%lld", number);

            r = put_locked(shard, key, hash, (struct text){digits, (size_t)n});
        }
    }
    if (!is_number)
        REPLY(client, "-ERR value is not an integer or out of range\r\n");
    else if (r < 0)
        REPLY(client, "-ERR out of memory\r\n");
    else
        reply_number(client, ':', number);
}

static void do_incr(struct client *client, const struct text *args, size_t count)
{
    (void)count;
    add_to(client, args[1], 1);
}

static void do_decr(struct client *client, const struct text *args, size_t count)
{
    (void)count;
    add_to(client, args[1], -1);
}

static void do_incrby(struct client *client, const struct text *args, size_t count)
{
    long long by;

    (void)count;
    if (parse_number(args[2], &by))
        add_to(client, args[1], by);
    else
        REPLY(client, "-ERR value is not an integer or out of range\r\n");
}

static void do_dbsize(struct client *client, const struct text *args, size_t count)
{
    size_t n = 0;

    (void)args;
    (void)count;
    for (size_t i = 0; i < SHARDS; i++)
        FILCH_LOCKED(&shards[i].lock)
        {
            n += shards[i].count;
        }
    reply_number(client, ':', (long long)n);
}

static void do_flushall(struct client *client, const struct text *args, size_t count)
{
    (void)args;
    (void)count;
    for (size_t i = 0; i < SHARDS; i++)
        FILCH_LOCKED(&shards[i].lock)
        {
            clear_locked(&shards[i]);
        }
    REPLY(client, "+OK\r\n");
}

static void do_empty(struct client *client, const struct text *args, size_t count)
{
    (void)args;
    (void)count;
    REPLY(client, "*0\r\n");
}

static void do_ok(struct client *client, const struct text *args, size_t count)
{
    client->quit = args->count == 4 && count == 1; /* QUIT */
    REPLY(client, "+OK\r\n");
}

static const struct command {
    const char *name;
    command_fn fn;
    size_t least, most; /* arguments, with the name */
} commands[] = {
    {"GET", do_get, 2, 2},
    {"SET", do_set, 3, ARGS_MAX},
    {"INCR", do_incr, 2, 2},
    {"DECR", do_decr, 2, 2},
    {"INCRBY", do_incrby, 3, 3},
    {"DEL", do_del, 2, ARGS_MAX},
    {"PING", do_ping, 1, 2},
    {"ECHO", do_ping, 2, 2},
    {"EXISTS", do_exists, 2, ARGS_MAX},
    {"DBSIZE", do_dbsize, 1, 1},
    {"FLUSHALL", do_flushall, 1, 2},
    {"COMMAND", do_empty, 1, ARGS_MAX},
    {"CONFIG", do_empty, 1, ARGS_MAX},
    {"SELECT", do_ok, 2, 2},
    {"QUIT", do_ok, 1, 1},
};

static void reply_wrong_count(struct client *client, const char *name)
{
    REPLY(client, "-ERR wrong number of arguments for '");
    reply_bytes(client, name, strlen(name));
    REPLY(client, "' command\r\n");
}

static void run_command(struct client *client, const struct text *args, size_t count)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        const struct command *command = &commands[i];

        if (strlen(command->name) != args->count ||
            strncasecmp(command->name, args->bytes, args->count) != 0)
            continue;
        if (count < command->least || count > command->most)
            reply_wrong_count(client, command->name);
        else
            command->fn(client, args, count);
        return;
    }
    REPLY(client, "-ERR unknown command\r\n");
}

/* ---- parsing ---- */

/* A line that begins with @mark, and its number. Return: its bytes; 0: it is not there yet; -1. */
static ssize_t parse_line(const char *in, size_t bytes, char mark, size_t most, size_t *ret_number)
{
    size_t number = 0, at = 1;

    if (bytes && *in != mark)
        return -1;
    for (; at < bytes && in[at] >= '0' && in[at] <= '9'; at++) {
        number = number * 10 + (size_t)(in[at] - '0');
        if (number > most)
            return -1;
    }
    if (at + 1 >= bytes)
        return at < bytes && in[at] != '\r' ? -1 : 0;
    if (at == 1 || in[at] != '\r' || in[at + 1] != '\n')
        return -1;
    *ret_number = number;
    return (ssize_t)at + 2;
}

/* "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". Return: its bytes; 0: it is not there yet; -1: nonsense. */
static ssize_t parse_array(const char *in, size_t bytes, struct text *args, size_t *ret_count)
{
    size_t count, length;
    ssize_t at = parse_line(in, bytes, '*', ARGS_MAX, &count), n;

    if (at <= 0)
        return at;
    for (size_t i = 0; i < count; i++) {
        n = parse_line(in + at, bytes - (size_t)at, '$', BULK_MAX, &length);
        if (n <= 0)
            return n;
        at += n;
        if (bytes - (size_t)at < length + 2)
            return 0;
        args[i] = (struct text){in + at, length};
        at += (ssize_t)length + 2;
        if (in[at - 2] != '\r' || in[at - 1] != '\n')
            return -1;
    }
    *ret_count = count;
    return at;
}

/* "PING\r\n", as one types it. */
static ssize_t parse_inline(const char *in, size_t bytes, struct text *args, size_t *ret_count)
{
    const char *end = memchr(in, '\n', bytes), *stop;

    if (!end)
        return bytes < IN_BYTES ? 0 : -1;
    stop = end > in && end[-1] == '\r' ? end - 1 : end;
    *ret_count = 0;
    for (const char *c = in; c < stop;) {
        const char *begin = c;

        while (c < stop && *c != ' ')
            c++;
        if (c > begin && *ret_count == ARGS_MAX)
            return -1;
        if (c > begin)
            args[(*ret_count)++] = (struct text){begin, (size_t)(c - begin)};
        c += c < stop;
    }
    return end - in + 1;
}

/* Does all commands that are there as a whole. Return: 0; -EPROTO. */
static int run_commands(struct client *client)
{
    struct text args[ARGS_MAX];

    while (client->in_at < client->in_count && !client->quit && client->error == 0) {
        const char *in = client->in + client->in_at;
        size_t bytes = client->in_count - client->in_at, count = 0;
        ssize_t n = *in == '*' ? parse_array(in, bytes, args, &count)
                               : parse_inline(in, bytes, args, &count);

        if (n < 0) {
            REPLY(client, "-ERR Protocol error\r\n");
            return -EPROTO;
        }
        if (n == 0)
            return 0;
        client->in_at += (size_t)n;
        if (count)
            run_command(client, args, count);
    }
    return 0;
}

/* Room behind what has come: to the front with it, or into a larger buffer. */
static int make_room(struct client *client)
{
    client->in_count -= client->in_at;
    memmove(client->in, client->in + client->in_at, client->in_count);
    client->in_at = 0;
    if (client->in_count == client->in_room) {
        char *more = realloc(client->in, client->in_room * 2);

        if (!more)
            return -ENOMEM;
        client->in = more;
        client->in_room *= 2;
    }
    return 0;
}

static int serve_client(void *arg)
{
    struct client *client = malloc(sizeof(*client));
    ssize_t n = -ENOMEM;

    if (!client) {
        filch_tcp_close(arg);
        return -ENOMEM;
    }
    memset(client, 0, offsetof(struct client, out));
    client->conn = arg;
    client->in_room = IN_BYTES;
    client->in = malloc(IN_BYTES);
    while (client->in && client->error == 0 && !client->quit) {
        n = make_room(client);
        if (n == 0)
            n = filch_tcp_read(client->conn, client->in + client->in_count,
                               client->in_room - client->in_count, FILCH_NEVER);
        if (n <= 0)
            break;
        client->in_count += (size_t)n;
        n = run_commands(client);
        flush(client);
        if (n < 0)
            break;
    }
    filch_tcp_close(client->conn);
    free(client->in);
    free(client);
    return (int)n;
}

/* ---- the server ---- */

static int serve(const char *address, filch_token *stop)
{
    filch_listener *listener;
    char text[FILCH_ADDR_BYTES];
    filch_tcp *conn;
    int r = filch_listener_open(address, NULL, &listener);

    if (r < 0)
        return r;
    filch_listener_addr(listener, text);
    printf("listening on %s\n", text);
    fflush(stdout);
    FILCH_SCOPE_WITH(clients, FILCH_SCOPE_IGNORE_ERRORS);
    r = filch_token_bind(stop); /* the signal cancels the accept, and the scope its clients */
    while (r == 0 && (r = filch_listener_accept(listener, &conn, FILCH_NEVER)) == 0)
        if (filch_scope_spawn(&clients, serve_client, conn) < 0)
            filch_tcp_close(conn);
    filch_scope_cancel_join(&clients);
    filch_listener_close(listener);
    return r == -ECANCELED ? 0 : r;
}

static int resp_main(void *arg)
{
    filch_shutdown_signals *signals;
    filch_token *stop;
    int r = filch_token_new(&stop);

    if (r < 0)
        return r;
    r = filch_shutdown_signals_open(stop, &signals);
    if (r == 0) {
        r = serve(arg, stop);
        filch_shutdown_signals_close(signals);
    }
    filch_token_unref(stop);
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {0};
    int r = 0;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s ADDR [WORKERS]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        opts.workers = (unsigned)strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < SHARDS && r == 0; i++) {
        filch_mutex_init(&shards[i].lock);
        shards[i].size = 64;
        shards[i].buckets = calloc(shards[i].size, sizeof(struct entry *));
        if (!shards[i].buckets)
            r = -ENOMEM;
    }
    if (r == 0)
        r = filch_main(resp_main, argv[1], &opts);
    for (size_t i = 0; i < SHARDS; i++) {
        if (shards[i].buckets)
            clear_locked(&shards[i]);
        free(shards[i].buckets);
    }
    if (r < 0)
        fprintf(stderr, "resp_server: %s: %s\n", argv[1], filch_strerror(r));
    return r < 0;
}
