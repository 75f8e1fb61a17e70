/* Scenarios of files, paths and directories: see scenarios.h. Each works in a directory of its own,
 * which it makes and removes by itself, without a fault. */
#include "tests/fault/scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <filch/file_batch.h>
#include <filch/file_watch.h>
#include <filch/tree_watch.h>

#define LIMIT scenario_limit()

/* ---- a directory, which the C library makes and removes: its calls are not counted ---- */

static char root[64];

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void root_make(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/filch-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(root))
        abort();
}

static void root_remove(void)
{
    if (nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0)
        abort();
}

struct path {
    char text[160];
};

static struct path in_root(const char *name)
{
    struct path path;

    snprintf(path.text, sizeof path.text, "%s/%s", root, name);
    return path;
}

/* ---- names ---- */

static int count_entry(void *context, const char *path, const filch_dir_entry *entry)
{
    (void)path;
    (void)entry;
    ++*(int *)context;
    return 0;
}

static void through_directory(void)
{
    filch_dir_entry entries[4];
    filch_dir *dir;
    int count = 0;
    ssize_t n;

    ok(filch_path_mkdir(in_root("a/b/c").text, 0700, true, LIMIT));
    if (ok(filch_dir_open(root, &dir, LIMIT))) {
        while ((n = filch_dir_read(dir, entries, 4, LIMIT)) > 0)
            ;
        ok((int)n);
        filch_dir_close(dir);
    }
    ok(filch_dir_walk(root, NULL, count_entry, &count, LIMIT));
    ok(filch_path_rmdir(in_root("a/b/c").text, LIMIT));
}

static void through_names(void)
{
    struct path file = in_root("file"), other = in_root("other"), link = in_root("link");
    filch_file_info info;
    char text[160];

    ok(filch_write_file(file.text, "content", 7, 0600, LIMIT));
    ok(filch_path_link(file.text, other.text, LIMIT));
    ok(filch_path_symlink(other.text, link.text, LIMIT));
    ok(filch_path_readlink(link.text, text, sizeof text, LIMIT));
    ok(filch_path_stat(link.text, true, &info, LIMIT));
    ok(filch_path_access(link.text, R_OK, LIMIT));
    ok(filch_path_chmod(file.text, 0640, LIMIT));
    ok(filch_path_chown(file.text, getuid(), getgid(), true, LIMIT));
    ok(filch_path_utimes(file.text, 1, 2, LIMIT));
    ok(filch_path_rename(other.text, in_root("another").text, LIMIT));
    ok(filch_path_unlink(link.text, LIMIT));
}

/* File systems that have none of these are not a fault. */
static bool attribute_ok(ssize_t n)
{
    return n == -EOPNOTSUPP || n == -ENODATA || ok((int)n);
}

static void through_attributes(bool follow)
{
    const char *path = in_root("file").text, *name = "user.filch";
    struct path file = in_root("file");
    char text[64];

    path = file.text;
    attribute_ok(filch_path_set_xattr(path, follow, name, "value", 5, LIMIT));
    attribute_ok(filch_path_get_xattr(path, follow, name, text, sizeof text, LIMIT));
    attribute_ok(filch_path_list_xattrs(path, follow, text, sizeof text, LIMIT));
    attribute_ok(filch_path_remove_xattr(path, follow, name, LIMIT));
}

int paths(void *arg)
{
    (void)arg;
    root_make();
    through_directory();
    through_names();
    through_attributes(true);
    through_attributes(false);
    root_remove();
    return 0;
}

/* ---- contents ---- */

static void through_file(filch_file *file)
{
    struct iovec iov[] = {{(char[4]){"one"}, 4}, {(char[4]){"two"}, 4}};
    filch_file_info info;
    int64_t offset;
    char text[8];

    ok((int)filch_file_writev(file, iov, 2, FILCH_FILE_POSITION, LIMIT));
    ok((int)filch_file_pwrite(file, "three", 5, 8, LIMIT));
    ok((int)filch_file_pread(file, text, sizeof text, 0, LIMIT));
    ok(filch_file_seek(file, 0, SEEK_SET, &offset));
    ok((int)filch_file_readv(file, iov, 2, FILCH_FILE_POSITION, LIMIT));
    ok(filch_file_sync_data(file, LIMIT));
    ok(filch_file_sync(file, LIMIT));
    ok(filch_file_allocate(file, 0, 4096, LIMIT));
    ok(filch_file_truncate(file, 5, LIMIT));
    ok(filch_file_stat(file, &info, LIMIT));
    if (ok(filch_file_lock(file, true, LIMIT)))
        ok(filch_file_unlock(file));
    if (ok(filch_file_lock_range(file, true, 0, 4, LIMIT)))
        ok(filch_file_unlock_range(file, 0, 4));
}

static void through_batch(void)
{
    struct path file = in_root("batched");
    filch_file *opened = NULL;
    filch_file_info info;
    filch_file_op begin[] = {
        filch_file_op_open(file.text, O_RDWR | O_CREAT, 0600, &opened),
    };
    filch_file_op rest[3], end[] = {filch_file_op_unlink(file.text)};

    ok(filch_file_batch(begin, 1, LIMIT));
    if (!ok((int)begin[0].result))
        return;
    rest[0] = filch_file_op_pwrite(opened, "batch", 5, 0);
    rest[1] = filch_file_op_sync(opened);
    rest[2] = filch_file_op_stat(file.text, true, &info);
    ok(filch_file_batch(rest, 3, LIMIT));
    for (int i = 0; i < 3; i++)
        ok((int)rest[i].result);
    ok(filch_file_batch(end, 1, LIMIT));
    ok((int)end[0].result);
    ok(filch_file_close(opened));
}

int contents(void *arg)
{
    struct path name = in_root("content");
    filch_file *file;

    (void)arg;
    root_make();
    name = in_root("content");
    if (ok(filch_file_open(name.text, O_RDWR | O_CREAT, 0600, &file, LIMIT))) {
        through_file(file);
        ok(filch_file_close(file));
    }
    if (ok(filch_file_temp(root, &file, LIMIT)))
        ok(filch_file_close(file));
    if (ok(filch_file_stdio(STDOUT_FILENO, &file)))
        ok(filch_file_close(file));
    through_batch();
    ok(filch_write_file(name.text, "whole", 5, 0600, LIMIT));
    ok(filch_copy_file(name.text, in_root("copy").text, LIMIT));
    root_remove();
    return 0;
}

/* ---- changes ---- */

static void watch_one(const char *made)
{
    filch_file_change change;
    filch_file_watch *watch;
    int number;

    if (!ok(filch_file_watch_open(&watch)))
        return;
    if (ok(filch_file_watch_add(watch, root, FILCH_CHANGE_CREATED, &number, LIMIT)) &&
        ok(filch_path_mkdir(made, 0700, false, LIMIT))) {
        ok(filch_file_watch_next(watch, &change, LIMIT));
        ok(filch_file_watch_remove(watch, number));
    }
    ok(filch_file_watch_close(watch));
}

static void watch_all(const char *made)
{
    filch_tree_watch_opts opts = {.changes = FILCH_CHANGE_CREATED, .tell_present = true};
    filch_tree_change change;
    filch_tree_watch *watch;

    if (!ok(filch_tree_watch_open(root, &opts, &watch, LIMIT)))
        return;
    if (ok(filch_path_mkdir(made, 0700, false, LIMIT)))
        while (ok(filch_tree_watch_next(watch, &change, LIMIT)) && strcmp(change.path, "two") != 0)
            ;
    ok(filch_tree_watch_close(watch));
}

int watches(void *arg)
{
    (void)arg;
    root_make();
    watch_one(in_root("one").text);
    watch_all(in_root("two").text);
    root_remove();
    return 0;
}

/* ---- bytes that are moved by the kernel ---- */

static void through_pipes(filch_file *file)
{
    char buffer[4096];
    filch_copier copier = {.buffer = buffer, .room = sizeof buffer};
    filch_file *in, *out, *reader, *writer;
    uint64_t bytes = 0;

    if (!ok(filch_pipe(0, &in, &out)))
        return;
    if (ok(filch_pipe(0, &reader, &writer))) {
        ok(filch_send_file(filch_file_writer(out), file, 0, UINT64_MAX, &bytes, LIMIT));
        ok(filch_file_close(out));
        ok(filch_copy(filch_file_reader(in), filch_file_writer(writer), &copier, &bytes, LIMIT));
        ok(filch_file_close(reader));
        ok(filch_file_close(writer));
    } else {
        ok(filch_file_close(out));
    }
    ok(filch_file_close(in));
}

static void through_socket(filch_file *file)
{
    uint64_t bytes = 0;
    filch_unix *a, *b;

    if (!ok(filch_unix_pair(&a, &b)))
        return;
    ok(filch_send_file(filch_unix_writer(a), file, 0, UINT64_MAX, &bytes, LIMIT));
    ok(filch_unix_close(a));
    ok(filch_unix_close(b));
}

int moves(void *arg)
{
    static char text[20000];
    struct path name;
    filch_file *file;

    (void)arg;
    root_make();
    name = in_root("moved");
    ok(filch_write_file(name.text, text, sizeof text, 0600, LIMIT));
    if (ok(filch_file_open(name.text, O_RDONLY, 0, &file, LIMIT))) {
        through_pipes(file);
        through_socket(file);
        ok(filch_file_close(file));
    }
    root_remove();
    return 0;
}
