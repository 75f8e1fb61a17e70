/* A program in one call: three tasks feed it and collect its two outputs, the caller waits for them
 * and then for its end. The first that fails ends the others.
 *
 * The status is taken last: until then the program's number is its own, and with it that of its
 * group, which can be ended as a whole. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <filch/cancel.h>
#include <filch/process.h>
#include <filch/scope.h>
#include <filch/time.h>

#include "io/net/socket.h"

#define OUTPUT_MAX ((size_t)16 << 20)
#define ROOM_FIRST ((size_t)4096)
/* What was killed is gone soon; what hangs in the kernel is left to orphan.c. */
#define GONE_WITHIN FILCH_SECOND

struct output {
    filch_file *file; /* NULL: nothing to collect */
    char *data;       /* with room for one byte more, once there is some */
    size_t bytes, room, most;
};

struct run {
    const filch_process_run_opts *opts;
    filch_process *process;
    filch_file *in;
    struct output out, err;
};

static int grow(struct output *output)
{
    size_t room = output->room ? 2 * output->room : ROOM_FIRST;
    char *data = realloc(output->data, room + 1);

    if (!data)
        return -ENOMEM;
    output->data = data;
    output->room = room;
    return 0;
}

static int collect(void *arg)
{
    struct output *output = arg;

    for (;;) {
        int r = output->bytes == output->room ? grow(output) : 0;
        ssize_t n;

        if (r < 0)
            return r;
        n = filch_file_read(output->file, output->data + output->bytes,
                            output->room - output->bytes, FILCH_NEVER);
        if (n <= 0)
            return (int)n;
        output->bytes += (size_t)n;
        if (output->bytes > output->most)
            return -EFBIG;
    }
}

static int feed(void *arg)
{
    struct run *run = arg;
    filch_file *in = run->in;
    int r = 0;

    if (run->opts->input_bytes)
        r = filch_file_write_all(in, run->opts->input, run->opts->input_bytes, NULL, FILCH_NEVER);
    run->in = NULL;
    (void)filch_file_close(in);
    return r == -EPIPE ? 0 : r;
}

/* What has failed before all are there is what is told, and not that the rest could not join it. */
static int attend(struct run *run, filch_time until)
{
    FILCH_TRY_SCOPE(scope);
    int joined, r = 0;

    if (run->in)
        r = filch_scope_spawn(&scope, feed, run);
    if (r == 0 && run->out.file)
        r = filch_scope_spawn(&scope, collect, &run->out);
    if (r == 0 && run->err.file)
        r = filch_scope_spawn(&scope, collect, &run->err);
    if (r < 0 && r != -ECANCELED)
        return r;
    joined = filch_scope_join(&scope, until);
    return joined < 0 ? joined : r;
}

static void kill_all(struct run *run, int signal)
{
    if (filch_process_kill_group(run->process, signal) == -EINVAL)
        (void)filch_process_kill(run->process, signal);
}

/* What it says on its way out would stop it if nobody read it. */
static int drain(void *file)
{
    char buf[4096];
    ssize_t n;

    do {
        n = filch_file_read(file, buf, sizeof buf, FILCH_NEVER);
    } while (n > 0);
    return (int)n;
}

static void ask_to_end(struct run *run)
{
    FILCH_SCOPE(scope);

    if (run->out.file)
        (void)!filch_scope_spawn(&scope, drain, run->out.file);
    if (run->err.file)
        (void)!filch_scope_spawn(&scope, drain, run->err.file);
    kill_all(run, SIGTERM);
    (void)!FILCH_SELECT(filch_after(run->opts->grace_ns), filch_case_process(run->process));
}

/* What is short may be what waiting needs: then by looking now and then. */
static void see_it_gone(struct run *run, filch_time until)
{
    int r;

    while ((r = filch_process_wait(run->process, NULL, until)) < 0 && r != -ETIMEDOUT &&
           r != -ECHILD && filch_now() < until)
        (void)filch_sleep(filch_after(FILCH_MILLISECOND));
}

static void end_early(struct run *run)
{
    FILCH_SHIELD(FILCH_NEVER)
    {
        if (run->opts->grace_ns)
            ask_to_end(run);
        kill_all(run, SIGKILL);
        see_it_gone(run, filch_after(GONE_WITHIN));
    }
}

static void close_files(struct run *run)
{
    (void)filch_file_close(run->in);
    (void)filch_file_close(run->out.file);
    (void)filch_file_close(run->err.file);
}

static int spawn(struct run *run, const char *const *argv, filch_time until)
{
    filch_process_opts opts = run->opts->process;

    if (opts.in.kind == FILCH_STDIO_INHERIT)
        opts.in.kind = run->opts->input ? FILCH_STDIO_PIPE : FILCH_STDIO_NULL;
    if (opts.out.kind == FILCH_STDIO_INHERIT)
        opts.out.kind = FILCH_STDIO_PIPE;
    if (opts.err.kind == FILCH_STDIO_INHERIT)
        opts.err.kind = FILCH_STDIO_PIPE;
    opts.in.ret_pipe = &run->in;
    opts.out.ret_pipe = &run->out.file;
    opts.err.ret_pipe = &run->err.file;
    return filch_process_spawn(argv, &opts, &run->process, until);
}

/* A zero behind what was collected. Return: 0; -ENOMEM. */
static int finish(struct output *output)
{
    int r = output->data ? 0 : grow(output);

    if (r == 0)
        output->data[output->bytes] = '\0';
    return r;
}

static int run_to_the_end(struct run *run, filch_process_status *ret_status, filch_time until)
{
    int r = attend(run, until);

    if (r == 0)
        r = filch_process_wait(run->process, ret_status, until);
    if (r < 0)
        end_early(run);
    close_files(run);
    (void)filch_process_close(run->process);
    if (r == 0)
        r = finish(&run->out);
    return r == 0 ? finish(&run->err) : r;
}

int filch_process_run(const char *const *argv, const filch_process_run_opts *opts,
                      filch_process_output *ret_output, filch_time until)
{
    static const filch_process_run_opts none;
    struct run run = {.opts = opts ? opts : &none};
    filch_process_status status;
    int r;

    run.out.most = run.err.most = run.opts->output_max ? run.opts->output_max : OUTPUT_MAX;
    if (!ret_output || (!run.opts->input && run.opts->input_bytes))
        return -EINVAL;
    if (!filch__in_stackful_task())
        return -EPERM;
    r = spawn(&run, argv, until);
    if (r < 0)
        return r;
    r = run_to_the_end(&run, &status, until);
    if (r < 0) {
        free(run.out.data);
        free(run.err.data);
        return r;
    }
    *ret_output = (filch_process_output){
        .status = status,
        .out = run.out.data,
        .err = run.err.data,
        .out_bytes = run.out.bytes,
        .err_bytes = run.err.bytes,
    };
    return 0;
}
