/* The files of a directory over HTTP: GET with ranges and conditions, PUT with a body that goes to
 * the disk as it comes.
 *
 *     http_files ADDR DIRECTORY       http_files 127.0.0.1:8080 /srv/files
 *     curl -T big.iso http://127.0.0.1:8080/big.iso; curl -C - -O http://127.0.0.1:8080/big.iso
 *
 * Each answer is a line on stderr. SIGTERM and SIGINT end it gracefully. */
#include <filch/filch.h>
#include <filch/http_server.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct service {
    const char *addr, *folder;
    filch_http_server *server;
};

/* Copies the body into a file. The writer of a name waits for nobody: the last one wins. */
static int receive(filch_exchange *x, filch_file *file)
{
    char buf[16384];
    ssize_t n;
    int r = 0;

    while (r == 0 && (n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) != 0)
        r = n < 0 ? (int)n : filch_file_write_all(file, buf, (size_t)n, NULL, FILCH_NEVER);
    return r;
}

static int put(filch_exchange *x, void *context)
{
    const struct service *service = context;
    const char *name = filch_exchange_param(x, "name");
    char part[512], path[512];
    filch_file *file;
    int r;

    if (*name == '.' || strchr(name, '/'))
        return 404;
    if (snprintf(path, sizeof(path), "%s/%s", service->folder, name) >= (int)sizeof(path) ||
        snprintf(part, sizeof(part), "%s/.%s.%p", service->folder, name, (void *)x) >=
            (int)sizeof(part))
        return 414;
    r = filch_file_open(part, O_WRONLY | O_CREAT | O_EXCL, 0644, &file, FILCH_NEVER);
    if (r < 0)
        return r;
    r = receive(x, file);
    if (r == 0)
        r = filch_file_close(file);
    else
        filch_file_close(file);
    if (r == 0)
        r = filch_path_rename(part, path, FILCH_NEVER);
    if (r < 0)
        FILCH_SHIELD(FILCH_NEVER)
        {
            (void)!filch_path_unlink(part, FILCH_NEVER);
        }
    return r < 0 ? r : filch_exchange_reply(x, 201, "text/plain", "stored\n", 7, FILCH_NEVER);
}

static void log_answer(void *context, const filch_http_access *access)
{
    char peer[FILCH_ADDR_BYTES] = "-";

    (void)context;
    filch_tcp_peer_addr(access->conn, peer);
    fprintf(stderr, "%s \"%s %s\" %d %llu %.3f ms%s\n", peer, access->method, access->target,
            access->status, (unsigned long long)access->body_bytes,
            (double)access->duration_ns / 1e6, access->complete ? "" : " cut off");
}

static int run(void *arg)
{
    struct service *service = arg;
    const filch_http_server_opts opts = {.body_bytes_max = UINT64_MAX, .access = log_answer};
    char addr[FILCH_ADDR_BYTES];
    filch_listener *listener;
    int r = filch_http_server_new(&opts, &service->server);

    if (r == 0)
        r = filch_http_route(service->server, "PUT", "/{name}", put, service);
    if (r == 0)
        r = filch_http_route_files(service->server, "/", service->folder);
    if (r == 0)
        r = filch_listener_open(service->addr, NULL, &listener);
    if (r == 0) {
        filch_listener_addr(listener, addr);
        printf("listening on %s\n", addr);
        fflush(stdout);
        r = filch_http_serve_until_signal(service->server, listener, 5 * FILCH_SECOND, FILCH_NEVER);
        filch_listener_close(listener);
    }
    filch_http_server_free(service->server);
    return r;
}

int main(int argc, char **argv)
{
    struct service service = {0};
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDR DIRECTORY\n", argv[0]);
        return 2;
    }
    service.addr = argv[1];
    service.folder = argv[2];
    r = filch_main(run, &service, NULL);
    if (r < 0)
        fprintf(stderr, "http_files: %s: %s\n", argv[1], filch_strerror(r));
    return r < 0;
}
