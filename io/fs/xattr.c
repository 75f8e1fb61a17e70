/* Extended attributes, and what O_DIRECT asks for: calls that the ring has not, on blocking
 * threads.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "io/fs/call.h"

/* In a call: path2 the attribute's name, out and first the value and its bytes, flags: follow. */

static int get_directly(const struct filch__fs_call *c)
{
    return (int)(c->flags ? getxattr(c->path, c->path2, c->out, (size_t)c->first)
                          : lgetxattr(c->path, c->path2, c->out, (size_t)c->first));
}

static int list_directly(const struct filch__fs_call *c)
{
    return (int)(c->flags ? listxattr(c->path, c->out, (size_t)c->first)
                          : llistxattr(c->path, c->out, (size_t)c->first));
}

static int set_directly(const struct filch__fs_call *c)
{
    return c->flags ? setxattr(c->path, c->path2, c->out, (size_t)c->first, 0)
                    : lsetxattr(c->path, c->path2, c->out, (size_t)c->first, 0);
}

static int remove_directly(const struct filch__fs_call *c)
{
    return c->flags ? removexattr(c->path, c->path2) : lremovexattr(c->path, c->path2);
}

ssize_t filch_path_get_xattr(const char *path, bool follow, const char *name, void *ret_value,
                             size_t bytes, filch_time until)
{
    struct filch__fs_call call = {.direct = get_directly, .path = path, .path2 = name};

    if (!path || !name || (!ret_value && bytes))
        return -EINVAL;
    call.flags = follow;
    call.out = ret_value;
    call.first = (int64_t)bytes;
    return filch__fs_call(&call, until);
}

ssize_t filch_path_list_xattrs(const char *path, bool follow, char *ret_names, size_t bytes,
                               filch_time until)
{
    struct filch__fs_call call = {.direct = list_directly, .path = path};

    if (!path || (!ret_names && bytes))
        return -EINVAL;
    call.flags = follow;
    call.out = ret_names;
    call.first = (int64_t)bytes;
    return filch__fs_call(&call, until);
}

int filch_path_set_xattr(const char *path, bool follow, const char *name, const void *value,
                         size_t bytes, filch_time until)
{
    struct filch__fs_call call = {.direct = set_directly, .path = path, .path2 = name};

    if (!path || !name || (!value && bytes))
        return -EINVAL;
    call.flags = follow;
    call.out = (void *)value;
    call.first = (int64_t)bytes;
    return filch__fs_call(&call, until);
}

int filch_path_remove_xattr(const char *path, bool follow, const char *name, filch_time until)
{
    struct filch__fs_call call = {.direct = remove_directly, .path = path, .path2 = name};

    if (!path || !name)
        return -EINVAL;
    call.flags = follow;
    return filch__fs_call(&call, until);
}

/* ---- O_DIRECT ---- */

#ifdef STATX_DIOALIGN
static int align_directly(const struct filch__fs_call *c)
{
    return statx(c->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, c->out);
}

int filch_file_direct_align(filch_file *file, filch_direct_align *ret_align, filch_time until)
{
    struct statx info = {0};
    struct filch__fs_call call = {.direct = align_directly, .out = &info};
    struct filch__fd *object;
    int r;

    if (!ret_align)
        return -EINVAL;
    r = filch__fd_enter(file, &object);
    if (r < 0)
        return r;
    call.fd = object->fd;
    r = filch__fs_call(&call, until);
    filch__fd_leave(object);
    if (r < 0)
        return r;
    if (!(info.stx_mask & STATX_DIOALIGN) || !info.stx_dio_offset_align)
        return -EOPNOTSUPP;
    *ret_align = (filch_direct_align){
        .memory_bytes = info.stx_dio_mem_align,
        .offset_bytes = info.stx_dio_offset_align,
    };
    return 0;
}
#else
int filch_file_direct_align(filch_file *file, filch_direct_align *ret_align, filch_time until)
{
    (void)until;
    return file && ret_align ? -EOPNOTSUPP : -EINVAL;
}
#endif

static bool is_power_of_two(uint32_t n)
{
    return n && !(n & (n - 1));
}

int filch_direct_buffer(const filch_direct_align *align, size_t bytes, void **ret_buffer,
                        size_t *ret_bytes)
{
    size_t memory, whole;
    void *buffer;

    if (!align || !ret_buffer || !bytes || !is_power_of_two(align->offset_bytes) ||
        !is_power_of_two(align->memory_bytes) || bytes > SIZE_MAX / 2)
        return -EINVAL;
    memory = align->memory_bytes < sizeof(void *) ? sizeof(void *) : align->memory_bytes;
    whole = (bytes + align->offset_bytes - 1) / align->offset_bytes * align->offset_bytes;
    buffer = aligned_alloc(memory, (whole + memory - 1) / memory * memory);
    if (!buffer)
        return -ENOMEM;
    *ret_buffer = buffer;
    if (ret_bytes)
        *ret_bytes = whole;
    return 0;
}
