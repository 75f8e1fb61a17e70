/* Watches of trees: the calls, and the changes that wait to be taken. inotify(7) watches single
 * directories, so each of them gets a watch.
 *
 *     the kernel's queue --tree_event.c--> changes to tell --> filch_tree_watch_next()
 *                             |                 ^
 *                             | a directory     | what is in it
 *                             v appeared        |
 *                          tree_search.c, on a blocking thread
 *
 * Two times. The tree of directories (tree.h) is that of the event that was handled last: events
 * are handled in order, and the paths that are told are those of then. A search sees the tree of
 * now, which may be many events ahead: what it opens by a path may be gone, or another directory.
 * What makes them meet:
 *
 * 1. A watch has a number that is never used again, and adding a watch again says the same number.
 *    So a directory that was opened is known for what it is, whatever its path was.
 * 2. Whatever is done to a name after its directory got its watch has an event. So the last event
 *    about a name decides, or the search, if there is none: a name may be told too early, but not
 *    wrongly for good.
 * 3. No event is handled before the work that the last one made is done.
 * 4. What was told of the contents of a directory is where its node is. Both move together, or the
 *    directory is told as removed, and as created again where it is found.
 *
 * So an event that a directory appeared has it opened where it should be. If it is known there, or
 * gone already, fine; if it is unknown, it is new; if it is known elsewhere, or another one is
 * known there, that one is forgotten, as its events were misunderstood, and found again by what
 * comes. If its parent is not where it should be, the parent is `stale`: it has moved since, and is
 * searched when that is told.
 *
 * The root is what its path leads to: a descriptor of it would keep its removal from being told,
 * and its file system from being unmounted. When the path fails, it is tried again once the queue
 * is empty, and if it fails still, that is the end.
 *
 * A rename is two events in a row. When they are not, the directory is held until the queue is
 * empty, so that no watch is dropped and added for a short way through the outside.
 *
 * `busy` guards everything, so the job of a call needs no lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/fs/call.h"
#include "io/fs/tree_watch.h"

#define SELF (FILCH_CHANGE_SELF_REMOVED | FILCH_CHANGE_SELF_MOVED)
/* What has to be known. */
#define NEEDED (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF)
#define ALWAYS (FILCH_CHANGE_UNMOUNTED | FILCH_CHANGE_OVERFLOW | FILCH_CHANGE_ENDED)

_Static_assert(FILCH__TREE_BATCH_BYTES >= sizeof(struct inotify_event) + NAME_MAX + 1,
               "one event fits");

static struct filch__pool tree_pool = {
    .object_bytes =
        (sizeof(struct filch_tree_watch) + FILCH_CACHELINE - 1) / FILCH_CACHELINE * FILCH_CACHELINE,
    .link_offset = offsetof(struct filch_tree_watch, fd.fd.next),
    .forked = filch__fd_forked,
};

/* ---- changes ---- */

void filch__tree_tell(filch_tree_watch *watch, unsigned what, uint32_t cookie,
                      const struct filch__tree_node *node, const char *name,
                      const struct filch__tree_node *from_node, const char *from)
{
    const unsigned both = FILCH_CHANGE_MOVED_FROM | FILCH_CHANGE_MOVED_TO;
    unsigned asked = what & (watch->changes | ALWAYS);
    struct filch__tree_told *told;
    size_t bytes, more = 0;

    if (!watch->telling || !asked)
        return;
    bytes = filch__tree_path_bytes(node, name) + 1;
    if (from_node && (asked & both) == both)
        more = filch__tree_path_bytes(from_node, from) + 1;
    told = malloc(sizeof *told + bytes + more);
    if (!told) {
        watch->lost = true;
        watch->error = -ENOMEM;
        return;
    }
    told->next = NULL;
    told->what = asked | (what & FILCH_CHANGE_DIRECTORY);
    told->cookie = cookie;
    told->from = more ? told->path + bytes : NULL;
    filch__tree_path(node, name, told->path);
    if (more)
        filch__tree_path(from_node, from, told->path + bytes);
    *watch->last = told;
    watch->last = &told->next;
}

bool filch__tree_has(const filch_tree_watch *watch, const struct filch__tree_node *node)
{
    return filch__tree_is_in(node, &watch->tree.root);
}

static bool take_told(filch_tree_watch *watch, filch_tree_change *ret_change)
{
    struct filch__tree_told *told = watch->first;

    if (!told)
        return false;
    watch->first = told->next;
    if (!watch->first)
        watch->last = &watch->first;
    free(watch->taken);
    watch->taken = told;
    *ret_change = (filch_tree_change){
        .what = told->what, .cookie = told->cookie, .path = told->path, .from = told->from};
    return true;
}

/* ---- how watches begin and end ---- */

static void forget(filch_tree_watch *watch)
{
    struct filch__tree_told *told;

    while ((told = watch->first)) {
        watch->first = told->next;
        free(told);
    }
    free(watch->taken);
    free(watch->entries);
    filch__tree_fini(&watch->tree);
    free(watch->root);
}

/* Return: 0; -errno, with nothing left but the descriptor. */
static int begin(filch_tree_watch *watch, int fd, const filch_tree_watch_opts *opts)
{
    int r = filch__tree_init(&watch->tree);

    if (r < 0)
        return r;
    watch->entries = malloc(FILCH__TREE_ENTRY_BYTES);
    if (!watch->entries) {
        filch__tree_fini(&watch->tree);
        return -ENOMEM;
    }
    watch->fd.fd.fd = fd;
    watch->fd.owned = true;
    filch__op_list_init(&watch->fd.ops);
    filch_atomic_init(&watch->busy, 0);
    filch_atomic_init(&watch->more, 0);
    watch->changes = opts && opts->changes ? opts->changes : FILCH_CHANGE_ANY;
    watch->mask = watch->changes | NEEDED | IN_ONLYDIR;
    watch->root = NULL;
    watch->telling = watch->lost = watch->refused = false;
    watch->doubted = watch->look_at_root = watch->everything = false;
    watch->error = 0;
    watch->generation = 0;
    watch->appeared_in = NULL;
    watch->first = watch->taken = NULL;
    watch->last = &watch->first;
    watch->begin = watch->end = 0;
    return 0;
}

struct opening {
    filch_tree_watch *watch;
    const char *path;
};

static int search_all(void *arg)
{
    struct opening *opening = arg;
    filch_tree_watch *watch = opening->watch;
    int r;

    watch->root = realpath(opening->path, NULL);
    if (!watch->root)
        return -errno;
    r = filch__tree_watch_root(watch);
    if (r == 0)
        r = filch__tree_work(watch);
    if (r == 0 && watch->lost)
        r = -ENOMEM;
    return r < 0 ? r : watch->error;
}

int filch_tree_watch_open(const char *path, const filch_tree_watch_opts *opts,
                          filch_tree_watch **ret_watch, filch_time until)
{
    struct opening opening = {.path = path};
    filch_tree_watch *watch;
    int fd, r;

    if (!path || !ret_watch || (opts && opts->changes & ~((unsigned)FILCH_CHANGE_ANY | SELF)))
        return -EINVAL;
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -errno;
    watch = filch__pool_take(&tree_pool);
    r = watch ? begin(watch, fd, opts) : -ENOMEM;
    if (r < 0)
        goto fail_begin;
    opening.watch = watch;
    r = filch__fs_job(search_all, &opening, until);
    if (r < 0)
        goto fail_search;
    watch->telling = true;
    if (opts && opts->tell_present) {
        filch__tree_search_everything(watch);
        filch_atomic_init(&watch->more, 1);
    }
    *ret_watch = filch__fd_open(&watch->fd.fd, fd);
    return 0;
fail_search:
    forget(watch);
fail_begin:
    if (watch)
        filch__pool_give(&tree_pool, watch);
    filch__fs_close(fd, true);
    return r;
}

int filch_tree_watch_close(filch_tree_watch *handle)
{
    filch_tree_watch *watch;
    struct filch__fd *object;
    int fd, r;

    if (!handle)
        return 0;
    r = filch__fd_refuse(handle, &object);
    if (r < 0)
        return r;
    watch = filch_container_of(object, struct filch_tree_watch, fd.fd);
    filch__op_list_end(&watch->fd.ops);
    filch__fd_wait_users(object);
    fd = object->fd;
    forget(watch);
    filch__fd_end(object, &tree_pool);
    filch__fs_close(fd, true); /* the kernel drops all the watches */
    return 0;
}

/* ---- the next change ---- */

/* The queue is empty: what was held has left the tree, and what a search has told is no longer
 * told by events. Return: is there work? */
static bool settle(filch_tree_watch *watch)
{
    filch__tree_forget_all_seen(&watch->tree);
    while (watch->tree.held.children)
        filch__tree_doom(&watch->tree, watch->tree.held.children);
    watch->look_at_root = watch->doubted && watch->tree.root.number >= 0;
    return filch__tree_has_work(watch);
}

static int wait_for_event(filch_tree_watch *watch, filch_tree_watch *handle, filch_time until)
{
    int r = filch_fd_wait((filch_fd *)handle, FILCH_FD_READABLE, NULL, until);

    return r == -EBADF && filch__fd_is_closing(&watch->fd.fd) ? -ECANCELED : r;
}

static int work(filch_tree_watch *watch, filch_time until)
{
    int r = filch__fs_job(filch__tree_work, watch, until);

    return r == -ETIMEDOUT && filch__fd_is_closing(&watch->fd.fd) ? -ECANCELED : r;
}

static int next_change(filch_tree_watch *watch, filch_tree_watch *handle,
                       filch_tree_change *ret_change, filch_time until)
{
    int r = 0;

    while (r == 0) {
        if (take_told(watch, ret_change))
            return 0;
        if (watch->error) {
            r = watch->error;
            watch->error = 0;
        } else if (filch__tree_has_work(watch)) {
            r = work(watch, until);
        } else if (watch->lost) {
            watch->lost = false;
            filch__tree_tell(watch, FILCH_CHANGE_OVERFLOW, 0, &watch->tree.root, NULL, NULL, NULL);
            filch__tree_search_everything(watch);
        } else {
            r = filch__tree_take_event(watch);
            if (r == -EAGAIN)
                r = settle(watch) ? 0 : wait_for_event(watch, handle, until);
        }
    }
    return r;
}

static bool has_more(const filch_tree_watch *watch)
{
    return watch->first || watch->error || watch->lost || watch->begin != watch->end ||
           filch__tree_has_work(watch);
}

bool filch__tree_watch_has_more(struct filch__fd *object)
{
    filch_tree_watch *watch = filch_container_of(object, struct filch_tree_watch, fd.fd);

    return filch_load_acquire(&watch->more) != 0; /* [tree-more] */
}

int filch_tree_watch_next(filch_tree_watch *handle, filch_tree_change *ret_change, filch_time until)
{
    filch_tree_watch *watch;
    struct filch__fd *object;
    int r;

    if (!ret_change)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    watch = filch_container_of(object, struct filch_tree_watch, fd.fd);
    if (filch_exchange_acquire(&watch->busy, 1)) { /* [tree-busy] */
        filch__fd_leave(object);
        return -EBUSY;
    }
    r = next_change(watch, handle, ret_change, until);
    filch_store_release(&watch->more, has_more(watch)); /* [tree-more] */
    filch_store_release(&watch->busy, 0);               /* [tree-busy] */
    filch__fd_leave(object);
    return r;
}
