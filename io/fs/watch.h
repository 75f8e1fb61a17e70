/* What a watch's case and stream know of it. */
#ifndef FILCH_IO_FS_WATCH_H
#define FILCH_IO_FS_WATCH_H

#include <filch/file_watch.h>

#include "io/fd.h"

/* For a user of a watch: was a change read from the kernel that nobody has taken? */
bool filch__file_watch_has_change(struct filch__fd *object);

/* The next change, if there is one. Return: 0; -EAGAIN (none); -EBADF; -EINVAL (NULL). */
int filch__file_watch_take(filch_file_watch *watch, filch_file_change *ret_change);

#endif
