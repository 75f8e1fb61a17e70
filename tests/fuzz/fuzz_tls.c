/* Description: any bytes as what a peer of TLS sends, and conversations of two honest ends with
 * somebody in between who changes, drops, inserts and cuts. All ends come to an end; what one of
 * them reads is what the other one wrote, from its beginning on; an end that is told is the real
 * one.
 *
 * Built for libFuzzer by clang with -Dfuzz=enabled; otherwise linked with replay.c, which runs the
 * corpus as a test. The first byte says which end is fed, or how two are disturbed; then come the
 * bytes, or edits of four bytes each: where (two), which direction and what, how much. */
#include "tests/runner/tls_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum mode {
    MODE_TALK = 1,   /* two honest ends; else one is fed with the bytes */
    MODE_CLIENT = 2, /* it is the one */
    MODE_RESUME = 4, /* the talk goes on with a session of one before */
    MODE_PIECES = 8, /* at most 7 bytes a read */
};

enum edit_kind { EDIT_XOR, EDIT_DROP, EDIT_INSERT, EDIT_CUT };

#define EDITS 16
#define SAID 5000

struct edit {
    size_t at; /* byte of what is read */
    enum edit_kind kind;
    unsigned direction, value;
    bool used;
};

struct input {
    unsigned mode;
    const uint8_t *fed;
    size_t fed_bytes;
    struct edit edits[EDITS];
};

/* A stream below, and what becomes of what is read from it. */
struct middle {
    struct input *input;
    filch_duplex *end; /* NULL: it is fed */
    struct middle *peer;
    unsigned direction;
    size_t at;
    bool waits; /* and nothing has been written for it */
};

static filch_runtime *rt;
static filch_tls_context *contexts[2]; /* a client's, a server's */
static char said[SAID];

/* The edit at this place; else NULL, and *bytes do not go beyond the next one. */
static struct edit *look(struct middle *m, size_t *bytes)
{
    for (struct edit *edit = m->input->edits; edit < m->input->edits + EDITS; edit++) {
        if (edit->used || edit->direction != m->direction || edit->at < m->at)
            continue;
        if (edit->at == m->at)
            return edit;
        if (*bytes > edit->at - m->at)
            *bytes = edit->at - m->at;
    }
    return NULL;
}

/* Where bytes were dropped both may wait for the other one: then somebody hangs up. */
static ssize_t read_some(struct middle *m, void *buf, size_t bytes, filch_time until)
{
    ssize_t n = filch_duplex_read(m->end, buf, bytes, FILCH_NOW);

    if (n == -ETIMEDOUT) {
        if (m->peer->waits)
            return 0;
        m->waits = true;
        n = filch_duplex_read(m->end, buf, bytes, until);
        m->waits = false;
    }
    m->at += n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t read_edited(struct middle *m, char *buf, size_t bytes, filch_time until)
{
    struct edit *edit = look(m, &bytes);
    char dropped[256];
    ssize_t n;

    if (!edit)
        return read_some(m, buf, bytes, until);
    if (edit->kind == EDIT_CUT) /* for good */
        return 0;
    edit->used = true;
    switch (edit->kind) {
    case EDIT_INSERT:
        bytes = bytes < edit->value + 1 ? bytes : edit->value + 1;
        memset(buf, (int)edit->value, bytes);
        return (ssize_t)bytes;
    case EDIT_DROP:
        n = read_some(m, dropped, edit->value + 1, until);
        return n > 0 ? read_edited(m, buf, bytes, until) : n;
    default:
        n = read_some(m, buf, 1, until);
        *buf = (char)(*buf ^ (n > 0 ? (char)edit->value : 0));
        return n;
    }
}

static ssize_t read_fed(struct middle *m, void *buf, size_t bytes)
{
    size_t left = m->input->fed_bytes - m->at;
    size_t n = left < bytes ? left : bytes;

    memcpy(buf, m->input->fed + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static ssize_t middle_read(void *context, void *buf, size_t bytes, filch_time until)
{
    struct middle *m = context;

    if (m->input->mode & MODE_PIECES && bytes > 7)
        bytes = 7;
    return m->end ? read_edited(m, buf, bytes, until) : read_fed(m, buf, bytes);
}

static ssize_t middle_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct middle *m = context;

    if (!m->end)
        return (ssize_t)bytes;
    m->peer->waits = false;
    return filch_duplex_write(m->end, buf, bytes, until);
}

static int begin(struct middle *m, bool client, filch_tls **ret_tls, filch_error *error)
{
    filch_io io = {.reader = {.read = middle_read, .context = m},
                   .writer = {.write = middle_write, .context = m}};

    return client ? filch_tls_connect(contexts[0], io, "localhost", ret_tls, error, T_LIMIT)
                  : filch_tls_accept(contexts[1], io, ret_tls, error, T_LIMIT);
}

/* ---- one end, fed ---- */

/* Nobody who does not have the key gets through. */
static void feed(struct input *input)
{
    struct middle m = {.input = input};
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls = NULL;
    int r = begin(&m, input->mode & MODE_CLIENT, &tls, &error);

    T_CHECK(r < 0 && r != -ETIMEDOUT && r != -ECANCELED && !tls);
    T_CHECK(error.code == r && *error.text);
}

/* ---- two ends ---- */

struct speaker {
    struct middle m;
    bool is_client, told_end; /* it has written all, and its end */
    struct speaker *other;
};

static int read_said(struct speaker *side, filch_tls *tls)
{
    char buf[1500];
    size_t done = 0;
    ssize_t n;

    while ((n = filch_tls_read(tls, buf, sizeof(buf), T_LIMIT)) > 0) {
        T_CHECK(done + (size_t)n <= SAID && memcmp(buf, said + done, (size_t)n) == 0);
        done += (size_t)n;
    }
    if (n == 0)
        T_CHECK(done == SAID && side->other->told_end);
    else
        T_CHECK(filch_tls_read(tls, buf, 1, T_LIMIT) == n); /* it stays */
    return (int)n;
}

static int write_said(struct speaker *side, filch_tls *tls)
{
    int r = filch_tls_write_all(tls, said, SAID, NULL, T_LIMIT);

    if (r < 0)
        return r;
    side->told_end = true;
    return filch_tls_finish(tls, T_LIMIT);
}

/* The client asks, the server answers when it has heard all. */
static int take_part(void *arg)
{
    struct speaker *side = arg;
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls = NULL;
    int r = begin(&side->m, side->is_client, &tls, &error);

    if (r == 0)
        r = side->is_client ? write_said(side, tls) : read_said(side, tls);
    if (r == 0)
        r = side->is_client ? read_said(side, tls) : write_said(side, tls);
    T_CHECK(r != -ETIMEDOUT && r != -ECANCELED);
    filch_tls_free(tls);
    filch_duplex_free(side->m.end);
    return r;
}

static void talk(struct input *input, bool well)
{
    struct speaker sides[2] = {{.is_client = true, .m = {.input = input, .direction = 0}},
                               {.m = {.input = input, .direction = 1}}};
    filch_task *server;
    int r[2];

    for (int i = 0; i < 2; i++) {
        sides[i].other = &sides[1 - i];
        sides[i].m.peer = &sides[1 - i].m;
    }
    T_OK(filch_duplex_new(65536, &sides[0].m.end, &sides[1].m.end));
    server = spawn(take_part, &sides[1]);
    r[0] = take_part(&sides[0]);
    r[1] = join(server);
    if (well)
        T_CHECK(r[0] == 0 && r[1] == 0);
}

/* ---- inputs ---- */

static int run_input(void *arg)
{
    struct input *input = arg;
    struct input none = {.mode = input->mode};

    if (!(input->mode & MODE_TALK)) {
        feed(input);
        return 0;
    }
    for (unsigned i = 0; i < EDITS; i++)
        none.edits[i].used = true;
    if (input->mode & MODE_RESUME)
        talk(&none, true);
    talk(input, false);
    return 0;
}

static void begin_fuzzing(void)
{
    T_OK(filch_runtime_start(&(filch_runtime_opts){.current_thread = true}, &rt));
    make_contexts("DNS:localhost", 0, 36000, &contexts[0], &contexts[1]);
    for (int i = 0; i < SAID; i++)
        said[i] = (char)(i * 7 + i / 251);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct input input;

    if (!bytes || bytes > 16384)
        return 0;
    if (!rt)
        begin_fuzzing();
    input = (struct input){.mode = data[0], .fed = data + 1, .fed_bytes = bytes - 1};
    for (unsigned i = 0; i < EDITS; i++) {
        const uint8_t *edit = data + 1 + (size_t)4 * i;
        bool there = bytes >= 5 + (size_t)4 * i;

        input.edits[i] = (struct edit){.used = !there};
        if (there)
            input.edits[i] = (struct edit){.at = edit[0] + 256u * edit[1],
                                           .direction = edit[2] & 1,
                                           .kind = (enum edit_kind)(edit[2] >> 1 & 3),
                                           .value = edit[3]};
    }
    T_OK(filch_runtime_block_on(rt, run_input, &input, NULL, FILCH_NEVER));
    return 0;
}
