/* A chat over WebSocket, with its page: what one says, all hear.
 *
 *     chat ADDR       chat 127.0.0.1:8080, and a browser at http://127.0.0.1:8080/
 *
 * A handler leaves HTTP by an upgrade, and goes on in its task: it reads frames (RFC 6455) and
 * sends what is said into a broadcast. A second task of the connection writes what comes out of it.
 * Who is too slow to hear all misses some, and holds nobody up. */
#include <filch/filch.h>
#include <filch/http_server.h>

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX 1000

enum opcode {
    OP_CONTINUE = 0,
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
};

struct said {
    size_t bytes;
    char text[TEXT_MAX];
};

static filch_broadcast *room;

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>chat</title>\n"
    "<ul id=said></ul><form id=say><input id=text autofocus autocomplete=off "
    "maxlength=300></form>\n"
    "<script>\n"
    "const socket = new WebSocket(`ws://${location.host}/room`);\n"
    "socket.onmessage = (event) => {\n"
    "  said.appendChild(document.createElement('li')).textContent = event.data;\n"
    "};\n"
    "say.onsubmit = (event) => {\n"
    "  event.preventDefault(); socket.send(text.value); text.value = '';\n"
    "};\n"
    "</script>\n";

/* ---- frames ---- */

struct peer {
    filch_io io;
    filch_mutex lock; /* of writing: frames of two tasks */
    filch_broadcast_receiver ear;
};

static int read_exact(const filch_reader *reader, void *buf, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = reader->read(reader->context, (char *)buf + done, bytes - done, FILCH_NEVER);

        if (n <= 0)
            return n < 0 ? (int)n : -EPIPE;
        done += (size_t)n;
    }
    return 0;
}

/* @bytes: at most TEXT_MAX. */
static int write_frame(struct peer *peer, enum opcode opcode, const void *data, size_t bytes)
{
    unsigned char frame[4 + TEXT_MAX] = {(unsigned char)(0x80 | opcode)};
    size_t head = bytes < 126 ? 2 : 4, done = 0;
    ssize_t n = 0;

    frame[1] = (unsigned char)(bytes < 126 ? bytes : 126);
    if (head == 4) {
        frame[2] = (unsigned char)(bytes >> 8);
        frame[3] = (unsigned char)bytes;
    }
    if (bytes)
        memcpy(frame + head, data, bytes);
    FILCH_LOCKED(&peer->lock)
    {
        for (; n >= 0 && done<head + bytes; done += n> 0 ? (size_t)n : 0)
            n = peer->io.writer.write(peer->io.writer.context, frame + done, head + bytes - done,
                                      FILCH_NEVER);
    }
    return n < 0 ? (int)n : 0;
}

/* A frame of the peer's, unmasked. Return: its bytes; -EPROTO; -EMSGSIZE; what reading says. */
static ssize_t read_frame(struct peer *peer, unsigned char *ret_first, char *data, size_t most)
{
    unsigned char head[2], more[8], mask[4];
    uint64_t bytes;
    size_t more_bytes;
    int r = read_exact(&peer->io.reader, head, 2);

    if (r < 0)
        return r;
    if (head[0] & 0x70 || !(head[1] & 0x80) || (head[0] & 0x08 && (head[1] & 0x7f) > 125))
        return -EPROTO; /* an extension, no mask, or a long control frame */
    bytes = head[1] & 0x7f;
    more_bytes = bytes == 126 ? 2 : bytes == 127 ? 8 : 0;
    r = read_exact(&peer->io.reader, more, more_bytes);
    if (r == 0)
        r = read_exact(&peer->io.reader, mask, 4);
    if (r < 0)
        return r;
    if (more_bytes)
        bytes = 0;
    for (size_t i = 0; i < more_bytes; i++)
        bytes = bytes << 8 | more[i];
    if (bytes > most)
        return -EMSGSIZE;
    r = read_exact(&peer->io.reader, data, (size_t)bytes);
    for (size_t i = 0; r == 0 && i < bytes; i++)
        data[i] = (char)(data[i] ^ mask[i % 4]);
    *ret_first = head[0];
    return r < 0 ? r : (ssize_t)bytes;
}

/* ---- who is in the room ---- */

/* Return: 0: go on; 1: the peer says good-bye; an error. */
static int take_control(struct peer *peer, unsigned char first, const char *data, size_t bytes)
{
    switch (first & 0x0f) {
    case OP_PING:
        return write_frame(peer, OP_PONG, data, bytes);
    case OP_PONG:
        return 0;
    case OP_CLOSE:
        (void)!write_frame(peer, OP_CLOSE, data, bytes < 2 ? 0 : 2);
        return 1;
    default:
        return -EPROTO;
    }
}

/* Reads until the peer goes; what it says, in one frame or several, is broadcast. */
static int listen_to(struct peer *peer)
{
    struct said said;
    bool within = false; /* a message of several frames */
    int r = 0;

    while (r == 0) {
        char control[125];
        unsigned char first;
        ssize_t n;

        if (!within)
            said.bytes = 0;
        n = read_frame(peer, &first, said.text + said.bytes, TEXT_MAX - said.bytes);
        if (n < 0)
            return (int)n;
        if (first & 0x08) { /* may come between the frames of a message */
            if (n > (ssize_t)sizeof(control))
                return -EPROTO;
            memcpy(control, said.text + said.bytes, (size_t)n);
            r = first & 0x80 ? take_control(peer, first, control, (size_t)n) : -EPROTO;
            continue;
        }
        if ((first & 0x0f) != (within ? OP_CONTINUE : OP_TEXT))
            return -EPROTO;
        said.bytes += (size_t)n;
        within = !(first & 0x80);
        if (!within && filch_broadcast_send(room, &said, FILCH_NEVER) < 0)
            return -EPIPE;
    }
    return r < 0 ? r : 0;
}

static int speak_to(void *arg)
{
    struct peer *peer = arg;
    struct said said;
    int r;

    do {
        r = filch_broadcast_recv(&peer->ear, &said, NULL, FILCH_NEVER);
        if (r == 0)
            r = write_frame(peer, OP_TEXT, said.text, said.bytes);
    } while (r == 0 || r == -EOVERFLOW);
    return r;
}

/* The code of RFC 6455, 7.4.1 for what went wrong. */
static void say_why(struct peer *peer, int error)
{
    unsigned code = error == -EPROTO ? 1002 : error == -EMSGSIZE ? 1009 : 0;
    unsigned char data[2] = {(unsigned char)(code >> 8), (unsigned char)code};

    if (code)
        (void)!write_frame(peer, OP_CLOSE, data, 2);
}

static int be_in_room(struct peer *peer)
{
    int r = filch_broadcast_subscribe(room, &peer->ear);

    if (r < 0)
        return r;
    {
        FILCH_SCOPE_WITH(speaker, FILCH_SCOPE_IGNORE_ERRORS);
        r = filch_scope_spawn(&speaker, speak_to, peer);
        if (r == 0)
            r = listen_to(peer);
        say_why(peer, r);
    }
    filch_broadcast_unsubscribe(&peer->ear);
    return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

/* ---- HTTP ---- */

/* The answer to the peer's key: RFC 6455, 4.2.2. */
static bool accept_key(const char *key, char *ret_text)
{
    char text[128];
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_bytes;
    int n = snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);

    if (strlen(key) != 24 || n < 0 ||
        !EVP_Digest(text, (size_t)n, hash, &hash_bytes, EVP_sha1(), NULL))
        return false;
    return EVP_EncodeBlock((unsigned char *)ret_text, hash, (int)hash_bytes) == 28;
}

static int enter(filch_exchange *x, void *context)
{
    const char *key = filch_exchange_header(x, "Sec-WebSocket-Key");
    const char *version = filch_exchange_header(x, "Sec-WebSocket-Version");
    const char *upgrade = filch_exchange_header(x, "Upgrade");
    struct peer peer = {0};
    char answer[32];
    int r;

    (void)context;
    if (!key || !upgrade || strcasecmp(upgrade, "websocket") != 0 || !accept_key(key, answer))
        return 400;
    if (!version || strcmp(version, "13") != 0) {
        r = filch_exchange_set(x, "Sec-WebSocket-Version", "13");
        return r < 0 ? r : 426;
    }
    r = filch_exchange_set(x, "Sec-WebSocket-Accept", answer);
    if (r == 0)
        r = filch_exchange_upgrade(x, "websocket", &peer.io, FILCH_NEVER);
    if (r == -EPROTO)
        return 400;
    return r < 0 ? r : be_in_room(&peer);
}

static int give_page(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, "text/html; charset=utf-8", page, sizeof(page) - 1,
                                FILCH_NEVER);
}

static int serve(filch_http_server *server, const char *address)
{
    filch_shutdown_signals *signals = NULL;
    filch_listener *listener;
    filch_token *stop;
    char text[FILCH_ADDR_BYTES];
    int r = filch_listener_open(address, NULL, &listener);

    if (r < 0)
        return r;
    filch_listener_addr(listener, text);
    printf("listening on %s\n", text);
    fflush(stdout);
    r = filch_token_new(&stop);
    if (r == 0) {
        r = filch_shutdown_signals_open(stop, &signals);
        if (r == 0)
            r = filch_token_bind(stop); /* a signal cancels the serving, and all that are in it */
        if (r == 0)
            r = filch_http_serve(server, listener, FILCH_NEVER);
        filch_shutdown_signals_close(signals);
        filch_token_unref(stop);
    }
    filch_listener_close(listener);
    return r == -ECANCELED ? 0 : r;
}

static int chat_main(void *arg)
{
    filch_http_server *server;
    int r = filch_http_server_new(NULL, &server);

    if (r < 0)
        return r;
    r = filch_broadcast_new(sizeof(struct said), 64, 0, &room);
    if (r == 0)
        r = filch_http_route(server, "GET", "/", give_page, NULL);
    if (r == 0)
        r = filch_http_route(server, "GET", "/room", enter, NULL);
    if (r == 0)
        r = serve(server, arg);
    filch_http_server_free(server);
    filch_broadcast_unref(room);
    return r;
}

int main(int argc, char **argv)
{
    int r;

    if (argc != 2) {
        fprintf(stderr, "usage: %s ADDR\n", argv[0]);
        return 2;
    }
    r = filch_main(chat_main, argv[1], NULL);
    if (r < 0)
        fprintf(stderr, "chat: %s: %s\n", argv[1], filch_strerror(r));
    return r < 0;
}
