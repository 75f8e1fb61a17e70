/* OpenSSL's end of the stream below: two buffers.
 *
 * The callbacks never wait. What is not there is asked for by a retry, upon which OpenSSL comes
 * back with SSL_ERROR_WANT_READ and whoever called it waits, outside of OpenSSL: its error queue
 * belongs to a thread, and a task may go on in another one. Writing always succeeds, for a record
 * that is written in part must be written again with the same bytes, which a cancel could prevent;
 * those who write see to it that the buffer is sent before it grows. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "io/tls/tls.h"

struct ends {
    struct filch__tls_buffer *in;
    struct filch__tls_buffer *out;
};

bool filch__tls_buffer_reserve(struct filch__tls_buffer *buffer, size_t bytes)
{
    size_t used = filch__tls_buffered(buffer);
    size_t room = buffer->room ? buffer->room : 1024;
    char *grown;

    if (buffer->begin > 0) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
    }
    if (buffer->room - used >= bytes)
        return true;
    while (room - used < bytes)
        room *= 2;
    grown = realloc(buffer->bytes, room);
    if (!grown)
        return false;
    buffer->bytes = grown;
    buffer->room = room;
    return true;
}

static int ends_read(BIO *bio, char *buf, size_t bytes, size_t *ret_read)
{
    struct filch__tls_buffer *in = ((struct ends *)BIO_get_data(bio))->in;
    size_t n = filch__tls_buffered(in);

    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    n = n < bytes ? n : bytes;
    memcpy(buf, in->bytes + in->begin, n);
    in->begin += n;
    *ret_read = n;
    return 1;
}

static int ends_write(BIO *bio, const char *buf, size_t bytes, size_t *ret_written)
{
    struct filch__tls_buffer *out = ((struct ends *)BIO_get_data(bio))->out;

    BIO_clear_retry_flags(bio);
    if (!filch__tls_buffer_reserve(out, bytes)) {
        ERR_raise(ERR_LIB_BIO, ERR_R_MALLOC_FAILURE);
        return 0;
    }
    memcpy(out->bytes + out->end, buf, bytes);
    out->end += bytes;
    *ret_written = bytes;
    return 1;
}

static long ends_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* done by those who send */
}

static int ends_free(BIO *bio)
{
    free(BIO_get_data(bio));
    return 1;
}

static BIO_METHOD *method;

static void make_method(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "filch");

    if (made && BIO_meth_set_read_ex(made, ends_read) && BIO_meth_set_write_ex(made, ends_write) &&
        BIO_meth_set_ctrl(made, ends_ctrl) && BIO_meth_set_destroy(made, ends_free))
        method = made;
    else
        BIO_meth_free(made);
}

__attribute__((destructor)) static void free_method(void)
{
    BIO_meth_free(method);
}

BIO *filch__tls_bio_new(struct filch__tls_buffer *in, struct filch__tls_buffer *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ends *ends = malloc(sizeof *ends);
    BIO *bio;

    pthread_once(&once, make_method);
    bio = ends && method ? BIO_new(method) : NULL;
    if (!bio) {
        free(ends);
        return NULL;
    }
    *ends = (struct ends){.in = in, .out = out};
    BIO_set_data(bio, ends);
    BIO_set_init(bio, 1);
    return bio;
}
