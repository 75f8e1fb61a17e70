/* Moving bytes from readers to writers.
 *
 * Both directions of filch_copy_both() are tasks of a scope that cancels one when the other fails;
 * the caller waits for the scope, and is the one who is cancelled from outside.
 */
#include <filch/copy.h>

#include <errno.h>
#include <stdlib.h>

#include <filch/scope.h>
#include <filch/task.h>

#include "io/net/socket.h"
#include "io/splice.h"

#define BUFFER_DEFAULT ((size_t)64 << 10)

/* Return: 0 (there are bytes, or the reader has ended); an error. */
static int fill(filch_reader reader, filch_copier *copier, filch_time until)
{
    ssize_t n = reader.read(reader.context, copier->buffer, copier->room, until);

    copier->writing = false;
    if (n < 0)
        return (int)n;
    if ((size_t)n > copier->room)
        return -EIO;
    copier->begin = 0;
    copier->end = (size_t)n;
    copier->ended = n == 0;
    return 0;
}

static int drain(filch_writer writer, filch_copier *copier, filch_time until)
{
    copier->writing = true;
    while (copier->begin < copier->end) {
        size_t bytes = copier->end - copier->begin;
        ssize_t n =
            writer.write(writer.context, (char *)copier->buffer + copier->begin, bytes, until);

        if (n < 0)
            return (int)n;
        if (n == 0 || (size_t)n > bytes)
            return -EIO;
        copier->begin += (size_t)n;
        copier->bytes += (uint64_t)n;
    }
    return 0;
}

/* Return: 0: the reader has ended, or what comes next is for the buffer; an error. */
static int copy_by_kernel(struct filch__splice *splice, filch_copier *copier, filch_time until)
{
    ssize_t n = 0;

    while (splice->next && (n = filch__splice_some(splice, UINT64_MAX, until)) > 0) {
        copier->bytes += (uint64_t)n;
        if (filch_task_is_cancelled())
            return -ECANCELED;
    }
    if (n > 0 || n == -EBUSY)
        return 0;
    copier->writing = splice->writing;
    copier->ended = n == 0;
    return (int)n;
}

static int copy_by_buffer(filch_reader reader, filch_writer writer, struct filch__splice *splice,
                          filch_copier *copier, filch_time until)
{
    int r = fill(reader, copier, until);

    if (r < 0)
        return r;
    filch__splice_copied(splice, copier->end, copier->end == copier->room);
    return drain(writer, copier, until);
}

static int copy(filch_reader reader, filch_writer writer, filch_copier *copier, filch_time until)
{
    struct filch__splice splice;
    int r = drain(writer, copier, until);

    if (r < 0 || copier->ended)
        return r;
    filch__splice_init(&splice, reader, FILCH_FILE_POSITION, writer);
    while (r == 0 && !copier->ended) {
        if (splice.next)
            r = copy_by_kernel(&splice, copier, until);
        if (r == 0 && !copier->ended)
            r = copy_by_buffer(reader, writer, &splice, copier, until);
    }
    return r;
}

int filch_copy(filch_reader reader, filch_writer writer, filch_copier *copier, uint64_t *ret_bytes,
               filch_time until)
{
    filch_copier own = {.room = BUFFER_DEFAULT};
    int r;

    if (!reader.read || !writer.write)
        return -EINVAL;
    if (!copier) {
        own.buffer = malloc(own.room);
        if (!own.buffer)
            return -ENOMEM;
        copier = &own;
    }
    if (!copier->buffer || !copier->room || copier->begin > copier->end ||
        copier->end > copier->room)
        return -EINVAL;
    r = copy(reader, writer, copier, until);
    if (ret_bytes)
        *ret_bytes = copier->bytes;
    free(own.buffer);
    return r;
}

/* ---- both directions ---- */

struct direction {
    filch_reader reader;
    filch_writer writer;
    filch_copier copier;
    filch_copy_side side;
    filch_time until;
};

static int run(void *arg)
{
    struct direction *direction = arg;
    filch_copier *copier = &direction->copier;
    int r = copy(direction->reader, direction->writer, copier, direction->until);

    direction->side.writing = copier->writing;
    if (r == 0 && direction->writer.finish) {
        r = direction->writer.finish(direction->writer.context, direction->until);
        direction->side.writing = true;
        if (r == -ENOTCONN) /* it has gone altogether: there is nobody to be told */
            r = 0;
    }
    direction->side.bytes = copier->bytes;
    direction->side.error = r;
    return r;
}

/* Return: as filch_copy_both(). */
static int run_both(struct direction *both)
{
    FILCH_TRY_SCOPE(scope);
    int joined = 0, r;

    for (int i = 0; i < 2; i++) {
        both[i].side.error = -ECANCELED;
        r = filch_scope_spawn(&scope, run, &both[i]);
        if (r < 0)
            break;
    }
    /* The scope is cancelled: by the first one, which has failed already, and says why. */
    if (r == 0 || r == -ECANCELED)
        joined = filch_scope_join(&scope, FILCH_NEVER);
    (void)filch_scope_cancel_join(&scope);
    return joined < 0 ? joined : r;
}

int filch_copy_both(filch_io a, filch_io b, const filch_copy_opts *opts,
                    filch_copy_result *ret_result, filch_time until)
{
    size_t room = opts && opts->buffer_bytes ? opts->buffer_bytes : BUFFER_DEFAULT;
    struct direction both[2] = {
        {.reader = a.reader, .writer = b.writer, .until = until},
        {.reader = b.reader, .writer = a.writer, .until = until},
    };
    char *buffers;
    int r;

    if (!a.reader.read || !a.writer.write || !b.reader.read || !b.writer.write ||
        room > SIZE_MAX / 2)
        return -EINVAL;
    if (!filch__in_stackful_task())
        return -EPERM;
    buffers = malloc(2 * room);
    if (!buffers)
        return -ENOMEM;
    both[0].copier = (filch_copier){.buffer = buffers, .room = room};
    both[1].copier = (filch_copier){.buffer = buffers + room, .room = room};
    r = run_both(both);
    free(buffers);
    if (ret_result)
        *ret_result = (filch_copy_result){.a_to_b = both[0].side, .b_to_a = both[1].side};
    return r;
}
