/* Reading and writing all of something, through any reader and writer: see include/filch/io.h. */
#include <filch/io.h>

#include <errno.h>
#include <stdlib.h>

/* The first piece of memory for what has no known length. */
#define FIRST_BYTES 4096

int filch_read_exact(filch_reader reader, void *buf, size_t bytes, size_t *done, filch_time until)
{
    size_t none = 0;

    if (!done)
        done = &none;
    if (!reader.read || (!buf && bytes) || *done > bytes)
        return -EINVAL;
    while (*done < bytes) {
        ssize_t n = reader.read(reader.context, (char *)buf + *done, bytes - *done, until);

        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EPIPE;
        if ((size_t)n > bytes - *done)
            return -EIO;
        *done += (size_t)n;
    }
    return 0;
}

int filch_write_all(filch_writer writer, const void *buf, size_t bytes, size_t *done,
                    filch_time until)
{
    size_t none = 0;

    if (!done)
        done = &none;
    if (!writer.write || (!buf && bytes) || *done > bytes)
        return -EINVAL;
    while (*done < bytes) {
        ssize_t n = writer.write(writer.context, (const char *)buf + *done, bytes - *done, until);

        if (n < 0)
            return (int)n;
        if (n == 0 || (size_t)n > bytes - *done)
            return -EIO;
        *done += (size_t)n;
    }
    return 0;
}

/* Memory for @bytes has room for so many, a byte more than the limit, by which one sees that there
 * is more, and a NUL. The size follows from what was read, so that a call can go on from there. */
static size_t room_for(size_t done, size_t limit)
{
    size_t room = FIRST_BYTES;

    while (room <= done)
        room *= 2;
    return room < limit ? room : limit + 1;
}

static int make_room(char **data, size_t room)
{
    char *more = realloc(*data, room + 1);

    if (!more)
        return -ENOMEM;
    *data = more;
    return 0;
}

int filch_read_to_end(filch_reader reader, size_t limit, char **data, size_t *done,
                      filch_time until)
{
    size_t room = 0;
    ssize_t n;

    if (!reader.read || !data || !done || (!*data && *done) || *done > limit ||
        limit >= SIZE_MAX / 4)
        return -EINVAL;
    for (;;) {
        if (room <= *done) {
            room = room_for(*done, limit);
            if (make_room(data, room) < 0)
                return -ENOMEM;
            (*data)[*done] = '\0';
        }
        n = reader.read(reader.context, *data + *done, room - *done, until);
        if (n <= 0)
            return (int)n;
        if ((size_t)n > room - *done)
            return -EIO;
        *done += (size_t)n;
        if (*done > limit)
            break;
        (*data)[*done] = '\0';
    }
    *done = limit;
    (*data)[limit] = '\0';
    return -EMSGSIZE;
}
