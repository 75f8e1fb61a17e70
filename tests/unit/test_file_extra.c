/* Description: extended attributes of paths, and what O_DIRECT asks of buffers. From a task and
 * from a plain thread; on file systems that have them. */
#include <errno.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(file_extra, .timeout = 60);

#define SKIPPED 77

static int xattr_body(void *arg)
{
    struct temp_dir dir;
    const char *path;
    char buf[64];
    int r;

    (void)arg;
    temp_dir_make(&dir);
    path = in_dir(&dir, "f");
    T_OK(filch_write_file(path, "x", 1, 0600, T_LIMIT));
    r = filch_path_set_xattr(path, true, "user.animal", "newt", 4, T_LIMIT);
    if (r == -EOPNOTSUPP) {
        temp_dir_remove(&dir);
        return SKIPPED;
    }
    T_OK(r);
    T_IS(filch_path_get_xattr(path, true, "user.animal", buf, sizeof buf, T_LIMIT), 4);
    T_CHECK(memcmp(buf, "newt", 4) == 0);
    T_IS(filch_path_get_xattr(path, true, "user.animal", NULL, 0, T_LIMIT), 4);
    T_IS(filch_path_get_xattr(path, false, "user.animal", buf, 3, T_LIMIT), -ERANGE);
    T_IS(filch_path_list_xattrs(path, true, buf, sizeof buf, T_LIMIT), 12);
    T_CHECK(memcmp(buf, "user.animal", 12) == 0);
    T_OK(filch_path_remove_xattr(path, true, "user.animal", T_LIMIT));
    T_IS(filch_path_remove_xattr(path, true, "user.animal", T_LIMIT), -ENODATA);
    T_IS(filch_path_get_xattr(path, true, "user.animal", buf, sizeof buf, T_LIMIT), -ENODATA);
    T_IS(filch_path_list_xattrs(in_dir(&dir, "g"), true, buf, sizeof buf, T_LIMIT), -ENOENT);
    temp_dir_remove(&dir);
    return 0;
}

static int direct_body(void *arg)
{
    struct temp_dir dir;
    filch_direct_align align;
    filch_file *file;
    void *buf;
    int r;

    (void)arg;
    temp_dir_make(&dir);
    r = filch_file_open(in_dir(&dir, "f"), O_RDWR | O_CREAT | O_DIRECT, 0600, &file, T_LIMIT);
    if (r == 0) {
        r = filch_file_direct_align(file, &align, T_LIMIT);
        if (r == 0) {
            size_t bytes;

            T_OK(filch_direct_buffer(&align, 3 * (size_t)align.offset_bytes + 1, &buf, &bytes));
            T_IS(bytes, 4 * (size_t)align.offset_bytes);
            memset(buf, 'x', bytes);
            T_IS(filch_file_pwrite(file, buf, bytes, align.offset_bytes, T_LIMIT), bytes);
            T_IS(filch_file_pread(file, buf, bytes, 2 * (int64_t)align.offset_bytes, T_LIMIT),
                 bytes - align.offset_bytes);
            T_IS(filch_file_pread(file, buf, bytes, 1, T_LIMIT), -EINVAL); /* not aligned */
            free(buf);
        }
        T_OK(filch_file_close(file));
    }
    temp_dir_remove(&dir);
    return r == 0 ? 0 : SKIPPED;
}

static void run_both(filch_fn fn, const char *what)
{
    int r = run_in_runtime(0, fn, NULL);

    if (r == SKIPPED)
        cr_skip_test("%s", what);
    T_OK(r);
    T_OK(fn(NULL));
}

Test(file_extra, attributes_are_set_read_listed_and_removed)
{
    run_both(xattr_body, "this file system has no attributes");
}

Test(file_extra, direct_reads_and_writes_that_are_aligned)
{
    run_both(direct_body, "this file system does not tell what O_DIRECT needs");
}

Test(file_extra, buffers_are_aligned_and_whole)
{
    static const filch_direct_align aligns[] = {{1, 1}, {4, 512}, {512, 512}, {4096, 4096}};

    for (size_t i = 0; i < sizeof aligns / sizeof *aligns; i++)
        for (size_t bytes = 1; bytes < 20000; bytes = bytes * 3 + 1) {
            void *buf;
            size_t whole;

            T_OK(filch_direct_buffer(&aligns[i], bytes, &buf, &whole));
            T_IS((uintptr_t)buf % aligns[i].memory_bytes, 0);
            T_CHECK(whole >= bytes && whole < bytes + aligns[i].offset_bytes);
            T_IS(whole % aligns[i].offset_bytes, 0);
            memset(buf, 'x', whole);
            free(buf);
        }
}
