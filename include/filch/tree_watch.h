/* Changes in a whole tree of directories: one handle, and paths that begin at the root.
 *
 *     filch_tree_watch *watch;
 *     filch_tree_change change;
 *
 *     filch_tree_watch_open("/srv/site", NULL, &watch, until);
 *     while (filch_tree_watch_next(watch, &change, FILCH_NEVER) == 0)
 *         printf("%s\n", change.path);
 *     filch_tree_watch_close(watch);
 *
 * Directories that come are watched as soon as their creation is seen, and then searched, so what
 * was made in them in between is told, too. A program that keeps a picture of the tree does so:
 *
 *     CREATED, MOVED_TO           there is `path` now
 *     REMOVED, MOVED_FROM         `path` is gone, and everything below it
 *     MOVED_FROM with MOVED_TO    `from` and everything below it is at `path` now, in place of what
 *                                 was there
 *     OVERFLOW                    forget everything; what there is follows, as CREATED
 *
 * An overflow is told when the kernel's queue was full, and also, seldom, when many directories
 * were moved at once and what happened cannot be told any more.
 *
 * With `tell_present` the picture needs no other source. It is right whenever nothing is left to be
 * told; in between it is as the tree was a moment ago, or in parts already as it is now.
 *
 * What to know:
 *
 * * A rename within the tree is one change, unless something else happened just between its two
 *   halves, or it is of a directory that is not watched: then there are two, and what is below a
 *   directory is told anew.
 * * An entry that is made while its directory is searched may be told twice: this is prevented for
 *   the first 65536 of them. A directory may be told as removed and created again, with what is in
 *   it, when it has moved on before it was looked at.
 * * Symbolic links are entries, and never followed below the root. Other file systems that are
 *   mounted in the tree are part of it, if they are there when their directory is searched.
 * * A directory that may not be read is told of, but nothing in it; nor when it can be read later.
 * * Reads (FILCH_CHANGE_ACCESSED) are not offered: the searches would be told.
 * * Each directory takes one of the user's watches (/proc/sys/fs/inotify/max_user_watches) and less
 *   than 300 bytes beside its name; no descriptors. The depth is not limited, nor is the length of
 *   a path. /proc must be mounted.
 * * The root is known by its path. When it is removed, or it or a directory above it is moved, its
 *   last change is FILCH_CHANGE_ENDED with the path ""; if one above it is moved, only once
 *   something in the tree has to be looked at. Whoever needs the tree at its new place opens it
 *   there.
 */
#ifndef FILCH_TREE_WATCH_H
#define FILCH_TREE_WATCH_H

#include <filch/base.h>
#include <filch/file_watch.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_tree_watch filch_tree_watch;

typedef struct filch_tree_watch_opts {
    /* enum filch_file_changes, but for FILCH_CHANGE_ACCESSED: others are not told. 0:
     * FILCH_CHANGE_ANY. Those of SELF are the root's; overflow, unmounting and the end are always
     * told. */
    unsigned changes;
    /* Begin with what there is, as FILCH_CHANGE_CREATED. */
    bool tell_present;
} filch_tree_watch_opts;

typedef struct filch_tree_change {
    unsigned what;    /* enum filch_file_changes */
    uint32_t cookie;  /* of a move; else 0 */
    const char *path; /* relative to the root; "": the root. Valid until the next call or close */
    const char *from; /* of a rename within the tree: the path before; else NULL. As `path` */
} filch_tree_change;

/**
 * filch_tree_watch_open() - watch a directory, and all directories below it
 * @path:      of the root; borrowed for the call; a symbolic link is followed
 * @opts:      borrowed for the call; NULL for defaults
 * @ret_watch: ended by filch_tree_watch_close()
 *
 * Searches the whole tree on a blocking thread, which takes about 30 us a directory when the names
 * are cached. On failure no watch is left.
 *
 * Thread-safety: any. Suspends: yes. Cancellation point: yes; nothing was opened. Return: 0;
 * -ENOENT; -EACCES (the root may not be read); -ENOTDIR; -ELOOP; -ENAMETOOLONG; -ENOSPC (the user
 * has as many watches as are allowed: max_user_watches); -EMFILE (also: as many handles:
 * max_user_instances); -ENFILE; -EIO; -ENOMEM; -EOPNOTSUPP (no /proc); -EINVAL (NULL, changes that
 * are not offered); -EAGAIN (no blocking thread can be had); -ETIMEDOUT; -ECANCELED.
 */
FILCH_API FILCH_MUST_CHECK int filch_tree_watch_open(const char *path,
                                                     const filch_tree_watch_opts *opts,
                                                     filch_tree_watch **ret_watch,
                                                     filch_time until);

/**
 * filch_tree_watch_next() - the next change, waiting for it
 * @ret_change: borrowed from @watch, until the next call
 *
 * Directories that came are searched in this call, on a blocking thread, so with FILCH_NOW a task
 * gets only what is known already. An error that says why a directory cannot be watched is returned
 * once for a row of such directories; the rest of the tree is watched as before, and those
 * directories again when they are moved, or after an overflow.
 *
 * Thread-safety: one at a time. Suspends: yes. Cancellation point: yes; no change is lost. Return:
 * 0; -ENOSPC, -EMFILE, -ENFILE, -EIO, -EOPNOTSUPP (a directory is not watched); -ENOMEM (the same,
 * or an overflow follows); -EAGAIN (no blocking thread can be had; try again); -ETIMEDOUT;
 * -ECANCELED (also: closed meanwhile); -EBUSY (another call is in it); -EBADF (closed); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int
filch_tree_watch_next(filch_tree_watch *watch, filch_tree_change *ret_change, filch_time until);

/**
 * filch_case_tree_changed() - wins when there is something for filch_tree_watch_next() to do, which
 * in most cases has a change
 *
 * `result`: 0 (call it with a limit, for it may have nothing to tell after all); -ECANCELED (closed
 * meanwhile); -EBADF (closed); -EPERM (in a plain thread, when it would have to wait); -ENOMEM.
 * NULL makes a case that is refused.
 */
FILCH_API filch_case filch_case_tree_changed(filch_tree_watch *watch);

/** filch_tree_watch_close() - NULL is allowed. Calls that wait end with -ECANCELED. May suspend
 * until they have left; never a cancellation point. Return: 0; -EBADF (already closed). */
FILCH_API int filch_tree_watch_close(filch_tree_watch *watch);

FILCH_END_DECLS

#endif
