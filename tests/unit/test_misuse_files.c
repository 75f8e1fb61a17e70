/* Description: what batches, locks, watches and moves of files, and streams, say to wrong calls;
 * see test_misuse.c.
 */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_files, .timeout = 60);

static int rows(void *arg)
{
    filch_writer nowhere = {0}, writer;
    filch_duplex *a, *b;
    filch_file *file, *stale;
    uint64_t done = 5;
    filch_file_watch *watch;
    filch_file_watch_stream stream;
    filch_unix_stream *in;
    filch_view view;
    char byte;
    int r = 0;
    filch_file_op ops[] = {
        filch_file_op_open(NULL, O_RDONLY, 0, &file),
        filch_file_op_stat("/", true, NULL),
        filch_file_op_unlink(NULL),
        filch_file_op_pread(NULL, &byte, 1, 0),
        filch_file_op_pwrite(NULL, NULL, 1, 0),
        filch_file_op_sync(NULL),
    };

    (void)arg;
    T_OK(filch_file_temp(NULL, &file, T_LIMIT));
    T_OK(filch_file_temp(NULL, &stale, T_LIMIT));
    T_OK(filch_file_close(stale));
    T_OK(filch_file_watch_open(&watch));
    T_OK(filch_file_watch_close(watch));
    T_OK(filch_duplex_new(8, &a, &b));
    writer = filch_duplex_io(a).writer;
    ROW(filch_send_file(nowhere, file, 0, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_send_file(writer, NULL, 0, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_send_file(writer, file, -1, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_send_file(writer, file, INT64_MAX, 2, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_send_file(writer, file, 0, 4, &done, FILCH_NEVER), -EINVAL);
    ROW(filch_send_file(writer, stale, 0, 4, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_send_file(writer, file, INT64_MAX, FILCH_TO_END, NULL, FILCH_NEVER), 0);
    ROW(filch_send_file(filch_tcp_writer(NULL), file, 0, 100000, NULL, FILCH_NEVER), -EINVAL);
    ROW(done, 5);
    ROW(filch_unix_stream_open(NULL, NULL, &in), -EINVAL);
    ROW(filch_unix_stream_fill(NULL, &view, FILCH_NOW), -EINVAL);
    ROW(filch_unix_stream_consume(NULL, 0), -EINVAL);
    ROW(filch_unix_stream_read(NULL, &byte, 1, FILCH_NOW), -EINVAL);
    ROW(filch_read_exact(filch_unix_stream_reader(NULL), &byte, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_unix_stream_close(NULL), 0);
    ROW(FILCH_SELECT(FILCH_NOW, filch_case_file_changed(NULL)), -EINVAL);
    ROW(filch_file_watch_stream_init(NULL, watch), -EINVAL);
    ROW(filch_file_watch_stream_init(&stream, NULL), -EINVAL);
    ROW(FILCH_SELECT_RESULT(&r, FILCH_NOW, filch_case_file_changed(watch)), 0);
    ROW(r, -EBADF);
    ROW(filch_file_batch(NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_file_batch(ops, 6, FILCH_NEVER), 0);
    for (int i = 0; i < 6; i++)
        ROW(ops[i].result, -EINVAL);
    ROW(filch_file_lock_range(NULL, true, 0, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_lock_range(stale, true, 0, 1, FILCH_NOW), -EBADF);
    ROW(filch_file_lock_range(file, true, -1, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_lock_range(file, true, 0, -1, FILCH_NOW), -EINVAL);
    ROW(filch_file_lock_range(file, true, INT64_MAX, 2, FILCH_NOW), -EOVERFLOW);
    ROW(filch_file_unlock_range(NULL, 0, 1), -EINVAL);
    ROW(filch_file_unlock_range(stale, 0, 1), -EBADF);
    ROW(filch_file_unlock_range(file, 0, -1), -EINVAL);
    filch_duplex_free(a);
    filch_duplex_free(b);
    T_OK(filch_file_close(file));
    return 0;
}

Test(misuse_files, wrong_calls_are_refused)
{
    T_OK(run_in_runtime(0, rows, NULL));
    cr_assert_eq(misuse_wrong, 0);
}
