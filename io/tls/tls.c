/* Connections: reads and writes, and the end.
 *
 *     caller's bytes                                              the stream below
 *        read   <-- SSL_read  <-- in  <--------------------- fill (waits; in_lock)
 *        write  --> SSL_write --> out --swap--> sending ---> send (waits; out_lock)
 *                   `lock`, never across a wait
 *
 * A step is one call of OpenSSL under `lock`, with the error queue emptied before and read after
 * it, on one thread. Waiting is done between steps.
 *
 *   I1  in_lock: one reader fills `in`; OpenSSL takes from it. OpenSSL asks for more only when `in`
 *       is empty, so filling moves nothing that is in use.
 *   I2  out_lock: one caller sends. `out` grows under `lock` meanwhile; what is being sent lies in
 *       `sending`, which only the sender touches.
 *   I3  Nobody who has out_lock waits for in_lock.
 *   I4  What a reader has OpenSSL say (an answer to a change of keys) is sent by the reader if
 *       out_lock is free, else by who has it: after giving it up a sender looks again whether there
 *       is something, and both look under `lock`. So a reader does not wait for a writer that waits
 *       for the peer, who may be waiting for the reader.
 *   I5  The two directions of the stream below fail apart: after a failed send what the peer has
 * sent is still read, and a failed read leaves writing alone. I6  What was taken for writing is
 * encrypted and has its place in the order; a sender that gives up leaves it in `sending`, and
 * whoever calls next sends it first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "io/tls/tls.h"

/* Most that is encrypted before it is sent. */
#define WRITE_BYTES ((size_t)2 * FILCH__TLS_RECORD_BYTES)
/* A peer that makes us answer must read the answers: beyond this a reader waits for that. */
#define ANSWER_BYTES ((size_t)64 * 1024)
/* What OpenSSL may need of a stack. */
#define STACK_BYTES ((size_t)48 * 1024)

/* ---- one call of OpenSSL ---- */

/* Of a connection that is of no use any more. */
static ssize_t break_with(filch_tls *tls, int code)
{
    tls->broken = code;
    return code;
}

static ssize_t failed(filch_tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return break_with(tls, filch__tls_explain(tls, &tls->failure));
    }
}

static ssize_t write_records(filch_tls *tls, const char *buf, size_t bytes)
{
    size_t done = 0;

    if (tls->finished)
        return filch_error_set(&tls->failure, -EPIPE, "writing after the end was told");
    while (done < bytes) {
        size_t n = bytes - done < FILCH__TLS_RECORD_BYTES ? bytes - done : FILCH__TLS_RECORD_BYTES;
        int r = SSL_write(tls->ssl, buf + done, (int)n);

        if (r <= 0)
            return done > 0 ? (ssize_t)done : failed(tls, r);
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static ssize_t run_verb(struct filch__tls_step *step)
{
    filch_tls *tls = step->tls;
    int r;

    switch (step->verb) {
    case FILCH__TLS_HANDSHAKE:
        r = SSL_do_handshake(tls->ssl);
        return r == 1 ? 0 : failed(tls, r);
    case FILCH__TLS_READ:
        r = SSL_read(tls->ssl, step->buf, step->bytes < INT32_MAX ? (int)step->bytes : INT32_MAX);
        return r > 0 ? r : failed(tls, r);
    case FILCH__TLS_WRITE:
        return write_records(tls, step->buf, step->bytes);
    case FILCH__TLS_FINISH:
        if (tls->finished)
            return 0;
        r = SSL_shutdown(tls->ssl);
        if (r < 0)
            return failed(tls, r);
        tls->finished = true;
        return 0;
    }
    return -EINVAL;
}

/* ThreadSanitizer sees what OpenSSL has libc read and free, and not its own counts of who uses it:
 * a session that several connections resume is read by one and freed by another, in that order. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define OPENSSL_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define OPENSSL_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#endif
#endif
#ifndef OPENSSL_BEGIN
#define OPENSSL_BEGIN() ((void)0)
#define OPENSSL_END() ((void)0)
#endif

static ssize_t call_openssl(struct filch__tls_step *step)
{
    ssize_t r;

    ERR_clear_error();
    OPENSSL_BEGIN();
    r = run_verb(step);
    OPENSSL_END();
    return r;
}

static int take_step(void *arg)
{
    struct filch__tls_step *step = arg;
    filch_tls *tls = step->tls;

    pthread_mutex_lock(&tls->lock);
    step->result = tls->broken ? tls->broken : call_openssl(step);
    step->to_send = !tls->out_broken && (tls->unsent || filch__tls_buffered(&tls->out) > 0);
    pthread_mutex_unlock(&tls->lock);
    return 0;
}

int filch__tls_take(struct filch__tls_step *step, filch_time until)
{
    filch_task_opts opts = {.name = "tls"};

    if (step->verb == FILCH__TLS_HANDSHAKE)
        opts.blocking_class = step->tls->setup->handshake_class;
    if (!opts.blocking_class && filch_task_stack_left() >= STACK_BYTES)
        return take_step(step);
    return filch_blocking_run(take_step, step, &opts, NULL, until);
}

/* ---- the stream below ---- */

/* The stream below is as it was. */
static bool is_no_failure(ssize_t r)
{
    return r >= 0 || r == -ETIMEDOUT || r == -ECANCELED || r == -ENOMEM;
}

/* Keeps what a call says, for filch_tls_failure(). */
static int note_failure(filch_tls *tls, ssize_t r, const char *words)
{
    pthread_mutex_lock(&tls->lock);
    filch_error_set(&tls->failure, (int)r, "%s", words ? words : filch_strerror((int)r));
    pthread_mutex_unlock(&tls->lock);
    return (int)r;
}

/* A stream that takes nothing more may still bring what the peer has sent. */
static int break_out(filch_tls *tls, int code)
{
    note_failure(tls, code, NULL);
    pthread_mutex_lock(&tls->lock);
    tls->out_broken = code;
    pthread_mutex_unlock(&tls->lock);
    return code;
}

/* Moves what OpenSSL has written to where it is sent from. */
static void swap_buffers(filch_tls *tls)
{
    struct filch__tls_buffer sent = tls->sending;

    pthread_mutex_lock(&tls->lock);
    sent.begin = sent.end = 0;
    tls->sending = tls->out;
    tls->out = sent;
    tls->unsent = false;
    pthread_mutex_unlock(&tls->lock);
}

int filch__tls_send(filch_tls *tls, filch_time until)
{
    struct filch__tls_buffer *sending = &tls->sending;
    ssize_t n;

    if (tls->out_broken) /* written under out_lock */
        return tls->out_broken;
    for (;;) {
        if (filch__tls_buffered(sending) == 0)
            swap_buffers(tls);
        if (filch__tls_buffered(sending) == 0)
            return 0;
        n = tls->io.writer.write(tls->io.writer.context, sending->bytes + sending->begin,
                                 filch__tls_buffered(sending), until);
        if (n > 0 && (size_t)n <= filch__tls_buffered(sending)) {
            sending->begin += (size_t)n;
            continue;
        }
        if (is_no_failure(n) && n < 0) {
            pthread_mutex_lock(&tls->lock);
            tls->unsent = true;
            pthread_mutex_unlock(&tls->lock);
            return (int)n;
        }
        return break_out(tls, n < 0 ? (int)n : -EIO);
    }
}

static bool has_to_send(filch_tls *tls)
{
    bool has;

    pthread_mutex_lock(&tls->lock);
    has = !tls->broken && !tls->out_broken && (tls->unsent || filch__tls_buffered(&tls->out) > 0);
    pthread_mutex_unlock(&tls->lock);
    return has;
}

/* Sends what there is unless somebody else does (I4). Return: 0; as filch__tls_send(). */
static int send_what_is_left(filch_tls *tls, filch_time until)
{
    int r = 0;

    while (r == 0 && has_to_send(tls) && filch_mutex_try_lock(&tls->out_lock) == 0) {
        r = filch__tls_send(tls, until);
        filch_mutex_unlock(&tls->out_lock);
    }
    return r;
}

/* Gives out_lock up. */
static void stop_sending(filch_tls *tls)
{
    filch_mutex_unlock(&tls->out_lock);
    (void)send_what_is_left(tls, FILCH_NOW);
}

int filch__tls_fill(filch_tls *tls, filch_time until)
{
    struct filch__tls_buffer *in = &tls->in;
    ssize_t n;

    if (tls->in_broken)
        return tls->in_broken;
    if (tls->in_ended)
        return note_failure(tls, -ECONNRESET,
                            "the stream below ended without a close_notify: it was cut off");
    if (!filch__tls_buffer_reserve(in, FILCH__TLS_RECORD_BYTES))
        return -ENOMEM;
    n = tls->io.reader.read(tls->io.reader.context, in->bytes + in->end, in->room - in->end, until);
    if (n > (ssize_t)(in->room - in->end))
        n = -EIO;
    if (n < 0)
        return is_no_failure(n) ? (int)n : (tls->in_broken = note_failure(tls, n, NULL));
    tls->in_ended = n == 0;
    pthread_mutex_lock(&tls->lock);
    in->end += (size_t)n;
    pthread_mutex_unlock(&tls->lock);
    return n > 0 ? 0 : filch__tls_fill(tls, until);
}

/* ---- reading ---- */

/* Before a reader waits for the peer, the peer must have what it may be waiting for. Where nothing
 * can be sent any more it is read on: what has come is not lost. */
static int send_answers(filch_tls *tls, filch_time until)
{
    size_t waiting;
    int r = send_what_is_left(tls, until);

    if (r < 0)
        return is_no_failure(r) ? r : 0;
    pthread_mutex_lock(&tls->lock);
    waiting = filch__tls_buffered(&tls->out);
    pthread_mutex_unlock(&tls->lock);
    if (waiting <= ANSWER_BYTES)
        return 0;
    r = filch_mutex_lock(&tls->out_lock, until);
    if (r < 0)
        return r;
    r = filch__tls_send(tls, until);
    stop_sending(tls);
    return is_no_failure(r) ? r : 0;
}

static ssize_t read_locked(filch_tls *tls, void *buf, size_t bytes, filch_time until)
{
    struct filch__tls_step step = {.tls = tls, .verb = FILCH__TLS_READ, .buf = buf, .bytes = bytes};
    int r;

    for (;;) {
        r = filch__tls_take(&step, until);
        if (r < 0)
            return r;
        if (step.result != -EAGAIN) {
            if (step.to_send)
                (void)send_what_is_left(tls, FILCH_NOW);
            return step.result;
        }
        r = step.to_send ? send_answers(tls, until) : 0;
        if (r == 0)
            r = filch__tls_fill(tls, until);
        if (r < 0)
            return r;
    }
}

ssize_t filch_tls_read(filch_tls *tls, void *buf, size_t bytes, filch_time until)
{
    ssize_t n;

    if (!tls || (!buf && bytes > 0))
        return -EINVAL;
    if (bytes == 0)
        return 0;
    n = filch_mutex_lock(&tls->in_lock, until);
    if (n < 0)
        return n;
    n = read_locked(tls, buf, bytes, until);
    filch_mutex_unlock(&tls->in_lock);
    return n;
}

int filch_tls_read_exact(filch_tls *tls, void *buf, size_t bytes, size_t *ret_done,
                         filch_time until)
{
    size_t done = 0;
    ssize_t n = tls && (buf || bytes == 0) ? 1 : -EINVAL;

    while (n > 0 && done < bytes) {
        n = filch_tls_read(tls, (char *)buf + done, bytes - done, until);
        done += n > 0 ? (size_t)n : 0;
    }
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : done < bytes ? -EPIPE : 0;
}

/* ---- writing, and the end ---- */

/* Has OpenSSL take something and sends it; the caller has out_lock. */
static ssize_t write_locked(struct filch__tls_step *step, filch_time until)
{
    int r = filch__tls_send(step->tls, until); /* what is left of earlier calls */

    if (r == 0)
        r = filch__tls_take(step, until);
    if (r < 0)
        return r;
    if (step->result < 0 && step->result != -EAGAIN) {
        (void)filch__tls_send(step->tls, FILCH_NOW); /* an alert */
        return step->result;
    }
    r = filch__tls_send(step->tls, until);
    return is_no_failure(r) && step->verb == FILCH__TLS_WRITE ? step->result : r;
}

static ssize_t take_and_send(struct filch__tls_step *step, filch_time until)
{
    ssize_t n = filch_mutex_lock(&step->tls->out_lock, until);

    if (n < 0)
        return n;
    n = write_locked(step, until);
    stop_sending(step->tls);
    return n == -EAGAIN ? -EPROTO : n; /* nothing that is allowed makes writing wait for reading */
}

ssize_t filch_tls_write(filch_tls *tls, const void *buf, size_t bytes, filch_time until)
{
    struct filch__tls_step step = {.tls = tls, .verb = FILCH__TLS_WRITE, .buf = (char *)buf};

    if (!tls || (!buf && bytes > 0))
        return -EINVAL;
    step.bytes = bytes < WRITE_BYTES ? bytes : WRITE_BYTES;
    return bytes == 0 ? 0 : take_and_send(&step, until);
}

int filch_tls_write_all(filch_tls *tls, const void *buf, size_t bytes, size_t *ret_done,
                        filch_time until)
{
    size_t done = 0;
    ssize_t n = tls && (buf || bytes == 0) ? 0 : -EINVAL;

    while (n >= 0 && done < bytes) {
        n = filch_tls_write(tls, (const char *)buf + done, bytes - done, until);
        done += n > 0 ? (size_t)n : 0;
    }
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}

int filch_tls_finish(filch_tls *tls, filch_time until)
{
    struct filch__tls_step step = {.tls = tls, .verb = FILCH__TLS_FINISH};

    return tls ? (int)take_and_send(&step, until) : -EINVAL;
}

void filch_tls_free(filch_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    free(tls->in.bytes);
    free(tls->out.bytes);
    free(tls->sending.bytes);
    filch_mutex_fini(&tls->in_lock);
    filch_mutex_fini(&tls->out_lock);
    pthread_mutex_destroy(&tls->lock);
    filch__tls_setup_unref(tls->setup);
    filch_tls_context_unref(tls->context);
    free(tls);
}

/* ---- a connection as a reader and a writer ---- */

static ssize_t read_tls(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_tls_read(context, buf, bytes, until);
}

static ssize_t write_tls(void *context, const void *buf, size_t bytes, filch_time until)
{
    return filch_tls_write(context, buf, bytes, until);
}

static int finish_tls(void *context, filch_time until)
{
    return filch_tls_finish(context, until);
}

filch_reader filch_tls_reader(filch_tls *tls)
{
    return (filch_reader){.read = read_tls, .context = tls};
}

filch_writer filch_tls_writer(filch_tls *tls)
{
    return (filch_writer){.write = write_tls, .finish = finish_tls, .context = tls};
}

filch_io filch_tls_io(filch_tls *tls)
{
    return (filch_io){.reader = filch_tls_reader(tls), .writer = filch_tls_writer(tls)};
}
