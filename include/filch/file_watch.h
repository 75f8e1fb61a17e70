/* Changes of files and directories: inotify(7) as something that tasks wait for.
 *
 *     filch_file_watch *watch;
 *     filch_file_change change;
 *
 *     filch_file_watch_open(&watch);
 *     filch_file_watch_add(watch, "/etc/app", FILCH_CHANGE_ANY, &number, until);
 *     while (filch_file_watch_next(watch, &change, FILCH_NEVER) == 0)
 *         reload(change.name);
 *     filch_file_watch_close(watch);
 *
 * The kernel tells what happens by names in this machine: not what others do to a network's file
 * system, nor writes to memory that is mapped. Directories are not watched with what is below them,
 * which <filch/tree_watch.h> does. Changes are also a case of a select, and a stream
 * (<filch/stream_io.h>).
 */
#ifndef FILCH_FILE_WATCH_H
#define FILCH_FILE_WATCH_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_file_watch filch_file_watch;

/* What may happen; the values are inotify's. */
enum filch_file_changes {
    FILCH_CHANGE_ACCESSED = 0x1,
    FILCH_CHANGE_WRITTEN = 0x2,
    FILCH_CHANGE_METADATA = 0x4,
    FILCH_CHANGE_WRITER_CLOSED = 0x8, /* somebody who could write has closed it */
    FILCH_CHANGE_MOVED_FROM = 0x40,   /* out of the directory; a pair with */
    FILCH_CHANGE_MOVED_TO = 0x80,     /* into it, by `cookie` */
    FILCH_CHANGE_CREATED = 0x100,
    FILCH_CHANGE_REMOVED = 0x200,
    FILCH_CHANGE_SELF_REMOVED = 0x400, /* what is watched itself; it is watched no more */
    FILCH_CHANGE_SELF_MOVED = 0x800,
    FILCH_CHANGE_ANY = 0xfce, /* all of these but accesses */
    /* Only told: */
    FILCH_CHANGE_UNMOUNTED = 0x2000,
    FILCH_CHANGE_OVERFLOW = 0x4000,      /* changes were lost: look at everything anew */
    FILCH_CHANGE_ENDED = 0x8000,         /* nothing more comes of this number */
    FILCH_CHANGE_DIRECTORY = 0x40000000, /* with another one: it happened to a directory */
};

typedef struct filch_file_change {
    int number;      /* what filch_file_watch_add() gave; -1 with an overflow */
    unsigned what;   /* enum filch_file_changes */
    uint32_t cookie; /* of a move; else 0 */
    char name[256];  /* in the watched directory; "": what is watched itself */
} filch_file_change;

/**
 * filch_file_watch_open() - begin to watch; nothing yet
 * @ret_watch: ended by filch_file_watch_close()
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EMFILE (also: too many of them of this user);
 * -ENFILE; -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_file_watch_open(filch_file_watch **ret_watch);

/**
 * filch_file_watch_add() - watch a file or a directory, too
 * @path:       borrowed for the call; a symbolic link is followed
 * @changes:    enum filch_file_changes. Of what is watched already they replace those from before
 * @ret_number: by which the changes name it
 *
 * May wait for a disk, and so takes a blocking thread. Thread-safety: any. Suspends: yes.
 * Cancellation point: yes, until it has begun. Return: 0; -ENOENT; -EACCES; -ENOTDIR; -ELOOP;
 * -ENAMETOOLONG; -ENOSPC (too many of this user); -ENOMEM; -EINVAL (NULL, no change); -EBADF;
 * -EAGAIN (no blocking thread can be had); -ETIMEDOUT; -ECANCELED.
 */
FILCH_API FILCH_MUST_CHECK int filch_file_watch_add(filch_file_watch *watch, const char *path,
                                                    unsigned changes, int *ret_number,
                                                    filch_time until);

/** filch_file_watch_remove() - watch it no more; FILCH_CHANGE_ENDED comes as the last change.
 * Suspends: no. Return: 0; -EINVAL (NULL, no such number); -EBADF. */
FILCH_API int filch_file_watch_remove(filch_file_watch *watch, int number);

/**
 * filch_file_watch_next() - the next change, waiting for it
 *
 * In the order in which they happened; equal ones that nobody has taken are one. Thread-safety: one
 * at a time. Suspends: yes. Cancellation point: yes; no change is lost. Return: 0; -ETIMEDOUT;
 * -ECANCELED (also: closed meanwhile); -EBADF (closed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int
filch_file_watch_next(filch_file_watch *watch, filch_file_change *ret_change, filch_time until);

/**
 * filch_case_file_changed() - wins when there is a change, which it does not take
 *
 * `result`: 0 (filch_file_watch_next() has one at once, unless somebody else takes it); -ECANCELED
 * (closed meanwhile); -EBADF (closed); -EPERM (in a plain thread, when it would have to wait);
 * -ENOMEM. NULL makes a case that is refused.
 */
FILCH_API filch_case filch_case_file_changed(filch_file_watch *watch);

/** filch_file_watch_close() - NULL is allowed. Calls that wait end with -ECANCELED. May suspend
 * until they have left; never a cancellation point. Return: 0; -EBADF (already closed). */
FILCH_API int filch_file_watch_close(filch_file_watch *watch);

FILCH_END_DECLS

#endif
